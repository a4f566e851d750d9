//! The transmission control block, and what the user does with it.

use super::super::buffer::{Buffer, Pool};
use super::super::neighbor::Hop;
use super::super::packet::Mac;
use super::super::time::Instant;
use super::cubic::Cubic;
use super::rtt::Rtt;
use super::segment::{Flags, Segment};
use super::{
    Limits, RECEIVE_START, Ranges, SEND_START, Seq, State, TcpOptions, Tuple, WINDOW_SCALE,
};
use crate::Errno;

/// What an event did to a connection, for those around it to act on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Outcome {
    /// Readiness gained an edge.
    pub(crate) notify: bool,
    /// The handshake of a passive connection is complete.
    pub(crate) established: bool,
    /// The peer must be told that no such connection exists.
    pub(crate) reset: Option<Reset>,
    /// Data was dropped for want of memory.
    pub(crate) out_of_memory: bool,
    /// The segment was outside the window or otherwise unacceptable.
    pub(crate) unacceptable: bool,
    /// The segment came out of order.
    pub(crate) out_of_order: bool,
    /// A retransmission timeout passed.
    pub(crate) timed_out: bool,
    /// The peer reset the connection.
    pub(crate) reset_received: bool,
}

/// A RST to send (RFC 9293 §3.10.7.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reset {
    pub(crate) seq: Seq,
    pub(crate) ack: Option<Seq>,
}

impl Reset {
    /// The answer to a segment that belongs to no connection; none to a RST.
    pub(crate) fn answering(segment: &Segment) -> Option<Reset> {
        let header = &segment.header;
        if header.flags.has(Flags::RST) {
            None
        } else if header.flags.has(Flags::ACK) {
            Some(Reset {
                seq: header.ack,
                ack: None,
            })
        } else {
            Some(Reset {
                seq: Seq(0),
                ack: Some(header.seq.plus(segment.len())),
            })
        }
    }
}

/// The sender's half (RFC 9293 §3.3.1).
pub(crate) struct SendSpace {
    /// Oldest unacknowledged.
    pub(crate) una: Seq,
    /// Next to send for the first time; back at `una` while a SYN is to be sent again.
    pub(crate) nxt: Seq,
    /// One behind the last ever sent.
    pub(crate) max: Seq,
    /// The peer's window in bytes.
    pub(crate) window: usize,
    /// The largest window the peer ever had.
    pub(crate) window_max: usize,
    /// Sequence and acknowledgment numbers of the last window update.
    pub(crate) wl1: Seq,
    pub(crate) wl2: Seq,
    pub(crate) scale: u8,
    /// Payload bytes per packet.
    pub(crate) mss: u16,
    /// The user wrote its last byte: a FIN follows the buffer.
    pub(crate) fin: bool,
    /// Bytes from `una` on (from `una + 1` while our SYN is unacknowledged).
    pub(crate) buffer: Buffer,
    /// What the peer has beyond `una`.
    pub(crate) sacked: Ranges,
    pub(crate) sack_permitted: bool,
    pub(crate) duplicate_acks: u8,
    pub(crate) recovery: Option<Recovery>,
    /// When silence means that something may be lost (RFC 8985): long before the retransmission timer.
    pub(crate) suspect_at: Option<Instant>,
    /// The end of what is in flight was sent again, to make the peer say what it lacks.
    pub(crate) tail_probed: bool,
    /// To be sent again at once.
    pub(crate) again: Option<Again>,
    /// A segment whose acknowledgment measures the round trip: its end, and when it left.
    pub(crate) timed: Option<(Seq, Instant)>,
    pub(crate) last_sent: Instant,
}

/// A single segment to be sent again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Again {
    /// The first that the peer lacks.
    Head,
    /// The last that was sent.
    Tail,
}

/// Loss recovery (RFC 6675) until `end` is acknowledged.
pub(crate) struct Recovery {
    /// `max` when the loss was noticed.
    pub(crate) end: Seq,
    /// Everything lost below this was sent again.
    pub(crate) next: Seq,
    /// What the peer lacks below this is lost.
    pub(crate) limit: Seq,
    /// `max` when the first gap was last sent again: if the peer reports much beyond this and the gap
    /// is still there, the retransmission was lost too.
    pub(crate) head_sent_at: Seq,
    /// How often the first gap was sent again in vain.
    pub(crate) head_tries: u8,
    /// The next retransmission goes out regardless of the congestion window.
    pub(crate) forced: bool,
    /// It began with a timeout, so the congestion window is one segment and grows meanwhile.
    pub(crate) after_timeout: bool,
}

impl Recovery {
    /// What lies between `una` and `limit` and was not reported is lost.
    pub(crate) fn new(una: Seq, limit: Seq, max: Seq, after_timeout: bool) -> Recovery {
        Recovery {
            end: max,
            next: una,
            limit,
            head_sent_at: max,
            head_tries: 0,
            forced: true,
            after_timeout,
        }
    }
}

/// The receiver's half.
pub(crate) struct ReceiveSpace {
    pub(crate) nxt: Seq,
    /// Right edge of the window the peer knows.
    pub(crate) edge: Seq,
    /// Shift of our window; none if the peer does not scale.
    pub(crate) scale: u8,
    pub(crate) buffer: Buffer,
    /// What lies in the buffer beyond `nxt`.
    pub(crate) ahead: Ranges,
    /// The most recent of those, which SACK reports first.
    pub(crate) latest: Seq,
    /// Where the peer's FIN is, once seen.
    pub(crate) fin: Option<Seq>,
    /// Most unread bytes now.
    pub(crate) limit: usize,
    /// Bytes the user took since `limit` last grew.
    pub(crate) drained: usize,
    /// The user wants no more (`shutdown(SHUT_RD)`).
    pub(crate) shut: bool,
}

impl SendSpace {
    fn new(now: Instant, iss: Seq, mss: u16) -> SendSpace {
        SendSpace {
            una: iss,
            nxt: iss,
            max: iss,
            window: 0,
            window_max: 0,
            wl1: Seq(0),
            wl2: Seq(0),
            scale: 0,
            mss,
            fin: false,
            buffer: Buffer::default(),
            sacked: Ranges::default(),
            sack_permitted: false,
            duplicate_acks: 0,
            recovery: None,
            suspect_at: None,
            tail_probed: false,
            again: None,
            timed: None,
            last_sent: now,
        }
    }
}

impl ReceiveSpace {
    fn new(limits: &Limits) -> ReceiveSpace {
        ReceiveSpace {
            nxt: Seq(0),
            edge: Seq(0),
            scale: WINDOW_SCALE,
            buffer: Buffer::default(),
            ahead: Ranges::default(),
            latest: Seq(0),
            fin: None,
            limit: RECEIVE_START.min(limits.receive_max),
            drained: 0,
            shut: false,
        }
    }
}

/// When to acknowledge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ack {
    None,
    Delayed(Instant),
    Now,
}

/// One connection.
pub(crate) struct Connection {
    pub(crate) tuple: Tuple,
    pub(crate) state: State,
    pub(crate) snd: SendSpace,
    pub(crate) rcv: ReceiveSpace,
    pub(crate) cubic: Cubic,
    pub(crate) rtt: Rtt,
    pub(crate) ack: Ack,
    /// Bytes received since the last acknowledgment.
    pub(crate) unacknowledged: usize,
    /// The last exchange was question and answer: the answer will carry the acknowledgment.
    pub(crate) interactive: bool,
    /// When data last came.
    pub(crate) received_at: Option<Instant>,
    /// Retransmission timer, or the persist timer while the peer's window is closed.
    pub(crate) retransmit_at: Option<Instant>,
    /// Timeouts or probes in a row.
    pub(crate) retries: u8,
    /// When what is unacknowledged was first sent, or the first probe.
    pub(crate) waiting_since: Option<Instant>,
    pub(crate) keep_alive_at: Option<Instant>,
    pub(crate) keep_alive_sent: u8,
    /// End of the wait for the peer's FIN.
    pub(crate) linger_until: Option<Instant>,
    /// A segment must go out that asks the peer for an acknowledgment.
    pub(crate) probe: bool,
    /// When a segment out of place was last answered.
    pub(crate) challenged: Option<Instant>,
    pub(crate) options: TcpOptions,
    /// Pending error (`SO_ERROR`).
    pub(crate) error: Option<Errno>,
    /// An error that ends the connection only if nothing better comes (ICMP unreachable).
    pub(crate) soft_error: Option<Errno>,
    pub(crate) limits: Limits,
    /// The user found the send buffer full and waits.
    pub(crate) writer_waits: bool,
    /// Nobody holds the socket any more.
    pub(crate) orphan: bool,
    /// Made by a SYN, not by the user.
    pub(crate) passive: bool,

    // What belongs to the stack around it rather than to TCP:
    /// The listener in whose queue it is.
    pub(crate) listener: Option<u32>,
    /// Addresses are shown as IPv4-mapped IPv6.
    pub(crate) mapped: bool,
    /// It is in the list of those with something to send.
    pub(crate) queued: bool,
    /// Its entry in the timer tree.
    pub(crate) scheduled: Option<Instant>,
    /// The next hop, remembered.
    pub(crate) hop: Option<Hop>,
    /// Where its last segment came from: the way back if there is no route.
    pub(crate) came_from: Option<Mac>,
}

/// What is known before the first segment.
pub(crate) struct Opening {
    pub(crate) tuple: Tuple,
    pub(crate) iss: Seq,
    /// Payload bytes per packet that the route allows.
    pub(crate) mss: u16,
    pub(crate) options: TcpOptions,
    pub(crate) limits: Limits,
}

/// RFC 9293 §3.7.1: what a peer takes that does not say.
fn default_mss(tuple: &Tuple) -> u16 {
    if tuple.remote.is_ipv4() { 536 } else { 1220 }
}

/// No peer makes us cut data into pieces smaller than this (as Linux's `TCP_MIN_MSS`).
pub(crate) const MSS_MIN: u16 = 48;

impl Connection {
    /// The user connects.
    pub(crate) fn active(now: Instant, opening: Opening) -> Connection {
        Connection::new(now, opening, State::SynSent)
    }

    /// A peer's SYN arrived.
    pub(crate) fn passive(now: Instant, opening: Opening, syn: &Segment) -> Connection {
        let mut connection = Connection::new(now, opening, State::SynReceived);
        connection.passive = true;
        connection.accept_syn(syn);
        connection
    }

    fn new(now: Instant, opening: Opening, state: State) -> Connection {
        let Opening {
            tuple,
            iss,
            mss,
            options,
            limits,
        } = opening;
        let snd = SendSpace::new(now, iss, mss);
        let rcv = ReceiveSpace::new(&limits);
        Connection {
            tuple,
            state,
            snd,
            rcv,
            cubic: Cubic::new(mss),
            rtt: Rtt::default(),
            ack: Ack::None,
            unacknowledged: 0,
            interactive: false,
            received_at: None,
            retransmit_at: None,
            retries: 0,
            waiting_since: None,
            keep_alive_at: None,
            keep_alive_sent: 0,
            linger_until: None,
            probe: false,
            challenged: None,
            options,
            error: None,
            soft_error: None,
            limits,
            writer_waits: false,
            orphan: false,
            passive: false,
            listener: None,
            mapped: false,
            queued: false,
            scheduled: None,
            hop: None,
            came_from: None,
        }
    }

    /// Takes over what the peer's SYN says.
    pub(crate) fn accept_syn(&mut self, syn: &Segment) {
        let header = &syn.header;
        self.rcv.nxt = header.seq.plus(1);
        self.rcv.edge = self.rcv.nxt;
        let peer_mss = header
            .syn
            .mss
            .unwrap_or(default_mss(&self.tuple))
            .max(MSS_MIN);
        self.snd.mss = self.snd.mss.min(peer_mss);
        self.cubic.set_segment(self.snd.mss, true);
        self.snd.sack_permitted = header.syn.sack_permitted;
        match header.syn.window_scale {
            Some(shift) => self.snd.scale = shift,
            None => self.rcv.scale = 0, // RFC 7323 §1.3: both scale or neither
        }
        self.snd.window = usize::from(header.window); // never scaled in a SYN
        self.snd.window_max = self.snd.window;
        self.snd.wl1 = header.seq;
        self.snd.wl2 = header.ack;
    }

    /// Queues bytes to be sent; how many of them.
    pub(crate) fn write(&mut self, pool: &mut Pool, data: &[u8]) -> Result<usize, Errno> {
        match self.state {
            State::SynSent | State::SynReceived => return Err(Errno::EAGAIN),
            _ if self.state.may_send() => {}
            _ => return Err(self.take_error().unwrap_or(Errno::EPIPE)),
        }
        if let Some(error) = self.take_error() {
            return Err(error);
        }
        let room = self.send_limit().saturating_sub(self.snd.buffer.len());
        let written = self.snd.buffer.append(pool, &data[..data.len().min(room)]);
        self.writer_waits = written < data.len();
        if written == 0 && !data.is_empty() {
            Err(Errno::EAGAIN)
        } else {
            Ok(written)
        }
    }

    /// Takes received bytes; none of them at the end of the peer's stream.
    pub(crate) fn read(&mut self, pool: &mut Pool, out: &mut [u8]) -> Result<usize, Errno> {
        let count = self.peek(0, out)?;
        if count > 0 {
            self.rcv.buffer.consume(pool, count);
            self.grow_window(count);
            self.update_window(pool);
        }
        Ok(count)
    }

    /// Copies received bytes from `offset` on and leaves them.
    pub(crate) fn peek(&mut self, offset: usize, out: &mut [u8]) -> Result<usize, Errno> {
        if offset < self.rcv.buffer.len() {
            return Ok(self.rcv.buffer.copy_to(offset, out));
        }
        match self.state {
            State::SynSent | State::SynReceived => return Err(Errno::EAGAIN),
            _ => {}
        }
        if let Some(error) = self.take_error() {
            return Err(error);
        }
        let more_to_come = self.state.may_receive() && !self.rcv.shut;
        if more_to_come {
            Err(Errno::EAGAIN)
        } else {
            Ok(0)
        }
    }

    /// A reader that keeps up gets a larger window, up to the limit.
    fn grow_window(&mut self, read: usize) {
        self.rcv.drained += read;
        if self.rcv.drained >= self.rcv.limit && self.rcv.buffer.len() <= self.rcv.limit / 2 {
            let most = self.options.bound(&self.limits).receive_max;
            // What has been promised stays so.
            self.rcv.limit = (2 * self.rcv.limit).min(most).max(self.rcv.limit);
            self.rcv.drained = 0;
        }
    }

    /// Bytes that may wait in the send buffer: twice what may be in flight, so that the next round trip's
    /// data is there when the acknowledgments come.
    pub(crate) fn send_limit(&self) -> usize {
        let most = self.options.bound(&self.limits).send_max;
        (2 * self.cubic.window()).clamp(SEND_START.min(most), most)
    }

    /// The user writes no more: `shutdown(SHUT_WR)`.
    pub(crate) fn shut_write(&mut self) {
        match self.state {
            State::SynReceived => {} // the FIN follows once the peer answers
            State::Established => self.state = State::FinWait1,
            State::CloseWait => self.state = State::LastAck,
            _ => return,
        }
        self.snd.fin = true;
    }

    /// The user reads no more: `shutdown(SHUT_RD)`. What is unread stays readable; the rest is discarded
    /// as it comes.
    pub(crate) fn shut_read(&mut self) {
        self.rcv.shut = true;
    }

    /// The user lets go. A reset, if data was lost by that (RFC 9293 §3.6.1, RFC 2525 §2.17).
    pub(crate) fn release(&mut self, now: Instant, pool: &mut Pool) -> Option<Reset> {
        self.orphan = true;
        let unread = self.rcv.buffer.len() > 0;
        self.rcv.buffer.clear(pool);
        match self.state {
            State::Closed | State::TimeWait => None,
            State::SynSent => {
                self.close(pool);
                None
            }
            _ if unread || self.options.reset_on_close => self.abort(pool),
            _ => {
                self.shut_write();
                if self.state == State::FinWait2 {
                    self.linger_until = Some(now.after(super::FIN_TIMEOUT));
                }
                None
            }
        }
    }

    /// Ends the connection at once; the RST that tells the peer.
    pub(crate) fn abort(&mut self, pool: &mut Pool) -> Option<Reset> {
        let known = self.state.is_synchronized() && self.state != State::TimeWait
            || self.state == State::SynReceived;
        let reset = known.then_some(Reset {
            seq: self.snd.nxt,
            ack: Some(self.rcv.nxt),
        });
        self.close(pool);
        reset
    }

    /// Nothing more is sent or received, and no memory is held but what was not read yet.
    pub(crate) fn close(&mut self, pool: &mut Pool) {
        self.state = State::Closed;
        self.snd.buffer.clear(pool);
        if self.orphan {
            self.rcv.buffer.clear(pool);
        }
        self.stop(pool);
    }

    /// Ends all timers and plans: in TIME-WAIT and after the end.
    pub(crate) fn stop(&mut self, pool: &mut Pool) {
        self.rcv.buffer.forget_ahead(pool);
        self.snd.sacked.clear();
        self.snd.recovery = None;
        self.snd.suspect_at = None;
        self.snd.again = None;
        self.rcv.ahead.clear();
        self.ack = Ack::None;
        self.probe = false;
        self.retransmit_at = None;
        self.keep_alive_at = None;
        self.linger_until = None;
        self.waiting_since = None;
    }

    /// Ends the connection with an error that the user will see.
    pub(crate) fn fail(&mut self, pool: &mut Pool, error: Errno) {
        self.error = Some(error);
        self.close(pool);
    }

    /// Somebody on the way, or the next hop's silence, says that the peer cannot be reached. RFC 5461: that
    /// ends an attempt to connect, but not a connection.
    pub(crate) fn on_unreachable(
        &mut self,
        now: Instant,
        pool: &mut Pool,
        error: Errno,
    ) -> Outcome {
        match self.state {
            State::SynSent => self.fail(pool, error),
            State::SynReceived => self.close(pool),
            _ => {
                self.soft_error = Some(error);
                // What could not leave at all has no timer yet that would try again.
                let again = now.after(self.rtt.timeout());
                self.retransmit_at.get_or_insert(again);
                return Outcome::default();
            }
        }
        Outcome {
            notify: true,
            ..Outcome::default()
        }
    }

    /// A router wants smaller packets (RFC 1191, RFC 8201), though none smaller than everybody must pass.
    pub(crate) fn on_too_big(&mut self, mss: usize) -> Outcome {
        let mss = mss.max(usize::from(default_mss(&self.tuple)));
        if mss < usize::from(self.snd.mss) {
            self.snd.mss = mss as u16;
            self.cubic.set_segment(self.snd.mss, false);
            if self.state.is_synchronized() {
                self.snd.recovery = Some(Recovery::new(
                    self.snd.una,
                    self.snd.max,
                    self.snd.max,
                    false,
                ));
                self.snd.timed = None;
            }
        }
        Outcome::default()
    }

    /// `SO_ERROR`: the pending error, once.
    pub(crate) fn take_error(&mut self) -> Option<Errno> {
        self.error.take()
    }

    /// The peer's stream has ended, or was cut short.
    pub(crate) fn read_closed(&self) -> bool {
        self.rcv.shut
            || !(self.state.may_receive()
                || matches!(self.state, State::SynSent | State::SynReceived))
    }

    /// Nothing can be written any more.
    pub(crate) fn write_closed(&self) -> bool {
        !(self.state.may_send() || matches!(self.state, State::SynSent | State::SynReceived))
    }

    /// A write would take bytes now. As Linux, not before a third of the buffer is free, so that a writer
    /// is not woken for every acknowledgment.
    pub(crate) fn writable(&self) -> bool {
        let (queued, limit) = (self.snd.buffer.len(), self.send_limit());
        self.state.may_send() && queued < limit && (!self.writer_waits || queued * 3 <= limit * 2)
    }

    /// After an event: whether a waiting writer can go on.
    pub(crate) fn wake_writer(&mut self) -> bool {
        let woken = self.writer_waits && (self.writable() || self.write_closed());
        if woken {
            self.writer_waits = false;
        }
        woken
    }
}
