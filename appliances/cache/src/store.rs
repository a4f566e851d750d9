//! The memory tier: responses by address, each address with its variants, admitted and evicted by
//! S3-FIFO (`quick_cache`), bounded by bytes.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder};

use crate::body::{Body, End};
use crate::freshness::{Freshness, Timestamp};
use crate::limits::{ENTRY_BYTES, TYPICAL_OBJECT_BYTES, VARIANTS_MAX};
use crate::ranges::{Part, Wanted};
use crate::variance::Selecting;

/// The address of a response: where it came from and what it is called there. Publishers are apart by
/// it: in the intercepting role the site has the address that the client meant.
pub type Key = Arc<str>;

/// A stored response. It may still arrive.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its status: of a partial one, 206.
    pub status: StatusCode,
    /// Its fields, without those of the connection.
    pub headers: HeaderMap,
    /// Which requests it answers.
    pub selecting: Selecting,
    /// How long it is fresh.
    pub freshness: Freshness,
    /// When it was received.
    pub received: Timestamp,
    /// Its bytes.
    pub body: Arc<Body>,
    /// The length that the origin promised; for parts, that of the part.
    pub length: Option<u64>,
    /// None: the whole representation.
    pub part: Option<Part>,
}

impl Entry {
    /// Bytes that it counts for.
    fn weight(&self) -> u64 {
        self.length.unwrap_or(0).max(self.body.arrived()) + ENTRY_BYTES
    }

    /// The length of the body, if it is known.
    pub fn body_length(&self) -> Option<u64> {
        match self.body.end() {
            Some(End::Whole) => Some(self.body.arrived()),
            _ => self.length,
        }
    }

    /// The part with the bytes that really came.
    pub fn real_part(&self) -> Option<Part> {
        self.part?.with_length(self.body_length()?)
    }

    fn answers(&self, request: &HeaderMap, wanted: Option<Wanted>) -> bool {
        if self.body.end() == Some(End::Broken) || !self.selecting.matches(request) {
            return false;
        }
        let Some(_) = self.part else {
            return true;
        };
        let held = self.real_part().zip(wanted).and_then(|(part, wanted)| {
            let (first, last) = wanted.within(part.total).ok()?;
            Some(part.holds(first, last))
        });
        held == Some(true)
    }
}

/// The variants of an address, newest first, with what they weighed when they were put together: the
/// tier counts on a weight that does not change.
#[derive(Debug)]
struct Group {
    entries: Vec<Arc<Entry>>,
    weight: u64,
}

impl Group {
    fn of(entries: Vec<Arc<Entry>>) -> Arc<Self> {
        let weight = entries.iter().map(|entry| entry.weight()).sum();
        Arc::new(Self { entries, weight })
    }
}

type Variants = Arc<Group>;

#[derive(Clone, Debug)]
struct Weight;

impl quick_cache::Weighter<Key, Variants> for Weight {
    fn weight(&self, key: &Key, variants: &Variants) -> u64 {
        variants.weight + key.len() as u64
    }
}

/// The tier.
#[derive(Debug)]
pub struct Store {
    cache: Cache<Key, Variants, Weight>,
}

impl Store {
    /// A tier of so many bytes.
    pub fn new(bytes: u64) -> Self {
        let entries = usize::try_from(bytes / TYPICAL_OBJECT_BYTES)
            .unwrap_or(usize::MAX)
            .max(16);
        let options = OptionsBuilder::new()
            // A domain has one processor; and an object may be as large as a shard.
            .shards(1)
            .estimated_items_capacity(entries)
            .weight_capacity(bytes)
            .build()
            .expect("all that is needed is set");
        Self {
            cache: Cache::with_options(
                options,
                Weight,
                DefaultHashBuilder::default(),
                DefaultLifecycle::default(),
            ),
        }
    }

    /// The newest response that answers this request, fresh or not (RFC 9111, section 4).
    pub fn find(
        &self,
        key: &Key,
        request: &HeaderMap,
        wanted: Option<Wanted>,
    ) -> Option<Arc<Entry>> {
        let variants = self.cache.get(key)?;
        variants
            .entries
            .iter()
            .find(|entry| entry.answers(request, wanted))
            .cloned()
    }

    /// Stores a response in front of the others of its address, in place of what it replaces.
    pub fn insert(&self, key: &Key, entry: Arc<Entry>) {
        let others = self.cache.get(key);
        let others = others.iter().flat_map(|group| &group.entries);
        let replaced = |other: &Arc<Entry>| {
            let same_kind = other.part.is_none() || entry.part == other.part;
            let whole = entry.part.is_none();
            other.selecting == entry.selecting && (whole || same_kind && other.part.is_some())
                || other.body.end() == Some(End::Broken)
        };
        let kept = others.filter(|other| !replaced(other)).cloned();
        let variants = std::iter::once(Arc::clone(&entry)).chain(kept);
        let variants: Vec<_> = variants.take(VARIANTS_MAX).collect();
        self.cache.insert(Arc::clone(key), Group::of(variants));
    }

    /// Puts another version in an entry's place; nothing happens if that is gone.
    pub fn replace(&self, key: &Key, old: &Arc<Entry>, new: Option<Arc<Entry>>) {
        let Some(variants) = self.cache.get(key) else {
            return;
        };
        let changed = |entry: &Arc<Entry>| match Arc::ptr_eq(entry, old) {
            true => new.clone(),
            false => Some(Arc::clone(entry)),
        };
        let variants: Vec<_> = variants.entries.iter().filter_map(changed).collect();
        match variants.is_empty() {
            true => drop(self.cache.remove(key)),
            false => self.cache.insert(Arc::clone(key), Group::of(variants)),
        }
    }

    /// Counts anew what an address weighs, once its bodies have arrived.
    pub fn reweigh(&self, key: &Key) {
        if let Some(variants) = self.cache.get(key) {
            self.cache
                .insert(Arc::clone(key), Group::of(variants.entries.clone()));
        }
    }

    /// Removes an address.
    pub fn remove(&self, key: &str) -> bool {
        self.cache.remove(key).is_some()
    }

    /// Removes what is chosen by its key and fields; how many addresses.
    pub fn purge(&self, chosen: impl Fn(&str, &HeaderMap) -> bool) -> usize {
        let before = self.cache.len();
        self.cache.retain(|key, variants| {
            !variants
                .entries
                .iter()
                .any(|entry| chosen(key, &entry.headers))
        });
        before.saturating_sub(self.cache.len())
    }

    /// Addresses and bytes that are held.
    pub fn held(&self) -> (usize, u64) {
        (self.cache.len(), self.cache.weight())
    }
}
