//! How the last commit is taken back.
//!
//! A commit makes bodies and index durable by one flush, so a power cut within it may leave the index without
//! its bodies. Each commit therefore has with it what it replaced in the index, and which extents were not
//! durable before it. When the device is opened these are read: if one is not what its checksum says, the
//! flush did not end, nobody was told of the commit, and the index gets back what it had. The blocks that the
//! commit gave back are still as they were, because blocks are used again only when their commit has ended.

use serde::{Deserialize, Serialize};

use crate::id::Id;
use crate::store::record::Extent;

/// What a commit replaced, as JSON in a row of the index.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Undo {
    /// Block, bytes and checksum of the extents that came with it.
    fresh: Vec<(u64, u32, u32)>,
    /// In the order in which they were replaced.
    replaced: Vec<Replaced>,
}

/// A row of the index as it was.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Replaced {
    /// An upload's record, if there was one.
    Upload(u128, Option<String>),
    /// A body's extent at a place: block, bytes and checksum, if there was one.
    Extent(u128, u64, Option<(u64, u32, u32)>),
}

impl Undo {
    pub(super) fn of(fresh: &[Extent]) -> Undo {
        let fresh = fresh.iter();
        Undo {
            fresh: fresh.map(|it| (it.block, it.bytes, it.checksum)).collect(),
            replaced: Vec::new(),
        }
    }

    pub(super) fn upload(&mut self, id: Id, was: Option<&[u8]>) {
        // The index has only JSON there.
        let was = was.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        self.replaced.push(Replaced::Upload(id.0, was));
    }

    pub(super) fn extent(&mut self, body: Id, offset: u64, was: Option<(u64, u32, u32)>) {
        self.replaced.push(Replaced::Extent(body.0, offset, was));
    }

    /// Extents that may be torn; their places in bodies are not known.
    pub(super) fn fresh(&self) -> impl Iterator<Item = Extent> {
        self.fresh.iter().map(|(block, bytes, checksum)| Extent {
            offset: 0,
            block: *block,
            bytes: *bytes,
            checksum: *checksum,
        })
    }

    /// What was there, the last replaced first.
    pub(super) fn backwards(&self) -> impl Iterator<Item = &Replaced> {
        self.replaced.iter().rev()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let extent = Extent {
            offset: 9,
            block: 1 << 50,
            bytes: 5,
            checksum: 7,
        };
        let mut undo = Undo::of(&[extent]);
        undo.upload(Id(u128::MAX), Some(b"{\"a\":\"\xc3\xa4\"}"));
        undo.upload(Id(0), None);
        undo.extent(Id(1), 262_144, Some((3, 2, 1)));
        undo.extent(Id(1), 0, None);
        let text = serde_json::to_vec(&undo).expect("JSON");
        let read: Undo = serde_json::from_slice(&text).expect("as it was written");
        assert_eq!(read, undo);
        assert_eq!(read.backwards().count(), 4);
        let fresh: Vec<Extent> = read.fresh().collect();
        assert_eq!((fresh[0].block, fresh[0].run().count()), (1 << 50, 1));
    }
}
