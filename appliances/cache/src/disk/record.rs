//! A record: a stored response or a ban, with checksums over all of it.
//!
//! A record has a head (what it is, where it was meant to lie, the sums of the body's chunks) and a body.
//! One that was torn, or that an older one shows through, has a wrong sum, and the head of one that lies
//! elsewhere than it says is not believed.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::body::Body;
use crate::freshness::{Freshness, Staleness};
use crate::purge::Ban;
use crate::store::Entry;
use crate::variance::Selecting;

/// Bytes of a body that have one checksum: what is read and given on at once.
pub(super) const CHUNK: usize = 64 * 1024;
/// Length and checksum of the head.
const PREFIX: usize = 8;
/// Bytes of a head: those of the largest of requests and responses, and of many sums.
const HEAD_BYTES_MAX: usize = 128 * 1024;

/// What a record is.
#[derive(Debug)]
pub(super) enum Meaning {
    Response { key: String, entry: Box<Entry> },
    Ban(Ban),
}

/// The head of a record.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) meaning: Meaning,
    /// Bytes of the head itself: the body lies behind.
    pub(super) bytes: usize,
    pub(super) body_bytes: u64,
    /// CRC-32C of each chunk of the body.
    pub(super) sums: Vec<u32>,
}

/// The head of a response whose body is there.
pub(super) fn emit(id: u64, position: u64, key: &str, entry: &Entry, body: &[u8]) -> Vec<u8> {
    let mut out = Writer::begin(id, position);
    out.0.push(0);
    out.text(key.as_bytes());
    out.number(entry.status.as_u16().into());
    out.number(entry.received);
    freshness(&mut out, &entry.freshness);
    out.number(entry.selecting.0.len() as u64);
    for (name, value) in &entry.selecting.0 {
        out.text(name.as_str().as_bytes());
        out.0.push(value.is_some().into());
        out.text(value.as_deref().unwrap_or_default().as_bytes());
    }
    out.number(entry.headers.len() as u64);
    for (name, value) in &entry.headers {
        out.text(name.as_str().as_bytes());
        out.text(value.as_bytes());
    }
    out.number(body.len() as u64);
    for chunk in body.chunks(CHUNK) {
        out.0.extend(crc32c::crc32c(chunk).to_le_bytes());
    }
    out.finish()
}

/// The head of a ban, which is all of it.
pub(super) fn emit_ban(id: u64, position: u64, ban: &Ban) -> Vec<u8> {
    let mut out = Writer::begin(id, position);
    out.0.push(1);
    out.text(ban.to_string().as_bytes());
    out.number(0);
    out.finish()
}

/// How many bytes a head has that begins so; None: it cannot be one.
pub(super) fn head_bytes(beginning: &[u8]) -> Option<usize> {
    let length = u32::from_le_bytes(beginning.get(..4)?.try_into().ok()?) as usize;
    (PREFIX..=HEAD_BYTES_MAX)
        .contains(&length)
        .then_some(length)
}

/// Reads a head that should lie at a position.
pub(super) fn parse(bytes: &[u8], id: u64, position: u64) -> Option<Head> {
    let length = head_bytes(bytes)?;
    let head = bytes.get(..length)?;
    let sum = u32::from_le_bytes(head[4..PREFIX].try_into().ok()?);
    if crc32c::crc32c(&head[PREFIX..]) != sum {
        return None;
    }
    let mut from = Reader(&head[PREFIX..]);
    if from.number()? != id || from.number()? != position {
        return None;
    }
    let meaning = match from.byte()? {
        0 => response(&mut from)?,
        1 => Meaning::Ban(std::str::from_utf8(from.text()?).ok()?.parse().ok()?),
        _ => return None,
    };
    let body_bytes = from.number()?;
    let chunks = usize::try_from(body_bytes.div_ceil(CHUNK as u64)).ok()?;
    let sums = from.take(chunks.checked_mul(4)?)?.chunks_exact(4);
    let sums = sums.map(|sum| u32::from_le_bytes([sum[0], sum[1], sum[2], sum[3]]));
    let head = Head {
        meaning,
        bytes: length,
        body_bytes,
        sums: sums.collect(),
    };
    from.0.is_empty().then_some(head)
}

fn response(from: &mut Reader<'_>) -> Option<Meaning> {
    let key = std::str::from_utf8(from.text()?).ok()?.to_owned();
    let status = StatusCode::from_u16(from.number()?.try_into().ok()?).ok()?;
    let received = from.number()?;
    let freshness = parse_freshness(from)?;
    let mut selecting = Vec::new();
    for _ in 0..from.number()? {
        let name = HeaderName::from_bytes(from.text()?).ok()?;
        let is_there = from.byte()? == 1;
        let value = std::str::from_utf8(from.text()?).ok()?.to_owned();
        selecting.push((name, is_there.then_some(value)));
    }
    let mut headers = HeaderMap::new();
    for _ in 0..from.number()? {
        let name = HeaderName::from_bytes(from.text()?).ok()?;
        headers.append(name, HeaderValue::from_bytes(from.text()?).ok()?);
    }
    let entry = Entry {
        status,
        headers,
        selecting: Selecting(selecting),
        freshness,
        received,
        body: Arc::new(Body::default()),
        length: None,
        part: None,
        is_sliced: false,
    };
    Some(Meaning::Response {
        key,
        entry: Box::new(entry),
    })
}

fn freshness(out: &mut Writer, freshness: &Freshness) {
    out.number(freshness.received);
    out.number(freshness.initial_age);
    out.number(freshness.lifetime);
    out.0.push(freshness.no_cache.into());
    out.0.push(freshness.staleness.is_some().into());
    let staleness = freshness.staleness.as_ref();
    out.number(staleness.map_or(0, |staleness| staleness.while_revalidate));
    out.number(staleness.map_or(0, |staleness| staleness.if_error));
}

fn parse_freshness(from: &mut Reader<'_>) -> Option<Freshness> {
    let (received, initial_age, lifetime) = (from.number()?, from.number()?, from.number()?);
    let (no_cache, may_be_stale) = (from.byte()? == 1, from.byte()? == 1);
    let staleness = Staleness {
        while_revalidate: from.number()?,
        if_error: from.number()?,
    };
    Some(Freshness {
        received,
        initial_age,
        lifetime,
        staleness: may_be_stale.then_some(staleness),
        no_cache,
    })
}

struct Writer(Vec<u8>);

impl Writer {
    fn begin(id: u64, position: u64) -> Self {
        let mut out = Self(vec![0; PREFIX]);
        out.number(id);
        out.number(position);
        out
    }

    fn number(&mut self, number: u64) {
        self.0.extend(number.to_le_bytes());
    }

    fn text(&mut self, text: &[u8]) {
        self.number(text.len() as u64);
        self.0.extend(text);
    }

    fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        let sum = crc32c::crc32c(&self.0[PREFIX..]);
        self.0[..4].copy_from_slice(&length.to_le_bytes());
        self.0[4..PREFIX].copy_from_slice(&sum.to_le_bytes());
        self.0
    }
}

struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn number(&mut self) -> Option<u64> {
        let bytes = self.take(8)?.try_into().ok()?;
        Some(u64::from_le_bytes(bytes))
    }

    fn text(&mut self) -> Option<&'b [u8]> {
        let length = self.number()?;
        self.take(usize::try_from(length).ok()?)
    }
}
