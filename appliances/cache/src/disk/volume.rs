//! The disk as a ring of records: what is appended last displaces what was appended first.
//!
//! Nothing here waits for the disk's flush, because nothing has to: what did not get there has wrong
//! checksums. Only a ban or a removal that was told to somebody is flushed before.

use std::hash::Hasher;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use siphasher::sip::SipHasher13;

use super::index::{Index, Place};
use super::layout::{self, BLOCK, Block, Label, WORDS, Word};
use super::record::{self, CHUNK, Head, Meaning};
use super::region::Region;
use crate::purge::Ban;
use crate::store::Entry;

/// Bytes of the index that are read at once.
const INDEX_READ_BLOCKS: u64 = 256;
/// Bytes that are read of a record at first: the head and all of a small body.
const FIRST_READ_BYTES: usize = CHUNK;

/// The disk.
#[derive(Debug)]
pub(super) struct Volume {
    file: Region,
    label: Label,
    index: Arc<Mutex<Index>>,
    /// Where the next record lies.
    head: u64,
    /// The block of the index that is being filled.
    sequence: u64,
    words: Vec<Word>,
    dirty: bool,
}

/// A record that begins well.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) head: Head,
    place: Place,
    /// What was read already of the body, and whatever lies behind.
    beginning: Vec<u8>,
}

impl Volume {
    /// Opens a disk of so many bytes. One without our label is formatted with this number.
    pub(super) fn open(file: Region, id: u64, records_max: usize) -> io::Result<Self> {
        let bytes = file.bytes();
        let too_small = || io::Error::other("the disk is too small: give it a mebibyte at least");
        let mut block: Block = [0; BLOCK as usize];
        file.read_exact_at(&mut block, 0)?;
        let label = match Label::parse(&block, bytes, file.owner()) {
            Some(label) => label,
            None => {
                let label = Label::dividing(bytes, id, file.owner()).ok_or_else(too_small)?;
                file.write_all_at(&label.emit(), 0)?;
                label
            }
        };
        let mut volume = Self {
            file,
            label,
            index: Arc::new(Mutex::new(Index::new(records_max))),
            head: 0,
            sequence: 0,
            words: Vec::new(),
            dirty: false,
        };
        volume.recall()?;
        Ok(volume)
    }

    /// What is there, for those who ask beside the disk's thread.
    pub(super) fn index(&self) -> &Arc<Mutex<Index>> {
        &self.index
    }

    /// The hash of an address on this disk. Nobody who does not know the disk can make two equal.
    pub(super) fn hash(id: u64, key: &str) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(id, !id);
        hasher.write(key.as_bytes());
        hasher.finish()
    }

    /// The number of this formatting.
    pub(super) fn id(&self) -> u64 {
        self.label.id
    }

    /// Reads the index. The blocks are a ring: behind the one with the highest number is the oldest.
    fn recall(&mut self) -> io::Result<()> {
        let blocks = self.label.index_blocks;
        let mut last = None;
        self.each_block(0, blocks, |_, sequence, _| last = last.max(Some(sequence)))?;
        let Some(last) = last else {
            return Ok(());
        };
        let (mut bans, oldest) = (Vec::new(), last + 1);
        let index = Arc::clone(&self.index);
        let mut index = lock(&index);
        let mut head = 0;
        let mut take = |_: u64, sequence: u64, words: Vec<Word>| {
            if sequence > last || sequence + blocks <= last {
                return; // Of an earlier round: its block was to be written anew.
            }
            for word in words {
                match word {
                    Word::Kept {
                        hash,
                        position,
                        length,
                    } => {
                        head = head.max(position.saturating_add(padded(length.into())));
                        index.insert(hash, Place { position, length });
                    }
                    Word::Gone { hash } => index.remove(hash),
                    Word::Banned { position, length } => {
                        head = head.max(position.saturating_add(padded(length.into())));
                        bans.push(Place { position, length });
                    }
                }
            }
        };
        self.each_block(oldest % blocks, blocks, &mut take)?;
        self.each_block(0, oldest % blocks, &mut take)?;
        self.head = head;
        self.sequence = last + 1;
        index.forget_before(self.head.saturating_sub(self.label.extent_bytes));
        drop(index);
        for place in bans {
            // A ban that is lost could let through what was purged: then nothing before it counts.
            match self.find(place).map(|found| found.head.meaning) {
                Some(Meaning::Ban(ban)) => self.lock().ban(place.position, ban),
                _ => self.lock().forget_before(place.position),
            }
        }
        Ok(())
    }

    fn each_block(
        &self,
        first: u64,
        end: u64,
        mut take: impl FnMut(u64, u64, Vec<Word>),
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut at = first;
        while at < end {
            let blocks = (end - at).min(INDEX_READ_BLOCKS);
            bytes.resize((blocks * BLOCK) as usize, 0);
            self.file.read_exact_at(&mut bytes, (1 + at) * BLOCK)?;
            for (number, block) in bytes.as_chunks().0.iter().enumerate() {
                let number = at + number as u64;
                if let Some((sequence, words)) = layout::parse_words(block, self.label.id)
                    && sequence % self.label.index_blocks == number
                {
                    take(number, sequence, words);
                }
            }
            at += blocks;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        lock(&self.index)
    }

    /// Appends a response that has arrived.
    pub(super) fn keep(&mut self, key: &str, entry: &Entry) -> io::Result<()> {
        let body = entry.body.bytes();
        let emit = |id, position| record::emit(id, position, key, entry, &body);
        let Some(place) = self.append(emit, &body)? else {
            return Ok(());
        };
        let hash = Self::hash(self.label.id, key);
        self.lock().insert(hash, place);
        let Place { position, length } = place;
        self.say(Word::Kept {
            hash,
            position,
            length,
        })
    }

    /// Forgets an address.
    pub(super) fn remove(&mut self, key: &str) -> io::Result<()> {
        let hash = Self::hash(self.label.id, key);
        self.lock().remove(hash);
        self.say(Word::Gone { hash })
    }

    /// Forbids what is there.
    pub(super) fn ban(&mut self, ban: Ban) -> io::Result<()> {
        let emit = |id, position| record::emit_ban(id, position, &ban);
        let Some(Place { position, length }) = self.append(emit, &[])? else {
            return Err(io::Error::other("the ban is larger than the disk"));
        };
        self.lock().ban(position, ban);
        self.say(Word::Banned { position, length })
    }

    /// Writes a record where the ring goes on; None if it is larger than a quarter of the ring.
    fn append(
        &mut self,
        emit: impl Fn(u64, u64) -> Vec<u8>,
        body: &[u8],
    ) -> io::Result<Option<Place>> {
        let ring = self.label.extent_bytes;
        let head_bytes = emit(self.label.id, self.head).len();
        let length = (head_bytes + body.len()) as u64;
        let Some(length_small) = u32::try_from(length).ok().filter(|_| length <= ring / 4) else {
            return Ok(None);
        };
        if self.head % ring + padded(length) > ring {
            self.head += ring - self.head % ring; // Records do not wrap.
        }
        let position = self.head;
        self.head += padded(length);
        self.lock().forget_before(self.head.saturating_sub(ring));
        let mut beginning = emit(self.label.id, position);
        let inline = body.len().min(FIRST_READ_BYTES);
        beginning.extend(&body[..inline]);
        let at = self.label.extents() + position % ring;
        self.file.write_all_at(&beginning, at)?;
        self.file
            .write_all_at(&body[inline..], at + beginning.len() as u64)?;
        Ok(Some(Place {
            position,
            length: length_small,
        }))
    }

    /// Says a word in the index, which is written when its block is full, or by [`Volume::flush`].
    fn say(&mut self, word: Word) -> io::Result<()> {
        self.words.push(word);
        self.dirty = true;
        if self.words.len() == WORDS {
            self.write_words()?;
            self.sequence += 1;
            self.words.clear();
        }
        Ok(())
    }

    fn write_words(&mut self) -> io::Result<()> {
        let block = layout::emit_words(self.label.id, self.sequence, &self.words);
        let at = self.label.index_block(self.sequence);
        self.file.write_all_at(&block, at)?;
        self.dirty = false;
        Ok(())
    }

    /// Writes what the index does not say yet, and waits until the disk has it. A disk without a flush
    /// has it when it has it.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.dirty {
            self.write_words()?;
        }
        self.file.sync_data()
    }

    /// Whether there is something to flush.
    pub(super) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Reads the beginning of a record; None if it is not what the index says.
    pub(super) fn find(&self, place: Place) -> Option<Found> {
        let at = self.label.extents() + place.position % self.label.extent_bytes;
        let length = place.length as usize;
        let mut beginning = vec![0; length.min(FIRST_READ_BYTES)];
        self.file.read_exact_at(&mut beginning, at).ok()?;
        let head_bytes = record::head_bytes(&beginning)?;
        if head_bytes > beginning.len() {
            beginning.resize(head_bytes.min(length), 0);
            self.file.read_exact_at(&mut beginning, at).ok()?;
        }
        let head = record::parse(&beginning, self.label.id, place.position)?;
        beginning.drain(..head.bytes);
        (head.body_bytes == (length - head.bytes) as u64).then_some(Found {
            head,
            place,
            beginning,
        })
    }

    /// Reads a body chunk by chunk, each with the sum that it should have; false: one has another.
    pub(super) fn read_body(&self, found: &Found, mut give: impl FnMut(&[u8])) -> bool {
        let at = self.label.extents() + found.place.position % self.label.extent_bytes;
        let at = at + found.head.bytes as u64;
        let mut chunk = Vec::new();
        for (number, sum) in found.head.sums.iter().enumerate() {
            let first = (number * CHUNK) as u64;
            let length = (found.head.body_bytes - first).min(CHUNK as u64) as usize;
            let read = found.beginning.get(first as usize..first as usize + length);
            let bytes = match read {
                Some(read) => read,
                None => {
                    chunk.resize(length, 0);
                    if self.file.read_exact_at(&mut chunk, at + first).is_err() {
                        return false;
                    }
                    &chunk
                }
            };
            if crc32c::crc32c(bytes) != *sum {
                return false;
            }
            give(bytes);
        }
        true
    }
}

/// Whole blocks.
fn padded(length: u64) -> u64 {
    length.div_ceil(BLOCK) * BLOCK
}

pub(super) fn lock(index: &Mutex<Index>) -> MutexGuard<'_, Index> {
    index.lock().unwrap_or_else(PoisonError::into_inner)
}
