//! What applications' flows carried, added up from the switch's counters so that nothing is counted
//! twice and as little as possible is lost.
//!
//! [`advance`] is pure: what was seen last and what the switch says now make what is to be added,
//! and what was seen. Who calls it stores both in one transaction; then a crash at any moment counts
//! nothing twice, for counters in the switch go on and the next call finds the difference.
//!
//! **Counters begin anew** when the switch is started again ([`Counters::incarnation`]), and when a
//! flow went and one like it came (its last count comes in [`Counters::removed`]). A flow that is
//! replaced by one with the same match keeps its counters in OpenFlow 1.5.
//!
//! **What is lost:** what a switch that was killed had counted since the last call; if the daemon is
//! killed, what flows counted that went since the last call; and the last packets of a flow that
//! goes, which Open vSwitch had not yet learned of its datapath (a second or less). Ask often.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ovs::{Counted, Counters};

/// Packets and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Amount {
    /// Packets, of both directions.
    pub packets: u64,
    /// Bytes of their frames, without the frame check sequence.
    pub bytes: u64,
}

impl Amount {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Amount) -> Amount {
        Amount {
            packets: self.packets.saturating_add(other.packets),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    /// What a counter counted since it said `earlier`; all of it, if it counts less than that, for
    /// then it began anew.
    fn since(self, earlier: Amount) -> Amount {
        let both = (
            self.packets.checked_sub(earlier.packets),
            self.bytes.checked_sub(earlier.bytes),
        );
        match both {
            (Some(packets), Some(bytes)) => Amount { packets, bytes },
            _ => self,
        }
    }
}

/// What each flow had counted when it was looked at last. To be stored with the sums.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Seen {
    incarnation: String,
    flows: BTreeMap<String, Amount>,
    /// Flows that were not there any more the last time, and of whose end nothing had been said:
    /// that may come a little later.
    going: BTreeMap<String, Amount>,
}

/// What is to be added to one sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// The application's number.
    pub application: u32,
    /// The rule's index; [`crate::pipeline::Cookie::NO_RULE`] for what flows of all rules carried.
    pub rule: u16,
    /// How much.
    pub amount: Amount,
}

/// What was carried since `seen`, one entry for each application and rule that carried something;
/// and what is seen now.
pub fn advance(seen: &Seen, now: &Counters) -> (Seen, Vec<Delta>) {
    let mut sums = Sums::default();
    let mut flows = seen.going.clone();
    flows.extend(seen.flows.clone());
    if now.incarnation != seen.incarnation {
        // What went before the restart counted on from what was seen of it.
        sums.removed(&mut flows, &now.removed_before);
        flows.clear();
    }
    sums.removed(&mut flows, &now.removed);
    let mut next = BTreeMap::new();
    for one in &now.flows {
        let earlier = flows.remove(&one.flow).unwrap_or_default();
        sums.add(one, earlier);
        next.insert(one.flow.clone(), amount(one));
    }
    let incarnation = now.incarnation.clone();
    flows.retain(|flow, _| seen.flows.contains_key(flow));
    let next = Seen {
        incarnation,
        flows: next,
        going: flows,
    };
    (next, sums.deltas())
}

fn amount(counted: &Counted) -> Amount {
    Amount {
        packets: counted.packets,
        bytes: counted.bytes,
    }
}

#[derive(Default)]
struct Sums(BTreeMap<(u32, u16), Amount>);

impl Sums {
    fn removed(&mut self, seen: &mut BTreeMap<String, Amount>, removed: &[Counted]) {
        for one in removed {
            let earlier = seen.remove(&one.flow).unwrap_or_default();
            self.add(one, earlier);
        }
    }

    fn add(&mut self, counted: &Counted, earlier: Amount) {
        let sum = self.0.entry((counted.application, counted.rule));
        let sum = sum.or_default();
        *sum = sum.plus(amount(counted).since(earlier));
    }

    fn deltas(self) -> Vec<Delta> {
        let one = |((application, rule), amount)| Delta {
            application,
            rule,
            amount,
        };
        let some = |delta: &Delta| delta.amount != Amount::default();
        self.0.into_iter().map(one).filter(some).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(flow: &str, bytes: u64) -> Counted {
        Counted {
            flow: flow.to_owned(),
            application: 7,
            rule: 0,
            packets: bytes / 100,
            bytes,
        }
    }

    fn counters(incarnation: &str, removed: &[Counted], flows: &[Counted]) -> Counters {
        Counters {
            incarnation: incarnation.to_owned(),
            removed: removed.to_vec(),
            flows: flows.to_vec(),
            ..Counters::default()
        }
    }

    /// Puts counters to the ledger one after the other: the bytes that each adds.
    fn check(steps: &[(Counters, u64)]) {
        let mut seen = Seen::default();
        for (now, expected) in steps {
            let (next, deltas) = advance(&seen, now);
            let bytes: u64 = deltas.iter().map(|delta| delta.amount.bytes).sum();
            assert_eq!(bytes, *expected, "{now:?}");
            // What a daemon stores, and reads after a crash.
            let stored = serde_json::to_string(&next).unwrap();
            seen = serde_json::from_str(&stored).unwrap();
            assert_eq!(seen, next);
        }
    }

    #[test]
    fn each_byte_is_added_once() {
        let now = |bytes| counters("one", &[], &[counted("a", bytes)]);
        check(&[(now(300), 300), (now(300), 0), (now(1000), 700)]);
    }

    #[test]
    fn a_flow_that_went_is_added_to_its_end() {
        let gone = [counted("a", 500)];
        check(&[
            (counters("one", &[], &[counted("a", 300)]), 300),
            (counters("one", &gone, &[]), 200),
            (counters("one", &[], &[]), 0),
        ]);
        // Its end is told of late.
        check(&[
            (counters("one", &[], &[counted("a", 300)]), 300),
            (counters("one", &[], &[]), 0),
            (counters("one", &gone, &[]), 200),
        ]);
        // It came again, even twice, before anybody looked.
        let twice = [counted("a", 500), counted("a", 40)];
        check(&[
            (counters("one", &[], &[counted("a", 300)]), 300),
            (
                counters("one", &twice, &[counted("a", 400)]),
                200 + 40 + 400,
            ),
        ]);
    }

    #[test]
    fn a_switch_that_started_again_counts_from_nothing() {
        let mut later = counters("two", &[], &[counted("a", 900)]);
        later.removed_before = vec![counted("a", 350)];
        check(&[
            (counters("one", &[], &[counted("a", 300)]), 300),
            (later, 50 + 900),
            (counters("two", &[], &[counted("a", 1000)]), 100),
        ]);
    }

    #[test]
    fn random_histories_add_up() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..200 {
            random_history(&mut rng);
        }
    }

    /// A switch with three flows that count, go, come and restart; what it carried, less what it had
    /// not told when it was killed, is what is added up.
    fn random_history(rng: &mut fastrand::Rng) {
        let names = ["a", "b", "c"];
        let (mut flows, mut removed) = (BTreeMap::new(), Vec::new());
        let (mut seen, mut added, mut carried, mut untold) = (Seen::default(), 0, 0, 0);
        let mut incarnation = 0;
        for _ in 0..60 {
            let name = names[rng.usize(..3)];
            match rng.u8(..20) {
                0..10 => {
                    let bytes = rng.u64(1..2000);
                    *flows.entry(name).or_insert(0) += bytes;
                    carried += bytes;
                    untold += bytes;
                }
                10..13 => removed.extend(flows.remove(name).map(|bytes| counted(name, bytes))),
                13 => {
                    (flows, removed) = (BTreeMap::new(), Vec::new());
                    incarnation += 1;
                    carried -= std::mem::take(&mut untold);
                }
                _ => {
                    let all: Vec<Counted> = flows.iter().map(|(n, b)| counted(n, *b)).collect();
                    let now = counters(&incarnation.to_string(), &removed, &all);
                    let (next, deltas) = advance(&seen, &now);
                    added += deltas.iter().map(|delta| delta.amount.bytes).sum::<u64>();
                    (seen, removed, untold) = (next, Vec::new(), 0);
                    assert_eq!(added, carried);
                }
            }
        }
    }
}
