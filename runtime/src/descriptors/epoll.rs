//! epoll(7): which of many objects can be used.
//!
//! An interest is queued when its object says that something changed, and looked at when somebody asks:
//! idle interests cost nothing. A level-triggered one stays queued while it is ready; an edge-triggered
//! one leaves the queue when it is reported and comes back with the object's next change. New bytes on a
//! readable object are a change, as on Linux.

use super::{Description, Events, FileType, Object, Status, Watchers};
use crate::Errno;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::rc::{Rc, Weak};
use core::any::Any;
use core::cell::RefCell;

/// Report an interest once for each change (EPOLLET).
pub const EDGE: u32 = 1 << 31;
/// Report an interest once, until it is modified (EPOLLONESHOT).
pub const ONE_SHOT: u32 = 1 << 30;

/// Names an interest: a descriptor's number and the description it had. Linux does the same, which is
/// why a duplicated descriptor keeps an interest alive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Key {
    descriptor: i32,
    description: usize,
}

impl Key {
    /// The name of an interest in `description` under the number `descriptor`.
    pub fn new(descriptor: i32, description: &Rc<Description>) -> Self {
        Self {
            descriptor,
            description: Rc::as_ptr(description) as usize,
        }
    }
}

/// What somebody wants to know, and the 64 bits that come with the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interest {
    /// [`Events`], [`EDGE`], [`ONE_SHOT`].
    pub events: u32,
    /// Given back with the answer.
    pub data: u64,
}

struct Entry {
    interest: Interest,
    description: Weak<Description>,
    queued: bool,
    /// A one-shot interest that was reported.
    disabled: bool,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<Key, Entry>,
    queue: VecDeque<Key>,
}

/// A set of interests.
pub struct Epoll {
    state: RefCell<State>,
    watchers: Watchers,
    /// Itself, for the objects' lists.
    this: Weak<Epoll>,
}

impl Epoll {
    /// An empty set.
    pub fn new() -> Rc<Self> {
        Rc::new_cyclic(|this| Self {
            state: RefCell::default(),
            watchers: Watchers::default(),
            this: this.clone(),
        })
    }

    /// Adds an interest (EPOLL_CTL_ADD).
    pub fn add(
        &self,
        key: Key,
        description: &Rc<Description>,
        interest: Interest,
    ) -> Result<(), Errno> {
        let watchers = description.object.watchers().ok_or(Errno::EPERM)?;
        if self.contains(&*description.object) {
            return Err(Errno::ELOOP);
        }
        self.forget_closed(key);
        let mut state = self.state.borrow_mut();
        if state.entries.contains_key(&key) {
            return Err(Errno::EEXIST);
        }
        watchers.add_epoll(self.this.clone(), key);
        let description = Rc::downgrade(description);
        let entry = Entry {
            interest,
            description,
            queued: false,
            disabled: false,
        };
        state.entries.insert(key, entry);
        drop(state);
        self.notify_if_ready(key);
        Ok(())
    }

    /// Changes an interest, and enables it again (EPOLL_CTL_MOD).
    pub fn modify(&self, key: Key, interest: Interest) -> Result<(), Errno> {
        self.forget_closed(key);
        let mut state = self.state.borrow_mut();
        let entry = state.entries.get_mut(&key).ok_or(Errno::ENOENT)?;
        (entry.interest, entry.disabled) = (interest, false);
        drop(state);
        self.notify_if_ready(key);
        Ok(())
    }

    /// Removes an interest (EPOLL_CTL_DEL).
    pub fn remove(&self, key: Key) -> Result<(), Errno> {
        let entry = self
            .state
            .borrow_mut()
            .entries
            .remove(&key)
            .ok_or(Errno::ENOENT)?;
        let description = entry.description.upgrade();
        if let Some(watchers) = description.as_ref().and_then(|open| open.object.watchers()) {
            watchers.remove_epoll(&self.this, key);
        }
        Ok(())
    }

    /// The object of interest `key` changed.
    pub fn notify(&self, key: Key) {
        let mut state = self.state.borrow_mut();
        let State { entries, queue } = &mut *state;
        let Some(entry) = entries.get_mut(&key) else {
            return;
        };
        if entry.queued || entry.disabled {
            return;
        }
        entry.queued = true;
        queue.push_back(key);
        drop(state);
        self.watchers.notify();
    }

    /// Gives at most `most` interests that can be used now.
    pub fn collect(&self, most: usize, mut report: impl FnMut(Events, u64)) -> usize {
        let mut reported = 0;
        let queued = self.state.borrow().queue.len();
        for _ in 0..queued {
            if reported == most {
                break;
            }
            let Some(key) = self.state.borrow_mut().queue.pop_front() else {
                break;
            };
            let events = self.ready(key);
            let mut state = self.state.borrow_mut();
            let State { entries, queue } = &mut *state;
            let Some(entry) = entries.get_mut(&key) else {
                continue;
            };
            entry.queued = false;
            if events.is_empty() {
                continue;
            }
            entry.disabled = entry.interest.events & ONE_SHOT != 0;
            if !entry.disabled && entry.interest.events & EDGE == 0 {
                entry.queued = true;
                queue.push_back(key);
            }
            report(events, entry.interest.data);
            reported += 1;
        }
        reported
    }

    fn notify_if_ready(&self, key: Key) {
        if !self.ready(key).is_empty() {
            self.notify(key);
        }
    }

    /// What of interest `key` can be used now. Does not keep the state borrowed while it asks.
    fn ready(&self, key: Key) -> Events {
        let (wanted, description) = match self.state.borrow().entries.get(&key) {
            Some(entry) if !entry.disabled => (entry.interest.events, entry.description.upgrade()),
            _ => return Events::default(),
        };
        let Some(description) = description else {
            self.forget_closed(key);
            return Events::default();
        };
        let always = Events::ERR.or(Events::HUP);
        description.object.events().and(Events(wanted).or(always))
    }

    /// Forgets an interest in a description that nobody has open any more.
    fn forget_closed(&self, key: Key) {
        let mut state = self.state.borrow_mut();
        if state
            .entries
            .get(&key)
            .is_some_and(|entry| entry.description.strong_count() == 0)
        {
            state.entries.remove(&key);
        }
    }

    /// Whether `object` is this epoll, or one that (also through others) watches it.
    fn contains(&self, object: &dyn Object) -> bool {
        let Some(epoll) = object.as_any().downcast_ref::<Epoll>() else {
            return false;
        };
        if core::ptr::eq(self, epoll) {
            return true;
        }
        let inner: alloc::vec::Vec<_> = {
            let state = epoll.state.borrow();
            state
                .entries
                .values()
                .filter_map(|entry| entry.description.upgrade())
                .collect()
        };
        inner
            .iter()
            .any(|description| self.contains(&*description.object))
    }
}

impl Object for Epoll {
    fn events(&self) -> Events {
        let keys: alloc::vec::Vec<Key> = self.state.borrow().queue.iter().copied().collect();
        Events::IN.when(keys.into_iter().any(|key| !self.ready(key).is_empty()))
    }

    fn watchers(&self) -> Option<&Watchers> {
        Some(&self.watchers)
    }

    fn status(&self) -> Status {
        Status {
            file_type: FileType::Regular,
            permissions: 0o600,
            size: 0,
            inode: 0,
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::EventCounter;
    use super::super::stream::{End, socket_pair};
    use super::*;

    const IN: u32 = Events::IN.0;

    fn open(object: Rc<dyn Object>) -> Rc<Description> {
        Description::new(object, super::super::O_RDWR)
    }

    fn collect(epoll: &Epoll) -> Vec<(u32, u64)> {
        let mut found = Vec::new();
        epoll.collect(16, |events, data| found.push((events.0, data)));
        found
    }

    /// An epoll with one interest (data 7) in one end of a pair; the other end.
    fn watched(events: u32) -> (Rc<Epoll>, Rc<Description>, Rc<End>, Key) {
        let (end, other) = socket_pair();
        let description = open(end);
        let epoll = Epoll::new();
        let key = Key::new(3, &description);
        epoll
            .add(key, &description, Interest { events, data: 7 })
            .unwrap();
        (epoll, description, other, key)
    }

    #[test]
    fn level_triggered_reports_while_ready() {
        let (epoll, description, other, _) = watched(IN);
        assert_eq!(collect(&epoll), []);
        other.write(b"ab").unwrap();
        assert_eq!(
            (collect(&epoll), collect(&epoll)),
            (vec![(IN, 7)], vec![(IN, 7)])
        );
        description.object.read(&mut [0; 8]).unwrap();
        assert_eq!(collect(&epoll), []);
    }

    #[test]
    fn edge_triggered_reports_each_change_once() {
        let (epoll, _description, other, _) = watched(IN | EDGE);
        other.write(b"a").unwrap();
        assert_eq!((collect(&epoll), collect(&epoll)), (vec![(IN, 7)], vec![]));
        other.write(b"b").unwrap();
        assert_eq!(collect(&epoll), [(IN, 7)], "more bytes are a change");
    }

    #[test]
    fn what_is_ready_already_is_reported() {
        let event = open(Rc::new(EventCounter::new(1, false)));
        let epoll = Epoll::new();
        let key = Key::new(0, &event);
        epoll
            .add(
                key,
                &event,
                Interest {
                    events: IN | EDGE,
                    data: 1,
                },
            )
            .unwrap();
        assert_eq!(collect(&epoll), [(IN, 1)]);
        epoll
            .modify(
                key,
                Interest {
                    events: IN | EDGE,
                    data: 2,
                },
            )
            .unwrap();
        assert_eq!(collect(&epoll), [(IN, 2)], "modifying looks again");
    }

    #[test]
    fn one_shot_waits_for_modify() {
        let (epoll, _description, other, key) = watched(IN | ONE_SHOT);
        other.write(b"a").unwrap();
        assert_eq!(collect(&epoll), [(IN, 7)]);
        other.write(b"b").unwrap();
        assert_eq!(collect(&epoll), []);
        epoll
            .modify(
                key,
                Interest {
                    events: IN | ONE_SHOT,
                    data: 8,
                },
            )
            .unwrap();
        assert_eq!(collect(&epoll), [(IN, 8)]);
    }

    #[test]
    fn errors_of_control() {
        let (epoll, description, _other, key) = watched(IN);
        let interest = Interest {
            events: IN,
            data: 0,
        };
        assert_eq!(epoll.add(key, &description, interest), Err(Errno::EEXIST));
        epoll.remove(key).unwrap();
        assert_eq!(epoll.remove(key), Err(Errno::ENOENT));
        assert_eq!(epoll.modify(key, interest), Err(Errno::ENOENT));
        let null = open(Rc::new(super::super::device::Device::Null));
        assert_eq!(
            epoll.add(Key::new(1, &null), &null, interest),
            Err(Errno::EPERM)
        );
    }

    #[test]
    fn a_closed_description_is_forgotten() {
        let (epoll, description, other, _) = watched(IN);
        other.write(b"a").unwrap();
        drop(description);
        assert_eq!(collect(&epoll), []);
        assert!(epoll.state.borrow().entries.is_empty());
    }

    #[test]
    fn an_epoll_can_watch_another_but_not_itself() {
        let (inner, _description, other, _) = watched(IN);
        let inner_open = open(inner.clone());
        let outer = Epoll::new();
        let key = Key::new(9, &inner_open);
        outer
            .add(
                key,
                &inner_open,
                Interest {
                    events: IN,
                    data: 99,
                },
            )
            .unwrap();
        assert_eq!(collect(&outer), []);
        other.write(b"a").unwrap();
        assert_eq!(collect(&outer), [(IN, 99)]);
        let outer_open = open(outer.clone());
        let loops = inner.add(
            Key::new(8, &outer_open),
            &outer_open,
            Interest {
                events: IN,
                data: 0,
            },
        );
        assert_eq!(loops, Err(Errno::ELOOP));
    }

    #[test]
    fn many_are_reported_in_turn() {
        let epoll = Epoll::new();
        let events: Vec<_> = (0..5)
            .map(|_| open(Rc::new(EventCounter::new(1, false))))
            .collect();
        for (number, event) in events.iter().enumerate() {
            let interest = Interest {
                events: IN,
                data: number as u64,
            };
            epoll
                .add(Key::new(number as i32, event), event, interest)
                .unwrap();
        }
        let mut seen = Vec::new();
        for _ in 0..5 {
            epoll.collect(2, |_, data| seen.push(data));
        }
        assert_eq!(seen, [0, 1, 2, 3, 4, 0, 1, 2, 3, 4], "none starves");
    }
}
