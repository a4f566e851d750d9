//! How many names a client may ask for: what a page wants at once, and then a steady few. Who tunnels
//! through names in front of a gate gets a trickle.
//!
//! Pure: times are handed in.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

/// Questions at once: some busy pages, in both families.
const AT_ONCE: f64 = 200.0;
/// Questions a second after that. With answers of [`super::message::DATAGRAM_BYTES_MAX`] a tunnel has less
/// than 100 kbit/s.
const PER_SECOND: f64 = 10.0;
/// Clients that are remembered: all of a large station's. Who has asked for nothing in a while is
/// forgotten first, and starts anew.
const CLIENTS_MAX: usize = 20_000;

/// What clients may still ask for.
#[derive(Debug, Default)]
pub(super) struct Pace(HashMap<IpAddr, Left>);

#[derive(Debug, Clone, Copy)]
struct Left {
    questions: f64,
    at: Instant,
}

impl Left {
    fn now(self, now: Instant) -> f64 {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        (self.questions + since * PER_SECOND).min(AT_ONCE)
    }
}

impl Pace {
    /// Whether a client may ask for one more name now; if so it is taken.
    pub(super) fn may_ask(&mut self, client: IpAddr, now: Instant) -> bool {
        if !self.0.contains_key(&client) && self.0.len() >= CLIENTS_MAX {
            // Whose questions are all there again is as one who never asked.
            self.0.retain(|_, left| left.now(now) < AT_ONCE);
            if self.0.len() >= CLIENTS_MAX {
                return false;
            }
        }
        let fresh = Left {
            questions: AT_ONCE,
            at: now,
        };
        let left = self.0.entry(client).or_insert(fresh);
        let questions = left.now(now);
        let may = questions >= 1.0;
        *left = Left {
            questions: if may { questions - 1.0 } else { questions },
            at: now,
        };
        may
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 5));

    /// Of so many questions at one moment, those that are answered.
    fn asked(pace: &mut Pace, count: usize, now: Instant) -> usize {
        (0..count).filter(|_| pace.may_ask(CLIENT, now)).count()
    }

    #[test]
    fn a_page_is_looked_up_and_a_tunnel_starves() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        assert_eq!(asked(&mut pace, 150, start), 150);
        assert_eq!(asked(&mut pace, 1000, start), 50);
        let later = start + Duration::from_secs(3);
        assert_eq!(asked(&mut pace, 1000, later), 30);
        let other = IpAddr::from([10, 0, 0, 6]);
        assert!(pace.may_ask(other, later), "others are others");
        let much_later = later + Duration::from_secs(3600);
        assert_eq!(asked(&mut pace, 1000, much_later), 200);
    }

    #[test]
    fn a_table_that_is_full_forgets_who_is_quiet() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let client = |number: usize| {
            let [.., a, b, c] = number.to_be_bytes();
            IpAddr::from([10, a, b, c])
        };
        assert!((0..CLIENTS_MAX).all(|number| pace.may_ask(client(number), start)));
        assert!(!pace.may_ask(client(CLIENTS_MAX), start));
        let later = start + Duration::from_secs(1);
        assert!(pace.may_ask(client(CLIENTS_MAX), later));
        assert!(pace.0.len() <= CLIENTS_MAX);
    }
}
