//! Random actions and instructions.

use std::net::{Ipv4Addr, Ipv6Addr};

use openflow::*;

use super::Random;

/// Fields that Open vSwitch lets actions write, wherever they are there.
const WRITABLE: &[Field] = &[
    Field::Metadata,
    Field::EthDst,
    Field::EthSrc,
    Field::IpDscp,
    Field::IpEcn,
    Field::Ipv4Src,
    Field::Ipv4Dst,
    Field::TcpSrc,
    Field::TcpDst,
    Field::UdpSrc,
    Field::UdpDst,
    Field::ArpOp,
    Field::ArpSpa,
    Field::ArpTpa,
    Field::ArpSha,
    Field::ArpTha,
    Field::Ipv6Src,
    Field::Ipv6Dst,
    Field::NdTarget,
    Field::NdSll,
    Field::NdTll,
    Field::TunnelId,
    Field::Reg0,
    Field::Reg7,
    Field::Reg15,
    Field::TunIpv4Src,
    Field::TunIpv6Dst,
    Field::PktMark,
    Field::IpTtl,
    Field::Xreg2,
    Field::Xxreg1,
];

impl Random {
    /// Fields that a packet of this match has and that may be written.
    pub(super) fn writable(&self, matching: &Match) -> Vec<Field> {
        let there = |field: &&Field| matching.clone().with(**field, 0u8).check().is_ok();
        WRITABLE.iter().filter(there).copied().collect()
    }

    pub(crate) fn set_field(&mut self, matching: &Match) -> Action {
        let fields = self.writable(matching);
        let field = self.pick(&fields);
        let mut value = self.value(field.bits());
        if field == Field::ArpOp {
            value &= 0xff;
        }
        let mask = self.value(field.bits());
        if mask == 0 || !field.is_maskable() || self.rng.bool() {
            return Action::set(field, value);
        }
        Action::SetField {
            field,
            value: value & mask,
            mask,
        }
    }

    pub(super) fn subfield(&mut self, fields: &[Field], bits: u8) -> Subfield {
        let wide: Vec<_> = fields
            .iter()
            .copied()
            .filter(|field| field.bits() >= bits.into())
            .collect();
        let field = self.pick(&wide);
        let room = field.bits() as u8 - bits;
        Subfield::new(field, self.rng.u8(0..=room), bits).expect("it has these bits")
    }

    pub(super) fn output(&mut self) -> Action {
        let reserved = [
            PortNumber::IN_PORT,
            PortNumber::NORMAL,
            PortNumber::FLOOD,
            PortNumber::ALL,
        ];
        match self.rng.u8(0..4) {
            0 => Action::Output {
                port: PortNumber::CONTROLLER,
                max_len: self.rng.u16(..),
            },
            1 => Action::output(self.pick(&reserved)),
            _ => Action::output(self.port()),
        }
    }

    pub(crate) fn actions(&mut self, matching: &Match) -> Vec<Action> {
        if self.chance(8) {
            let clauses = self.rng.u8(2..=64);
            let clause = self.rng.u8(0..clauses);
            return vec![Action::Conjunction {
                id: self.rng.u32(..),
                clause,
                clauses,
            }];
        }
        let mut actions = Vec::new();
        if self.chance(6) && matching.get(Field::VlanVid).is_none() {
            actions.push(Action::PushVlan(self.pick(&[0x8100, 0x88a8])));
            actions.push(Action::PopVlan);
        }
        for _ in 0..self.rng.usize(0..6) {
            actions.push(self.action(matching));
        }
        if self.version == Version::V15 && self.chance(4) {
            let place = self.rng.usize(0..=actions.len());
            actions.insert(place, Action::Meter(self.rng.u32(1..=Meter::MAX)));
        }
        actions
    }

    pub(super) fn action(&mut self, matching: &Match) -> Action {
        let ethernet = matching.get(Field::EthType).map(|field| field.value);
        let is_ip = matches!(ethernet, Some(0x0800 | 0x86dd));
        match self.rng.u8(0..16) {
            0 => Action::Group(self.rng.u32(0..=Group::MAX)),
            2 => Action::SetQueue(self.rng.u32(..)),
            3 if is_ip => Action::SetTtl(self.rng.u8(..)),
            4 if is_ip => Action::DecTtl,
            5 => Action::Resubmit {
                in_port: self.pick(&[PortNumber::IN_PORT, PortNumber(7), PortNumber::LOCAL]),
                table: self.rng.u8(..),
                original_tuple: matching.get(Field::CtState).is_some() && self.rng.bool(),
            },
            6 | 7 if is_ip => Action::Conntrack(self.conntrack(matching)),
            8 => Action::ConntrackClear,
            9 => Action::Learn(Box::new(self.learn(matching))),
            10 => Action::Controller(self.send_to_controller()),
            11 => Action::Clone(vec![self.set_field(matching), self.output()]),
            12 => {
                let bits = self.rng.u8(1..=32);
                let fields = self.writable(matching);
                let source = self.subfield(&fields, bits);
                Action::Move {
                    source,
                    target: self.subfield(&fields, bits),
                }
            }
            13 | 14 => self.set_field(matching),
            _ => self.output(),
        }
    }

    pub(super) fn conntrack(&mut self, matching: &Match) -> Conntrack {
        let commit = self.rng.bool();
        let tcp = matching
            .get(Field::IpProto)
            .is_some_and(|field| field.value == 6);
        let mut exec = Vec::new();
        if commit && self.rng.bool() {
            exec.push(Action::set(Field::CtMark, self.rng.u32(..)));
            let offset = self.rng.u8(0..64);
            let part = Subfield::new(Field::CtLabel, offset, 16).expect("128 bits");
            exec.push(Action::load(part, self.rng.u16(..)));
        }
        Conntrack {
            commit,
            force: commit && self.rng.bool(),
            zone: match self.rng.bool() {
                true => Zone::Number(self.rng.u16(..)),
                false => Zone::Field(self.subfield(&[Field::Reg0, Field::Reg7], 16)),
            },
            table: self.some(|random| random.rng.u8(0..254)),
            alg: if tcp { self.pick(&[0, 21]) } else { 0 },
            nat: self.some(|random| random.nat(matching, commit)),
            exec,
        }
    }

    pub(super) fn nat(&mut self, matching: &Match, commit: bool) -> Nat {
        if !commit || self.chance(3) {
            return Nat::Existing;
        }
        let is_v6 = matching
            .get(Field::EthType)
            .is_some_and(|field| field.value == 0x86dd);
        let first = self.rng.u32(1..0x7fff_0000);
        let last = first + self.rng.u32(0..2) * self.rng.u32(0..1000);
        let v6 = |low: u32| Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(low));
        let addresses = match is_v6 {
            true => NatAddresses::V6(v6(first)..=v6(last)),
            false => NatAddresses::V4(Ipv4Addr::from(first)..=Ipv4Addr::from(last)),
        };
        let port = self.rng.u16(1..60000);
        let (hash, random) = self.pick(&[(false, false), (true, false), (false, true)]);
        let target = NatTarget {
            addresses: Some(addresses),
            ports: self.some(|random| port..=port + random.rng.u16(0..2) * 100),
            persistent: self.rng.bool(),
            hash,
            random,
        };
        if self.rng.bool() {
            Nat::Source(target)
        } else {
            Nat::Destination(target)
        }
    }

    pub(super) fn learn(&mut self, matching: &Match) -> Learn {
        let registers = [Field::Reg0, Field::Reg7, Field::Xxreg2, Field::Metadata];
        let whole = Subfield::whole;
        let vlan = Subfield::new(Field::VlanTci, 0, 12).expect("16 bits");
        let bits = self.rng.u8(1..=32);
        let mut specs = vec![
            LearnSpec::Match {
                target: whole(Field::EthDst),
                source: LearnSource::Field(whole(Field::EthSrc)),
            },
            LearnSpec::Match {
                target: whole(Field::EthType),
                source: LearnSource::Value(0x800),
            },
            LearnSpec::Load {
                target: self.subfield(&registers, bits),
                source: LearnSource::Field(self.subfield(&registers, bits)),
            },
            LearnSpec::Load {
                target: self.subfield(&registers, bits),
                source: LearnSource::Value(self.value(bits.into())),
            },
            LearnSpec::Match {
                target: self.subfield(&[Field::Reg1, Field::Reg15], bits),
                source: LearnSource::Value(self.value(bits.into())),
            },
            LearnSpec::Match {
                target: vlan,
                source: LearnSource::Field(vlan),
            },
            LearnSpec::Output(whole(Field::NxmInPort)),
            LearnSpec::Output(Subfield::new(Field::Reg3, 0, 16).expect("32 bits")),
        ];
        if matching
            .get(Field::VlanVid)
            .is_some_and(|vlan| vlan.value == 0)
        {
            specs.remove(5);
        }
        specs.truncate(self.rng.usize(0..=specs.len()));
        Learn {
            idle_timeout: self.rng.u16(0..3),
            hard_timeout: self.rng.u16(0..3),
            fin_idle_timeout: self.rng.u16(0..3),
            fin_hard_timeout: self.rng.u16(0..3),
            priority: self.pick(&[0x8000, 5]),
            cookie: self.rng.u64(..) * self.rng.u64(0..2),
            table: self.rng.u8(0..254),
            send_flow_removed: self.rng.bool(),
            delete_learned: self.rng.bool(),
            limit: self.pick(&[0, 17]),
            result: self.some(|random| random.subfield(&[Field::Reg4, Field::Xreg2], 1)),
            specs,
        }
    }

    pub(super) fn send_to_controller(&mut self) -> ToController {
        ToController {
            max_len: self.pick(&[NO_BUFFER, 128]),
            controller_id: self.pick(&[0, 9]),
            reason: self.rng.u8(0..3),
            userdata: self.bytes(20),
            pause: self.rng.bool(),
            meter: self.some(|random| random.rng.u32(1..=Meter::MAX)),
        }
    }

    pub(crate) fn instructions(&mut self, matching: &Match, table: u8) -> Instructions {
        let apply = self.actions(matching);
        if matches!(apply[..], [Action::Conjunction { .. }]) {
            return Instructions::apply(apply);
        }
        let metadata_mask = self.rng.u64(1..);
        Instructions {
            meter: (self.version == Version::V13 && self.chance(3))
                .then(|| self.rng.u32(1..=Meter::MAX)),
            apply,
            clear: self.chance(4),
            write: match self.chance(3) {
                true => vec![self.set_field(matching), self.output()],
                false => Vec::new(),
            },
            metadata: self.some(|random| Metadata {
                value: random.rng.u64(..) & metadata_mask,
                mask: metadata_mask,
            }),
            goto_table: self.some(|random| random.rng.u8(table + 1..=254)),
        }
    }
}
