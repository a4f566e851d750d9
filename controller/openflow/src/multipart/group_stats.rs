//! OFPMP_GROUP (6): what the groups counted. 1.5.1 section 7.3.5.9.

use std::time::Duration;

use crate::stats::{count, counted, emit_duration, parse_duration};
use crate::wire::{Emitted, Parsed, Reader, Writer};

/// What a group counted; None for what is not counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GroupStats {
    /// The group.
    pub id: u32,
    /// How many flows and groups use it.
    pub references: u32,
    /// Packets.
    pub packets: Option<u64>,
    /// Bytes.
    pub bytes: Option<u64>,
    /// How long it has been there.
    pub duration: Duration,
    /// What its buckets counted, in their order.
    pub buckets: Vec<BucketCounters>,
}

/// What a bucket counted; None for what is not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BucketCounters {
    /// Packets.
    pub packets: Option<u64>,
    /// Bytes.
    pub bytes: Option<u64>,
}

impl GroupStats {
    pub(super) fn parse(from: &mut Reader<'_>) -> Parsed<GroupStats> {
        let mut body = from.sized("group's counters", 0, 40)?;
        body.pad("group's length", 4)?;
        let id = body.u32("group")?;
        let references = body.u32("group's references")?;
        body.pad("group's padding", 4)?;
        let packets = counted(body.u64("packets")?);
        let bytes = counted(body.u64("bytes")?);
        let duration = parse_duration(&mut body)?;
        let mut buckets = Vec::new();
        while !body.is_empty() {
            let packets = counted(body.u64("bucket's packets")?);
            buckets.push(BucketCounters {
                packets,
                bytes: counted(body.u64("bucket's bytes")?),
            });
        }
        Ok(GroupStats {
            id,
            references,
            packets,
            bytes,
            duration,
            buckets,
        })
    }

    pub(super) fn emit(&self, to: &mut Writer) -> Emitted {
        let start = to.len();
        to.zeros(4);
        to.u32(self.id);
        to.u32(self.references);
        to.zeros(4);
        to.u64(count(self.packets));
        to.u64(count(self.bytes));
        emit_duration(to, self.duration);
        for bucket in &self.buckets {
            to.u64(count(bucket.packets));
            to.u64(count(bucket.bytes));
        }
        to.set_length("group's counters", start, start)
    }
}
