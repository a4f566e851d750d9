//! Thumbnails beside the event loop: in slices, few at a time, with a limit on time.
//!
//! Threads of a domain are cooperative, so a decoding thread gives its turn back after
//! [`SLICE`] and waits until the event loop has looked at everything else and grants the next.
//! Whoever no longer waits for the thumbnails stops the decoding by going away.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc as events};
use tokio::task;

use crate::picture::{Alpha, Limits, Picture, PictureError, Size, Stopped, Thumbnail};

/// A client's packet waits no longer for a decoder; switching costs a hundredth of it.
const SLICE: Duration = Duration::from_millis(2);
/// Pictures that are decoded by turns: a huge one does not keep a small one waiting, and memory for more
/// would be for nothing on one processor.
const PICTURES_AT_ONCE: usize = 2;
/// The time of the processor for one picture, its pauses included. The largest that the limits allow takes
/// seconds.
const TIME_MAX: Duration = Duration::from_secs(60);
/// Memory is reserved in units of this.
const UNIT: usize = 1 << 20;

/// What makes thumbnails.
pub(crate) struct Decoding {
    sizes: Arc<[Size]>,
    alpha: Alpha,
    limits: Limits,
    turns: Semaphore,
    /// Units of memory that decoders may hold together.
    memory: Semaphore,
}

impl Decoding {
    pub(crate) fn new(sizes: Vec<Size>, alpha: Alpha, limits: Limits) -> Decoding {
        Decoding {
            sizes: sizes.into(),
            alpha,
            limits,
            turns: Semaphore::new(PICTURES_AT_ONCE),
            memory: Semaphore::new(limits.memory_max.div_ceil(UNIT)),
        }
    }

    /// Makes all thumbnails of a picture. Those who wait get their turn in the order in which they came.
    pub(crate) async fn thumbnails(&self, bytes: Bytes) -> Result<Vec<Thumbnail>, PictureError> {
        // Before it waits, so that what cannot be decoded waits for nothing.
        let memory = Picture::open(&bytes, &self.sizes, &self.limits)?.memory();
        let units = u32::try_from(memory.div_ceil(UNIT)).unwrap_or(u32::MAX);
        // Neither semaphore is ever closed.
        let _turn = self
            .turns
            .acquire()
            .await
            .map_err(|_| PictureError::Stopped)?;
        let _memory = self
            .memory
            .acquire_many(units)
            .await
            .map_err(|_| PictureError::Stopped)?;
        self.in_slices(bytes).await
    }

    async fn in_slices(&self, bytes: Bytes) -> Result<Vec<Thumbnail>, PictureError> {
        let (paused, mut pauses) = events::channel(1);
        let (grant, granted) = mpsc::sync_channel(1);
        let (sizes, alpha, limits) = (Arc::clone(&self.sizes), self.alpha, self.limits);
        let mut thread = task::spawn_blocking(move || {
            let since = Cell::new(Instant::now());
            let pace = || {
                if since.get().elapsed() < SLICE {
                    return Ok(());
                }
                paused.blocking_send(()).map_err(|_| Stopped)?;
                granted.recv().map_err(|_| Stopped)?;
                since.set(Instant::now());
                Ok(())
            };
            Picture::open(&bytes, &sizes, &limits)?.thumbnails(&sizes, alpha, &pace)
        });
        let begun = Instant::now();
        let mut grant = Some(grant);
        loop {
            tokio::select! {
                made = &mut thread => return made.unwrap_or(Err(PictureError::Panicked)),
                Some(()) = pauses.recv() => {
                    task::yield_now().await;
                    if begun.elapsed() > TIME_MAX {
                        grant = None;
                    }
                    if let Some(grant) = &grant {
                        // The thread waits for it, or has ended, which shows above.
                        let _ = grant.try_send(());
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoding() -> Decoding {
        let sizes = vec!["a=64x64".parse().expect("a size")];
        Decoding::new(sizes, Alpha::Png, Limits::default())
    }

    fn png(edge: u32) -> Bytes {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, edge, edge);
        encoder.set_color(png::ColorType::Rgb);
        let mut writer = encoder.write_header().expect("a head");
        writer
            .write_image_data(&vec![90; (edge * edge * 3) as usize])
            .expect("pixels");
        drop(writer);
        bytes.into()
    }

    #[tokio::test]
    async fn the_event_loop_goes_on_while_a_large_picture_is_decoded() {
        let decoding = decoding();
        let large = decoding.thumbnails(png(2000));
        let mut large = std::pin::pin!(large);
        let mut looked = 0;
        let made = loop {
            tokio::select! {
                biased;
                made = &mut large => break made,
                () = task::yield_now() => looked += 1,
            }
        };
        assert_eq!(made.expect("made").len(), 1);
        assert!(looked > 10, "looked {looked} times");
    }

    #[tokio::test]
    async fn who_goes_away_stops_it_and_leaves_room_for_others() {
        let decoding = decoding();
        for _ in 0..3 * PICTURES_AT_ONCE {
            let large = decoding.thumbnails(png(2000));
            tokio::select! {
                biased;
                _ = large => panic!("at once?"),
                () = task::yield_now() => {}
            }
        }
        assert_eq!(decoding.turns.available_permits(), PICTURES_AT_ONCE);
        assert!(decoding.thumbnails(png(30)).await.is_ok());
        let broken = decoding
            .thumbnails(Bytes::from_static(b"\xff\xd8\xff\xd9"))
            .await;
        assert!(matches!(broken, Err(PictureError::Broken(_))));
    }
}
