//! The addresses that names have now, as far as rules speak of them. No clock, no I/O.
//!
//! An address stays a name's as long as an answer that told it holds, and some seconds longer:
//! servers that give others an address each time, in turn, take none from those who were told it
//! before. Which addresses a name had is the daemon's to remember.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use manifest::Name;

use crate::names::Interest;
use crate::pipeline::{ADDRESSES_PER_NAME_MAX, NAMES_MAX};

/// How much longer than its answer holds an address is held: who was told it last begins then.
const HOLD_AFTER: Duration = Duration::from_secs(10);
/// How long it is held at least: connections begin a while after names are looked up.
const HOLD_MIN: Duration = Duration::from_secs(30);
/// How long what the daemon knew at its start is held: until it was asked for again.
const HOLD_KNOWN: Duration = Duration::from_secs(300);
/// Names that one wildcard brings: as many as a rule takes addresses. Who owns a domain can answer
/// for names without end.
const NAMES_PER_WILDCARD_MAX: usize = crate::pipeline::RANGES_PER_RULE_MAX;

/// Names with their addresses.
#[derive(Debug, Default)]
pub(super) struct Held {
    names: BTreeMap<Name, Addresses>,
}

#[derive(Debug, Default)]
struct Addresses {
    until: BTreeMap<IpAddr, Instant>,
    /// Whether the switch has all this.
    installed: bool,
}

/// What is to be done about an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lesson {
    /// The switch has these addresses.
    Known,
    /// The daemon is to be told these addresses, all that the name has now.
    Tell(BTreeSet<IpAddr>),
    /// There is no room for the name: no rule will match its addresses.
    Full,
}

impl Held {
    /// With what the daemon knew when it started.
    pub(super) fn knowing(known: Vec<(Name, Vec<IpAddr>)>, now: Instant) -> Held {
        let held = |addresses: Vec<IpAddr>| Addresses {
            until: addresses
                .into_iter()
                .map(|a| (a, now + HOLD_KNOWN))
                .collect(),
            installed: true,
        };
        let names = known.into_iter().map(|(name, known)| (name, held(known)));
        Held {
            names: names.collect(),
        }
    }

    /// An answer for a name: these addresses, as long as this.
    pub(super) fn hear(
        &mut self,
        name: &Name,
        addresses: &[IpAddr],
        ttl: Duration,
        interest: &Interest,
        now: Instant,
    ) -> Lesson {
        if !self.names.contains_key(name) {
            if addresses.is_empty() {
                return Lesson::Known;
            }
            if !self.has_room(name, interest) {
                return Lesson::Full;
            }
        }
        let held = self.names.entry(name.clone()).or_default();
        let before = held.current();
        let until = now + (ttl + HOLD_AFTER).max(HOLD_MIN);
        held.until.retain(|_, until| now < *until);
        for address in addresses.iter().take(ADDRESSES_PER_NAME_MAX) {
            let held = held.until.entry(*address).or_insert(until);
            *held = until.max(*held);
        }
        held.shorten();
        held.lesson(&before)
    }

    /// The switch has these addresses of a name.
    pub(super) fn installed(&mut self, name: &Name, addresses: &BTreeSet<IpAddr>) {
        if let Some(held) = self.names.get_mut(name) {
            held.installed |= held.current() == *addresses;
        }
    }

    /// What is held no longer, and what the switch may not have: names with all their addresses
    /// now. Names that are looked up ahead keep theirs until an answer comes.
    pub(super) fn expire(
        &mut self,
        interest: &Interest,
        now: Instant,
    ) -> Vec<(Name, BTreeSet<IpAddr>)> {
        let mut news = Vec::new();
        for (name, held) in &mut self.names {
            let before = held.current();
            if !interest.ahead.contains(name) && !interest.served.contains_key(name) {
                held.until.retain(|_, until| now < *until);
            }
            if let Lesson::Tell(addresses) = held.lesson(&before) {
                news.push((name.clone(), addresses));
            }
        }
        self.names
            .retain(|_, held| !held.until.is_empty() || !held.installed);
        news
    }

    /// Forgets the names that no rule speaks of any more, and returns them.
    pub(super) fn forget_unwanted(&mut self, interest: &Interest) -> Vec<Name> {
        let unwanted = self.names.keys().filter(|name| !interest.wants(name));
        let unwanted: Vec<Name> = unwanted.cloned().collect();
        for name in &unwanted {
            self.names.remove(name);
        }
        unwanted
    }

    /// Exactly these addresses: what this host serves itself.
    pub(super) fn set(
        &mut self,
        name: &Name,
        addresses: &BTreeSet<IpAddr>,
        now: Instant,
    ) -> Lesson {
        let held = self.names.entry(name.clone()).or_default();
        let before = held.current();
        let all = addresses.iter().take(ADDRESSES_PER_NAME_MAX);
        held.until = all.map(|address| (*address, now)).collect();
        held.lesson(&before)
    }

    fn has_room(&self, name: &Name, interest: &Interest) -> bool {
        let all = interest.wildcards(name);
        let brought = |pattern: &manifest::NamePattern| {
            let names = self.names.keys().filter(|name| pattern.matches(name));
            names.count()
        };
        let is_exact = all.is_empty();
        self.names.len() < NAMES_MAX
            && (is_exact || all.iter().any(|p| brought(p) < NAMES_PER_WILDCARD_MAX))
    }
}

impl Addresses {
    fn current(&self) -> BTreeSet<IpAddr> {
        self.until.keys().copied().collect()
    }

    /// Keeps those that are held longest.
    fn shorten(&mut self) {
        while self.until.len() > ADDRESSES_PER_NAME_MAX {
            let soonest = self.until.iter().min_by_key(|(_, until)| **until);
            let Some(address) = soonest.map(|(address, _)| *address) else {
                return;
            };
            self.until.remove(&address);
        }
    }

    fn lesson(&mut self, before: &BTreeSet<IpAddr>) -> Lesson {
        let current = self.current();
        self.installed &= current == *before;
        match self.installed {
            true => Lesson::Known,
            false => Lesson::Tell(current),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u16) -> IpAddr {
        IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last))
    }

    fn interest(patterns: &[&str]) -> Interest {
        Interest {
            patterns: patterns.iter().map(|text| text.parse().unwrap()).collect(),
            ..Interest::default()
        }
    }

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn addresses_given_in_turn_are_all_the_names_until_they_run_out() {
        let (start, mut held) = (Instant::now(), Held::default());
        let interest = interest(&["www.photos.example"]);
        let name: Name = "www.photos.example".parse().unwrap();
        let hear = |held: &mut Held, last: u16, at: u64| {
            held.hear(
                &name,
                &[address(last)],
                seconds(60),
                &interest,
                start + seconds(at),
            )
        };
        let all = |lasts: &[u16]| lasts.iter().map(|last| address(*last)).collect();
        assert_eq!(hear(&mut held, 1, 0), Lesson::Tell(all(&[1])));
        // Until the switch has it, it is told again.
        assert_eq!(hear(&mut held, 1, 0), Lesson::Tell(all(&[1])));
        held.installed(&name, &all(&[2]));
        assert_eq!(hear(&mut held, 1, 0), Lesson::Tell(all(&[1])));
        held.installed(&name, &all(&[1]));
        assert_eq!(hear(&mut held, 1, 0), Lesson::Known);
        assert_eq!(hear(&mut held, 2, 60), Lesson::Tell(all(&[1, 2])));
        assert_eq!(hear(&mut held, 2, 70), Lesson::Tell(all(&[2])));
        held.installed(&name, &all(&[2]));
        // What nobody asks for any more runs out, and is told once.
        assert_eq!(held.expire(&interest, start + seconds(139)), []);
        let gone = held.expire(&interest, start + seconds(140));
        assert_eq!(gone, [(name.clone(), all(&[]))]);
        held.installed(&name, &all(&[]));
        assert_eq!(held.expire(&interest, start + seconds(141)), []);
        assert!(held.names.is_empty());
    }

    #[test]
    fn names_looked_up_ahead_keep_their_addresses_while_no_answer_comes() {
        let (now, name) = (Instant::now(), "www.photos.example".parse().unwrap());
        let mut held = Held::knowing(vec![(Name::clone(&name), vec![address(1)])], now);
        let mut wanted = interest(&["www.photos.example"]);
        wanted.ahead.insert(name.clone());
        assert_eq!(held.expire(&wanted, now + seconds(100_000)), []);
        assert!(held.forget_unwanted(&wanted).is_empty());
        assert_eq!(held.forget_unwanted(&interest(&[])), [name]);
    }

    #[test]
    fn an_owner_of_a_domain_fills_neither_a_name_nor_the_host() {
        let (now, mut held) = (Instant::now(), Held::default());
        let interest = interest(&["*.photos.example", "x.photos.example"]);
        let all: Vec<IpAddr> = (0..1000).map(address).collect();
        let hear = |held: &mut Held, name: &str| {
            held.hear(&name.parse().unwrap(), &all, seconds(9), &interest, now)
        };
        for number in 0..NAMES_PER_WILDCARD_MAX {
            let Lesson::Tell(told) = hear(&mut held, &format!("n{number}.photos.example")) else {
                panic!("{number} is refused");
            };
            assert_eq!(told.len(), ADDRESSES_PER_NAME_MAX);
        }
        assert_eq!(hear(&mut held, "one.more.photos.example"), Lesson::Full);
        assert!(matches!(
            hear(&mut held, "x.photos.example"),
            Lesson::Tell(_)
        ));
    }
}
