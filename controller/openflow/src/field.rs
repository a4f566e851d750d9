//! The fields that flows match and actions change.
//!
//! OpenFlow Switch 1.5.1 section 7.2.3.8 has the OXM fields (class 0x8000), Open vSwitch's
//! `meta-flow.h` the NXM ones (classes 0 and 1). Where both exist, this codec sends OXM and reads
//! both.

use crate::version::Version;

/// The class of OpenFlow's own fields.
pub(crate) const OXM: u16 = 0x8000;
/// Packet registers of OpenFlow 1.5: Open vSwitch's registers in pairs.
pub(crate) const PACKET_REGISTERS: u16 = 0x8001;
/// Nicira's first class: what OXM has too, under older numbers.
pub(crate) const NXM0: u16 = 0x0000;
/// Nicira's second class: Open vSwitch's extensions.
pub(crate) const NXM1: u16 = 0x0001;
/// A class whose vendor follows the header.
pub(crate) const EXPERIMENTER: u16 = 0xffff;

/// What a match must have before it can have a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prerequisite {
    Nothing,
    Vlan,
    Ipv4,
    Ipv6,
    Ip,
    Arp,
    Mpls,
    Pbb,
    Tcp,
    Udp,
    Sctp,
    Icmpv4,
    Icmpv6,
    NeighbourDiscovery,
    NeighbourSolicitation,
    NeighbourAdvertisement,
    /// A conntrack state that implies a connection.
    Connection,
    /// The same of a protocol that is named; without it Open vSwitch shows no ports.
    ConnectionPorts,
    /// The same of IPv4.
    ConnectionV4,
    /// The same of IPv6.
    ConnectionV6,
}

/// How a match may constrain a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Masks {
    Exact,
    Any,
}

struct Properties {
    class: u16,
    number: u8,
    bits: u8,
    masks: Masks,
    prerequisite: Prerequisite,
    /// The name of `ovs-ofctl` in actions.
    name: &'static str,
    /// The name of `ovs-ofctl` in subfields: NXM's, if it has one.
    nxm_name: &'static str,
    /// NXM's number for what OXM has too.
    alias: Option<(u16, u8)>,
}

macro_rules! fields {
    ($($(#[$doc:meta])* $variant:ident = $class:ident $number:literal, $bits:literal $masks:ident,
       $prerequisite:ident, $name:literal, $nxm_name:literal $(, $alias_class:ident $alias:literal)?;)*) => {
        /// A field of a packet or of its metadata, in the order in which matches are kept.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, reason = "the variants' names are the specification's")]
        pub enum Field { $($(#[$doc])* $variant,)* }

        impl Field {
            /// All fields, in order.
            pub const ALL: &'static [Field] = &[$(Field::$variant,)*];

            /// What each field is, by its place in the order.
            const PROPERTIES: &'static [Properties] = &[
                $(Properties {
                    class: $class,
                    number: $number,
                    bits: $bits,
                    masks: Masks::$masks,
                    prerequisite: Prerequisite::$prerequisite,
                    name: $name,
                    nxm_name: $nxm_name,
                    alias: fields!(@alias $($alias_class $alias)?),
                },)*
            ];
        }
    };
    (@alias) => { None };
    (@alias $class:ident $number:literal) => { Some(($class, $number)) };
}

fields! {
    InPort = OXM 0, 32 Exact, Nothing, "in_port_oxm", "OXM_OF_IN_PORT";
    InPhyPort = OXM 1, 32 Exact, Nothing, "in_phy_port", "OXM_OF_IN_PHY_PORT";
    Metadata = OXM 2, 64 Any, Nothing, "metadata", "OXM_OF_METADATA";
    EthDst = OXM 3, 48 Any, Nothing, "eth_dst", "NXM_OF_ETH_DST", NXM0 1;
    EthSrc = OXM 4, 48 Any, Nothing, "eth_src", "NXM_OF_ETH_SRC", NXM0 2;
    EthType = OXM 5, 16 Exact, Nothing, "eth_type", "NXM_OF_ETH_TYPE", NXM0 3;
    /// Bit 12 says that there is a tag; the rest is the VLAN's identifier.
    VlanVid = OXM 6, 13 Any, Nothing, "vlan_vid", "OXM_OF_VLAN_VID";
    VlanPcp = OXM 7, 3 Exact, Vlan, "vlan_pcp", "OXM_OF_VLAN_PCP";
    IpDscp = OXM 8, 6 Exact, Ip, "ip_dscp", "OXM_OF_IP_DSCP";
    IpEcn = OXM 9, 2 Exact, Ip, "nw_ecn", "NXM_NX_IP_ECN", NXM1 28;
    IpProto = OXM 10, 8 Exact, Ip, "nw_proto", "NXM_OF_IP_PROTO", NXM0 6;
    Ipv4Src = OXM 11, 32 Any, Ipv4, "ip_src", "NXM_OF_IP_SRC", NXM0 7;
    Ipv4Dst = OXM 12, 32 Any, Ipv4, "ip_dst", "NXM_OF_IP_DST", NXM0 8;
    TcpSrc = OXM 13, 16 Any, Tcp, "tcp_src", "NXM_OF_TCP_SRC", NXM0 9;
    TcpDst = OXM 14, 16 Any, Tcp, "tcp_dst", "NXM_OF_TCP_DST", NXM0 10;
    UdpSrc = OXM 15, 16 Any, Udp, "udp_src", "NXM_OF_UDP_SRC", NXM0 11;
    UdpDst = OXM 16, 16 Any, Udp, "udp_dst", "NXM_OF_UDP_DST", NXM0 12;
    SctpSrc = OXM 17, 16 Any, Sctp, "sctp_src", "OXM_OF_SCTP_SRC";
    SctpDst = OXM 18, 16 Any, Sctp, "sctp_dst", "OXM_OF_SCTP_DST";
    Icmpv4Type = OXM 19, 8 Exact, Icmpv4, "icmp_type", "NXM_OF_ICMP_TYPE", NXM0 13;
    Icmpv4Code = OXM 20, 8 Exact, Icmpv4, "icmp_code", "NXM_OF_ICMP_CODE", NXM0 14;
    ArpOp = OXM 21, 16 Exact, Arp, "arp_op", "NXM_OF_ARP_OP", NXM0 15;
    ArpSpa = OXM 22, 32 Any, Arp, "arp_spa", "NXM_OF_ARP_SPA", NXM0 16;
    ArpTpa = OXM 23, 32 Any, Arp, "arp_tpa", "NXM_OF_ARP_TPA", NXM0 17;
    ArpSha = OXM 24, 48 Any, Arp, "arp_sha", "NXM_NX_ARP_SHA", NXM1 17;
    ArpTha = OXM 25, 48 Any, Arp, "arp_tha", "NXM_NX_ARP_THA", NXM1 18;
    Ipv6Src = OXM 26, 128 Any, Ipv6, "ipv6_src", "NXM_NX_IPV6_SRC", NXM1 19;
    Ipv6Dst = OXM 27, 128 Any, Ipv6, "ipv6_dst", "NXM_NX_IPV6_DST", NXM1 20;
    Ipv6FlowLabel = OXM 28, 20 Any, Ipv6, "ipv6_label", "NXM_NX_IPV6_LABEL", NXM1 27;
    Icmpv6Type = OXM 29, 8 Exact, Icmpv6, "icmpv6_type", "NXM_NX_ICMPV6_TYPE", NXM1 21;
    Icmpv6Code = OXM 30, 8 Exact, Icmpv6, "icmpv6_code", "NXM_NX_ICMPV6_CODE", NXM1 22;
    NdTarget = OXM 31, 128 Any, NeighbourDiscovery, "nd_target", "NXM_NX_ND_TARGET", NXM1 23;
    NdSll = OXM 32, 48 Any, NeighbourSolicitation, "nd_sll", "NXM_NX_ND_SLL", NXM1 24;
    NdTll = OXM 33, 48 Any, NeighbourAdvertisement, "nd_tll", "NXM_NX_ND_TLL", NXM1 25;
    MplsLabel = OXM 34, 20 Exact, Mpls, "mpls_label", "OXM_OF_MPLS_LABEL";
    MplsTc = OXM 35, 3 Exact, Mpls, "mpls_tc", "OXM_OF_MPLS_TC";
    MplsBos = OXM 36, 1 Exact, Mpls, "mpls_bos", "OXM_OF_MPLS_BOS";
    PbbIsid = OXM 37, 24 Any, Pbb, "pbb_isid", "OXM_OF_PBB_ISID";
    TunnelId = OXM 38, 64 Any, Nothing, "tun_id", "NXM_NX_TUN_ID", NXM1 16;
    Ipv6Exthdr = OXM 39, 9 Any, Ipv6, "ipv6_exthdr", "OXM_OF_IPV6_EXTHDR";
    TcpFlags = OXM 42, 12 Any, Tcp, "tcp_flags", "NXM_NX_TCP_FLAGS", NXM1 34;
    ActsetOutput = OXM 43, 32 Exact, Nothing, "actset_output", "ONFOXM_ET_ACTSET_OUTPUT";
    Reg0 = NXM1 0, 32 Any, Nothing, "reg0", "NXM_NX_REG0";
    Reg1 = NXM1 1, 32 Any, Nothing, "reg1", "NXM_NX_REG1";
    Reg2 = NXM1 2, 32 Any, Nothing, "reg2", "NXM_NX_REG2";
    Reg3 = NXM1 3, 32 Any, Nothing, "reg3", "NXM_NX_REG3";
    Reg4 = NXM1 4, 32 Any, Nothing, "reg4", "NXM_NX_REG4";
    Reg5 = NXM1 5, 32 Any, Nothing, "reg5", "NXM_NX_REG5";
    Reg6 = NXM1 6, 32 Any, Nothing, "reg6", "NXM_NX_REG6";
    Reg7 = NXM1 7, 32 Any, Nothing, "reg7", "NXM_NX_REG7";
    Reg8 = NXM1 8, 32 Any, Nothing, "reg8", "NXM_NX_REG8";
    Reg9 = NXM1 9, 32 Any, Nothing, "reg9", "NXM_NX_REG9";
    Reg10 = NXM1 10, 32 Any, Nothing, "reg10", "NXM_NX_REG10";
    Reg11 = NXM1 11, 32 Any, Nothing, "reg11", "NXM_NX_REG11";
    Reg12 = NXM1 12, 32 Any, Nothing, "reg12", "NXM_NX_REG12";
    Reg13 = NXM1 13, 32 Any, Nothing, "reg13", "NXM_NX_REG13";
    Reg14 = NXM1 14, 32 Any, Nothing, "reg14", "NXM_NX_REG14";
    Reg15 = NXM1 15, 32 Any, Nothing, "reg15", "NXM_NX_REG15";
    /// Bit 0: a fragment; bit 1: not the first.
    IpFrag = NXM1 26, 2 Any, Ip, "ip_frag", "NXM_NX_IP_FRAG";
    IpTtl = NXM1 29, 8 Exact, Ip, "nw_ttl", "NXM_NX_IP_TTL";
    TunIpv4Src = NXM1 31, 32 Any, Nothing, "tun_src", "NXM_NX_TUN_IPV4_SRC";
    TunIpv4Dst = NXM1 32, 32 Any, Nothing, "tun_dst", "NXM_NX_TUN_IPV4_DST";
    PktMark = NXM1 33, 32 Any, Nothing, "pkt_mark", "NXM_NX_PKT_MARK";
    /// The conjunction whose clauses all matched.
    ConjId = NXM1 37, 32 Exact, Nothing, "conj_id", "NXM_NX_CONJ_ID";
    /// See [`crate::conntrack_state`].
    CtState = NXM1 105, 32 Any, Nothing, "ct_state", "NXM_NX_CT_STATE";
    CtZone = NXM1 106, 16 Exact, Nothing, "ct_zone", "NXM_NX_CT_ZONE";
    CtMark = NXM1 107, 32 Any, Nothing, "ct_mark", "NXM_NX_CT_MARK";
    CtLabel = NXM1 108, 128 Any, Nothing, "ct_label", "NXM_NX_CT_LABEL";
    TunIpv6Src = NXM1 109, 128 Any, Nothing, "tun_ipv6_src", "NXM_NX_TUN_IPV6_SRC";
    TunIpv6Dst = NXM1 110, 128 Any, Nothing, "tun_ipv6_dst", "NXM_NX_TUN_IPV6_DST";
    CtNwProto = NXM1 119, 8 Exact, Connection, "ct_nw_proto", "NXM_NX_CT_NW_PROTO";
    CtNwSrc = NXM1 120, 32 Any, ConnectionV4, "ct_nw_src", "NXM_NX_CT_NW_SRC";
    CtNwDst = NXM1 121, 32 Any, ConnectionV4, "ct_nw_dst", "NXM_NX_CT_NW_DST";
    CtIpv6Src = NXM1 122, 128 Any, ConnectionV6, "ct_ipv6_src", "NXM_NX_CT_IPV6_SRC";
    CtIpv6Dst = NXM1 123, 128 Any, ConnectionV6, "ct_ipv6_dst", "NXM_NX_CT_IPV6_DST";
    CtTpSrc = NXM1 124, 16 Any, ConnectionPorts, "ct_tp_src", "NXM_NX_CT_TP_SRC";
    CtTpDst = NXM1 125, 16 Any, ConnectionPorts, "ct_tp_dst", "NXM_NX_CT_TP_DST";
    /// Nicira's 16-bit port number; a match reads it as [`Field::InPort`].
    NxmInPort = NXM0 0, 16 Exact, Nothing, "in_port", "NXM_OF_IN_PORT";
    /// Nicira's whole VLAN tag, for actions; a match takes [`Field::VlanVid`].
    VlanTci = NXM0 4, 16 Any, Nothing, "vlan_tci", "NXM_OF_VLAN_TCI";
    /// `Reg0` and `Reg1` as one; a match keeps the two.
    Xreg0 = PACKET_REGISTERS 0, 64 Any, Nothing, "xreg0", "OXM_OF_PKT_REG0";
    Xreg1 = PACKET_REGISTERS 1, 64 Any, Nothing, "xreg1", "OXM_OF_PKT_REG1";
    Xreg2 = PACKET_REGISTERS 2, 64 Any, Nothing, "xreg2", "OXM_OF_PKT_REG2";
    Xreg3 = PACKET_REGISTERS 3, 64 Any, Nothing, "xreg3", "OXM_OF_PKT_REG3";
    Xreg4 = PACKET_REGISTERS 4, 64 Any, Nothing, "xreg4", "OXM_OF_PKT_REG4";
    Xreg5 = PACKET_REGISTERS 5, 64 Any, Nothing, "xreg5", "OXM_OF_PKT_REG5";
    Xreg6 = PACKET_REGISTERS 6, 64 Any, Nothing, "xreg6", "OXM_OF_PKT_REG6";
    Xreg7 = PACKET_REGISTERS 7, 64 Any, Nothing, "xreg7", "OXM_OF_PKT_REG7";
    /// `Reg0` to `Reg3` as one; a match keeps the four.
    Xxreg0 = NXM1 111, 128 Any, Nothing, "xxreg0", "NXM_NX_XXREG0";
    Xxreg1 = NXM1 112, 128 Any, Nothing, "xxreg1", "NXM_NX_XXREG1";
    Xxreg2 = NXM1 113, 128 Any, Nothing, "xxreg2", "NXM_NX_XXREG2";
    Xxreg3 = NXM1 114, 128 Any, Nothing, "xxreg3", "NXM_NX_XXREG3";
}

impl Field {
    /// The registers `reg0` to `reg15`.
    pub const REGISTERS: [Field; 16] = [
        Field::Reg0,
        Field::Reg1,
        Field::Reg2,
        Field::Reg3,
        Field::Reg4,
        Field::Reg5,
        Field::Reg6,
        Field::Reg7,
        Field::Reg8,
        Field::Reg9,
        Field::Reg10,
        Field::Reg11,
        Field::Reg12,
        Field::Reg13,
        Field::Reg14,
        Field::Reg15,
    ];

    const fn properties(self) -> &'static Properties {
        &Field::PROPERTIES[self as usize]
    }

    /// The field's width in bits, 1 to 128.
    pub const fn bits(self) -> u32 {
        self.properties().bits as u32
    }

    /// The field's width on the wire, in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            // 20 and 24 bits: the labels travel in 32 bits, PBB's in 24.
            Field::Ipv6FlowLabel | Field::MplsLabel => 4,
            _ => (self.properties().bits as usize).div_ceil(8),
        }
    }

    /// All bits of the field set.
    pub const fn full_mask(self) -> u128 {
        u128::MAX >> (128 - self.bits())
    }

    /// Whether a match may leave out single bits of the field.
    pub const fn is_maskable(self) -> bool {
        matches!(self.properties().masks, Masks::Any)
    }

    /// `ovs-ofctl`'s name for it, as in `set_field:…->NAME`.
    pub const fn name(self) -> &'static str {
        self.properties().name
    }

    /// `ovs-ofctl`'s name for it in a subfield, as in `move:NAME[0..15]->…`.
    pub const fn nxm_name(self) -> &'static str {
        self.properties().nxm_name
    }

    pub(crate) const fn prerequisite(self) -> Prerequisite {
        self.properties().prerequisite
    }

    /// Class and number on the wire. 1.3 has no TCP flags of its own: there ONF's are used.
    pub(crate) const fn class_and_number(self, version: Version) -> (u16, u8) {
        let properties = self.properties();
        match (self, version) {
            (Field::TcpFlags | Field::ActsetOutput, Version::V13) => {
                (EXPERIMENTER, properties.number)
            }
            _ => (properties.class, properties.number),
        }
    }

    /// Class and number where there is no room for a vendor.
    pub(crate) const fn short_class_and_number(self) -> (u16, u8) {
        let properties = self.properties();
        match properties.alias {
            Some(alias) => alias,
            None => (properties.class, properties.number),
        }
    }

    /// The field with a class and number, by any of its numbers.
    pub(crate) fn with_number(class: u16, number: u8) -> Option<Field> {
        if class == EXPERIMENTER {
            let onf = [Field::TcpFlags, Field::ActsetOutput];
            return onf
                .into_iter()
                .find(|field| field.properties().number == number);
        }
        let place = CLASSES.iter().position(|known| *known == class)?;
        BY_NUMBER[place].get(usize::from(number)).copied().flatten()
    }

    /// The registers that a wide register consists of, the most significant first.
    pub(crate) fn registers(self) -> Option<&'static [Field]> {
        const ALL: &[Field] = &Field::REGISTERS;
        let number = usize::from(self.properties().number);
        match self {
            field if field.properties().class == PACKET_REGISTERS => {
                ALL.get(2 * number..2 * number + 2)
            }
            Field::Xxreg0 | Field::Xxreg1 | Field::Xxreg2 | Field::Xxreg3 => {
                let first = 4 * (number - 111);
                ALL.get(first..first + 4)
            }
            _ => None,
        }
    }
}

/// The classes whose fields are found by [`BY_NUMBER`].
const CLASSES: [u16; 4] = [OXM, NXM1, PACKET_REGISTERS, NXM0];

/// The fields of each class by number: parsing a dump looks every field up.
static BY_NUMBER: [[Option<Field>; 128]; 4] = by_number();

const fn by_number() -> [[Option<Field>; 128]; 4] {
    let mut table = [[None; 128]; 4];
    let mut place = 0;
    while place < Field::ALL.len() {
        let field = Field::ALL[place];
        let properties = field.properties();
        let mut class = 0;
        while class < CLASSES.len() {
            if properties.class == CLASSES[class] {
                table[class][properties.number as usize] = Some(field);
            }
            if let Some((alias_class, alias)) = properties.alias
                && alias_class == CLASSES[class]
            {
                table[class][alias as usize] = Some(field);
            }
            class += 1;
        }
        place += 1;
    }
    table
}

/// Bits of [`Field::CtState`].
pub mod conntrack_state {
    /// The packet begins a connection that is not committed.
    pub const NEW: u32 = 0x01;
    /// The packet belongs to a committed connection.
    pub const ESTABLISHED: u32 = 0x02;
    /// The packet is related to a connection, such as an ICMP error.
    pub const RELATED: u32 = 0x04;
    /// The packet flows against the connection's first.
    pub const REPLY: u32 = 0x08;
    /// The packet makes no sense to the connection tracker.
    pub const INVALID: u32 = 0x10;
    /// The packet went through the connection tracker.
    pub const TRACKED: u32 = 0x20;
    /// Its source address was translated.
    pub const SOURCE_NAT: u32 = 0x40;
    /// Its destination address was translated.
    pub const DESTINATION_NAT: u32 = 0x80;
}
