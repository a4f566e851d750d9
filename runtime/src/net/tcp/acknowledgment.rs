//! What an acknowledgment means to the sender: progress, selective acknowledgements (RFC 2018), the
//! peer's window, and the loss of segments (RFC 6675; NewReno, RFC 6582, for peers without SACK).

use super::super::buffer::Pool;
use super::super::time::{Instant, MS};
use super::connection::{Ack, Again, Connection, Outcome, Recovery};
use super::input::ACK_DELAY;
use super::segment::Segment;
use super::{DATA_RETRIES, Seq};

/// RFC 6675: this many segments reported beyond a gap mean that the gap is lost.
const DUPLICATES: usize = 3;

impl Connection {
    /// Takes the acknowledgment of an acceptable segment. False if the segment is to be dropped.
    pub(super) fn acknowledge(
        &mut self,
        now: Instant,
        pool: &mut Pool,
        segment: &Segment,
        outcome: &mut Outcome,
    ) -> bool {
        let header = &segment.header;
        if self.snd.max < header.ack {
            self.ack = Ack::Now;
            outcome.unacceptable = true;
            return false;
        }
        if header.ack < self.snd.una {
            return true; // old, but its data may be new
        }
        let window = usize::from(header.window) << self.snd.scale;
        let news = self.take_sacks(segment);
        if self.snd.una < header.ack {
            self.advance(now, pool, header.ack);
        } else if self.snd.una < self.snd.max
            && segment.len() == 0
            && (window == self.snd.window || news)
        {
            self.snd.duplicate_acks = self.snd.duplicate_acks.saturating_add(1);
        }
        self.update_peer_window(segment, window);
        self.detect_loss();
        self.arm_suspicion(now);
        true
    }

    /// Notes what the peer has beyond `una`; whether that is news.
    fn take_sacks(&mut self, segment: &Segment) -> bool {
        let (una, max) = (self.snd.una.max(segment.header.ack), self.snd.max);
        let before = self.snd.sacked.count(una, max);
        for &(start, end) in segment.header.sack.as_slice() {
            // Blocks below `una` report duplicates (RFC 2883); anything else is nonsense.
            if start < end && una < end && end <= max {
                self.snd.sacked.insert(start.max(una), end);
            }
        }
        self.snd.sacked.count(una, max) > before
    }

    /// Everything before `ack` has arrived.
    fn advance(&mut self, now: Instant, pool: &mut Pool, ack: Seq) {
        let snd = &mut self.snd;
        let in_flight = snd.nxt.since(snd.una);
        let acked = ack.since(snd.una);
        let data = acked.min(snd.buffer.len());
        snd.buffer.consume(pool, data);
        snd.una = ack;
        snd.nxt = snd.nxt.max(ack);
        snd.sacked.remove_below(ack);
        snd.duplicate_acks = 0;
        snd.tail_probed = false;
        snd.again = None;
        snd.suspect_at = None;
        self.retries = 0;
        self.soft_error = None;
        if let Some((end, sent)) = snd.timed
            && end <= ack
        {
            snd.timed = None;
            self.rtt.sample(now.since(sent));
        }
        self.advance_recovery(now, acked, in_flight);
        let outstanding = self.snd.una < self.snd.max;
        self.retransmit_at = outstanding.then(|| now.after(self.rtt.timeout()));
        self.waiting_since = outstanding.then_some(now);
        if acked > data {
            self.fin_acknowledged(now, pool);
        }
    }

    fn advance_recovery(&mut self, now: Instant, acked: usize, in_flight: usize) {
        let (una, max, mss) = (self.snd.una, self.snd.max, usize::from(self.snd.mss));
        match &mut self.snd.recovery {
            Some(recovery) if recovery.end <= una => self.snd.recovery = None,
            Some(recovery) => {
                recovery.next = recovery.next.max(una);
                recovery.head_sent_at = max;
                recovery.head_tries = 0;
                if recovery.after_timeout {
                    self.cubic
                        .on_ack(now, acked, self.rtt.smoothed().unwrap_or(0));
                }
                if !self.snd.sack_permitted {
                    // RFC 6582 §3.2: a partial acknowledgment means that the next segment is lost too.
                    recovery.next = una;
                    recovery.limit = una.plus(mss).min(recovery.end);
                    recovery.forced = true;
                }
            }
            // RFC 9438 §4.2.3 and RFC 2861: a window that is not used proves nothing about the path.
            None if 2 * in_flight >= self.cubic.window() => {
                let rtt = self.rtt.smoothed().unwrap_or(0);
                self.cubic.on_ack(now, acked, rtt);
            }
            None => {}
        }
    }

    /// RFC 9293 §3.10.7.4: only newer segments update the window.
    fn update_peer_window(&mut self, segment: &Segment, window: usize) {
        let (seq, ack) = (segment.header.seq, segment.header.ack);
        if self.snd.wl1 < seq || (self.snd.wl1 == seq && self.snd.wl2 <= ack) {
            self.snd.window = window;
            self.snd.window_max = self.snd.window_max.max(window);
            self.snd.wl1 = seq;
            self.snd.wl2 = ack;
            let nothing_outstanding = self.snd.una == self.snd.max;
            if nothing_outstanding {
                // If this was the answer to a window probe, the persist timer ends, or begins anew with
                // the peer known to be alive.
                self.waiting_since = None;
                self.retries = self.retries.min(DATA_RETRIES / 2);
                if window > 0 {
                    self.retries = 0;
                    if self.retransmit_at.take().is_some() {
                        self.rtt.end_back_off();
                    }
                }
            }
        }
    }

    fn detect_loss(&mut self) {
        let (una, max) = (self.snd.una, self.snd.max);
        let beyond = DUPLICATES * usize::from(self.snd.mss);
        if una == max || !self.state.is_synchronized() {
            return;
        }
        if let Some(recovery) = &mut self.snd.recovery {
            if let Some(reported) = self.snd.sacked.end() {
                recovery.limit = recovery.limit.max(reported.min(recovery.end));
                if una < recovery.next && recovery.head_sent_at.plus(beyond) <= reported {
                    recovery.head_sent_at = max;
                    self.snd.again = Some(Again::Head);
                }
            }
            return;
        }
        let duplicates = usize::from(self.snd.duplicate_acks);
        if duplicates >= DUPLICATES || self.snd.sacked.count(una, max) >= beyond {
            self.begin_recovery();
        }
    }

    /// What the peer lacks before the last byte that it reported is lost.
    fn begin_recovery(&mut self) {
        let (una, max) = (self.snd.una, self.snd.max);
        let head = una.plus(usize::from(self.snd.mss)).min(max);
        let limit = self.snd.sacked.end().map_or(head, |end| end.max(head));
        self.snd.recovery = Some(Recovery::new(una, limit, max, false));
        self.snd.timed = None;
        self.cubic.on_loss();
    }

    /// When to become suspicious if nothing more is heard (RFC 8985, without its record of every
    /// segment): of a gap that the peer reported, after what reordering explains; of a retransmission
    /// and of the end of what was sent, after a round trip and a half or two.
    pub(super) fn arm_suspicion(&mut self, now: Instant) {
        let snd = &mut self.snd;
        let Some(rtt) = self.rtt.smoothed().filter(|_| snd.una < snd.max) else {
            snd.suspect_at = None;
            return;
        };
        let patience = self.rtt.patience();
        let wait = match &snd.recovery {
            Some(recovery) if recovery.next == snd.una => return, // not even sent again yet
            Some(recovery) => patience << recovery.head_tries.min(10),
            None if !snd.sacked.is_empty() => rtt / 4 + MS,
            None if snd.tail_probed => {
                snd.suspect_at = None;
                return;
            }
            // The peer may hold back the acknowledgment of a single segment.
            None if snd.max.since(snd.una) <= usize::from(snd.mss) => patience + ACK_DELAY,
            None => patience,
        };
        let at = now.after(wait);
        if snd.suspect_at.is_none_or(|set| at < set) {
            snd.suspect_at = Some(at);
        }
    }

    /// Nothing was heard for too long.
    pub(super) fn on_suspicion(&mut self, now: Instant) {
        self.snd.suspect_at = None;
        if self.snd.una == self.snd.max || !self.state.is_synchronized() {
            return;
        }
        if let Some(recovery) = &mut self.snd.recovery {
            recovery.head_tries = recovery.head_tries.saturating_add(1);
            recovery.head_sent_at = self.snd.max;
            self.snd.again = Some(Again::Head);
        } else if !self.snd.sacked.is_empty() {
            self.begin_recovery();
        } else if !self.snd.tail_probed {
            self.snd.tail_probed = true;
            self.snd.again = Some(Again::Tail);
        }
        self.arm_suspicion(now);
    }

    /// Bytes thought to be on the way (RFC 6675 §4, SetPipe, with everything below the highest
    /// selective acknowledgement taken for lost).
    pub(super) fn in_flight(&self) -> usize {
        let snd = &self.snd;
        let mut flight = snd.nxt.since(snd.una) - snd.sacked.count(snd.una, snd.nxt);
        if let Some(recovery) = &snd.recovery {
            let next = recovery.next.max(snd.una);
            if next < recovery.limit {
                flight = flight.saturating_sub(
                    recovery.limit.since(next) - snd.sacked.count(next, recovery.limit),
                );
            }
        }
        if !snd.sack_permitted {
            flight = flight.saturating_sub(usize::from(snd.duplicate_acks) * usize::from(snd.mss));
        }
        flight
    }
}
