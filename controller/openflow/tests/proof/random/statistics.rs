//! Random questions and answers.

use std::time::Duration;

use openflow::multipart::{
    BandCounters, BucketCounters, FlowMonitorCommand, FlowMonitorRequest, FlowUpdate, GroupStats,
    MeterStats, PortStats, SwitchDescription, TableStats,
};
use openflow::*;

use super::Random;

impl Random {
    pub(super) fn duration(&mut self) -> Duration {
        Duration::new(self.rng.u32(..).into(), self.rng.u32(0..1_000_000_000))
    }

    pub(super) fn count(&mut self) -> Option<u64> {
        self.some(|random| random.rng.u64(0..u64::MAX))
    }

    pub(super) fn counters(&mut self) -> FlowCounters {
        let v15 = self.version == Version::V15;
        FlowCounters {
            duration: Some(self.duration()),
            idle: if v15 { Some(self.duration()) } else { None },
            flows: None,
            packets: Some(self.rng.u64(0..u64::MAX)),
            bytes: Some(self.rng.u64(0..u64::MAX)),
        }
    }

    pub(super) fn switch_port(&mut self) -> Port {
        let ethernet = Ethernet {
            current: self.rng.u32(0..0x10000),
            advertised: self.rng.u32(0..0x10000),
            supported: self.rng.u32(0..0x10000),
            peer: self.rng.u32(0..0x10000),
            speed_kbps: self.rng.u32(..),
            speed_kbps_max: self.rng.u32(..),
        };
        Port {
            number: self.port(),
            address: self.rng.u64(..).to_be_bytes()[2..]
                .try_into()
                .expect("six bytes"),
            name: self.name(15),
            config: self.pick(&[0, Port::DOWN]),
            state: self.pick(&[0, Port::LINK_DOWN]),
            ethernet: Some(ethernet),
        }
    }

    pub(crate) fn request(&mut self) -> MultipartRequest {
        let v15 = self.version == Version::V15;
        let flows = FlowStatsRequest {
            table: self.rng.u8(..),
            cookie: self.rng.u64(..),
            cookie_mask: self.rng.u64(..),
            matching: self.flow_match(),
            ..FlowStatsRequest::all()
        };
        match self.rng.u8(0..11) {
            0 => MultipartRequest::Desc,
            1 => MultipartRequest::Flow(flows),
            2 => MultipartRequest::Aggregate(flows),
            3 => MultipartRequest::Table,
            4 => MultipartRequest::Port(self.pick(&[PortNumber::ANY, PortNumber(5)])),
            5 => MultipartRequest::Group(self.pick(&[Group::ALL, 5])),
            6 => MultipartRequest::GroupDesc(if v15 { 6 } else { Group::ALL }),
            7 => MultipartRequest::Meter(self.pick(&[Meter::ALL, 5])),
            8 => MultipartRequest::MeterConfig(self.pick(&[Meter::ALL, 5])),
            9 if v15 => MultipartRequest::FlowMonitor(vec![FlowMonitorRequest {
                id: self.rng.u32(..),
                out_port: PortNumber::ANY,
                out_group: FlowMod::ANY_GROUP,
                // Open vSwitch 3.1 refuses NO_ABBREV, and INITIAL without a change to be told.
                flags: self.rng.u16(1..16) << 1 & 0x1e | 2,
                table: self.rng.u8(..),
                command: FlowMonitorCommand::Add,
                matching: self.flow_match(),
            }]),
            _ => MultipartRequest::PortDesc(if v15 { PortNumber(4) } else { PortNumber::ANY }),
        }
    }

    pub(crate) fn reply(&mut self) -> MultipartReply {
        let some = 0..self.rng.usize(1..4);
        let body = match self.rng.u8(0..11) {
            0 => MultipartBody::Desc(Box::new(SwitchDescription {
                manufacturer: self.name(255),
                hardware: self.name(20),
                software: self.name(20),
                serial_number: self.name(31),
                datapath: self.name(20),
            })),
            1 => MultipartBody::Flow(some.map(|_| self.flow_stats()).collect()),
            2 => MultipartBody::Aggregate(FlowCounters {
                flows: Some(self.rng.u32(..)),
                duration: None,
                idle: None,
                ..self.counters()
            }),
            3 => MultipartBody::Table(
                some.map(|table| TableStats {
                    table: table as u8,
                    active: self.rng.u32(..),
                    lookups: self.rng.u64(..),
                    matched: self.rng.u64(..),
                })
                .collect(),
            ),
            4 => MultipartBody::Port(some.map(|_| self.port_stats()).collect()),
            5 => MultipartBody::Group(
                some.map(|_| GroupStats {
                    id: self.rng.u32(0..=Group::MAX),
                    references: self.rng.u32(..),
                    packets: self.count(),
                    bytes: self.count(),
                    duration: self.duration(),
                    buckets: vec![
                        BucketCounters {
                            packets: self.count(),
                            bytes: self.count()
                        };
                        2
                    ],
                })
                .collect(),
            ),
            6 => MultipartBody::GroupDesc(some.map(|_| self.group()).collect()),
            7 => MultipartBody::Meter(
                some.map(|_| MeterStats {
                    id: self.rng.u32(1..=Meter::MAX),
                    references: self.rng.u32(..),
                    packets: self.rng.u64(..),
                    bytes: self.rng.u64(..),
                    duration: self.duration(),
                    bands: vec![
                        BandCounters {
                            packets: 3,
                            bytes: self.rng.u64(..)
                        };
                        2
                    ],
                })
                .collect(),
            ),
            8 => MultipartBody::MeterConfig(some.map(|_| self.meter()).collect()),
            9 if self.version == Version::V15 => {
                MultipartBody::FlowMonitor(some.map(|_| self.flow_update()).collect())
            }
            _ => MultipartBody::PortDesc(some.map(|_| self.switch_port()).collect()),
        };
        let more = !matches!(body, MultipartBody::Desc(_) | MultipartBody::Aggregate(_));
        MultipartReply {
            more: more && self.chance(4),
            body,
        }
    }

    pub(super) fn flow_stats(&mut self) -> FlowStats {
        FlowStats {
            flow: self.flow(),
            counters: self.counters(),
        }
    }

    pub(super) fn port_stats(&mut self) -> PortStats {
        let v13 = self.version == Version::V13;
        PortStats {
            port: self.port(),
            duration: self.duration(),
            packets: [self.count(), self.count()],
            bytes: [self.count(), self.count()],
            dropped: [self.count(), self.count()],
            errors: [self.count(), self.count()],
            ethernet: (v13 || self.rng.bool()).then(|| std::array::from_fn(|_| self.count())),
        }
    }

    pub(super) fn flow_update(&mut self) -> FlowUpdate {
        let flow = self.flow();
        match self.rng.u8(0..4) {
            0 => FlowUpdate::Abbreviated {
                xid: self.rng.u32(..),
            },
            1 => self.pick(&[FlowUpdate::Paused, FlowUpdate::Resumed]),
            _ => FlowUpdate::Full {
                event: self.rng.u16(0..4),
                table: flow.key.table,
                reason: 0,
                idle_timeout: flow.idle_timeout,
                hard_timeout: flow.hard_timeout,
                priority: flow.key.priority,
                cookie: flow.cookie,
                matching: flow.key.matching,
                instructions: flow.instructions,
            },
        }
    }
}
