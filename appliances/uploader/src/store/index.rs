//! The index: what uploads there are, and where their bodies lie. Each group of changes is one durable
//! transaction of redb.

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use crate::id::Id;
use crate::limits::INDEX_CACHE_BYTES;
use crate::store::StoreError;
use crate::store::record::{Extent, Record};
use crate::store::region::Region;
use crate::store::undo::{Replaced, Undo};

/// By name: a record as JSON.
const UPLOADS: TableDefinition<u128, &[u8]> = TableDefinition::new("uploads");
/// By the body's name and the place in it: block, bytes, checksum.
const EXTENTS: TableDefinition<(u128, u64), (u64, u32, u32)> = TableDefinition::new("extents");

/// How the last change is taken back; no row if it need not be.
const UNDO: TableDefinition<(), &[u8]> = TableDefinition::new("undo");

/// A change of the index.
#[derive(Debug)]
pub(crate) enum Change {
    Upload(Id, Box<Record>),
    NoUpload(Id),
    Extent(Id, Extent),
    NoExtent(Id, u64),
}

/// The index does not work.
#[derive(Debug, thiserror::Error)]
#[error("the index: {0}")]
pub(crate) struct IndexError(String);

impl<E: Into<redb::Error>> From<E> for IndexError {
    fn from(error: E) -> IndexError {
        IndexError(error.into().to_string())
    }
}

/// Why the last change can be neither believed nor taken back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecoverError {
    #[error("{0}")]
    Index(#[from] IndexError),
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// The index.
pub(crate) struct Index(Database);

/// All that is in it.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) uploads: Vec<(Id, Record)>,
    /// In the order of their bodies' names and of their places.
    pub(crate) extents: Vec<(Id, Extent)>,
}

impl Index {
    /// Opens it, or makes it where there is nothing.
    pub(crate) fn open(region: Region) -> Result<Index, IndexError> {
        let mut builder = Database::builder();
        builder.set_cache_size(INDEX_CACHE_BYTES);
        let database = builder.create_with_backend(region)?;
        let transaction = database.begin_write()?;
        transaction.open_table(UPLOADS)?;
        transaction.open_table(EXTENTS)?;
        transaction.open_table(UNDO)?;
        transaction.commit()?;
        Ok(Index(database))
    }

    /// Takes the last change back if it became durable without its bodies; whether it did so. `read` is how
    /// bodies are read.
    pub(crate) fn recover(
        &self,
        read: impl Fn(&Extent) -> Result<Vec<u8>, StoreError>,
    ) -> Result<bool, RecoverError> {
        let Some(undo) = self.undo()? else {
            return Ok(false);
        };
        for extent in undo.fresh() {
            match read(&extent) {
                Ok(_) => {}
                Err(StoreError::Damaged) => {
                    self.take_back(&undo)?;
                    return Ok(true);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }

    fn undo(&self) -> Result<Option<Undo>, IndexError> {
        let table = self.0.begin_read()?.open_table(UNDO)?;
        let Some(row) = table.get(())? else {
            return Ok(None);
        };
        let undo = serde_json::from_slice(row.value());
        undo.map(Some)
            .map_err(|error| IndexError(error.to_string()))
    }

    fn take_back(&self, undo: &Undo) -> Result<(), IndexError> {
        let transaction = self.0.begin_write()?;
        {
            let mut uploads = transaction.open_table(UPLOADS)?;
            let mut extents = transaction.open_table(EXTENTS)?;
            for replaced in undo.backwards() {
                match replaced {
                    Replaced::Upload(id, Some(was)) => drop(uploads.insert(id, was.as_bytes())?),
                    Replaced::Upload(id, None) => drop(uploads.remove(id)?),
                    Replaced::Extent(body, offset, Some(was)) => {
                        drop(extents.insert((*body, *offset), *was)?);
                    }
                    Replaced::Extent(body, offset, None) => {
                        drop(extents.remove((*body, *offset))?);
                    }
                }
            }
            transaction.open_table(UNDO)?.remove(())?;
        }
        Ok(transaction.commit()?)
    }

    pub(crate) fn contents(&self) -> Result<Contents, IndexError> {
        let read = self.0.begin_read()?;
        let mut contents = Contents::default();
        for row in read.open_table(UPLOADS)?.iter()? {
            let (key, value) = row?;
            let record = serde_json::from_slice(value.value());
            let record = record.map_err(|error| IndexError(error.to_string()))?;
            contents.uploads.push((Id(key.value()), record));
        }
        for row in read.open_table(EXTENTS)?.iter()? {
            let (key, value) = row?;
            let ((body, offset), (block, bytes, checksum)) = (key.value(), value.value());
            let extent = Extent {
                offset,
                block,
                bytes,
                checksum,
            };
            contents.extents.push((Id(body), extent));
        }
        Ok(contents)
    }

    /// Makes all changes, in their order and durably, or none. `fresh` are extents that become durable only
    /// with them.
    pub(crate) fn apply(&self, changes: &[Change], fresh: &[Extent]) -> Result<(), IndexError> {
        let transaction = self.0.begin_write()?;
        {
            let mut uploads = transaction.open_table(UPLOADS)?;
            let mut extents = transaction.open_table(EXTENTS)?;
            let mut undo = Undo::of(fresh);
            for change in changes {
                match change {
                    Change::Upload(id, record) => {
                        let bytes = json(record)?;
                        let was = uploads.insert(id.0, bytes.as_slice())?;
                        undo.upload(*id, was.as_ref().map(|was| was.value()));
                    }
                    Change::NoUpload(id) => {
                        let was = uploads.remove(id.0)?;
                        undo.upload(*id, was.as_ref().map(|was| was.value()));
                    }
                    Change::Extent(body, extent) => {
                        let value = (extent.block, extent.bytes, extent.checksum);
                        let was = extents.insert((body.0, extent.offset), value)?;
                        undo.extent(*body, extent.offset, was.map(|was| was.value()));
                    }
                    Change::NoExtent(body, offset) => {
                        let was = extents.remove((body.0, *offset))?;
                        undo.extent(*body, *offset, was.map(|was| was.value()));
                    }
                }
            }
            let mut last = transaction.open_table(UNDO)?;
            match fresh.is_empty() {
                true => drop(last.remove(())?),
                false => drop(last.insert((), json(&undo)?.as_slice())?),
            }
        }
        Ok(transaction.commit()?)
    }
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, IndexError> {
    serde_json::to_vec(value).map_err(|error| IndexError(error.to_string()))
}
