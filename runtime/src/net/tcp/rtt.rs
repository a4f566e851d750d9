//! The retransmission timeout (RFC 6298), with Linux's bounds rather than the specification's whole
//! second: a datacentre or an access network answers in milliseconds, and SACK has made spurious
//! timeouts cheap.

use super::super::time::{MS, SECOND};

/// Before anything was measured (RFC 6298 §2.1).
const RTO_INITIAL: u64 = SECOND;
/// Linux's `TCP_RTO_MIN`.
const RTO_MIN: u64 = 200 * MS;
/// RFC 6298 §2.5 allows 60 s.
const RTO_MAX: u64 = 60 * SECOND;

/// Doublings that outlive the handshake.
const HANDSHAKE_BACKOFFS_MAX: u8 = 2;

/// Round-trip time estimate of one connection, in nanoseconds.
#[derive(Default)]
pub(crate) struct Rtt {
    /// Zero until measured.
    smoothed: u64,
    variance: u64,
    /// Timeouts since the last measurement: each doubles the next. An acknowledgment of what was sent twice
    /// ends none of them (RFC 6298 §5), for the timeouts may have been too short for the path all along.
    backoffs: u8,
}

impl Rtt {
    /// The smoothed estimate, once measured.
    pub(crate) fn smoothed(&self) -> Option<u64> {
        (self.smoothed != 0).then_some(self.smoothed)
    }

    /// Takes a measurement, which must not be of a segment sent twice (Karn).
    pub(crate) fn sample(&mut self, measured: u64) {
        let measured = measured.max(1);
        self.backoffs = 0;
        if self.smoothed == 0 {
            self.smoothed = measured;
            self.variance = measured / 2;
        } else {
            self.variance = (3 * self.variance + self.smoothed.abs_diff(measured)) / 4;
            self.smoothed = ((7 * self.smoothed + measured) / 8).max(1);
        }
    }

    /// How long to wait before silence is suspicious: RFC 8985 §7.2's two round trips, more where they vary.
    pub(crate) fn patience(&self) -> u64 {
        (2 * self.smoothed).max(self.smoothed + 4 * self.variance) + 2 * MS
    }

    /// A timeout came.
    pub(crate) fn back_off(&mut self) {
        self.backoffs = self.backoffs.saturating_add(1);
    }

    /// Silence was the peer's closed window, not the path.
    pub(crate) fn end_back_off(&mut self) {
        self.backoffs = 0;
    }

    /// A SYN was acknowledged. One that was sent again says that the path may be longer than the timeout
    /// at first (RFC 6298 §5.7 has three seconds), not how long.
    pub(crate) fn end_handshake(&mut self) {
        self.backoffs = self.backoffs.min(HANDSHAKE_BACKOFFS_MAX);
    }

    /// How long to wait for an acknowledgment of what is sent now.
    pub(crate) fn timeout(&self) -> u64 {
        let base = match self.smoothed {
            0 => RTO_INITIAL,
            // As Linux: the minimum bounds the variance's part, so a long path keeps a margin too.
            smoothed => smoothed + (4 * self.variance).max(RTO_MIN),
        };
        base.saturating_mul(1 << self.backoffs.min(16)).min(RTO_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_measurements_within_bounds() {
        let mut rtt = Rtt::default();
        assert_eq!(rtt.timeout(), RTO_INITIAL);
        rtt.sample(100 * MS);
        assert_eq!(rtt.timeout(), 300 * MS);
        for _ in 0..100 {
            rtt.sample(MS);
        }
        assert!(rtt.timeout() < 210 * MS);
        let once = rtt.timeout();
        rtt.back_off();
        assert_eq!(rtt.timeout(), 2 * once);
        for _ in 0..300 {
            rtt.back_off();
        }
        assert_eq!(rtt.timeout(), RTO_MAX);
        rtt.sample(MS);
        assert!(rtt.timeout() < 210 * MS);
    }
}
