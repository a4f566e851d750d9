//! Ethernet addresses of neighbours (RFC 826, RFC 4861 §7.3), and who waits for them.
//!
//! An address is trusted for [`REACHABLE`]; after that it is still used while the neighbour is asked
//! again. Strangers cannot fill the table: it is bounded, and only answers to questions of ours and
//! questions meant for us are believed.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::net::IpAddr;

use hashbrown::HashMap;

use super::packet::Mac;
use super::secret::TableKey;
use super::time::{Instant, SECOND};

/// Most neighbours remembered.
const NEIGHBORS_MAX: usize = 1024;
/// How long an answer holds (RFC 4861 §10).
const REACHABLE: u64 = 30 * SECOND;
/// Between two questions.
const RETRY: u64 = SECOND;
/// Questions without an answer before giving up.
const QUESTIONS: u8 = 3;
/// Frames that wait for one neighbour; as Linux's default of old.
const PARKED_MAX: usize = 8;

/// A neighbour's address as a connection may remember it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Hop {
    pub(crate) mac: Mac,
    /// The table's epoch when it was looked up.
    epoch: u32,
    until: Instant,
}

enum State {
    /// Asked, never answered.
    Incomplete {
        connections: Vec<u32>,
        parked: Vec<Vec<u8>>,
    },
    Known {
        mac: Mac,
        confirmed: Instant,
    },
}

struct Neighbor {
    state: State,
    /// Questions since the last answer.
    asked: u8,
    retry_at: Option<Instant>,
}

/// Who can go on, or must give up.
#[derive(Default)]
pub(crate) struct Waiting {
    /// Connections with something to send.
    pub(crate) connections: Vec<u32>,
    /// Frames whose destination address is still to be written.
    pub(crate) parked: Vec<Vec<u8>>,
}

/// A question to be put to the network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Question {
    pub(crate) target: IpAddr,
    /// The address to ask, if the question is only whether it still holds.
    pub(crate) mac: Option<Mac>,
}

/// What time brought.
pub(crate) enum Due {
    Ask(Question),
    Failed(Waiting),
}

/// All neighbours.
pub(crate) struct Neighbors {
    table: HashMap<IpAddr, Neighbor, TableKey>,
    timers: BTreeSet<(Instant, IpAddr)>,
    /// Counts the changes that make remembered hops wrong.
    epoch: u32,
}

impl Neighbors {
    pub(crate) fn new(key: TableKey) -> Neighbors {
        Neighbors {
            table: HashMap::with_hasher(key),
            timers: BTreeSet::new(),
            epoch: 0,
        }
    }

    /// Whether a remembered hop may be used without a look-up.
    pub(crate) fn is_fresh(&self, now: Instant, hop: &Hop) -> bool {
        hop.epoch == self.epoch && now < hop.until
    }

    /// The neighbour's address, if known, and a question to put.
    pub(crate) fn resolve(
        &mut self,
        now: Instant,
        target: IpAddr,
    ) -> (Option<Hop>, Option<Question>) {
        if !self.table.contains_key(&target) {
            self.make_room();
            let state = State::Incomplete {
                connections: Vec::new(),
                parked: Vec::new(),
            };
            self.table.insert(
                target,
                Neighbor {
                    state,
                    asked: 0,
                    retry_at: None,
                },
            );
        }
        let epoch = self.epoch;
        let Some(neighbor) = self.table.get_mut(&target) else {
            return (None, None);
        };
        let (hop, stale) = match &neighbor.state {
            State::Incomplete { .. } => (None, None),
            &State::Known { mac, confirmed } => {
                let until = confirmed.after(REACHABLE);
                let stale = until <= now;
                let until = if stale { now.after(RETRY) } else { until };
                (Some(Hop { mac, epoch, until }), Some(mac).filter(|_| stale))
            }
        };
        let ask = (hop.is_none() || stale.is_some()) && neighbor.retry_at.is_none();
        if ask {
            neighbor.asked = 1;
            neighbor.retry_at = Some(now.after(RETRY));
            self.timers.insert((now.after(RETRY), target));
        }
        (hop, ask.then_some(Question { target, mac: stale }))
    }

    /// A connection wants to be told.
    pub(crate) fn wait(&mut self, target: IpAddr, connection: u32) {
        if let Some(Neighbor {
            state: State::Incomplete { connections, .. },
            ..
        }) = self.table.get_mut(&target)
        {
            connections.push(connection);
        }
    }

    /// A frame waits; false if too many do.
    pub(crate) fn park(&mut self, target: IpAddr, frame: Vec<u8>) -> bool {
        match self.table.get_mut(&target) {
            Some(Neighbor {
                state: State::Incomplete { parked, .. },
                ..
            }) if parked.len() < PARKED_MAX => {
                parked.push(frame);
                true
            }
            _ => false,
        }
    }

    /// A neighbour told its address. `create` if it may be one that we did not ask.
    pub(crate) fn learn(
        &mut self,
        now: Instant,
        target: IpAddr,
        mac: Mac,
        create: bool,
    ) -> Waiting {
        let known = self.table.contains_key(&target);
        if mac.is_group() || !(known || create) {
            return Waiting::default();
        }
        if !known {
            self.make_room();
        }
        let new = State::Known {
            mac,
            confirmed: now,
        };
        let old = self.table.insert(
            target,
            Neighbor {
                state: new,
                asked: 0,
                retry_at: None,
            },
        );
        let Some(old) = old else {
            return Waiting::default();
        };
        if let Some(at) = old.retry_at {
            self.timers.remove(&(at, target));
        }
        match old.state {
            State::Incomplete {
                connections,
                parked,
            } => Waiting {
                connections,
                parked,
            },
            State::Known { mac: before, .. } => {
                if before != mac {
                    self.epoch += 1;
                }
                Waiting::default()
            }
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timers.first().map(|&(at, _)| at)
    }

    /// The next thing that is due, until none is.
    pub(crate) fn next_due(&mut self, now: Instant) -> Option<Due> {
        let &(at, target) = self.timers.first().filter(|&&(at, _)| at <= now)?;
        self.timers.remove(&(at, target));
        let neighbor = self.table.get_mut(&target)?;
        if neighbor.asked < QUESTIONS {
            neighbor.asked += 1;
            neighbor.retry_at = Some(now.after(RETRY));
            self.timers.insert((now.after(RETRY), target));
            let mac = match neighbor.state {
                State::Known { mac, .. } => Some(mac),
                State::Incomplete { .. } => None,
            };
            return Some(Due::Ask(Question { target, mac }));
        }
        self.epoch += 1;
        let waiting = match self.table.remove(&target)?.state {
            State::Incomplete {
                connections,
                parked,
            } => Waiting {
                connections,
                parked,
            },
            State::Known { .. } => Waiting::default(),
        };
        Some(Due::Failed(waiting))
    }

    /// Forgets everything: the interface moved to another link.
    pub(crate) fn clear(&mut self) -> Waiting {
        self.epoch += 1;
        self.timers.clear();
        let mut all = Waiting::default();
        for (_, neighbor) in self.table.drain() {
            if let State::Incomplete { connections, .. } = neighbor.state {
                all.connections.extend(connections);
            }
        }
        all
    }

    /// Makes room for one more by forgetting the address confirmed longest ago.
    fn make_room(&mut self) {
        if self.table.len() < NEIGHBORS_MAX {
            return;
        }
        let age = |neighbor: &Neighbor| match neighbor.state {
            State::Known { confirmed, .. } => confirmed,
            State::Incomplete { .. } => Instant(u64::MAX), // somebody waits
        };
        let oldest = self
            .table
            .iter()
            .min_by_key(|(_, neighbor)| age(neighbor))
            .map(|(&target, _)| target);
        if let Some(target) = oldest
            && let Some(neighbor) = self.table.remove(&target)
        {
            self.epoch += 1;
            if let Some(at) = neighbor.retry_at {
                self.timers.remove(&(at, target));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::secret::Secret;
    use super::*;

    const A: Mac = Mac([2, 0, 0, 0, 0, 1]);

    fn neighbors() -> Neighbors {
        Neighbors::new(Secret::new(&[0; 32]).table_key())
    }

    fn ip(n: u16) -> IpAddr {
        [10, 0, (n >> 8) as u8, n as u8].into()
    }

    #[test]
    fn asks_three_times_then_gives_up() {
        let mut neighbors = neighbors();
        let (hop, question) = neighbors.resolve(Instant(0), ip(1));
        assert_eq!(
            (hop, question),
            (
                None,
                Some(Question {
                    target: ip(1),
                    mac: None
                })
            )
        );
        neighbors.wait(ip(1), 7);
        assert_eq!(neighbors.resolve(Instant(0), ip(1)), (None, None));
        for second in 1..3 {
            assert!(matches!(
                neighbors.next_due(Instant(second * SECOND)),
                Some(Due::Ask(_))
            ));
        }
        let Some(Due::Failed(waiting)) = neighbors.next_due(Instant(3 * SECOND)) else {
            panic!("still hoping")
        };
        assert_eq!(waiting.connections, [7]);
        assert_eq!(neighbors.deadline(), None);
    }

    #[test]
    fn a_stale_address_is_used_while_it_is_asked_for_again() {
        let mut neighbors = neighbors();
        neighbors.resolve(Instant(0), ip(1));
        neighbors.learn(Instant(0), ip(1), A, false);
        let (hop, _) = neighbors.resolve(Instant(0), ip(1));
        assert!(neighbors.is_fresh(Instant(REACHABLE - 1), &hop.unwrap()));
        assert!(!neighbors.is_fresh(Instant(REACHABLE), &hop.unwrap()));
        let (hop, question) = neighbors.resolve(Instant(REACHABLE), ip(1));
        assert_eq!((hop.unwrap().mac, question.unwrap().mac), (A, Some(A)));
    }

    #[test]
    fn strangers_are_not_believed_and_do_not_fill_the_table() {
        let mut neighbors = neighbors();
        neighbors.learn(Instant(0), ip(1), A, false);
        assert!(neighbors.resolve(Instant(0), ip(1)).0.is_none());
        for n in 0..5000 {
            neighbors.learn(Instant(u64::from(n)), ip(n), A, true);
        }
        assert!(neighbors.table.len() <= NEIGHBORS_MAX);
    }
}
