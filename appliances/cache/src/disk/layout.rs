//! The bytes of the disk, except those of records.
//!
//! ```text
//!   block 0      index, a ring of blocks            extents, a ring of records
//!   ┌───────┬──────┬──────┬─ … ─┬──────┬─────────────────────────────────────────────┐
//!   │ label │ seq  │ seq  │     │ seq  │ record │ record │ …                          │
//!   └───────┴──────┴──────┴─ … ─┴──────┴─────────────────────────────────────────────┘
//! ```
//! The label says how the disk is divided, and has a number of this formatting, without which no block and
//! no record counts. A block of the index has words about records, in the order in which they were said.
//! Positions only grow: a record lies at its position modulo the length of the extents. All numbers are
//! little-endian.

/// The unit of the layout: what disks write as one.
pub(super) const BLOCK: u64 = 4096;
const BLOCK_BYTES: usize = 4096;
const MAGIC: &[u8; 16] = b"edgecloud cache2";
const HEAD: usize = 32;
const WORD: usize = 24;
/// Words in a block of the index.
pub(super) const WORDS: usize = (BLOCK_BYTES - HEAD) / WORD;
/// The least that can be divided so.
pub(super) const BYTES_MIN: u64 = 1 << 20;

/// A block as it is read and written.
pub(super) type Block = [u8; BLOCK_BYTES];

/// How the disk is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label {
    /// The number of this formatting.
    pub(super) id: u64,
    /// Blocks of the index.
    pub(super) index_blocks: u64,
    /// Bytes of the extents: whole blocks.
    pub(super) extent_bytes: u64,
    /// Whose it is: what another left here is not looked at.
    pub(super) owner: u64,
}

/// What the index says of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// A response to the address of this hash is there.
    Kept {
        hash: u64,
        position: u64,
        length: u32,
    },
    /// All responses to the address of this hash that came before are not to be used.
    Gone { hash: u64 },
    /// A ban is there, which concerns all records before it.
    Banned { position: u64, length: u32 },
}

impl Label {
    /// Divides a disk: every record has a block at least, so the index has room for all.
    pub(super) fn dividing(bytes: u64, id: u64, owner: u64) -> Option<Self> {
        if bytes < BYTES_MIN {
            return None;
        }
        let blocks = bytes / BLOCK - 1;
        let index_blocks = blocks.div_ceil(WORDS as u64 + 1) + 1;
        Some(Self {
            id,
            index_blocks,
            extent_bytes: (blocks - index_blocks) * BLOCK,
            owner,
        })
    }

    /// Where the extents begin.
    pub(super) fn extents(&self) -> u64 {
        (1 + self.index_blocks) * BLOCK
    }

    /// Where a block of the index lies that has this sequence number.
    pub(super) fn index_block(&self, sequence: u64) -> u64 {
        (1 + sequence % self.index_blocks) * BLOCK
    }

    pub(super) fn emit(&self) -> Block {
        let mut block = [0; BLOCK_BYTES];
        block[..16].copy_from_slice(MAGIC);
        put(&mut block, 16, self.id);
        put(&mut block, 24, self.index_blocks);
        put(&mut block, 32, self.extent_bytes);
        put(&mut block, 40, self.owner);
        let sum = crc32c::crc32c(&block[..48]);
        block[48..52].copy_from_slice(&sum.to_le_bytes());
        block
    }

    /// The label of a disk of so many bytes; None if it has none, another's, or one that cannot be.
    pub(super) fn parse(block: &Block, bytes: u64, owner: u64) -> Option<Self> {
        let label = Self::dividing(bytes, get(block, 16), owner)?;
        (label.emit() == *block).then_some(label)
    }
}

/// Writes a block of the index.
pub(super) fn emit_words(id: u64, sequence: u64, words: &[Word]) -> Block {
    let mut block = [0; BLOCK_BYTES];
    put(&mut block, 4, id);
    put(&mut block, 12, sequence);
    let count = words.len().min(WORDS) as u32;
    block[20..24].copy_from_slice(&count.to_le_bytes());
    for (number, word) in words.iter().take(WORDS).enumerate() {
        let at = HEAD + number * WORD;
        let (kind, length, hash, position) = match *word {
            Word::Kept {
                hash,
                position,
                length,
            } => (1u32, length, hash, position),
            Word::Gone { hash } => (2, 0, hash, 0),
            Word::Banned { position, length } => (3, length, 0, position),
        };
        block[at..at + 4].copy_from_slice(&kind.to_le_bytes());
        block[at + 4..at + 8].copy_from_slice(&length.to_le_bytes());
        put(&mut block, at + 8, hash);
        put(&mut block, at + 16, position);
    }
    let sum = crc32c::crc32c(&block[4..]);
    block[..4].copy_from_slice(&sum.to_le_bytes());
    block
}

/// The sequence number and the words of a block of the index; None: it is none of this formatting.
pub(super) fn parse_words(block: &Block, id: u64) -> Option<(u64, Vec<Word>)> {
    let small =
        |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    if small(0) != crc32c::crc32c(&block[4..]) || get(block, 4) != id {
        return None;
    }
    let count = small(20) as usize;
    let word = |number: usize| {
        let at = HEAD + number * WORD;
        let (length, hash, position) = (small(at + 4), get(block, at + 8), get(block, at + 16));
        match small(at) {
            1 => Some(Word::Kept {
                hash,
                position,
                length,
            }),
            2 => Some(Word::Gone { hash }),
            3 => Some(Word::Banned { position, length }),
            _ => None,
        }
    };
    let words: Option<Vec<_>> = (0..count.min(WORDS)).map(word).collect();
    Some((get(block, 12), words?))
}

fn put(block: &mut Block, at: usize, number: u64) {
    block[at..at + 8].copy_from_slice(&number.to_le_bytes());
}

fn get(block: &Block, at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&block[at..at + 8]);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_read_back_and_damage_is_seen() {
        let label = Label::dividing(10 << 20, 7, 3).expect("large enough");
        assert_eq!(Label::parse(&label.emit(), 10 << 20, 3), Some(label));
        assert_eq!(
            Label::parse(&label.emit(), 11 << 20, 3),
            None,
            "another disk"
        );
        assert_eq!(Label::parse(&label.emit(), 10 << 20, 4), None, "another's");
        assert!(label.extents() + label.extent_bytes <= 10 << 20);
        assert!(label.index_blocks * WORDS as u64 > label.extent_bytes / BLOCK);
        let words = [
            Word::Kept {
                hash: 1,
                position: 2,
                length: 3,
            },
            Word::Gone { hash: 4 },
            Word::Banned {
                position: 5,
                length: 6,
            },
        ];
        let block = emit_words(7, 9, &words);
        assert_eq!(parse_words(&block, 7), Some((9, words.to_vec())));
        assert_eq!(parse_words(&block, 8), None);
        for at in (0..BLOCK_BYTES).step_by(97) {
            let mut damaged = block;
            damaged[at] ^= 1;
            assert_eq!(parse_words(&damaged, 7), None, "byte {at}");
        }
    }
}
