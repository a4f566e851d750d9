//! Congestion control: CUBIC (RFC 9438), in bytes.

use super::super::time::{Instant, SECOND};

/// RFC 9438 §4.6: the window after a loss, as a part of the one before.
const BETA: f64 = 0.7;
/// RFC 9438 §5: how fast the window grows, in segments per second cubed.
const C: f64 = 0.4;
/// RFC 6928: segments sent before anything is known of the path.
const INITIAL_SEGMENTS: u32 = 10;
/// RFC 9438 §4.6: fewest segments after a loss.
const MINIMUM_SEGMENTS: u32 = 2;
/// No window grows past this: more than any buffer here holds.
const WINDOW_MAX: u32 = 64 << 20;

/// The congestion state of one connection.
pub(crate) struct Cubic {
    /// The congestion window in bytes.
    window: u32,
    threshold: u32,
    segment: u32,
    /// The window before the last reduction, in segments.
    w_max: f32,
    /// Seconds from the reduction until the window is back at `w_max`.
    k: f32,
    /// What Reno would have, in segments.
    w_est: f32,
    /// When congestion avoidance began; none in slow start and right after a loss.
    epoch: Option<Instant>,
}

impl Cubic {
    pub(crate) fn new(segment: u16) -> Cubic {
        let segment = u32::from(segment.max(1));
        Cubic {
            window: INITIAL_SEGMENTS * segment,
            threshold: u32::MAX,
            segment,
            w_max: 0.0,
            k: 0.0,
            w_est: 0.0,
            epoch: None,
        }
    }

    /// Bytes that may be in flight.
    pub(crate) fn window(&self) -> usize {
        self.window as usize
    }

    /// The segment size became known, or a smaller path MTU was found.
    pub(crate) fn set_segment(&mut self, segment: u16, nothing_sent: bool) {
        self.segment = u32::from(segment.max(1));
        if nothing_sent {
            self.window = INITIAL_SEGMENTS * self.segment;
        }
    }

    /// `acked` bytes arrived while the window was in full use.
    pub(crate) fn on_ack(&mut self, now: Instant, acked: usize, rtt: u64) {
        let acked = u32::try_from(acked).unwrap_or(u32::MAX).min(self.window);
        if self.window < self.threshold {
            self.window = self.window.saturating_add(acked).min(WINDOW_MAX);
            return;
        }
        let segment = f64::from(self.segment);
        let window = f64::from(self.window) / segment;
        let epoch = *self.epoch.get_or_insert_with(|| {
            self.w_est = window as f32;
            if f64::from(self.w_max) <= window {
                (self.w_max, self.k) = (window as f32, 0.0);
            } else {
                self.k = libm::cbrt((f64::from(self.w_max) - window) / C) as f32;
            }
            now
        });
        let t = (now.since(epoch) + rtt) as f64 / SECOND as f64 - f64::from(self.k);
        let target = (f64::from(self.w_max) + C * t * t * t).clamp(window, 1.5 * window);
        let part = f64::from(acked) / f64::from(self.window);
        // §4.3: never slower than Reno would be.
        let alpha = if self.w_est < self.w_max {
            3.0 * (1.0 - BETA) / (1.0 + BETA)
        } else {
            1.0
        };
        self.w_est += (alpha * part) as f32;
        let grown = (window + (target - window) * part).max(f64::from(self.w_est));
        self.window = ((grown * segment) as u32).clamp(self.window, WINDOW_MAX);
    }

    /// A segment was lost.
    pub(crate) fn on_loss(&mut self) {
        let window = self.window as f32 / self.segment as f32;
        // §4.7 fast convergence: give way if the last maximum was not reached again.
        self.w_max = if window < self.w_max {
            window * (1.0 + BETA as f32) / 2.0
        } else {
            window
        };
        self.threshold =
            ((f64::from(self.window) * BETA) as u32).max(MINIMUM_SEGMENTS * self.segment);
        self.window = self.threshold;
        self.epoch = None;
    }

    /// The retransmission timer fired: nothing is known of the path any more.
    pub(crate) fn on_timeout(&mut self, first: bool) {
        if first {
            self.on_loss();
        }
        self.window = self.segment;
        self.epoch = None;
    }

    /// Nothing was sent for a retransmission timeout (RFC 5681 §4.1).
    pub(crate) fn on_idle(&mut self) {
        self.window = self.window.min(INITIAL_SEGMENTS * self.segment);
        self.epoch = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::time::MS;

    #[test]
    fn slow_start_doubles_per_round_trip() {
        let mut cubic = Cubic::new(1000);
        assert_eq!(cubic.window(), 10_000);
        cubic.on_ack(Instant(0), 10_000, MS);
        assert_eq!(cubic.window(), 20_000);
    }

    /// RFC 9438 §4.2: after K seconds the window is back where the loss was, flat before and steep after.
    #[test]
    fn grows_as_a_cubic_around_the_last_maximum() {
        let mut cubic = Cubic::new(1000);
        cubic.on_ack(Instant(0), 10_000, MS);
        for _ in 0..6 {
            cubic.on_ack(Instant(0), cubic.window(), MS);
        }
        let maximum = cubic.window();
        cubic.on_loss();
        assert_eq!(cubic.window(), maximum * 7 / 10);
        let rtt = 100 * MS;
        let mut windows = Vec::new();
        for round in 0..200 {
            cubic.on_ack(Instant(round * rtt), cubic.window(), rtt);
            windows.push(cubic.window());
        }
        let k = libm::cbrt(maximum as f64 / 1000.0 * 0.3 / 0.4);
        let at_k = windows[(k * 10.0) as usize];
        assert!(
            at_k.abs_diff(maximum) < maximum / 20,
            "{at_k} at K, {maximum} before the loss"
        );
        assert!(windows[199] > maximum);
    }

    #[test]
    fn a_timeout_leaves_one_segment() {
        let mut cubic = Cubic::new(1000);
        cubic.on_timeout(true);
        assert_eq!((cubic.window(), cubic.threshold), (1000, 7000));
        cubic.on_timeout(false);
        assert_eq!(cubic.threshold, 7000);
    }
}
