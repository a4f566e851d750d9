//! The audit log: every decision in order, each line chained to the one before by its hash, so that
//! a line that is changed, left out or put in shows. It says who, what and by which policy; it has
//! no secret.

use manifest::{Digest, Timestamp};
use redb::{ReadableTable as _, TableDefinition, WriteTransaction};
use serde::Serialize;
use serde_json::Value;

use super::{Store, StoreError};

/// The lines by number, from 1: the hash, and the JSON that it covers.
pub(super) const AUDIT: TableDefinition<u64, (&[u8; 32], &[u8])> = TableDefinition::new("audit");

/// Lines that are read at once.
pub const LINES_MAX: usize = 256;

/// The hash before the first line.
const START: [u8; 32] = [0; 32];

/// One decision.
#[derive(Debug, Serialize)]
pub struct Entry {
    /// When.
    pub at: String,
    /// What happened: `granted`, `offered`, `accepted`, `refused` (by policies),
    /// `rejected` (before they were asked), `revoked`, `policies` (by which ones it decides).
    pub event: &'static str,
    /// What it was about.
    pub detail: Value,
}

impl Entry {
    /// A decision that is made now.
    pub fn new(now: Timestamp, event: &'static str, detail: Value) -> Self {
        Self {
            at: now.to_string(),
            event,
            detail,
        }
    }
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Its number, from 1.
    pub index: u64,
    /// SHA-256 of the hash before and of `entry`, in hexadecimal.
    pub hash: String,
    /// The JSON of the entry, as text: to the byte what the hash covers.
    pub entry: String,
}

pub(super) fn append(transaction: &WriteTransaction, entry: &Entry) -> Result<(), StoreError> {
    let mut table = transaction.open_table(AUDIT)?;
    let (last, before) = match table.last()? {
        Some((index, row)) => (index.value(), *row.value().0),
        None => (0, START),
    };
    let json = serde_json::to_vec(entry).expect("strings and values are JSON");
    let hash = chained(&before, &json);
    table.insert(last + 1, (&hash.0, json.as_slice()))?;
    Ok(())
}

fn chained(before: &[u8; 32], json: &[u8]) -> Digest {
    Digest::of(&[before, json].concat())
}

/// What is wrong with the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {0} of the audit log does not follow from the one before")]
pub struct Broken(pub u64);

/// Checks lines that follow one another, given the hash before the first of them (64 zeros before
/// line 1), and returns the last hash.
///
/// # Errors
/// The first line that does not follow.
pub fn verify(before: &str, lines: &[Line]) -> Result<String, Broken> {
    let mut hash = before.to_owned();
    let first = lines.first().map_or(0, |line| line.index);
    for (expected, line) in (first..).zip(lines) {
        let previous = Digest::from_hex(&hash).ok_or(Broken(line.index))?;
        let chained = chained(&previous.0, line.entry.as_bytes()).to_string();
        if chained != line.hash || line.index != expected {
            return Err(Broken(line.index));
        }
        hash = chained;
    }
    Ok(hash)
}

impl Store {
    /// Up to [`LINES_MAX`] lines after a number.
    ///
    /// # Errors
    /// A database that does not work.
    pub fn audit(&self, after: u64) -> Result<Vec<Line>, StoreError> {
        let table = self.read()?.open_table(AUDIT)?;
        let mut lines = Vec::new();
        for row in table.range(after.saturating_add(1)..)?.take(LINES_MAX) {
            let (index, row) = row?;
            let (hash, json) = row.value();
            lines.push(Line {
                index: index.value(),
                hash: Digest(*hash).to_string(),
                entry: String::from_utf8_lossy(json).into_owned(),
            });
        }
        Ok(lines)
    }
}
