//! What is durable, in memory: whatever is in here survives a power cut.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::id::Id;
use crate::limits::UPLOADS_MAX;
use crate::store::record::{Body, Delivery, Digest, Record};

/// An upload.
#[derive(Clone, Debug)]
pub struct Entry {
    /// As the index has it.
    pub record: Record,
    /// Its bytes; `None` when the origin has them.
    pub body: Option<Arc<Body>>,
    /// When a client was heard of it last, or the program started.
    pub touched: Instant,
    /// Since when this program knows of it.
    pub known: Instant,
}

impl Entry {
    /// How many bytes of it are durable.
    pub fn offset(&self) -> u64 {
        match (&self.record.whole, &self.body) {
            (Some(_), _) => self.record.length.unwrap_or_default(),
            (None, Some(body)) => body.length(),
            (None, None) => 0,
        }
    }

    /// Whether it is to be sent, by itself.
    pub fn is_waiting(&self) -> bool {
        let record = &self.record;
        record.whole.is_some()
            && !record.partial
            && record.delivery == Delivery::Waiting
            && record.twin_of.is_none()
    }
}

/// All uploads.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: HashMap<Id, Entry>,
    /// Bytes of the index that their records take.
    record_bytes: u64,
    /// What those may be.
    pub record_bytes_max: u64,
    /// Blocks that may be promised, and all there are.
    pub blocks: (u64, u64),
    /// Why nothing is taken any more.
    pub failed: Option<String>,
}

impl Ledger {
    /// An upload.
    pub fn get(&self, id: Id) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Id, &Entry)> {
        self.entries.iter().map(|(id, entry)| (*id, entry))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is room for so many more with records of so many bytes.
    pub(super) fn has_room(&self, count: usize, record_bytes: u64) -> bool {
        self.count() + count <= UPLOADS_MAX
            && self.record_bytes + record_bytes <= self.record_bytes_max
    }

    /// Whether what is only kept to be looked at should make room soon.
    pub fn is_tight(&self) -> bool {
        let (free, all) = self.blocks;
        free < all / 8
            || self.count() > UPLOADS_MAX / 8 * 7
            || self.record_bytes > self.record_bytes_max / 8 * 7
    }

    pub(super) fn put(&mut self, id: Id, record: Record, body: Option<Arc<Body>>) {
        let now = Instant::now();
        let before = self.entries.get(&id);
        let known = before.map_or(now, |entry| entry.known);
        let gone = before.map_or(0, |entry| entry.record.bytes());
        self.record_bytes = self.record_bytes - gone + record.bytes();
        let entry = Entry {
            record,
            body,
            touched: now,
            known,
        };
        self.entries.insert(id, entry);
    }

    pub(super) fn remove(&mut self, id: Id) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        self.record_bytes -= entry.record.bytes();
        Some(entry)
    }

    /// The uploads that have a body.
    pub(super) fn with_body(&self, body: Id) -> Vec<Id> {
        let has = |entry: &Entry| entry.body.as_ref().is_some_and(|its| its.id == body);
        self.iter()
            .filter(|(_, entry)| has(entry))
            .map(|(id, _)| id)
            .collect()
    }

    /// The body of another upload with the same bytes.
    pub(super) fn same_body(&self, digest: Digest) -> Option<Arc<Body>> {
        let has = |entry: &Entry| {
            let whole = entry.record.whole.as_ref();
            whole.is_some_and(|whole| whole.digest == digest)
                && !entry.record.partial
                && entry.record.delivery != Delivery::Damaged
        };
        let mut same = self.entries.values().filter(|entry| has(entry));
        same.find_map(|entry| entry.body.clone())
    }

    /// The uploads that are the same request.
    pub(super) fn with_identity(&self, identity: Digest) -> Vec<Id> {
        let has = |entry: &Entry| {
            entry
                .record
                .whole
                .is_some_and(|whole| whole.identity == identity)
        };
        self.iter()
            .filter(|(_, entry)| has(entry))
            .map(|(id, _)| id)
            .collect()
    }

    /// Those for which another one goes.
    pub(super) fn twins_of(&self, id: Id) -> Vec<Id> {
        let is_twin = |entry: &Entry| entry.record.twin_of == Some(id);
        let mut twins: Vec<Id> = self
            .iter()
            .filter(|(_, entry)| is_twin(entry))
            .map(|(id, _)| id)
            .collect();
        twins.sort_unstable();
        twins
    }
}
