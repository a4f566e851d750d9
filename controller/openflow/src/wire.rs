//! Reading and writing bytes: everything big-endian, everything bounded.

use crate::error::{EmitError, ParseCause, ParseError};

pub(crate) type Parsed<T> = Result<T, ParseError>;
pub(crate) type Emitted = Result<(), EmitError>;

/// The length of the header that every message has.
pub(crate) const HEADER: usize = 8;

/// The unread part of a message.
///
/// It knows where in the message it is, so that an error can tell.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8], offset: usize) -> Reader<'a> {
        Reader { bytes, offset }
    }

    pub(crate) const fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) const fn error(&self, what: &'static str, cause: ParseCause) -> ParseError {
        ParseError {
            what,
            offset: self.offset,
            cause,
        }
    }

    pub(crate) fn take(&mut self, what: &'static str, count: usize) -> Parsed<&'a [u8]> {
        let Some((taken, rest)) = self.bytes.split_at_checked(count) else {
            return Err(self.error(what, ParseCause::Truncated));
        };
        self.bytes = rest;
        self.offset += count;
        Ok(taken)
    }

    /// The next bytes as a reader of their own.
    pub(crate) fn part(&mut self, what: &'static str, count: usize) -> Parsed<Reader<'a>> {
        let offset = self.offset;
        Ok(Reader {
            bytes: self.take(what, count)?,
            offset,
        })
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        let rest = std::mem::take(&mut self.bytes);
        self.offset += rest.len();
        rest
    }

    pub(crate) fn array<const N: usize>(&mut self, what: &'static str) -> Parsed<[u8; N]> {
        let taken = self.take(what, N)?;
        taken
            .try_into()
            .map_err(|_| self.error(what, ParseCause::Truncated))
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Parsed<u8> {
        self.array(what).map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self, what: &'static str) -> Parsed<u16> {
        self.array(what).map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Parsed<u32> {
        self.array(what).map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Parsed<u64> {
        self.array(what).map(u64::from_be_bytes)
    }

    /// A number of up to 16 bytes.
    pub(crate) fn number(&mut self, what: &'static str, bytes: usize) -> Parsed<u128> {
        let taken = self.take(what, bytes)?;
        Ok(taken
            .iter()
            .fold(0, |number, byte| number << 8 | u128::from(*byte)))
    }

    /// Bytes of no meaning, as many as are wanted or as there still are.
    pub(crate) fn pad(&mut self, what: &'static str, count: usize) -> Parsed<()> {
        self.take(what, count).map(|_| ())
    }

    /// The bytes up to a multiple of 8 of a structure that has `length` of its own. Some peers leave
    /// the padding out at the very end, so there it may be missing.
    pub(crate) fn pad_to_8(&mut self, length: usize) {
        let missing = (length.next_multiple_of(8) - length).min(self.bytes.len());
        self.bytes = &self.bytes[missing..];
        self.offset += missing;
    }

    /// A structure that begins with a length of its own, `before` bytes from its start, counting
    /// itself. The reader returned begins at its start.
    pub(crate) fn sized(
        &mut self,
        what: &'static str,
        before: usize,
        at_least: usize,
    ) -> Parsed<Reader<'a>> {
        let mut ahead = self.clone();
        ahead.pad(what, before)?;
        let length = usize::from(ahead.u16(what)?);
        if length < at_least || length > self.len() {
            return Err(self.error(what, ParseCause::Length(length)));
        }
        self.part(what, length)
    }

    pub(crate) fn done(&self, what: &'static str) -> Parsed<()> {
        if self.is_empty() {
            return Ok(());
        }
        Err(self.error(what, ParseCause::Length(self.len())))
    }

    /// Text that fills a fixed number of bytes or ends with a zero.
    pub(crate) fn text(&mut self, what: &'static str, count: usize) -> Parsed<String> {
        let error = self.error(what, ParseCause::Text);
        let taken = self.take(what, count)?;
        let end = taken.iter().position(|byte| *byte == 0).unwrap_or(count);
        let text = taken.get(..end).map(str::from_utf8);
        text.and_then(Result::ok).map(str::to_owned).ok_or(error)
    }
}

/// Where bytes are written.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Writes behind these bytes.
    pub(crate) fn new() -> Writer {
        Writer::default()
    }

    /// Writes behind these bytes.
    pub(crate) const fn behind(bytes: Vec<u8>) -> Writer {
        Writer { bytes }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_be_bytes());
    }

    /// The low bytes of a number, up to 16.
    pub(crate) fn number(&mut self, value: u128, bytes: usize) {
        let all = value.to_be_bytes();
        self.bytes(&all[all.len() - bytes..]);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn zeros(&mut self, count: usize) {
        self.bytes.resize(self.bytes.len() + count, 0);
    }

    /// Zeros until what began at `start` is a multiple of 8 bytes.
    pub(crate) fn pad_to_8(&mut self, start: usize) {
        let length = self.len() - start;
        self.zeros(length.next_multiple_of(8) - length);
    }

    /// Writes into the two bytes at a place the number of bytes from `start` on.
    pub(crate) fn set_length(&mut self, what: &'static str, place: usize, start: usize) -> Emitted {
        let length = u16::try_from(self.len() - start).map_err(|_| EmitError::TooLong(what))?;
        self.bytes[place..place + 2].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    /// Text that fills a fixed number of bytes, with at least one zero at its end.
    pub(crate) fn text(&mut self, what: &'static str, text: &str, count: usize) -> Emitted {
        if text.len() >= count {
            return Err(EmitError::TooLong(what));
        }
        self.bytes(text.as_bytes());
        self.zeros(count - text.len());
        Ok(())
    }
}
