//! Random groups, meters and messages.

use std::net::Ipv4Addr;

use openflow::*;

use super::Random;

impl Random {
    pub(crate) fn group(&mut self) -> Group {
        use GroupKind::{All, FastFailover, Indirect, Select};
        let kind = self.pick(&[All, Select, Indirect, FastFailover]);
        let count = if kind == Indirect {
            1
        } else {
            self.rng.u32(1..5)
        };
        let mut group = Group {
            id: self.rng.u32(0..=Group::MAX),
            kind,
            buckets: (0..count).map(|id| self.bucket(id, kind)).collect(),
            selection: None,
        };
        if self.version == Version::V15 && kind == Select {
            group.selection = self.some(Random::selection);
        }
        group
    }

    pub(super) fn bucket(&mut self, place: u32, kind: GroupKind) -> Bucket {
        let id = if self.version == Version::V15 {
            place * 7 + 1
        } else {
            place
        };
        let weight = if kind == GroupKind::Select {
            self.rng.u16(1..100)
        } else {
            0
        };
        let actions = vec![self.set_field(&Match::new()), self.output()];
        let mut bucket = Bucket::new(id, weight, actions);
        if kind == GroupKind::FastFailover {
            bucket.watch_port = self.port();
        }
        bucket
    }

    pub(super) fn selection(&mut self) -> Selection {
        if self.chance(3) {
            return Selection::DatapathHash(self.rng.u64(..));
        }
        let fields = [
            Field::Ipv4Src,
            Field::EthType,
            Field::IpProto,
            Field::Ipv4Dst,
        ];
        Selection::hash(self.rng.u64(..), &fields)
    }

    pub(super) fn group_mod(&mut self) -> GroupMod {
        let group = self.group();
        match self.rng.u8(0..7) {
            0 => GroupMod::Modify(group),
            1 => GroupMod::Delete(group.id),
            2 => GroupMod::AddOrModify(group),
            3 if self.version == Version::V15 => GroupMod::InsertBuckets {
                id: group.id,
                kind: group.kind,
                after: self.pick(&[Bucket::FIRST, Bucket::LAST, 3]),
                buckets: group.buckets,
            },
            4 if self.version == Version::V15 => GroupMod::RemoveBucket {
                id: group.id,
                bucket: self.pick(&[Bucket::FIRST, Bucket::LAST, Bucket::ALL, 3]),
            },
            _ => GroupMod::Add(group),
        }
    }

    pub(crate) fn meter(&mut self) -> Meter {
        let count = self.rng.usize(1..4);
        let burst = self.rng.bool();
        let band = |random: &mut Random| Band {
            rate: random.rng.u32(1..),
            burst: if burst { random.rng.u32(1..) } else { 0 },
            action: match random.rng.bool() {
                true => BandAction::Drop,
                false => BandAction::RemarkDscp(random.rng.u8(1..5)),
            },
        };
        Meter {
            id: self.rng.u32(1..=Meter::MAX),
            unit: self.pick(&[MeterUnit::Kbps, MeterUnit::PacketsPerSecond]),
            burst,
            stats: self.rng.bool(),
            bands: (0..count).map(|_| band(self)).collect(),
        }
    }

    pub(super) fn meter_mod(&mut self) -> MeterMod {
        let meter = self.meter();
        match self.rng.u8(0..3) {
            0 => MeterMod::Modify(meter),
            1 => MeterMod::Delete(self.pick(&[Meter::ALL, 5])),
            _ => MeterMod::Add(meter),
        }
    }

    pub(super) fn packet_metadata(&mut self) -> Match {
        let port = self.port();
        let fields = [
            Field::Reg1,
            Field::Metadata,
            Field::TunnelId,
            Field::PktMark,
        ];
        let mut metadata = Match::new().in_port(port);
        for field in fields {
            if self.rng.bool() {
                metadata = metadata.with(field, self.rng.u32(1..));
            }
        }
        metadata
    }

    pub(super) fn packet_in2(&mut self) -> PacketIn2 {
        PacketIn2 {
            packet: self.frame(),
            full_len: None,
            buffer_id: None,
            table: Some(self.rng.u8(..)),
            cookie: Some(self.rng.u64(..)),
            reason: Some(self.rng.u8(0..3)),
            metadata: self.packet_metadata(),
            userdata: self.bytes(9),
            continuation: None,
        }
    }

    pub(super) fn frame(&mut self) -> Vec<u8> {
        let mut frame = vec![0x02; 12];
        frame.extend([0x88, 0xcc]);
        frame.extend(self.bytes(60));
        frame
    }

    pub(super) fn tuple(&mut self) -> ConntrackTuple {
        let v4 = |address: u32| Ipv4Addr::from(address).to_ipv6_mapped();
        ConntrackTuple {
            source: Some(v4(self.rng.u32(1..))),
            destination: Some(v4(self.rng.u32(1..))),
            source_port: self.some(|random| random.rng.u16(1..)),
            destination_port: self.some(|random| random.rng.u16(1..)),
            ..ConntrackTuple::default()
        }
    }

    pub(super) fn reasons(&mut self) -> Option<Reasons> {
        Some(Reasons {
            master: self.rng.u32(0..8),
            slave: self.rng.u32(0..8),
        })
    }

    pub(super) fn in_bundle(&mut self) -> BundleAdd {
        let message = match self.rng.bool() {
            true => Message::FlowMod(self.flow_mod()),
            false => Message::GroupMod(self.group_mod()),
        };
        let flags = BundleFlags::ATOMIC_ORDERED;
        BundleAdd {
            id: self.rng.u32(..),
            flags,
            message: Box::new(message),
        }
    }

    pub(crate) fn message(&mut self) -> Message {
        let v15 = self.version == Version::V15;
        let frame = self.frame();
        match self.rng.u8(0..40) {
            0 => Message::Hello(Hello::ours()),
            1 => Message::Error(ErrorMessage {
                kind: 5,
                code: self.rng.u16(0..8),
                experimenter: None,
                data: Message::BarrierRequest
                    .emit(Header {
                        version: self.version,
                        xid: u32::MAX,
                    })
                    .expect("it has nothing that could not fit"),
            }),
            2 => Message::EchoRequest(self.bytes(100)),
            3 => Message::EchoReply(self.bytes(100)),
            4 => Message::FeaturesRequest,
            5 => Message::FeaturesReply(Features {
                datapath_id: self.rng.u64(..),
                buffers: self.rng.u32(..),
                tables: self.rng.u8(..),
                auxiliary_id: self.rng.u8(..),
                capabilities: 0x4f,
            }),
            6 => Message::SetConfig(SwitchConfig {
                flags: 0,
                miss_send_len: self.rng.u16(..),
            }),
            7 => Message::PacketIn(PacketIn {
                buffer_id: NO_PACKET,
                total_len: frame.len() as u16,
                reason: self.rng.u8(0..3),
                table: self.rng.u8(..),
                cookie: self.rng.u64(..),
                metadata: self.packet_metadata(),
                data: frame,
            }),
            8 => Message::FlowRemoved(FlowRemoved {
                key: self.flow().key,
                cookie: self.rng.u64(..),
                reason: self.rng.u8(0..3),
                idle_timeout: self.rng.u16(..),
                hard_timeout: self.rng.u16(..),
                counters: FlowCounters {
                    idle: None,
                    ..self.counters()
                },
            }),
            9 => Message::PortStatus(PortStatus {
                change: self.pick(&[PortChange::Added, PortChange::Deleted, PortChange::Modified]),
                port: self.switch_port(),
            }),
            10 => {
                let actions = vec![
                    self.set_field(&Match::new()),
                    Action::output(PortNumber::TABLE),
                ];
                let port = self.pick(&[PortNumber::CONTROLLER, PortNumber(3)]);
                Message::PacketOut(PacketOut::new(port, actions, self.frame()))
            }
            11..=18 => Message::FlowMod(self.flow_mod()),
            19 => Message::BarrierRequest,
            20 => Message::RoleRequest(RoleMessage {
                role: self.pick(&[Role::NoChange, Role::Equal, Role::Master, Role::Slave]),
                generation: self.rng.u64(..),
            }),
            21 => Message::SetAsync(AsyncConfig {
                packet_in: self.reasons(),
                port_status: self.reasons(),
                flow_removed: self.reasons(),
                role_status: if v15 { self.reasons() } else { None },
                ..AsyncConfig::default()
            }),
            22 => Message::MeterMod(self.meter_mod()),
            23 => Message::BundleControl(BundleControl {
                id: self.rng.u32(..),
                step: self.pick(&[BundleStep::OpenRequest, BundleStep::CommitReply]),
                flags: BundleFlags::ATOMIC_ORDERED,
            }),
            24 | 25 => Message::BundleAdd(self.in_bundle()),
            26 => Message::SetPacketInFormat(2),
            27 => Message::SetControllerId(self.rng.u16(..)),
            28 => Message::PacketIn2(self.packet_in2()),
            29 => Message::ConntrackFlushZone(self.rng.u16(..)),
            30 => Message::ConntrackFlush(ConntrackFlush {
                protocol: 6,
                zone: self.some(|random| random.rng.u16(1..)),
                original: self.tuple(),
                reply: self.tuple(),
                mark: None,
                label: None,
            }),
            31 => Message::GroupMod(self.group_mod()),
            32..=34 => Message::MultipartRequest(self.request()),
            _ => Message::MultipartReply(self.reply()),
        }
    }
}
