//! What to send next: data, retransmissions, acknowledgments, probes.

use super::super::buffer::Pool;
use super::super::time::Instant;
use super::connection::{Ack, Again, Connection};
use super::input::ACK_DELAY;
use super::segment::{Flags, Header, SackBlocks, SynOptions};
use super::{Seq, State};

/// A segment to be sent: its header, and which bytes of the send buffer it carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Plan {
    pub(crate) header: Header,
    /// First payload byte, counted from the start of the send buffer.
    pub(crate) offset: usize,
    /// Payload bytes: more than one packet's worth if the device cuts them.
    pub(crate) len: usize,
    /// Payload bytes per packet.
    pub(crate) packet_len: usize,
    pub(crate) purpose: Purpose,
}

/// Why a segment is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// It moves `nxt`: a SYN, new data, a FIN.
    Next,
    /// It fills the next gap in recovery.
    Gap,
    /// It is sent again on suspicion.
    Again,
    /// It asks for an acknowledgment.
    Probe,
    /// It only acknowledges.
    Acknowledgment,
}

impl Connection {
    /// The next segment, if one is to be sent now. `payload_max` bounds what the device takes at once.
    pub(crate) fn plan(&mut self, now: Instant, pool: &Pool, payload_max: usize) -> Option<Plan> {
        match self.state {
            State::Closed => return None,
            State::SynSent | State::SynReceived => return self.plan_syn(pool),
            _ => {}
        }
        let header = self.header(pool);
        let packet_len = usize::from(self.snd.mss) - (header.len() - super::segment::HEADER_LEN);
        let payload_max = payload_max.max(packet_len);
        self.forget_idle_path(now);
        let again = self
            .next_again(packet_len)
            .map(|(start, len)| (start, len, Purpose::Again));
        let gap = || {
            self.next_gap(payload_max)
                .map(|(start, len)| (start, len, Purpose::Gap))
        };
        let new = || {
            let new = self.next_new(packet_len, payload_max);
            new.map(|(start, len)| (start, len, Purpose::Next))
        };
        let span = again.or_else(gap).or_else(new);
        if let Some((start, span_len, purpose)) = span {
            return Some(self.data_plan(header, start, span_len, packet_len, purpose));
        }
        let (seq, purpose) = if self.probe {
            (self.snd.una.minus(1), Purpose::Probe)
        } else if self.ack == Ack::Now {
            (self.snd.nxt, Purpose::Acknowledgment)
        } else {
            self.arm_persist(now);
            return None;
        };
        Some(Plan {
            header: Header { seq, ..header },
            offset: 0,
            len: 0,
            packet_len,
            purpose,
        })
    }

    fn plan_syn(&self, pool: &Pool) -> Option<Plan> {
        if self.snd.nxt != self.snd.una {
            return None;
        }
        let active = self.state == State::SynSent;
        let mut header = self.header(pool);
        header.seq = self.snd.una;
        header.flags = if active {
            Flags::SYN
        } else {
            Flags::SYN.with(Flags::ACK)
        };
        header.ack = if active { Seq(0) } else { header.ack };
        header.window = u16::try_from(self.window_size(pool)).unwrap_or(u16::MAX);
        header.sack = SackBlocks::default();
        header.syn = SynOptions {
            mss: Some(self.snd.mss),
            window_scale: (active || self.rcv.scale > 0).then_some(self.rcv.scale),
            sack_permitted: active || self.snd.sack_permitted,
        };
        Some(Plan {
            header,
            offset: 0,
            len: 0,
            packet_len: 0,
            purpose: Purpose::Next,
        })
    }

    /// What every segment after the handshake says.
    fn header(&self, pool: &Pool) -> Header {
        Header {
            src_port: self.tuple.local.port(),
            dst_port: self.tuple.remote.port(),
            seq: self.snd.nxt,
            ack: self.rcv.nxt,
            flags: Flags::ACK,
            window: self.window_field(pool),
            syn: SynOptions::default(),
            sack: self.sack_blocks(),
        }
    }

    /// RFC 2018 §4: the block with the latest segment first.
    fn sack_blocks(&self) -> SackBlocks {
        let mut blocks = SackBlocks::default();
        if self.rcv.ahead.is_empty() || !self.snd.sack_permitted {
            return blocks;
        }
        let has_latest =
            |&(start, end): &(Seq, Seq)| start <= self.rcv.latest && self.rcv.latest < end;
        let first = self.rcv.ahead.iter().find(has_latest);
        let others = self.rcv.ahead.iter().filter(|block| Some(*block) != first);
        for (start, end) in first.into_iter().chain(others) {
            if !blocks.push(start, end) {
                break;
            }
        }
        blocks
    }

    /// One behind the last byte of the user's; a FIN would be there.
    fn data_end(&self) -> Seq {
        self.snd.una.plus(self.snd.buffer.len())
    }

    /// Our FIN is to be sent, or not acknowledged yet.
    fn fin_pending(&self) -> bool {
        matches!(
            self.state,
            State::FinWait1 | State::Closing | State::LastAck
        )
    }

    fn data_plan(
        &self,
        mut header: Header,
        start: Seq,
        span: usize,
        packet_len: usize,
        purpose: Purpose,
    ) -> Plan {
        let offset = start.since(self.snd.una);
        let len = span.min(self.snd.buffer.len().saturating_sub(offset));
        header.seq = start;
        if start.plus(len) == self.data_end() {
            if len > 0 {
                header.flags = header.flags.with(Flags::PSH);
            }
            if self.fin_pending() {
                header.flags = header.flags.with(Flags::FIN);
            }
        }
        Plan {
            header,
            offset,
            len,
            packet_len,
            purpose,
        }
    }

    /// The one segment that is to be sent again at once.
    fn next_again(&self, packet_len: usize) -> Option<(Seq, usize)> {
        let (una, max) = (self.snd.una, self.snd.max);
        if una == max {
            return None;
        }
        match self.snd.again? {
            Again::Head => {
                let end = self.snd.sacked.gap(una).1.unwrap_or(max);
                Some((una, end.since(una).min(packet_len)))
            }
            Again::Tail => {
                let len = max.since(una).min(packet_len);
                Some((max.minus(len), len))
            }
        }
    }

    /// In recovery: the next gap that was not filled yet.
    fn next_gap(&self, payload_max: usize) -> Option<(Seq, usize)> {
        let recovery = self.snd.recovery.as_ref()?;
        let (start, end) = self.snd.sacked.gap(recovery.next.max(self.snd.una));
        let end = end.unwrap_or(recovery.limit).min(recovery.limit);
        let mss = usize::from(self.snd.mss);
        let room = self.cubic.window().saturating_sub(self.in_flight());
        let room = if recovery.forced { room.max(mss) } else { room };
        (start < end && room >= mss.min(end.since(start)))
            .then(|| (start, end.since(start).min(payload_max).min(room)))
    }

    /// New data, as the windows of the peer and of the path allow; then the FIN.
    fn next_new(&self, packet_len: usize, payload_max: usize) -> Option<(Seq, usize)> {
        let snd = &self.snd;
        if matches!(self.state, State::FinWait2 | State::TimeWait) {
            return None;
        }
        let (start, end) = (snd.nxt, self.data_end());
        if end < start {
            return None; // the FIN was sent
        }
        let available = end.since(start);
        if available == 0 {
            return self.fin_pending().then_some((start, 0));
        }
        let edge = snd.una.plus(snd.window);
        let peer = if start < edge { edge.since(start) } else { 0 };
        let in_flight = self.in_flight();
        let usable = peer.min(self.cubic.window().saturating_sub(in_flight));
        let quiet = snd.nxt == snd.una;
        let len = available.min(usable).min(payload_max);
        let limited = usable < available;
        // Many small segments cost more than one large one a little later; acknowledgments on their way
        // will call again.
        let worthwhile = payload_max
            .min(self.cubic.window() / 4)
            .min(snd.window_max / 4);
        if limited && len < worthwhile && in_flight >= worthwhile {
            return None;
        }
        // Nagle (RFC 9293 §3.7.4): a small last segment waits while anything is unacknowledged.
        let small_allowed = self.options.nodelay || quiet || self.fin_pending();
        let whole = len - len % packet_len;
        let len = if len == available && small_allowed {
            len
        } else {
            whole
        };
        match len {
            0 if quiet && usable > 0 => Some((start, available.min(usable).min(payload_max))),
            0 => None,
            _ => Some((start, len)),
        }
    }

    /// The segment went out.
    pub(crate) fn sent(&mut self, now: Instant, plan: &Plan) {
        let header = &plan.header;
        if header.flags.has(Flags::ACK) && !header.flags.has(Flags::SYN) {
            self.note_acknowledged(now, plan);
        } else if header.flags.has(Flags::SYN) {
            self.rcv.edge = self
                .rcv
                .edge
                .max(self.rcv.nxt.plus(usize::from(header.window)));
        }
        let control =
            usize::from(header.flags.has(Flags::SYN)) + usize::from(header.flags.has(Flags::FIN));
        let end = header.seq.plus(plan.len + control);
        if plan.purpose == Purpose::Probe {
            self.probe = false;
            return;
        }
        if end == header.seq {
            return;
        }
        let again = header.seq < self.snd.max;
        match plan.purpose {
            Purpose::Gap => self.gap_sent(header.seq, end),
            Purpose::Again => self.snd.again = None,
            _ => {
                self.snd.nxt = end;
                self.snd.max = self.snd.max.max(end);
            }
        }
        self.time(now, end, again);
        self.arm_suspicion(now);
    }

    fn gap_sent(&mut self, start: Seq, end: Seq) {
        if let Some(recovery) = &mut self.snd.recovery {
            recovery.next = end;
            recovery.forced = false;
            if start == self.snd.una {
                recovery.head_sent_at = self.snd.max;
                self.snd.suspect_at = None;
            }
        }
    }

    /// Starts what runs while something is unacknowledged: Karn's measurement and the timers.
    fn time(&mut self, now: Instant, end: Seq, again: bool) {
        if again {
            self.snd.timed = None;
        } else if self.snd.timed.is_none() {
            self.snd.timed = Some((end, now));
        }
        self.snd.last_sent = now;
        self.waiting_since.get_or_insert(now);
        if self.retransmit_at.is_none() || again {
            self.retransmit_at = Some(now.after(self.rtt.timeout()));
        }
    }

    fn note_acknowledged(&mut self, now: Instant, plan: &Plan) {
        if plan.len > 0 && self.received_at.is_some_and(|at| now.since(at) < ACK_DELAY) {
            self.interactive = true;
        }
        self.unacknowledged = 0;
        self.ack = Ack::None;
        let window = usize::from(plan.header.window) << self.rcv.scale;
        self.rcv.edge = self.rcv.edge.max(self.rcv.nxt.plus(window));
    }

    /// RFC 5681 §4.1.
    fn forget_idle_path(&mut self, now: Instant) {
        let quiet = self.snd.una == self.snd.max;
        if quiet && self.snd.buffer.len() > 0 && now.since(self.snd.last_sent) > self.rtt.timeout()
        {
            self.cubic.on_idle();
        }
    }

    /// RFC 9293 §3.8.6.1: while the peer's window is closed and nothing is in flight, only a probe can
    /// find out that it opened.
    fn arm_persist(&mut self, now: Instant) {
        let stuck = self.snd.una == self.snd.max && self.snd.buffer.len() > 0;
        if stuck && self.retransmit_at.is_none() && self.state.is_synchronized() {
            self.retransmit_at = Some(now.after(self.rtt.timeout()));
        }
    }

    /// Bytes we are willing to take beyond `nxt`: less when memory becomes scarce.
    fn window_size(&self, pool: &Pool) -> usize {
        let fair = self.rcv.limit.min(pool.bytes_left() / 4);
        if self.rcv.shut {
            self.rcv.limit
        } else {
            fair.saturating_sub(self.rcv.buffer.len())
        }
    }

    /// The right edge to announce: never back (RFC 9293 §3.8.6), and forward only in steps worth a
    /// segment (§3.8.6.2.2, the receiver's silly window).
    fn announced_edge(&self, pool: &Pool) -> Seq {
        let edge = self.rcv.edge.max(self.rcv.nxt);
        let possible = self.rcv.nxt.plus(self.window_size(pool));
        let step = usize::from(self.snd.mss).min(self.rcv.limit / 2);
        if edge < possible && possible.since(edge) >= step {
            possible
        } else {
            edge
        }
    }

    fn window_field(&self, pool: &Pool) -> u16 {
        let window = self.announced_edge(pool).since(self.rcv.nxt);
        u16::try_from(window >> self.rcv.scale).unwrap_or(u16::MAX)
    }

    /// After the user read: tells the peer if that opened its window by much.
    pub(super) fn update_window(&mut self, pool: &Pool) {
        if !self.state.may_receive() {
            return;
        }
        let known = self.rcv.edge.max(self.rcv.nxt);
        let opened = self.announced_edge(pool).since(known);
        let mss = usize::from(self.snd.mss);
        let was_closed = known.since(self.rcv.nxt) < mss;
        if opened >= (self.rcv.limit / 4).max(2 * mss) || (was_closed && opened > 0) {
            self.ack = Ack::Now;
        }
    }

    /// Whether [`Connection::plan`] may have something, so that asking is worth while. Errs on the side
    /// of yes.
    pub(crate) fn may_have_output(&self) -> bool {
        match self.state {
            State::Closed => false,
            State::SynSent | State::SynReceived => self.snd.nxt == self.snd.una,
            _ => {
                self.ack == Ack::Now
                    || self.probe
                    || self.snd.again.is_some()
                    || self.snd.recovery.is_some()
                    || self.snd.nxt < self.data_end()
                    || (self.fin_pending() && self.snd.nxt == self.data_end())
            }
        }
    }
}
