//! Random values that a switch would take: every field with what it depends on, every action where
//! it is allowed.

mod actions;
mod messages;
mod statistics;

use openflow::*;

pub(crate) struct Random {
    pub(crate) rng: fastrand::Rng,
    pub(crate) version: Version,
}

impl Random {
    pub(crate) fn new(seed: u64, version: Version) -> Random {
        Random {
            rng: fastrand::Rng::with_seed(seed),
            version,
        }
    }

    pub(crate) fn chance(&mut self, of: u32) -> bool {
        self.rng.u32(0..of) == 0
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.rng.usize(0..from.len())].clone()
    }

    pub(crate) fn some<T>(&mut self, one: impl FnOnce(&mut Random) -> T) -> Option<T> {
        self.rng.bool().then(|| one(self))
    }

    pub(crate) fn bytes(&mut self, length_max: usize) -> Vec<u8> {
        let length = self.rng.usize(0..=length_max);
        (0..length).map(|_| self.rng.u8(..)).collect()
    }

    pub(crate) fn name(&mut self, length_max: usize) -> String {
        let length = self.rng.usize(1..=length_max);
        (0..length).map(|_| self.rng.lowercase()).collect()
    }

    /// A value of so many bits, often a small one.
    pub(crate) fn value(&mut self, bits: u32) -> u128 {
        let all = u128::MAX >> (128 - bits);
        match self.rng.u8(0..4) {
            0 => self.rng.u128(..) & all & 0xff,
            1 => 0,
            _ => self.rng.u128(..) & all,
        }
    }

    pub(crate) fn port(&mut self) -> PortNumber {
        match self.rng.u8(0..4) {
            0 => PortNumber::LOCAL,
            _ => PortNumber(self.rng.u32(1..0xff00)),
        }
    }

    pub(crate) fn put(&mut self, matching: Match, field: Field) -> Match {
        let mut value = self.value(field.bits());
        if field == Field::ArpOp {
            value &= 0xff;
        }
        if !field.is_maskable() || self.rng.bool() {
            return matching.with(field, value);
        }
        let mask = match self.rng.bool() {
            true => field.full_mask() & (field.full_mask() << self.rng.u32(0..field.bits())),
            false => self.value(field.bits()),
        };
        matching.with_masked(field, value & mask, mask)
    }

    pub(crate) fn maybe(&mut self, matching: Match, fields: &[Field]) -> Match {
        fields.iter().fold(matching, |matching, field| {
            if self.chance(3) {
                self.put(matching, *field)
            } else {
                matching
            }
        })
    }

    pub(crate) fn flow_match(&mut self) -> Match {
        let mut m = Match::new();
        if self.chance(2) {
            m = m.in_port(self.port());
        }
        m = self.metadata(m);
        m = self.maybe(m, &[Field::EthSrc, Field::EthDst]);
        m = match self.rng.u8(0..6) {
            0 => m.vlan(self.rng.u16(0..4096)),
            1 => m.no_vlan(),
            2 => m.with_masked(Field::VlanVid, 0x1000, 0x1000),
            3 => {
                let tagged = m.vlan(self.rng.u16(0..4096));
                self.put(tagged, Field::VlanPcp)
            }
            _ => m,
        };
        match self.rng.u8(0..6) {
            0 => m,
            1 => m.eth_type(self.pick(&[0x88cc, 0x0842, 0x22f0])),
            2 => {
                let arp = m.eth_type(self.pick(&[ETH_ARP, ETH_ARP, 0x8035]));
                let fields = [
                    Field::ArpOp,
                    Field::ArpSpa,
                    Field::ArpTpa,
                    Field::ArpSha,
                    Field::ArpTha,
                ];
                self.maybe(arp, &fields)
            }
            3 | 4 => {
                let mut ip = self.maybe(m.ipv4(), &[Field::Ipv4Src, Field::Ipv4Dst]);
                if ip.get(Field::CtNwProto).is_some() {
                    ip = self.maybe(ip, &[Field::CtNwSrc, Field::CtNwDst]);
                }
                self.within_ip(ip, 1)
            }
            _ => {
                let fields = [Field::Ipv6Src, Field::Ipv6Dst, Field::Ipv6FlowLabel];
                let mut ip = self.maybe(m.ipv6(), &fields);
                if ip.get(Field::CtNwProto).is_some() {
                    ip = self.maybe(ip, &[Field::CtIpv6Src, Field::CtIpv6Dst]);
                }
                self.within_ip(ip, 58)
            }
        }
    }

    /// Fields without a plan, of which those are left out that the match does not allow.
    pub(crate) fn allowed_match(&mut self) -> Match {
        let mut matching = Match::new();
        if self.rng.bool() {
            matching = matching.eth_type(self.pick(&[ETH_ARP, ETH_IPV4, ETH_IPV6, 0x8847]));
        }
        if self.rng.bool() {
            matching = matching.ct_state(self.rng.u32(0..0x40), self.rng.u32(0..0x40));
        }
        for _ in 0..40 {
            let field = self.pick(Field::ALL);
            // Open vSwitch has no such fields, or only some of their values.
            let unknown = [
                Field::InPhyPort,
                Field::PbbIsid,
                Field::Ipv6Exthdr,
                Field::VlanTci,
                Field::InPort,
                Field::NxmInPort,
                Field::ActsetOutput,
                Field::EthType,
                Field::CtState,
                Field::IpFrag,
                Field::VlanVid,
            ];
            if unknown.contains(&field) || matching.get(field).is_some() {
                continue;
            }
            let with = match field {
                Field::IpProto => matching.clone().ip_proto(self.pick(&[6, 17, 132, 1, 58])),
                Field::Icmpv6Type => matching.clone().with(field, self.pick(&[135u8, 136, 1])),
                Field::Icmpv6Code => matching.clone().with(field, 0u8),
                _ => self.put(matching.clone(), field),
            };
            if with.check().is_ok() {
                matching = with;
            }
        }
        matching
    }

    pub(crate) fn metadata(&mut self, m: Match) -> Match {
        let fields = [
            Field::Metadata,
            Field::TunnelId,
            Field::TunIpv4Src,
            Field::TunIpv4Dst,
            Field::Reg0,
            Field::Reg1,
            Field::Reg9,
            Field::Reg14,
            Field::Reg15,
            Field::PktMark,
            Field::ConjId,
            Field::CtZone,
            Field::CtMark,
            Field::CtLabel,
        ];
        let mut m = match self.rng.u8(0..3) {
            0 => m,
            _ => self.maybe(m, &fields),
        };
        if !self.chance(3) {
            return m;
        }
        use conntrack_state::*;
        m = m.ct_state(
            TRACKED | ESTABLISHED,
            self.pick(&[0, INVALID, INVALID | REPLY]),
        );
        if self.chance(3) {
            m = m.with(Field::CtNwProto, 6u8);
            m = self.maybe(m, &[Field::CtTpSrc, Field::CtTpDst]);
        }
        m
    }

    pub(crate) fn within_ip(&mut self, m: Match, icmp: u8) -> Match {
        let mut m = self.maybe(m, &[Field::IpDscp, Field::IpEcn, Field::IpTtl]);
        if self.chance(6) {
            let (value, mask) = self.pick(&[(0, 1), (1, 1), (1, 3), (3, 3), (0, 2)]);
            m = m.with_masked(Field::IpFrag, value, mask);
            if value & 2 != 0 {
                return m.ip_proto(17);
            }
        }
        match self.rng.u8(0..6) {
            0 => m,
            1 => m.ip_proto(self.pick(&[47, 50])),
            2 => {
                let fields = [Field::TcpSrc, Field::TcpDst, Field::TcpFlags];
                self.maybe(m.ip_proto(6), &fields)
            }
            3 => self.maybe(m.ip_proto(17), &[Field::UdpSrc, Field::UdpDst]),
            4 => self.maybe(m.ip_proto(132), &[Field::SctpSrc, Field::SctpDst]),
            _ if icmp == 1 => self.maybe(m.ip_proto(icmp), &[Field::Icmpv4Type, Field::Icmpv4Code]),
            _ => {
                let kind = self.pick(&[1u8, 128, 135, 136]);
                let m = m.ip_proto(icmp).with(Field::Icmpv6Type, kind);
                match kind {
                    135 => self.maybe(
                        m.with(Field::Icmpv6Code, 0u8),
                        &[Field::NdTarget, Field::NdSll],
                    ),
                    136 => self.maybe(
                        m.with(Field::Icmpv6Code, 0u8),
                        &[Field::NdTarget, Field::NdTll],
                    ),
                    _ => self.maybe(m, &[Field::Icmpv6Code]),
                }
            }
        }
    }

    pub(crate) fn flow(&mut self) -> Flow {
        let table = self.rng.u8(0..=127);
        let matching = self.flow_match();
        let instructions = self.instructions(&matching, table);
        Flow {
            cookie: self.rng.u64(..),
            idle_timeout: self.pick(&[0, 300]),
            hard_timeout: self.pick(&[0, 600]),
            importance: if self.version == Version::V15 {
                self.rng.u16(..)
            } else {
                0
            },
            flags: self.pick(&[FlowFlags::NONE, FlowFlags::SEND_FLOW_REMOVED]),
            // 0x8000 is the priority that `ovs-ofctl` leaves out.
            ..Flow::new(table, self.rng.u16(0..0x8000), matching, instructions)
        }
    }

    pub(crate) fn flow_mod(&mut self) -> FlowMod {
        let flow = self.flow();
        match self.rng.u8(0..6) {
            0 => FlowMod::delete_strict(flow.key),
            1 => FlowMod {
                matching: flow.key.matching,
                out_port: self.port(),
                ..FlowMod::delete_by_cookie(self.rng.u64(..), self.rng.u64(..))
            },
            2 => FlowMod {
                command: self.pick(&[FlowCommand::Modify, FlowCommand::ModifyStrict]),
                ..FlowMod::add(flow)
            },
            _ => FlowMod::add(flow),
        }
    }
}
