//! A body on its way from a client to the disk.

use std::collections::VecDeque;
use std::time::Instant;

use axum::body::{Body, Bytes};
use http_body_util::BodyExt as _;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::figures::Figures;
use crate::id::Id;
use crate::limits::{EXTENT_BYTES_MAX, EXTENT_BYTES_MIN, STALL_TIME_MAX, WRITES_WAITING_MAX};
use crate::refusal::Refused;
use crate::store::{Store, StoreError, Stored};
use crate::tus::Patch;

/// Where the bytes of a request go.
pub(crate) struct Intake {
    pub(crate) store: Store,
    pub(crate) figures: Figures,
    pub(crate) id: Id,
    pub(crate) lease: u64,
    /// Bytes that may come.
    pub(crate) room: u64,
}

impl Intake {
    /// Takes a body to its end, or to where it stops; what came is durable in either case, unless it has a
    /// checksum that is wrong.
    pub(crate) async fn take(self, patch: Patch, body: Body) -> Result<Stored, Refused> {
        let checksums = patch.checksums.iter();
        let mut checking: Vec<_> = checksums.map(|checksum| checksum.begin()).collect();
        let mut appending = Appending::new(&self);
        let mut body = body;
        let mut outcome = loop {
            match piece(&mut body).await {
                Ok(None) => break Ok(()),
                Ok(Some(piece)) => {
                    self.figures.received.add(piece.len() as u64);
                    for checking in &mut checking {
                        checking.update(&piece);
                    }
                    if let Err(error) = appending.piece(piece).await {
                        break Err(error.into());
                    }
                }
                Err(stopped) => break Err(stopped),
            }
        };
        let ended = Instant::now();
        let came = appending.came;
        if let Err(error) = appending.end().await {
            outcome = outcome.and(Err(error.into()));
        }
        let is_checked = !checking.is_empty();
        let is_right = checking.into_iter().all(|checking| checking.matches());
        if is_checked && !(outcome.is_ok() && is_right) {
            self.store.roll_back(self.id, self.lease).await?;
            return Err(outcome.err().unwrap_or(Refused::Checksum));
        }
        let length = patch.length.filter(|_| outcome.is_ok());
        let digest = patch.digest.filter(|_| outcome.is_ok());
        let stored = self.store.finish(self.id, self.lease, length, digest);
        let stored = stored.await;
        outcome?;
        let stored = stored?;
        if stored.offset < patch.offset + came {
            return Err(Refused::Full);
        }
        self.figures
            .durable_time
            .observe(ended.elapsed().as_secs_f64());
        self.figures.stored.add(u64::from(stored.whole.is_some()));
        Ok(stored)
    }
}

/// The next piece of a body; `None` at its end.
async fn piece(body: &mut Body) -> Result<Option<Bytes>, Refused> {
    loop {
        let frame = match timeout(STALL_TIME_MAX, body.frame()).await {
            Err(_) | Ok(Some(Err(_))) => return Err(Refused::Stopped),
            Ok(None) => return Ok(None),
            Ok(Some(Ok(frame))) => frame,
        };
        // Trailers say nothing that is needed.
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
}

/// Gathers small pieces to what is written at once; large ones are written as they came. Some such are on their
/// way to the disk while the next is gathered.
struct Appending<'i> {
    intake: &'i Intake,
    gathered: Vec<u8>,
    under_way: VecDeque<oneshot::Receiver<Result<(), StoreError>>>,
    came: u64,
}

impl<'i> Appending<'i> {
    fn new(intake: &'i Intake) -> Appending<'i> {
        Appending {
            intake,
            gathered: Vec::new(),
            under_way: VecDeque::new(),
            came: 0,
        }
    }

    async fn piece(&mut self, piece: Bytes) -> Result<(), StoreError> {
        if piece.len() as u64 > self.intake.room - self.came {
            return Err(StoreError::TooLong);
        }
        self.came += piece.len() as u64;
        if piece.len() >= EXTENT_BYTES_MIN {
            self.write_gathered().await?;
            return self.write(piece).await;
        }
        let room = EXTENT_BYTES_MAX - self.gathered.len();
        let (first, rest) = piece.split_at(piece.len().min(room));
        self.gathered.extend_from_slice(first);
        if self.gathered.len() == EXTENT_BYTES_MAX {
            self.write_gathered().await?;
            self.gathered.extend_from_slice(rest);
        }
        Ok(())
    }

    async fn write_gathered(&mut self) -> Result<(), StoreError> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let next = Vec::with_capacity(EXTENT_BYTES_MIN);
        let bytes = std::mem::replace(&mut self.gathered, next);
        self.write(Bytes::from(bytes)).await
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.wait_for_all_but(WRITES_WAITING_MAX - 1).await?;
        let Intake {
            store, id, lease, ..
        } = self.intake;
        let written = store.append_later(*id, *lease, bytes).await?;
        self.under_way.push_back(written);
        Ok(())
    }

    async fn wait_for_all_but(&mut self, left: usize) -> Result<(), StoreError> {
        while self.under_way.len() > left
            && let Some(answer) = self.under_way.pop_front()
        {
            answer.await.map_err(|_| StoreError::Failed)??;
        }
        Ok(())
    }

    async fn end(mut self) -> Result<(), StoreError> {
        self.write_gathered().await?;
        self.wait_for_all_but(0).await
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Poll};

    use edgecloud_appliance::metrics::Registry;
    use http_body::Frame;

    use super::*;
    use crate::metadata::Metadata;
    use crate::store::Faulty;

    /// A body of which some bytes come, and then nothing for ever.
    struct Stopping(Option<Bytes>);

    impl http_body::Body for Stopping {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
            match self.0.take() {
                Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                None => Poll::Pending,
            }
        }
    }

    /// Time passes by itself where all wait.
    #[tokio::test(start_paused = true)]
    async fn a_phone_that_stops_for_ever_is_let_go_and_what_came_is_kept() {
        let store = Store::start(Arc::new(Faulty::of_size(32 << 20))).expect("a store");
        let (length, metadata) = (Some(500_000), Metadata::default());
        let id = store.create(length, false, metadata, None).await;
        let id = id.expect("made");
        let lease = store.open(id, false).await.expect("opened").lease;
        let intake = Intake {
            store: store.clone(),
            figures: Figures::of(&Registry::default()),
            id,
            lease,
            room: 500_000,
        };
        let began = tokio::time::Instant::now();
        let body = Body::new(Stopping(Some(Bytes::from(vec![7; 300_000]))));
        let taken = intake.take(Patch::default(), body).await;
        assert_eq!(taken, Err(Refused::Stopped));
        assert!(began.elapsed() >= STALL_TIME_MAX);
        let opened = store.open(id, false).await.expect("opened");
        assert_eq!(opened.offset, 300_000);
    }
}
