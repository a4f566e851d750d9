//! The index: what uploads there are, and where their bodies lie. Each group of changes is one durable
//! transaction of redb.

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use crate::id::Id;
use crate::limits::INDEX_CACHE_BYTES;
use crate::store::record::{Extent, Record};
use crate::store::region::Region;

/// By name: a record as JSON.
const UPLOADS: TableDefinition<u128, &[u8]> = TableDefinition::new("uploads");
/// By the body's name and the place in it: block, bytes, checksum.
const EXTENTS: TableDefinition<(u128, u64), (u64, u32, u32)> = TableDefinition::new("extents");

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
        transaction.commit()?;
        Ok(Index(database))
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

    /// Makes all changes, in their order and durably, or none.
    pub(crate) fn apply(&self, changes: &[Change]) -> Result<(), IndexError> {
        let transaction = self.0.begin_write()?;
        {
            let mut uploads = transaction.open_table(UPLOADS)?;
            let mut extents = transaction.open_table(EXTENTS)?;
            for change in changes {
                match change {
                    Change::Upload(id, record) => {
                        let bytes = serde_json::to_vec(record);
                        let bytes = bytes.map_err(|error| IndexError(error.to_string()))?;
                        uploads.insert(id.0, bytes.as_slice())?;
                    }
                    Change::NoUpload(id) => drop(uploads.remove(id.0)?),
                    Change::Extent(body, extent) => {
                        let value = (extent.block, extent.bytes, extent.checksum);
                        extents.insert((body.0, extent.offset), value)?;
                    }
                    Change::NoExtent(body, offset) => drop(extents.remove((body.0, *offset))?),
                }
            }
        }
        Ok(transaction.commit()?)
    }
}
