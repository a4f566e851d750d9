//! Taking an upload: its body goes to the uploader and into memory at once, its thumbnails to the origin.
//!
//! The phone is answered when the original is durable and the origin has not said that it does not want
//! it. Until then everything that came is in memory, and can still go to the origin as it came.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use ring::digest;
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use crate::admission::{self, Kind};
use crate::arriving::{Arriving, Stopped};
use crate::http::{Feed, empty, fed};
use crate::limits::{
    BODY_BYTES_MAX, HASHED_BYTES_MAX, PICTURES_MAX, PIECES_WAITING_MAX, TAKE_BACK_TIME,
    TAKE_BACK_TRIES, UPLOADER_TIME_MAX, VERDICT_TIME_MAX,
};
use crate::multipart;
use crate::origin::{Sender, Verdict};
use crate::picture::{Format, Thumbnail};
use crate::reason::{Pass, Refused};
use crate::service::Thumbnailer;
use crate::uploader::{TakenBack, Upload, UploaderError, answer_after};

/// What became of feeding a body to the uploader.
enum Fed {
    Whole,
    TooLarge,
    /// The uploader takes no more.
    Gone,
    Stopped,
}

/// Who waits for what becomes of a body's pictures.
struct Telling {
    identity: Option<oneshot::Sender<String>>,
    verdict: Option<oneshot::Sender<Verdict>>,
}

impl Thumbnailer {
    /// Takes an upload, or says why it shall pass; then all that came is in `arriving`.
    pub(crate) async fn take(
        self: &Arc<Thumbnailer>,
        kind: &Kind,
        length: Option<usize>,
        sender: &Sender,
        arriving: &mut Arriving,
    ) -> Result<Result<Response<Body>, Pass>, Refused> {
        if let Err(reason) = look(kind, arriving).await? {
            return Ok(Err(reason));
        }
        let length = length.map(|length| length as u64);
        let created = self.uploader.create(length, &sender.original(), None).await;
        let mut upload = match created {
            Ok(upload) => upload,
            Err(error) => {
                self.tell("the uploader refuses an upload", &error);
                return Ok(Err(Pass::UploaderAway));
            }
        };
        let path = upload.path().to_owned();
        match self.store(&mut upload, length, arriving).await {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => match self.abandon(&path).await {
                // It was durable before its answer was lost, and is on its way to the origin.
                Ok(TakenBack::HasGone) if reason == Pass::UploaderFailed => {}
                _ => return Ok(Err(reason)),
            },
            Err(refused) => {
                // Nothing of it goes anywhere, whatever comes of this.
                let _ = self.abandon(&path).await;
                return Err(refused);
            }
        }
        // It is durable.
        let pictures = pictures(kind, &arriving.frozen());
        let (identity, verdict) = self.thumbnails(sender.clone(), pictures);
        let verdict = timeout(VERDICT_TIME_MAX, verdict).await;
        if let Ok(Ok(Verdict::Refused(_))) = verdict {
            // Also if it has gone: the phone is to hear what the origin says of it.
            let _ = self.abandon(&path).await;
            return Ok(Err(Pass::OriginRefuses));
        }
        self.figures.taken();
        // A form's picture that broke off has none.
        Ok(Ok(answer(&identity.await.unwrap_or_default())))
    }

    /// Gives a body to the uploader as it comes.
    async fn store(
        &self,
        upload: &mut Upload,
        length: Option<u64>,
        arriving: &mut Arriving,
    ) -> Result<Result<(), Pass>, Refused> {
        let (feed, body) = fed(PIECES_WAITING_MAX);
        let (told, over) = oneshot::channel();
        let filling = answer_after(over, upload.fill(length, Body::new(body)));
        let feeding = async {
            let fed = feed_all(feed, arriving).await;
            // Who no longer waits has failed already.
            let _ = told.send(());
            fed
        };
        let (filled, fed) = tokio::join!(filling, feeding);
        let has = match (fed, filled) {
            (Fed::Whole, Ok(has)) => has,
            (Fed::Stopped, _) => return Err(Refused::BodyStopped),
            (Fed::TooLarge, _) => return Ok(Err(Pass::TooLarge)),
            (Fed::Gone | Fed::Whole, filled) => {
                if let Err(error) = filled {
                    self.tell("the uploader fails", &error);
                }
                return Ok(Err(Pass::UploaderFailed));
            }
        };
        let given = arriving.buffer.len() as u64;
        if has != given {
            self.tell("the uploader fails", &UploaderError::Offset { has, given });
            return Ok(Err(Pass::UploaderFailed));
        }
        Ok(Ok(()))
    }

    /// Makes and posts the thumbnails of pictures, whoever waits for the first one's identity and for the
    /// verdict. It is that of the first thumbnail; none is made of a picture that cannot be decoded, which
    /// changes nothing for its upload.
    pub(crate) fn thumbnails(
        self: &Arc<Thumbnailer>,
        sender: Sender,
        pictures: Vec<Bytes>,
    ) -> (oneshot::Receiver<String>, oneshot::Receiver<Verdict>) {
        let (tell_identity, identity) = oneshot::channel();
        let (tell_verdict, verdict) = oneshot::channel();
        let thumbnailer = Arc::clone(self);
        (self.background)(Box::pin(async move {
            let mut telling = Telling {
                identity: Some(tell_identity),
                verdict: Some(tell_verdict),
            };
            // They keep their reservation to the end: it bounds how many wait to be posted, too.
            for picture in &pictures {
                let verdict = thumbnailer
                    .thumbnails_of(&sender, picture.clone(), &mut telling)
                    .await;
                if let Some(Verdict::Refused(status)) = verdict {
                    let facts: [(&str, &dyn Display); 1] = [("status", &status.as_u16())];
                    thumbnailer
                        .log
                        .often("the origin refuses a thumbnail", &facts);
                    break;
                }
            }
        }));
        (identity, verdict)
    }

    async fn thumbnails_of(
        &self,
        sender: &Sender,
        picture: Bytes,
        telling: &mut Telling,
    ) -> Option<Verdict> {
        let begun = Instant::now();
        let identity = identity(&picture).await;
        if let Some(tell) = telling.identity.take() {
            // Perhaps nobody waits any longer.
            let _ = tell.send(identity.clone());
        }
        let (made, mut connection) =
            tokio::join!(self.decoding.thumbnails(picture), sender.open(&self.tls));
        let mut thumbnails = match made {
            Ok(thumbnails) => thumbnails,
            Err(error) => {
                self.figures.failed(&error);
                let facts: [(&str, &dyn Display); 2] =
                    [("reason", &error.reason()), ("cause", &error)];
                self.log.often("no thumbnails", &facts);
                return None;
            }
        };
        self.figures.decoding_time.observe_time(begun.elapsed());
        // The one that is there soonest says most: there is something to see, and whether it is wanted.
        thumbnails.sort_by_key(|thumbnail| thumbnail.bytes.len());
        let mut last = None;
        for thumbnail in &thumbnails {
            let path = &self.thumbnails;
            let verdict = sender
                .post(&self.tls, &mut connection, path, thumbnail, &identity)
                .await;
            if let Some(tell) = telling.verdict.take() {
                // Nor for this.
                let _ = tell.send(verdict);
            }
            last = Some(verdict);
            match verdict {
                Verdict::Taken => self.figures.posted.add(1),
                Verdict::Refused(_) => {
                    self.figures.refused.add(1);
                    break;
                }
                Verdict::Later => self.hand_over(sender, thumbnail, &identity).await,
            }
        }
        last
    }

    /// Gives a thumbnail that the origin does not take now to the uploader, which has the time.
    async fn hand_over(&self, sender: &Sender, thumbnail: &Thumbnail, identity: &str) {
        let length = thumbnail.bytes.len() as u64;
        let metadata = sender.thumbnail(&self.thumbnails, thumbnail, identity);
        let handing = async {
            let mut upload = self.uploader.create(Some(length), &metadata, None).await?;
            let has = upload
                .fill(Some(length), thumbnail.bytes.clone().into())
                .await?;
            match has == length {
                true => Ok(()),
                false => Err(UploaderError::Offset { has, given: length }),
            }
        };
        match timeout(UPLOADER_TIME_MAX, handing).await {
            Ok(Ok(())) => self.figures.handed_over.add(1),
            Ok(Err(error)) => {
                self.figures.lost.add(1);
                self.tell("a thumbnail is lost", &error);
            }
            Err(_) => {
                self.figures.lost.add(1);
                self.tell("a thumbnail is lost", &UploaderError::Answer);
            }
        }
    }

    /// Takes an upload back from the uploader. One that died may have all of it on its disk, and come back: it
    /// is asked again until it says what became of it, so that the origin gets the upload once.
    pub(crate) async fn abandon(
        self: &Arc<Thumbnailer>,
        path: &str,
    ) -> Result<TakenBack, UploaderError> {
        let taken_back = Upload::abandon(&self.uploader, path).await;
        if let Err(error) = &taken_back {
            self.tell("an upload cannot be taken back yet", error);
            let (thumbnailer, path) = (Arc::clone(self), path.to_owned());
            (self.background)(Box::pin(async move {
                for _ in 0..TAKE_BACK_TRIES {
                    sleep(TAKE_BACK_TIME).await;
                    if Upload::abandon(&thumbnailer.uploader, &path).await.is_ok() {
                        return;
                    }
                }
            }));
        }
        taken_back
    }

    pub(crate) fn tell(&self, what: &str, error: &UploaderError) {
        self.log.often(what, &[("cause", error)]);
    }
}

/// Reads until it is known whether there is a picture.
async fn look(kind: &Kind, arriving: &mut Arriving) -> Result<Result<(), Pass>, Refused> {
    loop {
        if let Some(verdict) = admission::start(kind, &arriving.buffer, arriving.is_whole()) {
            return Ok(verdict);
        }
        arriving
            .piece()
            .await
            .map_err(|Stopped| Refused::BodyStopped)?;
    }
}

async fn feed_all(feed: Feed, arriving: &mut Arriving) -> Fed {
    if feed
        .piece(Bytes::copy_from_slice(&arriving.buffer))
        .await
        .is_err()
    {
        return Fed::Gone;
    }
    loop {
        match arriving.piece().await {
            Ok(Some(_)) if arriving.buffer.len() > BODY_BYTES_MAX => return Fed::TooLarge,
            Ok(Some(piece)) => {
                if feed.piece(piece).await.is_err() {
                    return Fed::Gone;
                }
            }
            Ok(None) => {
                return match feed.end().await {
                    Ok(()) => Fed::Whole,
                    Err(_) => Fed::Gone,
                };
            }
            Err(Stopped) => return Fed::Stopped,
        }
    }
}

/// The pictures in a body.
fn pictures(kind: &Kind, body: &Bytes) -> Vec<Bytes> {
    match kind {
        Kind::Whole | Kind::TusCreation => vec![body.clone()],
        Kind::Form(boundary) => multipart::parts(body, boundary)
            .into_iter()
            .filter(|part| part.is_file && part.is_whole)
            .map(|part| body.slice(part.content))
            .filter(|content| Format::of(content).is_some())
            .take(PICTURES_MAX)
            .collect(),
    }
}

/// The digest of a picture, in hexadecimal.
async fn identity(picture: &[u8]) -> String {
    let mut hashing = digest::Context::new(&digest::SHA256);
    for piece in picture.chunks(HASHED_BYTES_MAX) {
        hashing.update(piece);
        yield_now().await;
    }
    let digest = hashing.finish();
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// What the phone is told.
fn answer(identity: &str) -> Response<Body> {
    let mut response = empty(StatusCode::CREATED);
    *response.body_mut() = Body::from(format!("{{\"id\":\"{identity}\"}}\n"));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn others_have_their_turn_while_a_picture_is_hashed() {
        // FIPS 180-2, appendix B.3: a million times "a".
        let picture = vec![b'a'; 1_000_000];
        let mut hashing = std::pin::pin!(identity(&picture));
        let mut context = Context::from_waker(Waker::noop());
        let mut turns = 0;
        let hashed = loop {
            match hashing.as_mut().poll(&mut context) {
                Poll::Ready(hashed) => break hashed,
                Poll::Pending => turns += 1,
            }
        };
        assert_eq!(
            hashed,
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
        );
        assert_eq!(turns, picture.len().div_ceil(HASHED_BYTES_MAX));
    }
}
