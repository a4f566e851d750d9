//! What the daemon remembers, in one redb file: applications, replicas, names and the revocation
//! list, as JSON by their keys. Each change is one durable transaction, so after `kill -9` either
//! all of a change is there or nothing of it. The file holds the domains' private keys: it is
//! readable by its owner only.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{PoisonError, RwLock};

use redb::{
    Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _, TableDefinition,
    WriteTransaction,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::accounting::{Amount, Seen};
use crate::admissions::{AdmissionKey, AdmissionRecord};
use crate::state::{AccountKey, ApplicationRecord, Change, NameRecord, ReplicaRecord};

const APPLICATIONS: TableDefinition<u32, &[u8]> = TableDefinition::new("applications");
const REPLICAS: TableDefinition<u32, &[u8]> = TableDefinition::new("replicas");
const NAMES: TableDefinition<&str, &[u8]> = TableDefinition::new("names");
const ACCOUNTS: TableDefinition<(&str, u32, u16), &[u8]> = TableDefinition::new("accounts");
/// By application and client.
const ADMISSIONS: TableDefinition<(u32, &str), &[u8]> = TableDefinition::new("admissions");
const SINGLES: TableDefinition<&str, &[u8]> = TableDefinition::new("singles");

/// The signed revocation list.
const REVOCATIONS: &str = "revocations";
/// The number of the next replica.
const NEXT_REPLICA: &str = "next-replica";
/// What of the switch's counters is in the accounts.
const SEEN: &str = "seen";

/// The database does not work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It, or its disk.
    #[error("the database: {0}")]
    Database(Box<redb::Error>),
    /// A row, or the file.
    #[error("the database: {0}")]
    Content(String),
}

impl StoreError {
    /// Whether the disk refused, now or before.
    fn needs_opening(&self) -> bool {
        let Self::Database(error) = self else {
            return false;
        };
        matches!(**error, redb::Error::Io(_) | redb::Error::PreviousIo)
    }
}

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self::Database(Box::new(error.into()))
    }
}

/// Everything, as it was left.
#[derive(Debug, Default)]
pub struct Remembered {
    /// By number.
    pub applications: BTreeMap<u32, ApplicationRecord>,
    /// By number.
    pub replicas: BTreeMap<u32, ReplicaRecord>,
    /// By name.
    pub names: BTreeMap<String, NameRecord>,
    /// The signed revocation list.
    pub revocations: Option<Vec<u8>>,
    /// The number of the next replica.
    pub next_replica: Option<u32>,
    /// What was carried, by who pays.
    pub accounts: BTreeMap<AccountKey, Amount>,
    /// What of the switch's counters is in these sums.
    pub seen: Option<Seen>,
    /// Clients that are let through.
    pub admissions: BTreeMap<AdmissionKey, AdmissionRecord>,
}

/// How the database is opened, the first time and again.
type Open = dyn Fn() -> Result<Database, redb::DatabaseError> + Send + Sync;

/// The daemon's memory.
///
/// redb believes nothing any more after the disk refused once: it must be opened again, and repairs
/// itself then. That is tried with the next change, so a disk that was full for a while costs the
/// changes of that while.
pub struct Store {
    open: Box<Open>,
    /// Nothing while it cannot be opened.
    database: RwLock<Option<Database>>,
}

impl Store {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// A file that cannot be opened, is no database, or is another process's.
    pub fn open(file: &Path) -> Result<Store, StoreError> {
        // Made before the database is, so that nobody reads it meanwhile.
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).mode(0o600);
        let made = options.open(file);
        made.map_err(|error| StoreError::Content(format!("{}: {error}", file.display())))?;
        let file = file.to_owned();
        Store::opened_by(move || Database::create(&file))
    }

    /// Takes the database that this opens: now, and again after its disk refused.
    ///
    /// # Errors
    /// A database that cannot be opened, or does not work.
    pub fn opened_by(
        open: impl Fn() -> Result<Database, redb::DatabaseError> + Send + Sync + 'static,
    ) -> Result<Store, StoreError> {
        let database = RwLock::new(Some(open()?));
        let open = Box::new(open);
        let store = Store { open, database };
        // Readers find every table from now on.
        let transaction = store.begin_write()?;
        transaction.open_table(APPLICATIONS)?;
        transaction.open_table(REPLICAS)?;
        transaction.open_table(NAMES)?;
        transaction.open_table(ACCOUNTS)?;
        transaction.open_table(ADMISSIONS)?;
        transaction.open_table(SINGLES)?;
        transaction.commit()?;
        Ok(store)
    }

    fn begin_write(&self) -> Result<WriteTransaction, StoreError> {
        self.with(|database| Ok(database.begin_write()?))
    }

    fn begin_read(&self) -> Result<ReadTransaction, StoreError> {
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
        let database = self.database.write();
        let mut database = database.unwrap_or_else(PoisonError::into_inner);
        // Closed first: it has a lock on its file.
        *database = None;
        begin(database.insert((self.open)()?))
    }

    /// Reads everything.
    ///
    /// # Errors
    /// A database that does not work, or holds what this version cannot read.
    pub fn remembered(&self) -> Result<Remembered, StoreError> {
        let read = self.begin_read()?;
        let mut all = Remembered::default();
        for row in read.open_table(APPLICATIONS)?.iter()? {
            let (key, value) = row?;
            all.applications.insert(key.value(), parse(value.value())?);
        }
        for row in read.open_table(REPLICAS)?.iter()? {
            let (key, value) = row?;
            all.replicas.insert(key.value(), parse(value.value())?);
        }
        for row in read.open_table(NAMES)?.iter()? {
            let (key, value) = row?;
            let record = parse(value.value())?;
            all.names.insert(key.value().to_owned(), record);
        }
        for row in read.open_table(ADMISSIONS)?.iter()? {
            let (key, value) = row?;
            let (application, client) = key.value();
            if let Ok(client) = client.parse() {
                let record = parse(value.value())?;
                all.admissions.insert((application, client), record);
            }
        }
        let singles = read.open_table(SINGLES)?;
        all.revocations = singles.get(REVOCATIONS)?.map(|v| v.value().to_vec());
        let next = singles.get(NEXT_REPLICA)?;
        all.next_replica = next.map(|v| parse(v.value())).transpose()?;
        all.seen = singles.get(SEEN)?.map(|v| parse(v.value())).transpose()?;
        for row in read.open_table(ACCOUNTS)?.iter()? {
            let (key, value) = row?;
            let (account, application, rule) = key.value();
            let key = AccountKey {
                account: account.to_owned(),
                application,
                rule,
            };
            all.accounts.insert(key, parse(value.value())?);
        }
        Ok(all)
    }

    /// Does all changes, durably, or none.
    ///
    /// # Errors
    /// A database that does not work.
    pub fn write<'c>(
        &self,
        changes: impl IntoIterator<Item = &'c Change>,
    ) -> Result<(), StoreError> {
        let transaction = self.begin_write()?;
        {
            let mut applications = transaction.open_table(APPLICATIONS)?;
            let mut replicas = transaction.open_table(REPLICAS)?;
            let mut names = transaction.open_table(NAMES)?;
            let mut accounts = transaction.open_table(ACCOUNTS)?;
            let mut admissions = transaction.open_table(ADMISSIONS)?;
            let mut singles = transaction.open_table(SINGLES)?;
            for change in changes {
                match change {
                    Change::Application(application) => {
                        let number = application.token.number().get();
                        let record = emit(&application.record)?;
                        applications.insert(number, record.as_slice())?;
                    }
                    Change::Replica(number, record) => {
                        let record = Zeroizing::new(emit(record)?);
                        replicas.insert(number, record.as_slice())?;
                    }
                    Change::NoReplica(number) => {
                        replicas.remove(number)?;
                    }
                    Change::Name(name, record) => {
                        names.insert(name.to_string().as_str(), emit(record)?.as_slice())?;
                    }
                    Change::NoName(name) => {
                        names.remove(name.to_string().as_str())?;
                    }
                    Change::Revocations(_, bytes) => {
                        singles.insert(REVOCATIONS, bytes.as_slice())?;
                    }
                    Change::Accounted(seen, sums) => {
                        singles.insert(SEEN, emit(seen)?.as_slice())?;
                        for (key, amount) in sums {
                            let place = (key.account.as_str(), key.application, key.rule);
                            accounts.insert(place, emit(amount)?.as_slice())?;
                        }
                    }
                    Change::Admission((application, client), record) => {
                        let key = (*application, &*client.to_string());
                        admissions.insert(key, emit(record)?.as_slice())?;
                    }
                    Change::NoAdmission((application, client)) => {
                        admissions.remove((*application, &*client.to_string()))?;
                    }
                    Change::NextReplica(number) => {
                        singles.insert(NEXT_REPLICA, emit(number)?.as_slice())?;
                    }
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

fn emit(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| StoreError::Content(error.to_string()))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    let parsed = serde_json::from_slice(bytes);
    parsed.map_err(|error| StoreError::Content(format!("{error}; written by another version?")))
}

#[cfg(test)]
mod tests {
    use full_disk::FullDisk;

    use super::*;

    /// Full at every instant of a change: it fails as a whole, and with room again the next is taken,
    /// by the same daemon.
    #[test]
    fn a_disk_that_was_full_takes_changes_again() {
        const WRITES_MAX: u32 = 40;
        let disk = FullDisk::new().expect("a file");
        let opened = disk.clone();
        let store = Store::opened_by(move || opened.open()).expect("a store");
        let mut failures = 0;
        for writes in 0..WRITES_MAX {
            disk.leave(writes);
            let number = 2 * writes + 1;
            let written = store.write(&[Change::NextReplica(number)]);
            failures += u32::from(written.is_err());
            disk.clear();
            if written.is_ok() {
                let next = store.remembered().expect("it reads").next_replica;
                assert_eq!(next, Some(number));
            }
            let again = store.write(&[Change::NextReplica(number + 1)]);
            again.expect("there is room again");
            let next = store.remembered().expect("it reads").next_replica;
            assert_eq!(next, Some(number + 1));
        }
        assert!((1..WRITES_MAX).contains(&failures), "{failures} failed");
    }
}
