//! IPv4 fragments (RFC 791 §3.2, RFC 815), bounded in number, size and time.
//!
//! Overlaps are refused as a whole (RFC 5722 does so for IPv6): honest senders make none.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::counters::DropReason;
use super::packet::Ip;
use super::time::{Instant, SECOND};

/// Most packets being put together.
const PACKETS_MAX: usize = 16;
/// Most fragments of one.
const FRAGMENTS_MAX: usize = 64;
/// The largest IPv4 payload.
const PAYLOAD_MAX: usize = 65_515;
/// Linux's `ipfrag_time`.
const PATIENCE: u64 = 30 * SECOND;

#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    src: IpAddr,
    dst: IpAddr,
    protocol: u8,
    id: u16,
}

struct Partial {
    key: Key,
    expires: Instant,
    payload: Vec<u8>,
    /// What is there: `[start, end)`, ascending.
    have: Vec<(usize, usize)>,
    /// Known once the last fragment came.
    total: Option<usize>,
}

/// All packets being put together, the oldest first.
#[derive(Default)]
pub(crate) struct Reassembly {
    packets: VecDeque<Partial>,
}

impl Reassembly {
    /// Takes a fragment; the whole payload once it was the last that lacked.
    pub(crate) fn add(&mut self, now: Instant, ip: &Ip) -> Result<Option<Vec<u8>>, DropReason> {
        let Some(fragment) = ip.fragment else {
            return Err(DropReason::Fragment);
        };
        self.expire(now);
        let key = Key {
            src: ip.src,
            dst: ip.dst,
            protocol: ip.protocol,
            id: fragment.id,
        };
        let index = match self.packets.iter().position(|packet| packet.key == key) {
            Some(index) => index,
            None => {
                if self.packets.len() >= PACKETS_MAX {
                    self.packets.pop_front(); // the oldest is the least likely to be completed
                }
                let expires = now.after(PATIENCE);
                self.packets.push_back(Partial {
                    key,
                    expires,
                    payload: Vec::new(),
                    have: Vec::new(),
                    total: None,
                });
                self.packets.len() - 1
            }
        };
        let added = self.packets[index].add(fragment.offset, fragment.more, ip.payload);
        let done = match added {
            Ok(done) => done,
            Err(reason) => {
                self.packets.remove(index);
                return Err(reason);
            }
        };
        if !done {
            return Ok(None);
        }
        Ok(self.packets.remove(index).map(|packet| packet.payload))
    }

    fn expire(&mut self, now: Instant) {
        while self
            .packets
            .front()
            .is_some_and(|packet| packet.expires <= now)
        {
            self.packets.pop_front();
        }
    }
}

impl Partial {
    fn add(&mut self, offset: usize, more: bool, data: &[u8]) -> Result<bool, DropReason> {
        let end = offset + data.len();
        let uneven = more && !data.len().is_multiple_of(8);
        let beyond = self
            .total
            .is_some_and(|total| end > total || (!more && end != total));
        if end > PAYLOAD_MAX
            || data.is_empty()
            || uneven
            || beyond
            || self.have.len() >= FRAGMENTS_MAX
        {
            return Err(DropReason::Fragment);
        }
        let at = self.have.partition_point(|&(start, _)| start < offset);
        let touches_before = at > 0 && self.have[at - 1].1 > offset;
        let touches_after = self.have.get(at).is_some_and(|&(start, _)| start < end);
        if touches_before || touches_after {
            return Err(DropReason::Fragment);
        }
        if !more {
            if self.have.last().is_some_and(|&(_, last)| last > end) {
                return Err(DropReason::Fragment);
            }
            self.total = Some(end);
        }
        if self.payload.len() < end {
            self.payload.resize(end, 0);
        }
        self.payload[offset..end].copy_from_slice(data);
        self.have.insert(at, (offset, end));
        let mut next = 0;
        let contiguous = self
            .have
            .iter()
            .all(|&(start, end)| core::mem::replace(&mut next, end) == start);
        Ok(contiguous && self.total == Some(next))
    }
}

#[cfg(test)]
mod tests {
    use super::super::packet::Fragment;
    use super::*;

    fn check(order: &[(usize, bool, &[u8])]) -> Option<Vec<u8>> {
        let mut reassembly = Reassembly::default();
        let mut whole = None;
        for &(offset, more, payload) in order {
            let ip = Ip {
                src: [10, 0, 0, 1].into(),
                dst: [10, 0, 0, 2].into(),
                protocol: 17,
                hop_limit: 64,
                payload,
                fragment: Some(Fragment {
                    id: 1,
                    offset,
                    more,
                }),
                packet: &[],
            };
            whole = reassembly.add(Instant(0), &ip).ok().flatten();
        }
        whole
    }

    #[test]
    fn any_order_gives_the_whole_and_overlaps_nothing() {
        let (a, b, c): (&[u8], &[u8], &[u8]) = (b"01234567", b"89abcdef", b"gh");
        let whole = b"0123456789abcdefgh".to_vec();
        assert_eq!(
            check(&[(0, true, a), (8, true, b), (16, false, c)]),
            Some(whole.clone())
        );
        assert_eq!(
            check(&[(16, false, c), (0, true, a), (8, true, b)]),
            Some(whole)
        );
        assert_eq!(
            check(&[(0, true, a), (0, true, a), (8, true, b), (16, false, c)]),
            None
        );
        assert_eq!(check(&[(16, false, c), (8, true, b), (24, true, a)]), None);
        assert_eq!(check(&[(0, true, b"odd")]), None);
    }
}
