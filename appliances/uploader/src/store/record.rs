//! What is remembered of an upload, and of its body.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::id::Id;
use crate::limits::SAME_TIME_MAX;
use crate::metadata::Metadata;
use crate::store::layout::BLOCK_BYTES;

/// The SHA-256 of a body.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest(pub [u8; 32]);

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Digest, &'static str> {
        let digit = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
        let bytes: Option<Vec<u8>> = (0..64).step_by(2).map(digit).collect();
        let bytes = bytes.filter(|_| text.len() == 64);
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Digest).ok_or("64 hexadecimal digits are needed")
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An upload, as the index has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Bytes of the whole; `None` while the client has not said.
    pub length: Option<u64>,
    /// Whether it is a part of another ("Concatenation"), and goes nowhere itself.
    pub partial: bool,
    /// What it is and where it must go.
    #[serde(with = "as_tus_writes_it")]
    pub metadata: Metadata,
    /// When it was made, in seconds since 1970.
    pub created_s: u64,
    /// The upload whose bytes it has: its own, or those of another with the same digest.
    #[serde(with = "as_text_always")]
    pub body: Id,
    /// What it must hash to, if its client said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Digest>,
    /// Once all of it is durable.
    pub whole: Option<Whole>,
    /// What the origin said.
    pub delivery: Delivery,
    /// How often it was sent in vain.
    pub attempts: u32,
    /// The resource that was made for it at an origin that speaks tus.
    pub remote: Option<String>,
    /// The upload that is the same and goes in its place.
    #[serde(with = "as_text")]
    pub twin_of: Option<Id>,
}

impl Record {
    /// What it takes of memory and index, with what every record takes.
    pub(crate) fn bytes(&self) -> u64 {
        const COMMON: usize = 256;
        let remote = self.remote.as_ref().map_or(0, String::len);
        (COMMON + self.metadata.written_bytes() + remote) as u64
    }

    /// Whether a request of an identity need not go, because this one goes or just went.
    pub(crate) fn is_same_as(&self, identity: Digest, now_s: u64) -> bool {
        let same = self.whole.is_some_and(|whole| whole.identity == identity);
        let counts = match self.delivery {
            Delivery::Waiting => self.twin_of.is_none(),
            Delivery::Delivered { at_s, .. } => now_s.abs_diff(at_s) <= SAME_TIME_MAX.as_secs(),
            Delivery::Refused { .. } | Delivery::Damaged => false,
        };
        same && counts && !self.partial
    }
}

/// An upload that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whole {
    /// Of its body.
    pub digest: Digest,
    /// Of its body and of what makes it the same request as another.
    pub identity: Digest,
}

/// What became of an upload at its origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// Nothing yet.
    Waiting,
    /// The origin has it.
    Delivered {
        /// What it answered.
        status: u16,
        /// When, in seconds since 1970.
        at_s: u64,
    },
    /// The origin does not want it, now or ever.
    Refused {
        /// What it answered.
        status: u16,
        /// When, in seconds since 1970.
        at_s: u64,
    },
    /// The disk gave back other bytes than it was given.
    Damaged,
}

/// A run of blocks with a part of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Its place in the body, in bytes.
    pub offset: u64,
    /// Its first block.
    pub block: u64,
    /// How many bytes it has.
    pub bytes: u32,
    /// Their CRC32C.
    pub checksum: u32,
}

impl Extent {
    /// Where it ends in the body.
    pub(crate) fn end(&self) -> u64 {
        self.offset + u64::from(self.bytes)
    }

    /// Its blocks.
    pub(crate) fn run(&self) -> Range<u64> {
        self.block..self.block + u64::from(self.bytes).div_ceil(BLOCK_BYTES)
    }
}

/// The extents of a body, by their places and without gaps. The index has them by the name of the upload
/// that brought them.
#[derive(Debug, PartialEq, Eq)]
pub struct Body {
    /// The upload that brought them.
    pub id: Id,
    /// In order.
    pub extents: Vec<Extent>,
}

impl Body {
    /// In bytes.
    pub fn length(&self) -> u64 {
        self.extents.last().map_or(0, Extent::end)
    }
}

mod as_tus_writes_it {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::metadata::Metadata;

    pub(super) fn serialize<S: Serializer>(metadata: &Metadata, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&metadata.written())
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Metadata, D::Error> {
        let text = String::deserialize(from)?;
        Metadata::parse(&text).map_err(|_| D::Error::custom("malformed metadata"))
    }
}

mod as_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::id::Id;

    pub(super) fn serialize<S: Serializer>(id: &Option<Id>, to: S) -> Result<S::Ok, S::Error> {
        match id {
            Some(id) => to.serialize_some(&id.to_string()),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Option<Id>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        let parsed = text.map(|text| text.parse()).transpose();
        parsed.map_err(|_| D::Error::custom("no name of an upload"))
    }
}

mod as_text_always {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::id::Id;

    pub(super) fn serialize<S: Serializer>(id: &Id, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&id.to_string())
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Id, D::Error> {
        let text = String::deserialize(from)?;
        text.parse()
            .map_err(|_| D::Error::custom("no name of an upload"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = Record {
            length: Some(5),
            partial: false,
            metadata: Metadata::parse("url aHR0cDovL2Ev").expect("metadata"),
            created_s: 1,
            body: Id(77),
            expected: Some(Digest([0xb6; 32])),
            whole: Some(Whole {
                digest: Digest([0xa5; 32]),
                identity: Digest([7; 32]),
            }),
            delivery: Delivery::Refused {
                status: 403,
                at_s: 9,
            },
            attempts: 3,
            remote: Some("http://a/files/1".to_owned()),
            twin_of: Id::random(),
        };
        let text = serde_json::to_string(&record).expect("JSON");
        assert!(text.contains("\"a5a5"), "{text}");
        assert_eq!(serde_json::from_str::<Record>(&text).ok(), Some(record));
    }

    #[test]
    fn an_extent_takes_whole_blocks() {
        let extent = Extent {
            offset: 10,
            block: 7,
            bytes: 4097,
            checksum: 0,
        };
        assert_eq!((extent.end(), extent.run()), (4107, 7..9));
    }
}
