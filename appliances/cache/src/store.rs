//! The memory tier: responses by address, each address with its variants, bounded by bytes ([`Tier`]).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, StatusCode};

use crate::body::{Body, End};
use crate::freshness::{Freshness, Timestamp};
use crate::limits::{ENTRY_BYTES, TYPICAL_OBJECT_BYTES, VARIANTS_MAX};
use crate::parts;
use crate::ranges::{Part, Wanted, if_range_holds};
use crate::tier::{Held, Tier};
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
    /// Whether it only stands for a representation that is stored in slices: its body is empty, and its
    /// length that of the whole.
    pub is_sliced: bool,
}

impl Entry {
    /// Bytes that it counts for.
    pub fn weight(&self) -> u64 {
        let body = match self.is_sliced {
            true => 0,
            false => self.length.unwrap_or(0).max(self.body.arrived()),
        };
        body + self.head_bytes() + ENTRY_BYTES
    }

    /// Bytes of its fields, and of those that chose it.
    fn head_bytes(&self) -> u64 {
        let fields = self.headers.iter();
        let fields = fields.map(|(name, value)| name.as_str().len() + value.len());
        let selecting = self
            .selecting
            .0
            .iter()
            .map(|(name, value)| name.as_str().len() + value.as_ref().map_or(0, String::len));
        fields.chain(selecting).sum::<usize>() as u64
    }

    /// The length of the body, if it is known.
    pub fn body_length(&self) -> Option<u64> {
        match self.body.end() {
            Some(End::Whole) if !self.is_sliced => Some(self.body.arrived()),
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
        if self.part.is_none() {
            return true;
        }
        if !if_range_holds(request, &self.headers) {
            return false; // The whole is wanted then, and this is not it.
        }
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
    fn of(entries: Vec<Arc<Entry>>) -> Self {
        let weight = entries.iter().map(|entry| entry.weight()).sum();
        Self { entries, weight }
    }
}

impl Held for Group {
    fn weight(&self) -> u64 {
        self.weight
    }

    fn must_stay(&self) -> bool {
        self.entries.iter().any(|entry| entry.body.end().is_none())
    }
}

/// The tier.
#[derive(Debug)]
pub struct Store(Mutex<Tier<Group>>);

impl Store {
    /// A tier of so many bytes.
    pub fn new(bytes: u64) -> Self {
        let objects = usize::try_from(bytes / TYPICAL_OBJECT_BYTES).unwrap_or(usize::MAX);
        Self(Mutex::new(Tier::new(bytes, objects)))
    }

    fn tier(&self) -> MutexGuard<'_, Tier<Group>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest response that answers this request, fresh or not (RFC 9111, section 4).
    pub fn find(
        &self,
        key: &Key,
        request: &HeaderMap,
        wanted: Option<Wanted>,
    ) -> Option<Arc<Entry>> {
        let mut tier = self.tier();
        let mut entries = tier.find(key)?.entries.iter();
        entries
            .find(|entry| entry.answers(request, wanted))
            .cloned()
    }

    /// The beginning of what a request wants whole, if that is stored and the rest can be joined to it.
    pub fn beginning(&self, key: &Key, request: &HeaderMap) -> Option<Arc<Entry>> {
        let tier = self.tier();
        let mut entries = tier.peek(key)?.entries.iter();
        let begins =
            |entry: &&Arc<Entry>| parts::is_beginning(entry) && entry.selecting.matches(request);
        entries.find(begins).cloned()
    }

    /// Joins a part that has arrived with others of the same representation; what that has become.
    pub fn join(&self, key: &Key, entry: &Arc<Entry>) -> Arc<Entry> {
        let mut tier = self.tier();
        let mut joined = Arc::clone(entry);
        let Some(group) = tier.peek(key) else {
            return joined;
        };
        if !group.entries.iter().any(|other| Arc::ptr_eq(other, entry)) {
            return joined;
        }
        let others = group.entries.iter();
        let mut others: Vec<_> = others
            .filter(|other| !Arc::ptr_eq(other, entry))
            .cloned()
            .collect();
        let apart = |other: &Arc<Entry>| match parts::joined(&joined, other) {
            Some(both) => {
                joined = Arc::new(both);
                false
            }
            None => true,
        };
        others.retain(apart);
        let entries = std::iter::once(Arc::clone(&joined)).chain(others).collect();
        tier.insert(key, Group::of(entries));
        joined
    }

    /// Stores a response in front of the others of its address, in place of what it replaces.
    pub fn insert(&self, key: &Key, entry: Arc<Entry>) {
        self.insert_if(key, entry, || true);
    }

    /// Does the same if it may still be; nothing is removed between the question and the answer.
    pub fn insert_if(&self, key: &Key, entry: Arc<Entry>, may: impl FnOnce() -> bool) -> bool {
        let mut tier = self.tier();
        if !may() {
            return false;
        }
        let others = tier.peek(key).into_iter().flat_map(|group| &group.entries);
        let replaced = |other: &Arc<Entry>| {
            let same_kind = other.part.is_none() || entry.part == other.part;
            let whole = entry.part.is_none();
            other.selecting == entry.selecting && (whole || same_kind && other.part.is_some())
                || other.body.end() == Some(End::Broken)
        };
        let kept = others.filter(|other| !replaced(other)).cloned();
        let variants = std::iter::once(Arc::clone(&entry)).chain(kept);
        let variants: Vec<_> = variants.take(VARIANTS_MAX).collect();
        tier.insert(key, Group::of(variants));
        true
    }

    /// Puts another version in an entry's place; nothing happens if that is gone.
    pub fn replace(&self, key: &Key, old: &Arc<Entry>, new: Option<Arc<Entry>>) {
        let mut tier = self.tier();
        let Some(variants) = tier.peek(key) else {
            return;
        };
        let changed = |entry: &Arc<Entry>| match Arc::ptr_eq(entry, old) {
            true => new.clone(),
            false => Some(Arc::clone(entry)),
        };
        let variants: Vec<_> = variants.entries.iter().filter_map(changed).collect();
        match variants.is_empty() {
            true => drop(tier.remove(key)),
            false => tier.insert(key, Group::of(variants)),
        }
    }

    /// Counts anew what an address weighs, once its bodies have arrived.
    pub fn reweigh(&self, key: &Key) {
        let mut tier = self.tier();
        if let Some(variants) = tier.peek(key) {
            let entries = variants.entries.clone();
            tier.insert(key, Group::of(entries));
        }
    }

    /// The addresses that are held, with what is held of each.
    pub fn each(&self, mut see: impl FnMut(&str, &Entry)) {
        let tier = self.tier();
        for (key, group) in tier.each() {
            group.entries.iter().for_each(|entry| see(key, entry));
        }
    }

    /// Whether this very response is there.
    pub fn holds(&self, key: &Key, entry: &Arc<Entry>) -> bool {
        let tier = self.tier();
        let mut entries = tier.peek(key).into_iter().flat_map(|group| &group.entries);
        entries.any(|other| Arc::ptr_eq(other, entry))
    }

    /// Removes an address.
    pub fn remove(&self, key: &str) -> bool {
        self.tier().remove(key).is_some()
    }

    /// Removes what is chosen by its key and fields; how many addresses.
    pub fn purge(&self, chosen: impl Fn(&str, &HeaderMap) -> bool) -> usize {
        self.tier().remove_all(|key, variants| {
            let mut entries = variants.entries.iter();
            entries.any(|entry| chosen(key, &entry.headers))
        })
    }

    /// Addresses and bytes that are held.
    pub fn held(&self) -> (usize, u64) {
        self.tier().held()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::header;

    use crate::directives::Directives;

    fn entry(part: Option<Part>) -> Entry {
        let mut headers = HeaderMap::new();
        headers.insert(header::ETAG, "\"1\"".parse().expect("a value"));
        Entry {
            status: StatusCode::OK,
            freshness: Freshness::of(StatusCode::OK, &headers, &Directives::default(), 0, 0),
            headers,
            selecting: Selecting(vec![(header::ACCEPT, Some("text/html".to_owned()))]),
            received: 0,
            body: Arc::new(Body::whole(Bytes::from_static(b"0123456789"))),
            length: Some(10),
            part,
            is_sliced: false,
        }
    }

    #[test]
    fn a_head_counts_beside_the_body() {
        let head = "etag\"1\"accepttext/html".len() as u64;
        let mut entry = entry(None);
        assert_eq!(entry.weight(), 10 + head + ENTRY_BYTES);
        entry.is_sliced = true;
        assert_eq!(entry.weight(), head + ENTRY_BYTES);
    }

    #[test]
    fn a_part_answers_who_would_take_a_part_of_the_same() {
        let (first, last, total) = (0, 9, 20);
        let (key, store) = (Key::from("http://a.example/"), Store::new(1 << 20));
        store.insert(&key, Arc::new(entry(Some(Part { first, last, total }))));
        let check = |if_range: &str, answers: bool| {
            let mut request = HeaderMap::new();
            request.insert(header::ACCEPT, "text/html".parse().expect("a value"));
            request.insert(header::IF_RANGE, if_range.parse().expect("a value"));
            let found = store.find(&key, &request, Some(Wanted::Between(2, 4)));
            assert_eq!(found.is_some(), answers, "{if_range}");
        };
        check("\"1\"", true);
        check("\"2\"", false);
        check("W/\"1\"", false);
        check("Sun, 09 Sep 2001 01:46:40 GMT", false);
    }
}
