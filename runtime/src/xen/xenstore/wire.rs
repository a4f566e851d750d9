//! Messages of xenstore (`io/xs_wire.h`, `struct xsd_sockmsg`).
//!
//! ```text
//! 0      4            8               12       16
//! | type | request id | transaction   | length | payload: length bytes, at most 4096 |
//! ```
//! All integers are little endian. A payload is one or more strings, each but the last certainly closed
//! by a NUL.

/// Bytes of a header.
pub const HEADER: usize = 16;
/// Longest payload (XENSTORE_PAYLOAD_MAX).
pub const PAYLOAD_MAX: usize = 4096;

/// What a message asks or says (`enum xsd_sockmsg_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
#[allow(missing_docs, reason = "the names are xenstore's")]
pub enum Kind {
    Directory = 1,
    Read = 2,
    Watch = 4,
    Unwatch = 5,
    TransactionStart = 6,
    TransactionEnd = 7,
    Write = 11,
    Mkdir = 12,
    Remove = 13,
    WatchEvent = 15,
    Error = 16,
}

impl Kind {
    fn from_number(number: u32) -> Option<Self> {
        use Kind::*;
        [
            Directory,
            Read,
            Watch,
            Unwatch,
            TransactionStart,
            TransactionEnd,
            Write,
            Mkdir,
            Remove,
            WatchEvent,
            Error,
        ]
        .into_iter()
        .find(|kind| *kind as u32 == number)
    }
}

/// A message's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// What it is.
    pub kind: Kind,
    /// Chosen by the client, repeated in the reply.
    pub request: u32,
    /// The transaction, 0 for none.
    pub transaction: u32,
    /// Bytes of the payload.
    pub length: usize,
}

/// A header that no xenstored sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeaderError {
    /// A type this client never asks for.
    Kind(u32),
    /// A payload longer than [`PAYLOAD_MAX`].
    Length(u32),
}

impl Header {
    /// The header in these bytes.
    pub fn parse(bytes: &[u8; HEADER]) -> Result<Self, HeaderError> {
        let word = |index: usize| {
            let start = index * 4;
            u32::from_le_bytes([
                bytes[start],
                bytes[start + 1],
                bytes[start + 2],
                bytes[start + 3],
            ])
        };
        if word(3) as usize > PAYLOAD_MAX {
            return Err(HeaderError::Length(word(3)));
        }
        Ok(Self {
            kind: Kind::from_number(word(0)).ok_or(HeaderError::Kind(word(0)))?,
            request: word(1),
            transaction: word(2),
            length: word(3) as usize,
        })
    }

    /// The bytes of this header.
    pub fn emit(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let words = [
            self.kind as u32,
            self.request,
            self.transaction,
            self.length as u32,
        ];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

/// The strings of a payload: what NULs separate, without a last empty one.
pub fn strings(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    let payload = payload.strip_suffix(b"\0").unwrap_or(payload);
    let mut parts = (!payload.is_empty()).then(|| payload.split(|&byte| byte == 0));
    core::iter::from_fn(move || parts.as_mut()?.next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_emitted_is_parsed() {
        for kind in [Kind::Directory, Kind::WatchEvent, Kind::Error] {
            let header = Header {
                kind,
                request: 7,
                transaction: 9,
                length: PAYLOAD_MAX,
            };
            assert_eq!(Header::parse(&header.emit()), Ok(header));
        }
    }

    #[test]
    fn bytes_of_a_real_read() {
        // XS_READ of "domid", as libxenstore sends it.
        let bytes = [2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0];
        let header = Header {
            kind: Kind::Read,
            request: 1,
            transaction: 0,
            length: 6,
        };
        assert_eq!(header.emit(), bytes);
    }

    #[test]
    fn refuses_what_cannot_be() {
        let mut bytes = [0; HEADER];
        bytes[0] = 99;
        assert_eq!(Header::parse(&bytes), Err(HeaderError::Kind(99)));
        bytes[0] = 2;
        bytes[13] = 0x11;
        assert_eq!(Header::parse(&bytes), Err(HeaderError::Length(0x1100)));
    }

    #[test]
    fn strings_of_payloads() {
        let check = |payload: &[u8], expected: &[&[u8]]| {
            assert_eq!(strings(payload).collect::<Vec<_>>(), expected);
        };
        check(b"", &[]);
        check(b"\0", &[]);
        check(b"a\0b\0", &[b"a", b"b"]);
        check(b"a\0b", &[b"a", b"b"]);
        check(b"a\0\0", &[b"a", b""]);
    }
}
