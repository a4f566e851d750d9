//! SEGMENT ARRIVES (RFC 9293 §3.10.7), with the defences of RFC 5961.

use super::super::buffer::Pool;
use super::super::time::{Instant, MS};
use super::connection::{Ack, Connection, Outcome, Reset};
use super::segment::{Flags, Segment};
use super::{FIN_TIMEOUT, Seq, State};
use crate::Errno;

/// How long an acknowledgment may wait for an answer to carry it; Linux's minimum. RFC 9293 allows 500 ms.
pub(super) const ACK_DELAY: u64 = 40 * MS;
/// Segments without data that are out of place are answered this often at most, so that two confused
/// ends do not answer each other for ever.
const CHALLENGE_INTERVAL: u64 = 100 * MS;

impl Connection {
    /// One segment for this connection.
    pub(crate) fn receive(&mut self, now: Instant, pool: &mut Pool, segment: &Segment) -> Outcome {
        let mut outcome = Outcome::default();
        match self.state {
            State::Closed => outcome.reset = Reset::answering(segment),
            // Our last acknowledgment is about to leave; then this becomes a line in the table.
            State::TimeWait => self.ack = Ack::Now,
            State::SynSent => self.receive_in_syn_sent(now, pool, segment, &mut outcome),
            _ => self.receive_in_window(now, pool, segment, &mut outcome),
        }
        outcome.notify |= self.wake_writer();
        outcome
    }

    /// §3.10.7.3.
    fn receive_in_syn_sent(
        &mut self,
        now: Instant,
        pool: &mut Pool,
        segment: &Segment,
        outcome: &mut Outcome,
    ) {
        let header = &segment.header;
        let acknowledges = header.flags.has(Flags::ACK);
        if acknowledges && !(self.snd.una < header.ack && header.ack <= self.snd.max) {
            outcome.reset = Reset::answering(segment);
            outcome.unacceptable = true;
            return;
        }
        if header.flags.has(Flags::RST) {
            if acknowledges {
                self.fail(pool, Errno::ECONNREFUSED);
                outcome.notify = true;
                outcome.reset_received = true;
            }
            return;
        }
        if !header.flags.has(Flags::SYN) {
            return;
        }
        self.accept_syn(segment);
        if acknowledges {
            self.snd.wl2 = header.ack;
            self.establish(now, header.ack, outcome);
            self.ack = Ack::Now;
        } else {
            // Both sides open at once: our SYN is sent again, with an acknowledgment.
            self.state = State::SynReceived;
            self.snd.nxt = self.snd.una;
        }
    }

    /// The peer acknowledged our SYN.
    fn establish(&mut self, now: Instant, ack: Seq, outcome: &mut Outcome) {
        if let Some((_, sent)) = self.snd.timed.take() {
            self.rtt.sample(now.since(sent));
        }
        self.rtt.end_handshake();
        self.snd.una = ack;
        self.snd.nxt = self.snd.max;
        self.retransmit_at = None;
        self.waiting_since = None;
        self.retries = 0;
        self.state = if self.snd.fin {
            State::FinWait1
        } else {
            State::Established
        };
        self.rearm_keep_alive(now);
        outcome.established = self.passive;
        outcome.notify = true;
    }

    /// §3.10.7.4.
    fn receive_in_window(
        &mut self,
        now: Instant,
        pool: &mut Pool,
        segment: &Segment,
        outcome: &mut Outcome,
    ) {
        let header = &segment.header;
        if header.flags.has(Flags::SYN) {
            return self.receive_late_syn(now, pool, segment, outcome);
        }
        let Some(acceptable) = self.acceptability(segment) else {
            outcome.unacceptable = true;
            if !header.flags.has(Flags::RST) {
                self.challenge(now, segment.len() > 0);
            }
            return;
        };
        if header.flags.has(Flags::RST) {
            return self.receive_reset(now, pool, header.seq, outcome);
        }
        if !header.flags.has(Flags::ACK) {
            outcome.unacceptable = true;
            return;
        }
        if self.state == State::SynReceived {
            if !(self.snd.una < header.ack && header.ack <= self.snd.max) {
                outcome.reset = Reset::answering(segment);
                outcome.unacceptable = true;
                return;
            }
            self.snd.window = usize::from(header.window) << self.snd.scale;
            self.snd.window_max = self.snd.window_max.max(self.snd.window);
            self.establish(now, header.ack, outcome);
        }
        self.rearm_keep_alive(now);
        if !self.acknowledge(now, pool, segment, outcome) || self.state == State::Closed {
            return;
        }
        if segment.len() > 0 {
            match acceptable {
                Acceptable::Data => self.receive_data(now, pool, segment, outcome),
                // A window probe: it wants to know the window.
                Acceptable::AcknowledgmentOnly => self.ack = Ack::Now,
            }
        }
    }

    /// A SYN for a connection that has one already.
    fn receive_late_syn(
        &mut self,
        now: Instant,
        pool: &mut Pool,
        segment: &Segment,
        outcome: &mut Outcome,
    ) {
        let header = &segment.header;
        let same = self.state == State::SynReceived && header.seq.plus(1) == self.rcv.nxt;
        if same && header.flags.has(Flags::ACK) {
            // The other half of a simultaneous open.
            let mut rest = *segment;
            rest.header.seq = header.seq.plus(1);
            rest.header.flags = Flags(header.flags.0 & !Flags::SYN.0);
            self.receive_in_window(now, pool, &rest, outcome);
        } else if same {
            self.snd.nxt = self.snd.una; // our SYN was lost
        } else {
            outcome.unacceptable = true;
            self.challenge(now, false); // RFC 5961 §4
        }
    }

    /// RFC 5961 §3: only the very next sequence number resets.
    fn receive_reset(&mut self, now: Instant, pool: &mut Pool, seq: Seq, outcome: &mut Outcome) {
        if seq != self.rcv.nxt {
            outcome.unacceptable = true;
            self.challenge(now, false);
            return;
        }
        let error = match self.state {
            State::SynReceived if !self.passive => Errno::ECONNREFUSED,
            State::CloseWait => Errno::EPIPE,
            _ => Errno::ECONNRESET,
        };
        self.fail(pool, error);
        outcome.notify = true;
        outcome.reset_received = true;
    }

    /// Acknowledges something out of place, at once if it carried data.
    fn challenge(&mut self, now: Instant, carried_data: bool) {
        let due = self
            .challenged
            .is_none_or(|last| now.since(last) >= CHALLENGE_INTERVAL);
        if carried_data || due {
            self.ack = Ack::Now;
            self.challenged = Some(now);
        }
    }

    /// §3.10.7.4, first check; none if the segment lies outside the window.
    fn acceptability(&self, segment: &Segment) -> Option<Acceptable> {
        let (start, end) = (segment.header.seq, segment.header.seq.plus(segment.len()));
        let (next, edge) = (self.rcv.nxt, self.rcv.edge);
        if start == next && (edge == next && segment.len() > 0 && !segment.payload.is_empty()) {
            return Some(Acceptable::AcknowledgmentOnly);
        }
        let acceptable = if start == end {
            next <= start && (start < edge || start == next)
        } else {
            // A FIN occupies no buffer, so it may lie on the edge itself.
            (start < edge || start == next) && next < end
        };
        acceptable.then_some(Acceptable::Data)
    }

    fn receive_data(
        &mut self,
        now: Instant,
        pool: &mut Pool,
        segment: &Segment,
        outcome: &mut Outcome,
    ) {
        if !self.state.may_receive() {
            return; // §3.10.7.4: the peer sent its FIN before; what follows is ignored
        }
        let before = self.rcv.nxt;
        if !segment.payload.is_empty() {
            if self.orphan {
                // Nobody will read it: RFC 9293 §3.6.1, "half-duplex" close.
                outcome.reset = self.abort(pool);
                return;
            }
            self.store(pool, segment.header.seq, segment.payload, outcome);
        }
        if segment.header.flags.has(Flags::FIN) {
            let fin = segment.header.seq.plus(segment.payload.len());
            if fin <= self.rcv.edge.max(self.rcv.nxt) {
                self.rcv.fin = Some(fin);
            }
        }
        let received = self.rcv.nxt.since(before);
        if self.rcv.fin == Some(self.rcv.nxt) {
            self.receive_fin(outcome);
        } else if received > 0 {
            self.unacknowledged += received;
            self.received_at = Some(now);
            self.schedule_ack(now);
            outcome.notify = true;
        } else {
            self.ack = Ack::Now; // a duplicate or a gap: say what is expected
        }
        self.rcv.edge = self.rcv.edge.max(self.rcv.nxt);
    }

    /// Puts payload that is at least partly in the window into the buffer.
    fn store(&mut self, pool: &mut Pool, seq: Seq, payload: &[u8], outcome: &mut Outcome) {
        let rcv = &mut self.rcv;
        let old = if seq < rcv.nxt {
            rcv.nxt.since(seq).min(payload.len())
        } else {
            0
        };
        let (seq, payload) = (seq.plus(old), &payload[old..]);
        let payload = &payload[..payload.len().min(rcv.edge.since(seq))];
        if payload.is_empty() {
            return;
        }
        if seq == rcv.nxt {
            let stored = if rcv.shut {
                payload.len()
            } else {
                rcv.buffer.append(pool, payload)
            };
            outcome.out_of_memory = stored < payload.len();
            rcv.nxt = rcv.nxt.plus(stored);
            while let Some(end) = rcv.ahead.take_contiguous(rcv.nxt) {
                if rcv.nxt < end {
                    rcv.buffer.advance(end.since(rcv.nxt));
                    rcv.nxt = end;
                }
                self.ack = Ack::Now; // a gap was filled: the peer recovers
            }
        } else if !rcv.shut {
            outcome.out_of_order = true;
            let stored = rcv.buffer.write_ahead(pool, seq.since(rcv.nxt), payload);
            outcome.out_of_memory = stored < payload.len();
            if stored > 0 && rcv.ahead.insert(seq, seq.plus(stored)) {
                rcv.latest = seq;
            }
        }
    }

    /// Acknowledge every second full segment at once (RFC 9293 §3.8.6.3), and everything that is not
    /// part of a dialogue, in which the answer will carry the acknowledgment.
    fn schedule_ack(&mut self, now: Instant) {
        let many = self.unacknowledged >= 2 * usize::from(self.snd.mss);
        if many || !self.interactive || !self.rcv.ahead.is_empty() {
            self.ack = Ack::Now;
        } else if self.ack == Ack::None {
            self.ack = Ack::Delayed(now.after(ACK_DELAY));
        }
    }

    /// The peer's stream ends here.
    fn receive_fin(&mut self, outcome: &mut Outcome) {
        self.rcv.fin = None;
        self.rcv.nxt = self.rcv.nxt.plus(1);
        self.ack = Ack::Now;
        outcome.notify = true;
        match self.state {
            State::Established => self.state = State::CloseWait,
            State::FinWait1 => self.state = State::Closing,
            State::FinWait2 => self.state = State::TimeWait,
            _ => {}
        }
    }

    /// Our FIN is acknowledged.
    pub(super) fn fin_acknowledged(&mut self, now: Instant, pool: &mut Pool) {
        match self.state {
            State::FinWait1 => {
                self.state = State::FinWait2;
                if self.orphan {
                    self.linger_until = Some(now.after(FIN_TIMEOUT));
                }
            }
            State::Closing => self.state = State::TimeWait,
            State::LastAck => self.close(pool),
            _ => {}
        }
    }
}

/// How much of a segment is taken.
enum Acceptable {
    Data,
    /// The window is closed.
    AcknowledgmentOnly,
}
