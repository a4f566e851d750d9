//! What outlives the process: sessions, passes, vouchers, used tokens, the latest time and the key of
//! the forms, in redb on a file or a disk. What belongs together is written in one transaction.

use std::net::IpAddr;
use std::path::Path;

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Serialize, de::DeserializeOwned};

use crate::session::{Pass, Session};
use crate::voucher::Voucher;

type Bytes = &'static [u8];
const SESSIONS: TableDefinition<'_, &str, Bytes> = TableDefinition::new("sessions");
const PASSES: TableDefinition<'_, &str, Bytes> = TableDefinition::new("passes");
const VOUCHERS: TableDefinition<'_, &str, Bytes> = TableDefinition::new("vouchers");
const TOKENS: TableDefinition<'_, &str, Bytes> = TableDefinition::new("tokens");
const SINGLES: TableDefinition<'_, &str, Bytes> = TableDefinition::new("singles");
/// In `singles`.
const LATEST: &str = "latest";
const KEY: &str = "key";
/// redb's cache: everything that is read often is in memory anyway.
const CACHE_BYTES: usize = 2 * 1024 * 1024;

/// Why nothing is remembered.
#[derive(Debug, thiserror::Error)]
#[error("the store: {0}")]
pub struct StoreError(String);

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        let error: redb::Error = error.into();
        Self(error.to_string())
    }
}

/// The store.
#[derive(Debug)]
pub struct Store(Database);

/// One thing to write.
#[derive(Debug)]
pub enum Write<'w> {
    /// A session is as given.
    Session(&'w Session),
    /// A client has none.
    NoSession(IpAddr),
    /// A pass is as given.
    Pass(&'w str, &'w Pass),
    /// A pass is forgotten.
    NoPass(&'w str),
    /// A voucher, by its code's hash.
    Voucher(&'w str, &'w Voucher),
    /// A voucher is forgotten.
    NoVoucher(&'w str),
    /// A token was used: what it is remembered by, until when, by whom.
    Token(&'w str, u64, IpAddr),
    /// A token expired.
    NoToken(&'w str),
    /// The latest time.
    Latest(u64),
}

/// Everything that is in the store.
#[derive(Debug)]
pub struct Stored {
    /// All sessions.
    pub sessions: Vec<Session>,
    /// All passes.
    pub passes: Vec<(String, Pass)>,
    /// All vouchers.
    pub vouchers: Vec<(String, Voucher)>,
    /// Used tokens.
    pub tokens: Vec<(String, (u64, IpAddr))>,
    /// The latest time that was seen.
    pub latest: u64,
    /// The key of the forms, made when the store was.
    pub key: [u8; 32],
}

impl Store {
    /// Opens the store of a file or disk, or makes it.
    ///
    /// # Errors
    /// It cannot be opened, or is none.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let mut builder = Database::builder();
        let database = builder.set_cache_size(CACHE_BYTES).create(path)?;
        let transaction = database.begin_write()?;
        for table in [SESSIONS, PASSES, VOUCHERS, TOKENS, SINGLES] {
            transaction.open_table(table)?;
        }
        transaction.commit()?;
        Ok(Self(database))
    }

    /// Everything.
    ///
    /// # Errors
    /// It cannot be read, or another version wrote it.
    pub fn load(&self) -> Result<Stored, StoreError> {
        let singles: Vec<(String, Vec<u8>)> = self.all(SINGLES)?;
        let single = |name: &str| {
            let found = singles.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.clone())
        };
        let latest = single(LATEST).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
        let key = match single(KEY).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()) {
            Some(key) => key,
            None => self.make_key()?,
        };
        let sessions: Vec<(String, Session)> = self.all(SESSIONS)?;
        Ok(Stored {
            sessions: sessions.into_iter().map(|(_, session)| session).collect(),
            passes: self.all(PASSES)?,
            vouchers: self.all(VOUCHERS)?,
            tokens: self.all(TOKENS)?,
            latest: latest.map_or(0, u64::from_be_bytes),
            key,
        })
    }

    fn make_key(&self) -> Result<[u8; 32], StoreError> {
        let mut key = [0; 32];
        let drawn = SystemRandom::new().fill(&mut key);
        drawn.map_err(|_| StoreError("no random numbers for a key".to_owned()))?;
        let transaction = self.0.begin_write()?;
        let bytes = emit(&key.to_vec())?;
        transaction
            .open_table(SINGLES)?
            .insert(KEY, bytes.as_slice())?;
        transaction.commit()?;
        Ok(key)
    }

    fn all<T: DeserializeOwned>(
        &self,
        table: TableDefinition<'static, &'static str, Bytes>,
    ) -> Result<Vec<(String, T)>, StoreError> {
        let transaction = self.0.begin_read()?;
        let table = transaction.open_table(table)?;
        let mut all = Vec::new();
        for entry in table.iter()? {
            let (key, value) = entry?;
            let value = serde_json::from_slice(value.value());
            let value =
                value.map_err(|error| StoreError(format!("{error}; of another version?")))?;
            all.push((key.value().to_owned(), value));
        }
        Ok(all)
    }

    /// Writes all of it or nothing; durable when it returns.
    ///
    /// # Errors
    /// The disk.
    pub fn write(&self, writes: &[Write<'_>]) -> Result<(), StoreError> {
        let transaction = self.0.begin_write()?;
        {
            let mut sessions = transaction.open_table(SESSIONS)?;
            let mut passes = transaction.open_table(PASSES)?;
            let mut vouchers = transaction.open_table(VOUCHERS)?;
            let mut tokens = transaction.open_table(TOKENS)?;
            let mut singles = transaction.open_table(SINGLES)?;
            for write in writes {
                let (table, key, value) = match write {
                    Write::Session(session) => (
                        &mut sessions,
                        session.client.to_string(),
                        Some(emit(session)?),
                    ),
                    Write::NoSession(client) => (&mut sessions, client.to_string(), None),
                    Write::Pass(key, pass) => (&mut passes, (*key).to_owned(), Some(emit(pass)?)),
                    Write::NoPass(key) => (&mut passes, (*key).to_owned(), None),
                    Write::Voucher(key, voucher) => {
                        (&mut vouchers, (*key).to_owned(), Some(emit(voucher)?))
                    }
                    Write::NoVoucher(key) => (&mut vouchers, (*key).to_owned(), None),
                    Write::Token(id, expires, client) => (
                        &mut tokens,
                        (*id).to_owned(),
                        Some(emit(&(expires, client))?),
                    ),
                    Write::NoToken(id) => (&mut tokens, (*id).to_owned(), None),
                    Write::Latest(now) => {
                        let bytes = emit(&now.to_be_bytes().to_vec())?;
                        (&mut singles, LATEST.to_owned(), Some(bytes))
                    }
                };
                match value {
                    Some(value) => table.insert(key.as_str(), value.as_slice())?,
                    None => table.remove(key.as_str())?,
                };
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

fn emit(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| StoreError(error.to_string()))
}
