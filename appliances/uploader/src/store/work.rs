//! An upload that is on its way to the disk: bytes that came, extents that were written, and how far back
//! each can be taken.

use std::sync::Arc;

use bytes::Bytes;
use ring::digest::{Context, SHA256};

use crate::limits::{EXTENT_BYTES_MAX, EXTENT_BYTES_MIN};
use crate::store::StoreError;
use crate::store::device::Device;
use crate::store::hashing::{self, Hash, Hasher};
use crate::store::layout::{BLOCK_BYTES, Layout};
use crate::store::record::{Body, Digest, Extent};
use crate::store::space::Space;

const BLOCK: usize = BLOCK_BYTES as usize;

/// Where bytes go.
pub(super) struct Disk<'k> {
    pub(super) device: &'k dyn Device,
    pub(super) layout: &'k Layout,
    pub(super) space: &'k mut Space,
    pub(super) hasher: &'k Hasher,
}

/// Extents and what they hash to.
struct Mark {
    extents: usize,
    hash: Option<Hash>,
}

/// One upload.
pub(super) struct Work {
    /// Who may append. A newer one takes over.
    pub(super) lease: u64,
    pub(super) length: Option<u64>,
    /// Written, of which so many are durable.
    pub(super) extents: Vec<Extent>,
    pub(super) durable: usize,
    /// The durable extent whose bytes are in `pending` again.
    pub(super) absorbed: Option<Extent>,
    /// Bytes that are in no extent yet.
    pending: Vec<u8>,
    /// Over the bytes in extents; `None` if some came before the program was started.
    hash: Option<Hash>,
    hash_durable: Option<Hash>,
    /// What the commit that is under way makes durable; it cannot be taken back.
    mark: Option<Mark>,
    /// Blocks that it was promised and has not taken.
    pub(super) promised: u64,
    /// Whether what came is to be taken back if its checksum is wrong, so that it must not become durable.
    pub(super) is_held: bool,
}

impl Work {
    /// Goes on with what is durable.
    pub(super) fn resume(length: Option<u64>, body: Option<&Body>) -> Work {
        let extents = body.map(|body| body.extents.clone()).unwrap_or_default();
        let hash = extents.is_empty().then(Hash::new);
        let mut work = Work {
            lease: 0,
            length,
            durable: extents.len(),
            extents,
            absorbed: None,
            pending: Vec::new(),
            hash_durable: hash.clone(),
            hash,
            mark: None,
            promised: 0,
            is_held: false,
        };
        work.promised = work.needs();
        work
    }

    /// Blocks that it needs beyond those that it has.
    pub(super) fn needs(&self) -> u64 {
        let all = self.length.unwrap_or_default().div_ceil(BLOCK_BYTES);
        all.saturating_sub(
            self.extents
                .iter()
                .map(|extent| extent.run().count() as u64)
                .sum(),
        )
    }

    /// How many bytes came.
    pub(super) fn offset(&self) -> u64 {
        self.written() + self.pending.len() as u64
    }

    fn written(&self) -> u64 {
        self.extents.last().map_or(0, Extent::end)
    }

    pub(super) fn is_whole(&self) -> bool {
        self.length == Some(self.offset())
    }

    /// Whether something of it is not durable.
    pub(super) fn is_dirty(&self) -> bool {
        self.extents.len() > self.durable || !self.pending.is_empty()
    }

    /// Takes bytes; how many of them were written.
    pub(super) fn append(
        &mut self,
        mut bytes: Bytes,
        disk: &mut Disk<'_>,
    ) -> Result<u64, StoreError> {
        let end = self.offset() + bytes.len() as u64;
        if self.length.is_some_and(|length| end > length) {
            return Err(StoreError::TooLong);
        }
        self.absorb(disk)?;
        let before = self.written();
        if self.pending.len() >= EXTENT_BYTES_MIN && bytes.len() >= EXTENT_BYTES_MIN {
            // Both are long enough for extents of their own, and nothing is copied.
            self.write_pending(disk)?;
        }
        if !self.pending.is_empty() {
            let room = EXTENT_BYTES_MAX - self.pending.len();
            let first = bytes.split_to(bytes.len().min(room));
            self.pending.extend_from_slice(&first);
            if self.pending.len() == EXTENT_BYTES_MAX {
                self.write_pending(disk)?;
            }
        }
        while bytes.len() >= EXTENT_BYTES_MIN {
            let first = bytes.split_to(bytes.len().min(EXTENT_BYTES_MAX));
            self.write(first, disk)?;
        }
        self.pending.extend_from_slice(&bytes);
        Ok(self.written().saturating_sub(before))
    }

    /// Takes the last durable extent back into memory if it cannot stay as it is.
    fn absorb(&mut self, disk: &Disk<'_>) -> Result<(), StoreError> {
        let is_fresh = self.pending.is_empty() && self.extents.len() == self.durable;
        let Some(last) = self.extents.last().filter(|_| is_fresh) else {
            return Ok(());
        };
        let bytes = u64::from(last.bytes);
        if bytes.is_multiple_of(BLOCK_BYTES) && bytes >= EXTENT_BYTES_MIN as u64 {
            return Ok(());
        }
        self.pending = read(disk.device, disk.layout, last)?;
        self.absorbed = self.extents.pop();
        self.durable -= 1;
        Ok(())
    }

    /// Writes what is in no extent yet; how many bytes that were.
    pub(super) fn write_pending(&mut self, disk: &mut Disk<'_>) -> Result<u64, StoreError> {
        let pending = Bytes::from(std::mem::take(&mut self.pending));
        let length = pending.len() as u64;
        self.write(pending, disk)?;
        Ok(length)
    }

    fn write(&mut self, mut bytes: Bytes, disk: &mut Disk<'_>) -> Result<(), StoreError> {
        while !bytes.is_empty() {
            let blocks = (bytes.len() as u64).div_ceil(BLOCK_BYTES);
            let run = self.take(blocks, disk.space)?;
            let room = (run.end - run.start) * BLOCK_BYTES;
            let first = bytes.split_to(bytes.len().min(room as usize));
            let extent = Extent {
                offset: self.written(),
                block: run.start,
                bytes: first.len() as u32,
                checksum: crc32c::crc32c(&first),
            };
            let place = disk.layout.place(run.start);
            let (whole, rest_of_it) = first.split_at(first.len() / BLOCK * BLOCK);
            if !whole.is_empty() {
                disk.device.write_at(place, whole)?;
            }
            if !rest_of_it.is_empty() {
                // A device writes whole blocks; it would have to read the rest of one first.
                let mut block = [0; BLOCK];
                block[..rest_of_it.len()].copy_from_slice(rest_of_it);
                disk.device.write_at(place + whole.len() as u64, &block)?;
            }
            if let Some(hash) = &mut self.hash {
                hash.update(extent.offset, &first, disk.hasher);
            }
            self.extents.push(extent);
        }
        Ok(())
    }

    fn take(&mut self, blocks: u64, space: &mut Space) -> Result<std::ops::Range<u64>, StoreError> {
        // Without a promise it takes what is promised to nobody.
        if self.length.is_none() && blocks > space.available() {
            return Err(StoreError::Full);
        }
        let run = space.take(blocks).map_err(|_| StoreError::Full)?;
        let promised = self.promised.min(run.end - run.start);
        space.release(promised);
        self.promised -= promised;
        Ok(run)
    }

    /// Takes everything back that is not durable, and will not be so at the end of the commit under way.
    pub(super) fn roll_back(&mut self, space: &mut Space) {
        let (kept, hash) = match &self.mark {
            Some(mark) => (mark.extents, &mark.hash),
            None => (self.durable, &self.hash_durable),
        };
        self.hash = hash.clone();
        for extent in self.extents.drain(kept..) {
            space.free(extent.run());
        }
        self.pending.clear();
        // The one that is being committed takes its place already.
        if self.mark.is_none()
            && let Some(extent) = self.absorbed.take()
        {
            self.extents.push(extent);
            self.durable += 1;
        }
        self.is_held = false;
        self.promise(space);
    }

    /// The extents that a commit must make durable, of which there is at least one; it begins.
    pub(super) fn begin(&mut self) -> &[Extent] {
        self.mark = Some(Mark {
            extents: self.extents.len(),
            hash: self.hash.clone(),
        });
        &self.extents[self.durable..]
    }

    /// The commit has ended.
    pub(super) fn settle(&mut self, space: &mut Space) {
        if let Some(mark) = self.mark.take() {
            self.durable = mark.extents;
            self.hash_durable = mark.hash;
            if let Some(extent) = self.absorbed.take() {
                space.free(extent.run());
            }
        }
        self.promise(space);
    }

    /// Is promised again what it gave back.
    fn promise(&mut self, space: &mut Space) {
        let lacks = self.needs().saturating_sub(self.promised);
        space.promise_again(lacks);
        self.promised += lacks;
    }

    /// The digest of a whole upload, from what came or, if some of it came long ago, from the disk.
    pub(super) fn digest(&self, disk: &Disk<'_>) -> Result<Digest, StoreError> {
        if let Some(hash) = &self.hash {
            return Ok(hash.digest());
        }
        let mut context = Context::new(&SHA256);
        for extent in &self.extents {
            context.update(&read(disk.device, disk.layout, extent)?);
        }
        Ok(hashing::finish(context))
    }

    pub(super) fn body(&self, id: crate::id::Id) -> Arc<Body> {
        Arc::new(Body {
            id,
            extents: self.extents.clone(),
        })
    }
}

/// Reads an extent, and believes it only with its checksum.
pub(crate) fn read(
    device: &dyn Device,
    layout: &Layout,
    extent: &Extent,
) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![0; extent.bytes as usize];
    device.read_at(layout.place(extent.block), &mut bytes)?;
    match crc32c::crc32c(&bytes) == extent.checksum {
        true => Ok(bytes),
        false => Err(StoreError::Damaged),
    }
}
