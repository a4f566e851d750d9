//! Deadlines of a connection and what they mean.

use super::super::buffer::Pool;
use super::super::time::{Instant, MS, SECOND, earlier};
use super::connection::{Ack, Connection, Outcome, Recovery};
use super::{DATA_RETRIES, ORPHAN_RETRIES, SYN_ACK_RETRIES, SYN_RETRIES, State};
use crate::Errno;

impl Connection {
    /// When [`Connection::on_timer`] wants to be called next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let ack = match self.ack {
            Ack::Delayed(at) => Some(at),
            _ => None,
        };
        let data = earlier(self.retransmit_at, self.keep_alive_at);
        earlier(
            earlier(ack, data),
            earlier(self.linger_until, self.snd.suspect_at),
        )
    }

    /// Time passed.
    pub(crate) fn on_timer(&mut self, now: Instant, pool: &mut Pool) -> Outcome {
        let mut outcome = Outcome::default();
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if let Ack::Delayed(at) = self.ack
            && at <= now
        {
            self.ack = Ack::Now;
            self.interactive = false; // no answer came to carry it
        }
        if due(self.linger_until) {
            self.close(pool);
        }
        if due(self.snd.suspect_at) {
            self.on_suspicion(now);
        }
        if due(self.retransmit_at) {
            self.on_retransmission_timeout(now, pool, &mut outcome);
        }
        if due(self.keep_alive_at) {
            self.on_keep_alive(now, pool, &mut outcome);
        }
        outcome.notify |= self.wake_writer();
        outcome
    }

    fn on_retransmission_timeout(&mut self, now: Instant, pool: &mut Pool, outcome: &mut Outcome) {
        self.retransmit_at = None;
        if self.is_out_of_patience(now) {
            let error = self.soft_error.unwrap_or(Errno::ETIMEDOUT);
            self.fail(pool, error);
            outcome.notify = true;
            return;
        }
        let first = self.retries == 0;
        self.retries = self.retries.saturating_add(1);
        self.rtt.back_off();
        if self.snd.una == self.snd.max {
            // The persist timer: the peer's window is closed.
            self.waiting_since.get_or_insert(now);
            self.probe = true;
            self.retransmit_at = Some(now.after(self.rtt.timeout()));
            return;
        }
        outcome.timed_out = true;
        self.snd.duplicate_acks = 0;
        self.snd.timed = None;
        self.snd.suspect_at = None;
        self.snd.again = None;
        if !self.state.is_synchronized() {
            self.snd.nxt = self.snd.una;
            return;
        }
        self.cubic.on_timeout(first);
        if !first {
            // RFC 2018 §8: the peer may have thrown away what it selectively acknowledged.
            self.snd.sacked.clear();
        }
        self.snd.recovery = Some(Recovery::new(
            self.snd.una,
            self.snd.max,
            self.snd.max,
            true,
        ));
    }

    fn is_out_of_patience(&self, now: Instant) -> bool {
        if self.options.user_timeout_ms != 0 && self.state.is_synchronized() {
            let limit = u64::from(self.options.user_timeout_ms) * MS;
            return self
                .waiting_since
                .is_some_and(|since| now.since(since) >= limit);
        }
        let probing = self.snd.una == self.snd.max && self.waiting_since.is_none();
        let limit = match self.state {
            State::SynSent => SYN_RETRIES,
            State::SynReceived => SYN_ACK_RETRIES,
            // A peer that answers window probes may keep its window closed as long as it likes.
            _ if probing => return false,
            _ if self.orphan => ORPHAN_RETRIES,
            _ => DATA_RETRIES,
        };
        self.retries >= limit
    }

    fn on_keep_alive(&mut self, now: Instant, pool: &mut Pool, outcome: &mut Outcome) {
        self.keep_alive_at = None;
        if !self.options.keep_alive_enabled || !self.state.is_synchronized() {
            return;
        }
        let settings = self.options.keep_alive;
        let busy = self.snd.una < self.snd.max; // retransmission finds out by itself
        if !busy {
            if self.keep_alive_sent >= settings.count.max(1) {
                let error = self.soft_error.unwrap_or(Errno::ETIMEDOUT);
                self.fail(pool, error);
                outcome.notify = true;
                return;
            }
            self.keep_alive_sent += 1;
            self.probe = true;
        }
        self.keep_alive_at = Some(now.after(u64::from(settings.interval.max(1)) * SECOND));
    }

    /// The peer gave a sign of life, or the option changed.
    pub(crate) fn rearm_keep_alive(&mut self, now: Instant) {
        self.keep_alive_sent = 0;
        let wanted = self.options.keep_alive_enabled && self.state.is_synchronized();
        let idle = u64::from(self.options.keep_alive.idle.max(1)) * SECOND;
        self.keep_alive_at = wanted.then(|| now.after(idle));
    }
}
