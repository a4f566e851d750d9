//! What the authority remembers, in one redb file. Each decision is one durable transaction that
//! holds the decision, its serial number and its line of the audit log: after a crash either all of
//! it happened or nothing, and no answer left before.

pub mod audit;

use std::path::Path;
use std::sync::{PoisonError, RwLock};

use manifest::{ApplicationName, ApplicationNumber, Digest, PublicKey, Serial, Timestamp};
use redb::{
    Database, ReadTransaction, ReadableDatabase as _, ReadableTable, ReadableTableMetadata as _,
    TableDefinition, WriteTransaction,
};

/// Counters by name.
const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");
/// Numbers of applications, by publisher and name.
const APPLICATIONS: TableDefinition<(&[u8; 32], &str), u32> = TableDefinition::new("applications");
/// The answer to each submission, by its digest: kind, expiry, serial, signed document.
const ANSWERS: TableDefinition<&[u8; 32], (u8, u64, u64, &[u8])> = TableDefinition::new("answers");
/// Offers by their digest: the signed submission, the signed offer.
const OFFERS: TableDefinition<&[u8; 32], (&[u8], &[u8])> = TableDefinition::new("offers");
/// Tokens that may still hold, by serial: expiry.
const TOKENS: TableDefinition<u64, u64> = TableDefinition::new("tokens");
/// Revoked tokens that have not expired.
const REVOKED: TableDefinition<u64, u64> = TableDefinition::new("revoked");
/// When what can be forgotten: second, kind, key.
const EXPIRIES: TableDefinition<(u64, u8, &[u8; 32]), ()> = TableDefinition::new("expiries");

const SERIAL: &str = "serial";
const APPLICATION: &str = "application";
const REVOCATIONS: &str = "revocations";

const KIND_ANSWER: u8 = 1;
const KIND_OFFER: u8 = 2;
const ANSWER_TOKEN: u8 = 1;
const ANSWER_OFFER: u8 = 2;

/// What one transaction forgets at most, so that none takes long; each decision adds fewer.
const FORGOTTEN_MAX: usize = 16;

/// The database does not work. The message is for the operator's log.
#[derive(Debug, thiserror::Error)]
#[error("the database: {0}")]
pub struct StoreError(#[source] Box<redb::Error>);

impl StoreError {
    /// Whether the disk refused, now or before.
    fn needs_opening(&self) -> bool {
        matches!(*self.0, redb::Error::Io(_) | redb::Error::PreviousIo)
    }
}

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self(Box::new(error.into()))
    }
}

/// The answer to a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// A token: its serial number and its bytes.
    Token(Serial, Vec<u8>),
    /// A signed offer.
    Offer(Vec<u8>),
}

/// An offer, and what it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredOffer {
    /// The signed submission.
    pub submission: Vec<u8>,
    /// The signed offer.
    pub offer: Vec<u8>,
}

/// How the database is opened, the first time and again.
type Open = dyn Fn() -> Result<Database, redb::DatabaseError> + Send + Sync;

/// The authority's memory.
///
/// redb believes nothing any more after the disk refused once: it must be opened again, and repairs
/// itself then. That is tried when the next request comes, so a disk that was full for a while
/// costs the answers of that while.
pub struct Store {
    open: Box<Open>,
    /// Nothing while it cannot be opened.
    database: RwLock<Option<Database>>,
}

/// One decision on its way into the store.
pub struct Transaction(WriteTransaction);

impl Store {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// A file that cannot be opened, is no database, or is another process's.
    pub fn open(file: &Path) -> Result<Self, StoreError> {
        let file = file.to_owned();
        Self::opened_by(Box::new(move || Database::create(&file)))
    }

    fn opened_by(open: Box<Open>) -> Result<Self, StoreError> {
        let database = RwLock::new(Some(open()?));
        let store = Self { open, database };
        // Readers find every table from now on.
        let transaction = store.with(|database| Ok(database.begin_write()?))?;
        transaction.open_table(COUNTERS)?;
        transaction.open_table(APPLICATIONS)?;
        transaction.open_table(ANSWERS)?;
        transaction.open_table(OFFERS)?;
        transaction.open_table(TOKENS)?;
        transaction.open_table(REVOKED)?;
        transaction.open_table(EXPIRIES)?;
        transaction.open_table(audit::AUDIT)?;
        transaction.commit()?;
        Ok(store)
    }

    /// Starts a decision; there is one at a time. What is not committed has not happened.
    ///
    /// # Errors
    /// A database that does not work.
    pub fn begin(&self) -> Result<Transaction, StoreError> {
        self.with(|database| Ok(Transaction(database.begin_write()?)))
    }

    /// The signed offer with this digest.
    ///
    /// # Errors
    /// A database that does not work.
    pub fn offer(&self, digest: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let table = self.read()?.open_table(OFFERS)?;
        let found = table.get(&digest.0)?;
        Ok(found.map(|row| row.value().1.to_vec()))
    }

    /// The answer to a submission that still stands.
    ///
    /// # Errors
    /// A database that does not work.
    pub fn answer(&self, submission: Digest, now: Timestamp) -> Result<Option<Stored>, StoreError> {
        standing(&self.read()?.open_table(ANSWERS)?, submission, now)
    }

    /// Number and content of the revocation list.
    ///
    /// # Errors
    /// A database that does not work.
    pub fn revocations(&self, now: Timestamp) -> Result<(u64, Vec<Serial>), StoreError> {
        let read = self.read()?;
        let number = read.open_table(COUNTERS)?.get(REVOCATIONS)?;
        let number = number.map_or(0, |number| number.value());
        let mut serials = Vec::new();
        for row in read.open_table(REVOKED)?.iter()? {
            let (serial, expires) = row?;
            if now.seconds() < expires.value() {
                serials.push(Serial(serial.value()));
            }
        }
        Ok((number, serials))
    }

    fn read(&self) -> Result<ReadTransaction, StoreError> {
        self.with(|database| Ok(database.begin_read()?))
    }

    /// Begins something, on a database that is opened again if the disk had refused.
    fn with<T>(&self, begin: impl Fn(&Database) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if let Some(database) = &*self.database.read().unwrap_or_else(PoisonError::into_inner) {
            match begin(database) {
                Err(error) if error.needs_opening() => {}
                begun => return begun,
            }
        }
        let mut database = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // Closed first: it has a lock on its file.
        *database = None;
        begin(database.insert((self.open)()?))
    }
}

fn standing(
    table: &impl ReadableTable<&'static [u8; 32], (u8, u64, u64, &'static [u8])>,
    submission: Digest,
    now: Timestamp,
) -> Result<Option<Stored>, StoreError> {
    let Some(row) = table.get(&submission.0)? else {
        return Ok(None);
    };
    let (kind, expires, serial, bytes) = row.value();
    if expires <= now.seconds() {
        return Ok(None);
    }
    Ok(Some(match kind {
        ANSWER_TOKEN => Stored::Token(Serial(serial), bytes.to_vec()),
        _ => Stored::Offer(bytes.to_vec()),
    }))
}

impl Transaction {
    /// The answer to a submission that still stands.
    ///
    /// # Errors
    /// A database that does not work.
    pub fn answer(&self, submission: Digest, now: Timestamp) -> Result<Option<Stored>, StoreError> {
        standing(&self.0.open_table(ANSWERS)?, submission, now)
    }

    /// The next serial number, which no other token ever has.
    ///
    /// # Errors
    /// A database that does not work.
    pub fn next_serial(&self) -> Result<Serial, StoreError> {
        self.count(SERIAL).map(Serial)
    }

    /// The number of an application, always the same; nothing if all are given away.
    ///
    /// # Errors
    /// A database that does not work.
    pub fn application_number(
        &self,
        publisher: &PublicKey,
        name: &ApplicationName,
    ) -> Result<Option<ApplicationNumber>, StoreError> {
        let mut table = self.0.open_table(APPLICATIONS)?;
        let key = (publisher.as_bytes(), name.as_str());
        if let Some(number) = table.get(key)? {
            return Ok(ApplicationNumber::new(number.value()));
        }
        if table.len()? >= u64::from(ApplicationNumber::MAX) {
            return Ok(None);
        }
        let number = u32::try_from(self.count(APPLICATION)?).ok();
        let Some(number) = number.and_then(ApplicationNumber::new) else {
            return Ok(None);
        };
        table.insert(key, number.get())?;
        Ok(Some(number))
    }

    /// Remembers that a token answers a submission.
    ///
    /// # Errors
    /// A database that does not work.
    pub fn put_token(
        &self,
        submission: Digest,
        serial: Serial,
        expires: Timestamp,
        token: &[u8],
    ) -> Result<(), StoreError> {
        let row = (ANSWER_TOKEN, expires.seconds(), serial.0, token);
        self.0.open_table(ANSWERS)?.insert(&submission.0, row)?;
        self.0
            .open_table(TOKENS)?
            .insert(serial.0, expires.seconds())?;
        self.forget_at(expires, KIND_ANSWER, submission)
    }

    /// Remembers that an offer answers a submission.
    ///
    /// # Errors
    /// A database that does not work.
    pub fn put_offer(
        &self,
        submission: (Digest, &[u8]),
        offer: (Digest, &[u8]),
        valid_until: Timestamp,
    ) -> Result<(), StoreError> {
        let row = (ANSWER_OFFER, valid_until.seconds(), 0, offer.1);
        self.0.open_table(ANSWERS)?.insert(&submission.0.0, row)?;
        self.0
            .open_table(OFFERS)?
            .insert(&offer.0.0, (submission.1, offer.1))?;
        self.forget_at(valid_until, KIND_ANSWER, submission.0)?;
        self.forget_at(valid_until, KIND_OFFER, offer.0)
    }

    /// The offer with this digest.
    ///
    /// # Errors
    /// A database that does not work.
    pub fn offer(&self, offer: Digest) -> Result<Option<StoredOffer>, StoreError> {
        let table = self.0.open_table(OFFERS)?;
        let found = table.get(&offer.0)?;
        Ok(found.map(|row| {
            let (submission, offer) = row.value();
            StoredOffer {
                submission: submission.to_vec(),
                offer: offer.to_vec(),
            }
        }))
    }

    /// Whether a token was revoked.
    ///
    /// # Errors
    /// A database that does not work.
    pub fn is_revoked(&self, serial: Serial) -> Result<bool, StoreError> {
        Ok(self.0.open_table(REVOKED)?.get(serial.0)?.is_some())
    }

    /// How many tokens are revoked.
    ///
    /// # Errors
    /// A database that does not work.
    pub fn revoked_count(&self) -> Result<u64, StoreError> {
        Ok(self.0.open_table(REVOKED)?.len()?)
    }

    /// When a token expires that the store still knows.
    ///
    /// # Errors
    /// A database that does not work.
    pub fn token_expiry(&self, serial: Serial) -> Result<Option<u64>, StoreError> {
        let table = self.0.open_table(TOKENS)?;
        let expires = table.get(serial.0)?;
        Ok(expires.map(|expires| expires.value()))
    }

    /// Revokes a token; the list gets its next number.
    ///
    /// # Errors
    /// A database that does not work.
    pub fn revoke(&self, serial: Serial, expires: u64) -> Result<(), StoreError> {
        self.0.open_table(REVOKED)?.insert(serial.0, expires)?;
        self.count(REVOCATIONS).map(drop)
    }

    /// Adds a line to the audit log.
    ///
    /// # Errors
    /// A database that does not work.
    pub fn record(&self, entry: &audit::Entry) -> Result<(), StoreError> {
        audit::append(&self.0, entry)
    }

    /// Forgets what expired, and makes the decision durable. Only then it may be told.
    ///
    /// # Errors
    /// A database that does not work; then nothing happened.
    pub fn commit(self, now: Timestamp) -> Result<(), StoreError> {
        self.forget(now)?;
        Ok(self.0.commit()?)
    }

    /// Counts up from 1.
    fn count(&self, counter: &str) -> Result<u64, StoreError> {
        let mut table = self.0.open_table(COUNTERS)?;
        let next = table.get(counter)?.map_or(0, |last| last.value()) + 1;
        table.insert(counter, next)?;
        Ok(next)
    }

    fn forget_at(&self, moment: Timestamp, kind: u8, key: Digest) -> Result<(), StoreError> {
        let mut table = self.0.open_table(EXPIRIES)?;
        table.insert((moment.seconds(), kind, &key.0), ())?;
        Ok(())
    }

    fn forget(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut expiries = self.0.open_table(EXPIRIES)?;
        for _ in 0..FORGOTTEN_MAX {
            let (moment, kind, key) = match expiries.first()? {
                Some((row, _)) => {
                    let (moment, kind, key) = row.value();
                    (moment, kind, *key)
                }
                None => break,
            };
            if now.seconds() < moment {
                break;
            }
            expiries.remove((moment, kind, &key))?;
            match kind {
                KIND_ANSWER => self.forget_answer(moment, &key)?,
                _ => drop(self.0.open_table(OFFERS)?.remove(&key)?),
            }
        }
        Ok(())
    }

    /// Forgets an answer, unless a newer one took its place.
    fn forget_answer(&self, moment: u64, key: &[u8; 32]) -> Result<(), StoreError> {
        let mut answers = self.0.open_table(ANSWERS)?;
        let (kind, serial) = match answers.get(key)? {
            Some(row) if row.value().1 == moment => (row.value().0, row.value().2),
            _ => return Ok(()),
        };
        answers.remove(key)?;
        if kind == ANSWER_TOKEN {
            self.0.open_table(TOKENS)?.remove(serial)?;
            self.0.open_table(REVOKED)?.remove(serial)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
