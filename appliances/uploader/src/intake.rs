//! A body on its way from a client to the disk.

use std::time::Instant;

use axum::body::{Body, Bytes};
use http_body_util::BodyExt as _;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::figures::Figures;
use crate::id::Id;
use crate::limits::{EXTENT_BYTES_MAX, STALL_TIME_MAX};
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
        let mut checking = patch.checksum.as_ref().map(|checksum| checksum.begin());
        let mut appending = Appending::new(&self);
        let mut body = body;
        let mut outcome = loop {
            match piece(&mut body).await {
                Ok(None) => break Ok(()),
                Ok(Some(piece)) => {
                    self.figures.received.add(piece.len() as u64);
                    if let Some(checking) = &mut checking {
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
        if checking.is_some_and(|checking| !(outcome.is_ok() && checking.matches())) {
            self.store.roll_back(self.id, self.lease).await?;
            return Err(outcome.err().unwrap_or(Refused::Checksum));
        }
        let length = patch.length.filter(|_| outcome.is_ok());
        let stored = self.store.finish(self.id, self.lease, length).await;
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

/// Gathers pieces to what is written at once. One such is on its way to the disk while the next is gathered.
struct Appending<'i> {
    intake: &'i Intake,
    gathered: Vec<u8>,
    under_way: Option<oneshot::Receiver<Result<(), StoreError>>>,
    came: u64,
}

impl<'i> Appending<'i> {
    fn new(intake: &'i Intake) -> Appending<'i> {
        Appending {
            intake,
            gathered: Vec::new(),
            under_way: None,
            came: 0,
        }
    }

    async fn piece(&mut self, piece: Bytes) -> Result<(), StoreError> {
        if piece.len() as u64 > self.intake.room - self.came {
            return Err(StoreError::TooLong);
        }
        self.came += piece.len() as u64;
        let room = EXTENT_BYTES_MAX - self.gathered.len();
        let (first, rest) = piece.split_at(piece.len().min(room));
        self.gathered.extend_from_slice(first);
        if self.gathered.len() == EXTENT_BYTES_MAX {
            self.write().await?;
            self.gathered = Vec::with_capacity(EXTENT_BYTES_MAX);
            self.gathered.extend_from_slice(rest);
        }
        Ok(())
    }

    async fn write(&mut self) -> Result<(), StoreError> {
        self.written().await?;
        let Intake {
            store, id, lease, ..
        } = self.intake;
        let bytes = std::mem::take(&mut self.gathered);
        self.under_way = Some(store.append_later(*id, *lease, bytes).await?);
        Ok(())
    }

    async fn written(&mut self) -> Result<(), StoreError> {
        match self.under_way.take() {
            Some(answer) => answer.await.map_err(|_| StoreError::Failed)?,
            None => Ok(()),
        }
    }

    async fn end(mut self) -> Result<(), StoreError> {
        if !self.gathered.is_empty() {
            self.write().await?;
        }
        self.written().await
    }
}
