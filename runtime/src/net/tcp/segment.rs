//! TCP segments on the wire (RFC 9293 §3.1; options: RFC 6691, RFC 7323 §2, RFC 2018).

use super::super::counters::DropReason;
use super::super::packet::{u16_at, u32_at};
use super::seq::Seq;

/// Length of a header without options.
pub(crate) const HEADER_LEN: usize = 20;
/// Where the checksum lies in the header.
pub(crate) const CHECKSUM_AT: usize = 16;
/// SACK blocks that fit beside no other option.
const SACK_BLOCKS: usize = 4;
/// SACK blocks that are sent: as many as Linux sends beside timestamps, so that middleboxes know it.
const SACK_BLOCKS_SENT: usize = 3;

/// The control bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Flags(pub(crate) u8);

impl Flags {
    pub(crate) const FIN: Flags = Flags(0x01);
    pub(crate) const SYN: Flags = Flags(0x02);
    pub(crate) const RST: Flags = Flags(0x04);
    pub(crate) const PSH: Flags = Flags(0x08);
    pub(crate) const ACK: Flags = Flags(0x10);

    pub(crate) const fn has(self, flag: Flags) -> bool {
        self.0 & flag.0 != 0
    }

    pub(crate) const fn with(self, flag: Flags) -> Flags {
        Flags(self.0 | flag.0)
    }
}

/// What a SYN says of its sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct SynOptions {
    pub(crate) mss: Option<u16>,
    pub(crate) window_scale: Option<u8>,
    pub(crate) sack_permitted: bool,
}

/// Selective acknowledgements: `[start, end)` each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct SackBlocks {
    blocks: [(Seq, Seq); SACK_BLOCKS],
    count: u8,
}

impl SackBlocks {
    /// Adds a block; false when full.
    pub(crate) fn push(&mut self, start: Seq, end: Seq) -> bool {
        let room = usize::from(self.count) < SACK_BLOCKS_SENT;
        if room {
            self.blocks[usize::from(self.count)] = (start, end);
            self.count += 1;
        }
        room
    }

    pub(crate) fn as_slice(&self) -> &[(Seq, Seq)] {
        &self.blocks[..usize::from(self.count)]
    }

    fn parse(data: &[u8]) -> SackBlocks {
        let mut sack = SackBlocks::default();
        for block in data.chunks_exact(8).take(SACK_BLOCKS) {
            let (start, end) = (u32_at(block, 0).unwrap_or(0), u32_at(block, 4).unwrap_or(0));
            sack.blocks[usize::from(sack.count)] = (Seq(start), Seq(end));
            sack.count += 1;
        }
        sack
    }
}

/// A segment's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Header {
    pub(crate) src_port: u16,
    pub(crate) dst_port: u16,
    pub(crate) seq: Seq,
    pub(crate) ack: Seq,
    pub(crate) flags: Flags,
    /// As in the header: not scaled.
    pub(crate) window: u16,
    /// Meaningful with SYN only.
    pub(crate) syn: SynOptions,
    pub(crate) sack: SackBlocks,
}

/// A received segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment<'a> {
    pub(crate) header: Header,
    pub(crate) payload: &'a [u8],
}

impl<'a> Segment<'a> {
    /// Parses what lies behind the IP header; the checksum is somebody else's business.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Segment<'a>, DropReason> {
        let fixed = bytes.get(..HEADER_LEN).ok_or(DropReason::Truncated)?;
        let header_len = usize::from(fixed[12] >> 4) * 4;
        if header_len < HEADER_LEN {
            return Err(DropReason::BadHeader);
        }
        let options = bytes
            .get(HEADER_LEN..header_len)
            .ok_or(DropReason::Truncated)?;
        let mut header = Header {
            src_port: u16::from_be_bytes([fixed[0], fixed[1]]),
            dst_port: u16::from_be_bytes([fixed[2], fixed[3]]),
            seq: Seq(u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]])),
            ack: Seq(u32::from_be_bytes([
                fixed[8], fixed[9], fixed[10], fixed[11],
            ])),
            flags: Flags(fixed[13]),
            window: u16::from_be_bytes([fixed[14], fixed[15]]),
            ..Header::default()
        };
        header.parse_options(options);
        let nonsense =
            header.flags.has(Flags::SYN) && header.flags.has(Flags::FIN.with(Flags::RST));
        if nonsense || header.src_port == 0 || header.dst_port == 0 {
            return Err(DropReason::BadHeader);
        }
        Ok(Segment {
            header,
            payload: &bytes[header_len..],
        })
    }

    /// Sequence numbers it occupies.
    pub(crate) fn len(&self) -> usize {
        let control = usize::from(self.header.flags.has(Flags::SYN))
            + usize::from(self.header.flags.has(Flags::FIN));
        self.payload.len() + control
    }
}

impl Header {
    /// Options that are unknown or malformed are ignored, as RFC 9293 §3.2 wants.
    fn parse_options(&mut self, mut options: &[u8]) {
        while let Some((&kind, rest)) = options.split_first() {
            match kind {
                0 => return,
                1 => {
                    options = rest;
                    continue;
                }
                _ => {}
            }
            let Some(&len) = rest.first() else { return };
            if len < 2 {
                return;
            }
            let Some(data) = options.get(2..usize::from(len)) else {
                return;
            };
            match (kind, data) {
                (2, [_, _]) => self.syn.mss = u16_at(data, 0),
                // RFC 7323 §2.3: larger shifts are taken as 14.
                (3, &[shift]) => self.syn.window_scale = Some(shift.min(14)),
                (4, []) => self.syn.sack_permitted = true,
                (5, blocks) => self.sack = SackBlocks::parse(blocks),
                _ => {}
            }
            options = &options[usize::from(len)..];
        }
    }

    /// Length of this header with its options.
    pub(crate) fn len(&self) -> usize {
        let sack = usize::from(self.sack.count);
        let sack_len = if sack > 0 { 4 + 8 * sack } else { 0 };
        let syn_len = if self.flags.has(Flags::SYN) {
            4 + usize::from(self.syn.sack_permitted) * 4
                + usize::from(self.syn.window_scale.is_some()) * 4
        } else {
            0
        };
        HEADER_LEN + sack_len + syn_len
    }

    /// Writes the header to the start of `out`, the checksum as zero.
    pub(crate) fn emit(&self, out: &mut [u8]) {
        let len = self.len();
        let (fixed, options) = out[..len].split_at_mut(HEADER_LEN);
        fixed[0..2].copy_from_slice(&self.src_port.to_be_bytes());
        fixed[2..4].copy_from_slice(&self.dst_port.to_be_bytes());
        fixed[4..8].copy_from_slice(&self.seq.0.to_be_bytes());
        fixed[8..12].copy_from_slice(&self.ack.0.to_be_bytes());
        fixed[12] = ((len / 4) as u8) << 4;
        fixed[13] = self.flags.0;
        fixed[14..16].copy_from_slice(&self.window.to_be_bytes());
        fixed[16..20].fill(0);
        if self.flags.has(Flags::SYN) {
            self.emit_syn_options(options);
        } else if self.sack.count > 0 {
            options[..4].copy_from_slice(&[1, 1, 5, 2 + 8 * self.sack.count]);
            for (out, (start, end)) in options[4..].chunks_exact_mut(8).zip(self.sack.as_slice()) {
                out[..4].copy_from_slice(&start.0.to_be_bytes());
                out[4..].copy_from_slice(&end.0.to_be_bytes());
            }
        }
    }

    fn emit_syn_options(&self, mut out: &mut [u8]) {
        let mut put = |four: [u8; 4]| {
            let (now, later) = core::mem::take(&mut out).split_at_mut(4);
            now.copy_from_slice(&four);
            out = later;
        };
        let mss = self.syn.mss.unwrap_or(536).to_be_bytes();
        put([2, 4, mss[0], mss[1]]);
        if self.syn.sack_permitted {
            put([1, 1, 4, 2]);
        }
        if let Some(shift) = self.syn.window_scale {
            put([1, 3, 3, shift]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testing::Random;

    #[test]
    fn what_is_emitted_parses_to_the_same() {
        let mut syn = Header {
            src_port: 1,
            dst_port: 2,
            seq: Seq(3),
            flags: Flags::SYN,
            window: 4,
            ..Header::default()
        };
        syn.syn = SynOptions {
            mss: Some(1460),
            window_scale: Some(7),
            sack_permitted: true,
        };
        let mut ack = Header {
            flags: Flags::ACK,
            ack: Seq(9),
            syn: SynOptions::default(),
            ..syn
        };
        ack.sack.push(Seq(10), Seq(20));
        ack.sack.push(Seq(30), Seq(40));
        for header in [syn, ack] {
            let mut bytes = vec![0xaa; header.len() + 3];
            header.emit(&mut bytes);
            let parsed = Segment::parse(&bytes).unwrap();
            assert_eq!((parsed.header, parsed.payload.len()), (header, 3));
        }
    }

    /// A SYN of Linux 6.1, captured.
    #[test]
    fn parses_the_syn_of_linux() {
        let bytes = [
            0xd6, 0x1e, 0x00, 0x50, 0x1b, 0x6e, 0x41, 0x7c, 0, 0, 0, 0, 0xa0, 0x02, 0xfa, 0xf0,
            0xfe, 0x30, 0, 0, 2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0x9c, 0x27, 0x12, 0x5e, 0, 0, 0, 0, 1,
            3, 3, 7,
        ];
        let segment = Segment::parse(&bytes).unwrap();
        let expected = SynOptions {
            mss: Some(1460),
            window_scale: Some(7),
            sack_permitted: true,
        };
        assert_eq!((segment.header.syn, segment.len()), (expected, 1));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut random = Random::seeded("segment");
        for _ in 0..100_000 {
            let bytes: Vec<u8> = (0..random.below(80))
                .map(|_| random.below(256) as u8)
                .collect();
            let _ = Segment::parse(&bytes);
        }
    }
}
