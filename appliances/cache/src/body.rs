//! A body that is read by many while it still arrives.
//!
//! One task appends what the origin sends; every reader has a place of its own and is woken when
//! there is more. Bytes are counted references: nothing is copied for a reader.
//!
//! *States.* arriving → whole, or broken (the origin broke off, or lied about the length). A broken body
//! ends its readers with an error, so that no client takes what it has for all. One that turns out larger
//! than what may be kept goes on for those who read it, who then set the pace: what lies behind them is let
//! go of ([`Body::overtaken`]), and a reader who is too far behind the first ends with an error.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use edgecloud_appliance::metrics::Gauge;
use http_body::{Frame, SizeHint};

use crate::limits::JOINED_BYTES_MAX;

/// Bytes of bodies that are in memory, wherever: stored, arriving, or displaced while somebody still reads
/// them. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Live(Gauge);

impl Live {
    /// Counts by a figure that operators see.
    pub fn by(gauge: Gauge) -> Self {
        Self(gauge)
    }

    /// How many there are.
    pub fn bytes(&self) -> u64 {
        u64::try_from(self.0.get()).unwrap_or(0)
    }

    fn more(&self, bytes: usize) {
        self.0.add(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    fn less(&self, bytes: usize) {
        self.0.add(-i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

/// What has arrived, and who waits for more.
#[derive(Debug, Default)]
pub struct Body {
    state: Mutex<State>,
    readers: AtomicU64,
    live: Live,
}

#[derive(Debug, Default)]
struct State {
    /// Each with the place of its first byte.
    chunks: Vec<(u64, Bytes)>,
    length: u64,
    end: Option<End>,
    waiting: Vec<Waker>,
    /// Bytes from the beginning that were let go of.
    gone: u64,
    /// The place of the reader who is ahead.
    foremost: u64,
    reading: usize,
    /// Who appends, and waits for readers.
    appending: Option<Waker>,
}

impl State {
    /// Makes one piece of all. Readers have places, not pieces.
    fn join(&mut self) {
        if self.chunks.len() < 2 || self.gone > 0 {
            return;
        }
        let mut joined = Vec::with_capacity(usize::try_from(self.length).unwrap_or(0));
        for (_, chunk) in &self.chunks {
            joined.extend_from_slice(chunk);
        }
        self.chunks = vec![(0, joined.into())];
    }
}

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All of it is here.
    Whole,
    /// The rest will not come.
    Broken,
}

impl Body {
    /// A body that is there already.
    pub fn whole(bytes: Bytes) -> Self {
        let body = Self::default();
        body.append(bytes);
        body.finish(End::Whole);
        body
    }

    /// An empty body whose bytes are counted.
    pub fn counted(live: &Live) -> Self {
        let mut body = Self::default();
        body.live = live.clone();
        body
    }

    /// Where its bytes are counted.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// Appends what has arrived.
    pub fn append(&self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.live.more(bytes.len());
        let mut state = self.state();
        let place = state.length;
        state.length += bytes.len() as u64;
        state.chunks.push((place, bytes));
        wake(state);
    }

    /// Waits until the foremost reader is no more than `ahead` bytes from the end, and lets go of what is
    /// more than `kept` bytes from it, but of nothing within `ahead`: that reader may want it yet. False:
    /// nobody reads any more.
    pub async fn overtaken(&self, ahead: u64, kept: u64) -> bool {
        poll_fn(|context| {
            let mut state = self.state();
            if state.reading == 0 {
                return Poll::Ready(false);
            }
            if state.length - state.foremost > ahead {
                state.appending = Some(context.waker().clone());
                return Poll::Pending;
            }
            let from = state.length.saturating_sub(kept.max(ahead));
            let count = state
                .chunks
                .partition_point(|(first, chunk)| first + chunk.len() as u64 <= from);
            let gone = state.chunks.drain(..count);
            let gone: usize = gone.map(|(_, chunk)| chunk.len()).sum();
            self.live.less(gone);
            state.gone = state
                .chunks
                .first()
                .map_or(state.length, |(first, _)| *first);
            Poll::Ready(true)
        })
        .await
    }

    /// Ends it; the first end counts. One that is whole and not large becomes one piece: each piece would be
    /// a write to every client that is served from it.
    pub fn finish(&self, end: End) {
        let mut state = self.state();
        state.end.get_or_insert(end);
        if end == End::Whole && state.length <= JOINED_BYTES_MAX {
            state.join();
        }
        wake(state);
    }

    /// Bytes that have arrived.
    pub fn arrived(&self) -> u64 {
        self.state().length
    }

    /// How often somebody began to read it.
    pub fn readers(&self) -> u64 {
        self.readers.load(Ordering::Relaxed)
    }

    /// What has arrived, in one piece.
    pub fn bytes(&self) -> Vec<u8> {
        let state = self.state();
        let mut bytes = Vec::with_capacity(usize::try_from(state.length).unwrap_or(0));
        for (_, chunk) in &state.chunks {
            bytes.extend_from_slice(chunk);
        }
        bytes
    }

    /// The pieces of it that have arrived, from a place on.
    pub fn pieces_from(&self, place: u64) -> Vec<Bytes> {
        let state = self.state();
        let behind = state
            .chunks
            .iter()
            .filter(|(first, chunk)| first + chunk.len() as u64 > place);
        let cut = behind.map(|(first, chunk)| chunk.slice(place.saturating_sub(*first) as usize..));
        cut.collect()
    }

    /// How it ended, if it has.
    pub fn end(&self) -> Option<End> {
        self.state().end
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let chunks = &self
            .state
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .chunks;
        let bytes: usize = chunks.iter().map(|(_, chunk)| chunk.len()).sum();
        self.live.less(bytes);
    }
}

fn wake(mut state: MutexGuard<'_, State>) {
    let waiting = std::mem::take(&mut state.waiting);
    drop(state);
    waiting.into_iter().for_each(Waker::wake);
}

/// Reads a body, or a part of it, from its own place.
#[derive(Debug)]
pub struct Reader {
    body: Arc<Body>,
    place: u64,
    /// The place after the last byte that is wanted; None: to the end, wherever that is.
    until: Option<u64>,
}

impl Reader {
    /// Reads all of it; `length` is what was promised, if anything was.
    pub fn all(body: Arc<Body>, length: Option<u64>) -> Self {
        Self::part(body, 0, length)
    }

    /// Reads the bytes from `place` on, before `until`.
    pub fn part(body: Arc<Body>, place: u64, until: Option<u64>) -> Self {
        body.readers.fetch_add(1, Ordering::Relaxed);
        body.state().reading += 1;
        Self { body, place, until }
    }

    /// The next bytes; None behind the last.
    pub(crate) fn next(&mut self, context: &Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.until.is_some_and(|until| self.place >= until) {
            return Poll::Ready(None);
        }
        let mut state = self.body.state();
        if self.place < state.gone {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        if self.place < state.length {
            let after = state
                .chunks
                .partition_point(|(first, _)| *first <= self.place);
            let (first, chunk) = &state.chunks[after - 1];
            let skipped = usize::try_from(self.place - first).unwrap_or(usize::MAX);
            let mut bytes = chunk.slice(skipped..);
            if let Some(until) = self.until {
                let most = usize::try_from(until - self.place).unwrap_or(usize::MAX);
                bytes.truncate(most);
            }
            self.place += bytes.len() as u64;
            state.foremost = state.foremost.max(self.place);
            if let Some(appending) = state.appending.take() {
                appending.wake();
            }
            return Poll::Ready(Some(Ok(bytes)));
        }
        match state.end {
            Some(End::Whole) if self.until.is_none() => Poll::Ready(None),
            Some(_) => Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
            None => {
                state.waiting.push(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.body.state();
        state.reading -= 1;
        if let Some(appending) = state.appending.take() {
            appending.wake();
        }
    }
}

impl http_body::Body for Reader {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.next(context)
            .map(|next| next.map(|read| read.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.until.is_some_and(|until| self.place >= until)
    }

    fn size_hint(&self) -> SizeHint {
        match self.until {
            Some(until) => SizeHint::with_exact(until.saturating_sub(self.place)),
            None => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(reader: &mut Reader) -> Poll<Option<io::Result<Bytes>>> {
        reader.next(&Context::from_waker(Waker::noop()))
    }

    #[track_caller]
    fn check_reads(reader: &mut Reader, bytes: &'static [u8]) {
        match read(reader) {
            Poll::Ready(Some(Ok(read))) => assert_eq!(read, bytes),
            other => panic!("{other:?} in place of {bytes:?}"),
        }
    }

    #[test]
    fn a_whole_body_is_one_piece_to_those_who_come_later() {
        let body = Arc::new(Body::default());
        body.append(Bytes::from_static(b"abc"));
        body.append(Bytes::from_static(b"de"));
        let mut earlier = Reader::all(Arc::clone(&body), Some(6));
        check_reads(&mut earlier, b"abc");
        body.append(Bytes::from_static(b"f"));
        body.finish(End::Whole);
        check_reads(&mut earlier, b"def");
        check_reads(&mut Reader::all(Arc::clone(&body), Some(6)), b"abcdef");
        check_reads(&mut Reader::part(body, 1, Some(4)), b"bcd");
    }

    #[test]
    fn a_joiner_reads_what_has_arrived_and_then_the_rest() {
        let body = Arc::new(Body::default());
        body.append(Bytes::from_static(b"abc"));
        let mut joiner = Reader::all(Arc::clone(&body), Some(5));
        check_reads(&mut joiner, b"abc");
        assert!(read(&mut joiner).is_pending());
        body.append(Bytes::from_static(b"de"));
        check_reads(&mut joiner, b"de");
        // The promised length is there, whether its end was seen or not.
        assert!(matches!(read(&mut joiner), Poll::Ready(None)));
    }

    #[test]
    fn readers_set_the_pace_of_what_is_too_large() {
        let body = Arc::new(Body::default());
        let overtaken = || {
            let mut waits = Box::pin(body.overtaken(2, 4));
            waits.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        };
        assert!(matches!(overtaken(), Poll::Ready(false)), "nobody reads");
        let mut first = Reader::all(Arc::clone(&body), None);
        let mut second = Reader::all(Arc::clone(&body), None);
        for bytes in [b"abc", b"def"] {
            body.append(Bytes::from_static(bytes));
            assert!(overtaken().is_pending());
            check_reads(&mut first, bytes);
            assert!(matches!(overtaken(), Poll::Ready(true)));
        }
        check_reads(&mut second, b"abc");
        body.append(Bytes::from_static(b"ghi"));
        check_reads(&mut first, b"ghi");
        assert!(matches!(overtaken(), Poll::Ready(true)));
        check_reads(&mut second, b"def");
        body.append(Bytes::from_static(b"jklm"));
        check_reads(&mut first, b"jklm");
        assert!(matches!(overtaken(), Poll::Ready(true)));
        assert!(matches!(read(&mut second), Poll::Ready(Some(Err(_)))));
    }

    #[test]
    fn nothing_is_let_go_of_before_the_foremost_has_read_it() {
        let body = Arc::new(Body::default());
        let overtaken = || {
            let mut waits = Box::pin(body.overtaken(4, 0));
            waits.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        };
        let mut reader = Reader::all(Arc::clone(&body), None);
        for bytes in [b"ab", b"cd"] {
            body.append(Bytes::from_static(bytes));
            assert!(matches!(overtaken(), Poll::Ready(true)));
        }
        check_reads(&mut reader, b"ab");
        check_reads(&mut reader, b"cd");
    }

    #[test]
    fn bytes_count_for_as_long_as_anybody_has_them() {
        let live = Live::default();
        let body = Arc::new(Body::counted(&live));
        body.append(Bytes::from_static(b"abc"));
        body.append(Bytes::from_static(b"def"));
        let mut reader = Reader::all(Arc::clone(&body), None);
        drop(body);
        assert_eq!(live.bytes(), 6);
        check_reads(&mut reader, b"abc");
        check_reads(&mut reader, b"def");
        assert_eq!(reader.body.pieces_from(4), [&b"ef"[..]]);
        let mut overtaken = Box::pin(reader.body.overtaken(0, 3));
        let done = overtaken
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(done, Poll::Ready(true)));
        drop(overtaken);
        assert_eq!(live.bytes(), 3);
        drop(reader);
        assert_eq!(live.bytes(), 0);
    }

    #[test]
    fn a_part_is_cut_from_its_chunks() {
        let body = Arc::new(Body::default());
        body.append(Bytes::from_static(b"abc"));
        body.append(Bytes::from_static(b"def"));
        let mut part = Reader::part(body, 1, Some(5));
        check_reads(&mut part, b"bc");
        check_reads(&mut part, b"de");
        assert!(matches!(read(&mut part), Poll::Ready(None)));
    }

    #[test]
    fn what_broke_off_is_never_taken_for_all() {
        let body = Arc::new(Body::default());
        body.append(Bytes::from_static(b"abc"));
        for (end, length) in [(End::Broken, None), (End::Whole, Some(5))] {
            let mut reader = Reader::all(Arc::clone(&body), length);
            check_reads(&mut reader, b"abc");
            body.finish(end);
            assert!(
                matches!(read(&mut reader), Poll::Ready(Some(Err(_)))),
                "{end:?}"
            );
        }
    }
}
