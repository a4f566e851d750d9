//! One direction of a link, without clock, device or randomness of its own.

use std::collections::VecDeque;
use std::time::Duration;

/// How poor it is; the meaning of each is that of `netem`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quality {
    /// Of the sender.
    pub(crate) kbit_per_s: u32,
    /// From the last bit sent to its arrival.
    pub(crate) delay: Duration,
    /// The share of frames that are lost, 0 to 1.
    pub(crate) loss: f64,
    /// Frames that wait or are on their way; what comes then is dropped.
    pub(crate) frames_max: usize,
}

/// Frames on their way. Times count from any one moment.
#[derive(Debug)]
pub(crate) struct Line {
    quality: Quality,
    random: fastrand::Rng,
    /// When the sender will have sent all that it took.
    idle_at: Duration,
    /// With the time at which each arrives; they arrive in order.
    frames: VecDeque<(Duration, Vec<u8>)>,
}

impl Line {
    /// An empty one. The same seed loses the same frames.
    pub(crate) fn new(quality: Quality, seed: u64) -> Line {
        Line {
            quality,
            random: fastrand::Rng::with_seed(seed),
            idle_at: Duration::ZERO,
            frames: VecDeque::new(),
        }
    }

    /// A frame is sent. Whether it will arrive.
    pub(crate) fn send(&mut self, now: Duration, frame: &[u8]) -> bool {
        let Quality {
            kbit_per_s,
            delay,
            loss,
            frames_max,
        } = self.quality;
        if self.random.f64() < loss || self.frames.len() >= frames_max {
            return false;
        }
        let bits = frame.len() as u64 * 8;
        let takes = Duration::from_micros(bits * 1000 / u64::from(kbit_per_s.max(1)));
        self.idle_at = self.idle_at.max(now) + takes;
        self.frames
            .push_back((self.idle_at + delay, frame.to_owned()));
        true
    }

    /// When the next frame arrives.
    pub(crate) fn next_at(&self) -> Option<Duration> {
        self.frames.front().map(|(at, _)| *at)
    }

    /// The next frame, if it has arrived.
    pub(crate) fn arrived(&mut self, now: Duration) -> Option<Vec<u8>> {
        self.next_at().filter(|at| *at <= now)?;
        self.frames.pop_front().map(|(_, frame)| frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUALITY: Quality = Quality {
        kbit_per_s: 2000,
        delay: Duration::from_millis(40),
        loss: 0.0,
        frames_max: 200,
    };

    #[test]
    fn rate_and_delay_add_up() {
        let mut line = Line::new(QUALITY, 1);
        let now = Duration::from_secs(5);
        assert!(line.send(now, &[1; 1000]));
        assert!(line.send(now, &[2; 500]));
        // 8000 bits at 2 Mbit/s are 4 ms.
        assert_eq!(line.next_at(), Some(now + Duration::from_millis(44)));
        assert_eq!(line.arrived(now + Duration::from_millis(43)), None);
        assert_eq!(
            line.arrived(now + Duration::from_millis(44)),
            Some(vec![1; 1000])
        );
        assert_eq!(line.next_at(), Some(now + Duration::from_millis(46)));
    }

    #[test]
    fn a_full_line_drops_what_comes_last() {
        let mut line = Line::new(
            Quality {
                frames_max: 2,
                ..QUALITY
            },
            1,
        );
        let sent = [1, 2, 3].map(|byte| line.send(Duration::ZERO, &[byte]));
        assert_eq!(sent, [true, true, false]);
        let later = Duration::from_secs(1);
        assert_eq!(line.arrived(later), Some(vec![1]));
        assert!(line.send(later, &[4]));
    }

    #[test]
    fn it_loses_its_share_and_the_same_each_time() {
        let poor = Quality {
            loss: 0.05,
            frames_max: usize::MAX,
            ..QUALITY
        };
        let lost = |seed| {
            let mut line = Line::new(poor, seed);
            let lost = (0..10_000).filter(|_| !line.send(Duration::ZERO, &[0]));
            lost.collect::<Vec<u32>>()
        };
        // Five standard deviations.
        assert!((390..610).contains(&lost(7).len()), "{}", lost(7).len());
        assert_eq!(lost(7), lost(7));
        assert_ne!(lost(7), lost(8));
    }
}
