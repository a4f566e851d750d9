//! A body on its way from the disk to an origin.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::figures::Figures;
use crate::id::Id;
use crate::limits::{ORIGIN_STALL_TIME_MAX, PIECE_BYTES_MAX, PIECES_WAITING_MAX};
use crate::outbound::http::HttpError;
use crate::store::{self, Digest, Record, Store};

/// An upload that is being sent.
#[derive(Clone)]
pub(crate) struct Outgoing {
    pub(crate) store: Store,
    pub(crate) id: Id,
    pub(crate) record: Record,
    pub(crate) digest: Digest,
    /// `None` if it is empty.
    pub(crate) body: Option<Arc<store::Body>>,
    pub(crate) length: u64,
    pub(crate) progress: Arc<Progress>,
    pub(crate) figures: Figures,
    pub(crate) rate: Arc<Rate>,
}

/// How far it is.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Bytes of it that the origin's connection took, or that the origin has.
    pub(crate) sent: AtomicU64,
    /// Whether the disk gave back other bytes than it was given.
    pub(crate) is_damaged: AtomicBool,
}

/// How many bytes a second all that is on its way may take together.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    /// 0: as many as there are.
    bytes_per_second: AtomicU64,
    free_at: std::sync::Mutex<Option<Instant>>,
}

impl Rate {
    pub(crate) fn set(&self, bytes_per_second: Option<u64>) {
        let value = bytes_per_second.unwrap_or_default();
        self.bytes_per_second.store(value, Ordering::Relaxed);
    }

    /// Waits for the turn of so many bytes.
    async fn turn(&self, bytes: usize) {
        let rate = self.bytes_per_second.load(Ordering::Relaxed);
        if rate == 0 {
            return;
        }
        let turn = {
            let mut free_at = self
                .free_at
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            let now = Instant::now();
            let turn = free_at.unwrap_or(now).max(now);
            *free_at = Some(turn + Duration::from_secs_f64(bytes as f64 / rate as f64));
            turn
        };
        sleep_until(turn).await;
    }
}

impl Outgoing {
    /// Its bytes from a place on.
    pub(crate) fn body(&self, from: u64) -> Body {
        self.part(from, self.length)
    }

    /// Its bytes from a place to another.
    pub(crate) fn part(&self, from: u64, to: u64) -> Body {
        let (pieces, coming) = mpsc::channel(PIECES_WAITING_MAX);
        self.progress.sent.store(from, Ordering::Relaxed);
        let reading = self.clone();
        tokio::spawn(async move {
            if let Err(error) = reading.read(from, to, &pieces).await {
                // Who no longer takes it needs no error.
                let _ = pieces.send(Err(error)).await;
            }
        });
        Body::new(Coming {
            pieces: coming,
            left: to.saturating_sub(from),
        })
    }

    async fn read(
        &self,
        from: u64,
        to: u64,
        pieces: &mpsc::Sender<io::Result<Bytes>>,
    ) -> io::Result<()> {
        let extents = self.body.iter().flat_map(|body| body.extents.clone());
        let are_wanted = |extent: &store::Extent| extent.end() > from && extent.offset < to;
        for extent in extents.filter(are_wanted) {
            let store = self.store.clone();
            let read = tokio::task::spawn_blocking(move || store.read(&extent)).await;
            let bytes = match read {
                Ok(Ok(bytes)) => Bytes::from(bytes),
                Ok(Err(error)) => {
                    let is_damaged = error == store::StoreError::Damaged;
                    self.progress
                        .is_damaged
                        .fetch_or(is_damaged, Ordering::Relaxed);
                    return Err(io::Error::other(error));
                }
                Err(error) => return Err(io::Error::other(error)),
            };
            let end = extent.end().min(to) - extent.offset;
            let mut rest = bytes.slice(from.saturating_sub(extent.offset) as usize..end as usize);
            while !rest.is_empty() {
                let piece = rest.split_to(rest.len().min(PIECE_BYTES_MAX));
                let length = piece.len();
                self.rate.turn(length).await;
                if pieces.send(Ok(piece)).await.is_err() {
                    return Ok(());
                }
                self.progress
                    .sent
                    .fetch_add(length as u64, Ordering::Relaxed);
                self.figures.sent.add(length as u64);
            }
        }
        Ok(())
    }

    /// Waits for an answer for as long as the origin takes bytes, and some time after.
    pub(crate) async fn watched<T>(
        &self,
        sending: impl Future<Output = Result<T, HttpError>>,
    ) -> Result<T, HttpError> {
        let mut sending = std::pin::pin!(sending);
        let mut seen = self.progress.sent.load(Ordering::Relaxed);
        loop {
            match tokio::time::timeout(ORIGIN_STALL_TIME_MAX, &mut sending).await {
                Ok(answer) => return answer,
                Err(_) => {
                    let now = self.progress.sent.load(Ordering::Relaxed);
                    if now == seen {
                        return Err(HttpError::Slow);
                    }
                    seen = now;
                }
            }
        }
    }
}

/// The pieces as a body of known length. It ends with an error unless all of it came.
struct Coming {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    left: u64,
}

impl http_body::Body for Coming {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.pieces.poll_recv(context).map(|piece| match piece {
            Some(Ok(piece)) => {
                self.left = self.left.saturating_sub(piece.len() as u64);
                Some(Ok(Frame::data(piece)))
            }
            Some(Err(error)) => Some(Err(error)),
            None => Some(Err(io::ErrorKind::UnexpectedEof.into())),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
