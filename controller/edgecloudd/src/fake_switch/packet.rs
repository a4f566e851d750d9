//! A packet as its header fields.

use std::collections::BTreeMap;
use std::net::IpAddr;

use openflow::{ETH_ARP, ETH_IPV4, ETH_IPV6, Field, PortNumber, VLAN_PRESENT, mac};

/// SYN, as a client begins.
pub const SYN: u8 = 0x02;
/// SYN and ACK, as a server answers.
pub const SYN_ACK: u8 = 0x12;
/// ACK, as both go on.
pub const ACK: u8 = 0x10;

/// A packet's parsed headers. What it does not have is no field; what every packet has (registers,
/// the state of its connection, the VLAN) is 0 until it is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    fields: BTreeMap<Field, u128>,
    /// Whether the connection tracker would find it to make no sense.
    pub invalid: bool,
}

impl Packet {
    /// An Ethernet frame with nothing in it.
    pub fn ethernet(port: PortNumber, source: [u8; 6], target: [u8; 6], kind: u16) -> Packet {
        let fields = BTreeMap::from([
            (Field::InPort, port.0.into()),
            (Field::EthSrc, mac(source)),
            (Field::EthDst, mac(target)),
            (Field::EthType, kind.into()),
        ]);
        let invalid = false;
        Packet { fields, invalid }
    }

    /// IP of the addresses' family. Source and target must be of one.
    #[must_use]
    pub fn ip(mut self, source: IpAddr, target: IpAddr, protocol: u8) -> Packet {
        match (source, target) {
            (IpAddr::V4(source), IpAddr::V4(target)) => {
                self.set(Field::EthType, ETH_IPV4.into());
                self.set(Field::Ipv4Src, source.to_bits().into());
                self.set(Field::Ipv4Dst, target.to_bits().into());
            }
            (IpAddr::V6(source), IpAddr::V6(target)) => {
                self.set(Field::EthType, ETH_IPV6.into());
                self.set(Field::Ipv6Src, source.to_bits());
                self.set(Field::Ipv6Dst, target.to_bits());
            }
            _ => panic!("{source} and {target} are of two families"),
        }
        self.set(Field::IpProto, protocol.into());
        self
    }

    /// TCP from a port to a port with flags.
    #[must_use]
    pub fn tcp(self, source: IpAddr, target: IpAddr, ports: (u16, u16), flags: u8) -> Packet {
        let mut packet = self.ip(source, target, 6);
        packet.set(Field::TcpSrc, ports.0.into());
        packet.set(Field::TcpDst, ports.1.into());
        packet.set(Field::TcpFlags, flags.into());
        packet
    }

    /// UDP from a port to a port.
    #[must_use]
    pub fn udp(self, source: IpAddr, target: IpAddr, ports: (u16, u16)) -> Packet {
        let mut packet = self.ip(source, target, 17);
        packet.set(Field::UdpSrc, ports.0.into());
        packet.set(Field::UdpDst, ports.1.into());
        packet
    }

    /// ICMP of the addresses' family, of a type.
    #[must_use]
    pub fn icmp(self, source: IpAddr, target: IpAddr, kind: u8) -> Packet {
        let (protocol, field) = match source {
            IpAddr::V4(_) => (1, Field::Icmpv4Type),
            IpAddr::V6(_) => (58, Field::Icmpv6Type),
        };
        let mut packet = self.ip(source, target, protocol);
        packet.set(field, kind.into());
        packet
    }

    /// What neighbour discovery says beside its type: whom it is about, and the link-layer address
    /// that it tells (0 for none).
    #[must_use]
    pub fn about(mut self, target: IpAddr, told: u128) -> Packet {
        if let IpAddr::V6(target) = target {
            self.set(Field::NdTarget, target.to_bits());
        }
        let option = match self.get(Field::Icmpv6Type) {
            Some(135) => Field::NdSll,
            _ => Field::NdTll,
        };
        self.set(option, told);
        self
    }

    /// ARP for IPv4: who says it, with which address, and whom it asks for or tells.
    #[must_use]
    pub fn arp(mut self, operation: u16, sender: ([u8; 6], IpAddr), target: IpAddr) -> Packet {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(v4) => v4.to_bits().into(),
            IpAddr::V6(_) => 0,
        };
        self.set(Field::EthType, ETH_ARP.into());
        self.set(Field::ArpOp, operation.into());
        self.set(Field::ArpSha, mac(sender.0));
        self.set(Field::ArpSpa, bits(sender.1));
        self.set(Field::ArpTpa, bits(target));
        self
    }

    /// The same with a VLAN tag.
    #[must_use]
    pub fn tagged(mut self, vlan: u16) -> Packet {
        self.set(Field::VlanVid, (VLAN_PRESENT | vlan).into());
        self
    }

    /// A field, if the packet has it.
    pub fn get(&self, field: Field) -> Option<u128> {
        let there = self.fields.get(&field).copied();
        there.or_else(|| is_of_every_packet(field).then_some(0))
    }

    /// Changes a field.
    pub fn set(&mut self, field: Field, value: u128) {
        self.fields.insert(field, value & field.full_mask());
    }

    /// Where it came in.
    pub fn in_port(&self) -> PortNumber {
        // The field has 32 bits.
        PortNumber(self.get(Field::InPort).unwrap_or_default() as u32)
    }

    /// Its addresses, if it is IP.
    pub fn addresses(&self) -> Option<(IpAddr, IpAddr)> {
        // The fields have 32 bits.
        let v4 = |field| self.get(field).map(|bits| IpAddr::V4((bits as u32).into()));
        let v6 = |field| self.get(field).map(|bits| IpAddr::V6(bits.into()));
        let source = v4(Field::Ipv4Src).or(v6(Field::Ipv6Src))?;
        let target = v4(Field::Ipv4Dst).or(v6(Field::Ipv6Dst))?;
        Some((source, target))
    }

    /// What names its connection, if it is IP.
    pub fn tuple(&self) -> Option<Tuple> {
        let (source, target) = self.addresses()?;
        let port = |tcp, udp| self.get(tcp).or(self.get(udp)).unwrap_or_default() as u16;
        Some(Tuple {
            protocol: self.get(Field::IpProto)? as u8,
            source: (source, port(Field::TcpSrc, Field::UdpSrc)),
            target: (target, port(Field::TcpDst, Field::UdpDst)),
        })
    }
}

/// What names a connection, from one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tuple {
    /// IP's protocol.
    pub protocol: u8,
    /// Address and port; port 0 where there is none.
    pub source: (IpAddr, u16),
    /// Address and port.
    pub target: (IpAddr, u16),
}

impl Tuple {
    /// The same connection from the other side.
    #[must_use]
    pub fn reversed(self) -> Tuple {
        Tuple {
            source: self.target,
            target: self.source,
            ..self
        }
    }
}

fn is_of_every_packet(field: Field) -> bool {
    let tracked = [
        Field::CtState,
        Field::CtZone,
        Field::CtMark,
        Field::CtLabel,
        Field::VlanVid,
        Field::Metadata,
        Field::ConjId,
    ];
    Field::REGISTERS.contains(&field) || tracked.contains(&field)
}
