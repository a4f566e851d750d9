//! How often somebody may fail to log in: a bucket for each client, each account and the operator, pure
//! and bounded.
//!
//! Each attempt takes from the bucket, and one that succeeds puts it back, so many at once are bounded
//! as well. When all buckets are in use, who has none is refused: a flood from many addresses closes
//! the door to strangers, and not to those that are inside.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};

use crate::limits::{ATTEMPT_SECONDS, ATTEMPTS_AT_ONCE, ATTEMPTS_REMEMBERED_MAX};

/// Whose attempts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// A client. One of IPv6 has a network of addresses, which is what is meant then.
    Client(IpAddr),
    /// A subscriber's account, by name.
    Account(String),
    /// The operator, whose name is no account's: nobody empties this bucket at the clients' door.
    Operator,
}

impl Who {
    /// The client of an address.
    pub fn client(address: IpAddr) -> Self {
        Self::Client(match address {
            IpAddr::V6(address) => {
                let network = address.to_bits() >> 64 << 64;
                Ipv6Addr::from_bits(network).into()
            }
            IpAddr::V4(_) => address,
        })
    }
}

/// Failures left, and since when.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: u32,
    since: u64,
}

impl Bucket {
    fn filled(self, now: u64) -> Bucket {
        let more = now.saturating_sub(self.since) / ATTEMPT_SECONDS;
        let left = u64::from(self.left) + more;
        if left >= u64::from(ATTEMPTS_AT_ONCE) {
            return Bucket {
                left: ATTEMPTS_AT_ONCE,
                since: now,
            };
        }
        Bucket {
            left: u32::try_from(left).unwrap_or(ATTEMPTS_AT_ONCE),
            since: self.since + more * ATTEMPT_SECONDS,
        }
    }
}

/// How often who may fail.
#[derive(Debug, Default)]
pub struct Attempts(HashMap<Who, Bucket>);

impl Attempts {
    /// Whether an attempt is allowed, which then counts as failed until [`Attempts::succeeded`].
    pub fn begin(&mut self, who: &Who, now: u64) -> bool {
        if !self.0.contains_key(who) && self.0.len() >= ATTEMPTS_REMEMBERED_MAX {
            self.0
                .retain(|_, bucket| bucket.filled(now).left < ATTEMPTS_AT_ONCE);
            if self.0.len() >= ATTEMPTS_REMEMBERED_MAX {
                return false;
            }
        }
        let bucket = self.0.entry(who.clone()).or_insert(Bucket {
            left: ATTEMPTS_AT_ONCE,
            since: now,
        });
        *bucket = bucket.filled(now);
        match bucket.left.checked_sub(1) {
            Some(left) => {
                bucket.left = left;
                true
            }
            None => false,
        }
    }

    /// The attempt did not fail.
    pub fn succeeded(&mut self, who: &Who) {
        if let Some(bucket) = self.0.get_mut(who) {
            bucket.left = (bucket.left + 1).min(ATTEMPTS_AT_ONCE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> Who {
        Who::client(text.parse().expect("an address"))
    }

    #[test]
    fn failures_are_bounded_and_forgiven_with_time() {
        let mut attempts = Attempts::default();
        let who = client("10.0.0.1");
        let allowed = (0..50).filter(|_| attempts.begin(&who, 0)).count();
        assert_eq!(allowed, ATTEMPTS_AT_ONCE as usize);
        assert!(!attempts.begin(&who, ATTEMPT_SECONDS - 1));
        assert!(attempts.begin(&who, ATTEMPT_SECONDS));
        assert!(!attempts.begin(&who, ATTEMPT_SECONDS));
        assert!(attempts.begin(&client("10.0.0.2"), 0), "another client");
    }

    #[test]
    fn who_succeeds_is_not_counted() {
        let mut attempts = Attempts::default();
        let who = Who::Account("ada".to_owned());
        for _ in 0..100 {
            assert!(attempts.begin(&who, 0));
            attempts.succeeded(&who);
        }
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        assert_eq!(client("2001:db8::1"), client("2001:db8::ffff:0:1"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
    }

    #[test]
    fn a_flood_of_addresses_takes_no_more_memory_and_passes_with_time() {
        let mut attempts = Attempts::default();
        for number in 0..ATTEMPTS_REMEMBERED_MAX + 10 {
            let who = Who::Account(number.to_string());
            assert_eq!(attempts.begin(&who, 0), number < ATTEMPTS_REMEMBERED_MAX);
        }
        assert_eq!(attempts.0.len(), ATTEMPTS_REMEMBERED_MAX);
        assert!(attempts.begin(&client("10.0.0.9"), ATTEMPT_SECONDS));
    }
}
