//! Connections in TIME-WAIT (RFC 9293 §3.3.2): a line in a table instead of a connection.
//!
//! Bounded: beyond so many the oldest gives way. A new SYN beyond the old stream's end takes the
//! place at once (RFC 9293 §3.10.7.4).

use alloc::collections::VecDeque;

use hashbrown::HashMap;

use super::super::secret::TableKey;
use super::super::time::{Instant, SECOND};
use super::connection::Connection;
use super::segment::{Flags, Segment};
use super::{Seq, Tuple};

/// Twice the longest life of a segment, as Linux takes it.
const DURATION: u64 = 60 * SECOND;

#[derive(Clone, Copy)]
struct Entry {
    snd_nxt: Seq,
    rcv_nxt: Seq,
    expires: Instant,
}

/// What a segment for a connection in TIME-WAIT is answered with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// An acknowledgment of what was received: our last one was lost. With the sequence number and the
    /// acknowledgment.
    Acknowledge(Seq, Seq),
    /// Nothing.
    Silence,
    /// The peer begins a new connection: the old one is forgotten.
    Forgotten,
}

/// All connections in TIME-WAIT.
pub(crate) struct TimeWait {
    entries: HashMap<Tuple, Entry, TableKey>,
    /// In the order in which they expire, since all wait equally long.
    order: VecDeque<(Instant, Tuple)>,
    /// Most lines, of some 170 bytes each.
    most: usize,
}

impl TimeWait {
    pub(crate) fn new(key: TableKey, most: usize) -> TimeWait {
        TimeWait {
            entries: HashMap::with_hasher(key),
            order: VecDeque::new(),
            most,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn contains(&self, tuple: &Tuple) -> bool {
        self.entries.contains_key(tuple)
    }

    pub(crate) fn add(&mut self, now: Instant, connection: &Connection) {
        if self.order.len() >= self.most {
            self.remove_oldest();
        }
        let expires = now.after(DURATION);
        let entry = Entry {
            snd_nxt: connection.snd.max,
            rcv_nxt: connection.rcv.nxt,
            expires,
        };
        self.entries.insert(connection.tuple, entry);
        self.order.push_back((expires, connection.tuple));
    }

    /// RFC 9293 §3.10.7.4, and RFC 1337: a RST does not end the wait.
    pub(crate) fn receive(&mut self, tuple: &Tuple, segment: &Segment) -> Option<Answer> {
        let entry = self.entries.get(tuple)?;
        let header = &segment.header;
        Some(if header.flags.has(Flags::RST) {
            Answer::Silence
        } else if header.flags.has(Flags::SYN)
            && !header.flags.has(Flags::ACK)
            && entry.rcv_nxt < header.seq
        {
            self.entries.remove(tuple);
            Answer::Forgotten
        } else if segment.len() > 0 {
            Answer::Acknowledge(entry.snd_nxt, entry.rcv_nxt)
        } else {
            Answer::Silence
        })
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.order.front().map(|&(at, _)| at)
    }

    pub(crate) fn expire(&mut self, now: Instant) {
        while self.order.front().is_some_and(|&(at, _)| at <= now) {
            self.remove_oldest();
        }
    }

    fn remove_oldest(&mut self) {
        let Some((expires, tuple)) = self.order.pop_front() else {
            return;
        };
        // The tuple may have been used and have come here again since.
        if self
            .entries
            .get(&tuple)
            .is_some_and(|entry| entry.expires == expires)
        {
            self.entries.remove(&tuple);
        }
    }
}
