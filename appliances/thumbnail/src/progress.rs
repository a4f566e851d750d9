//! How long a request that is on its way waits: as long as its body is taken, and some time after.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, timeout_at};

use crate::http::HttpError;

/// When something was last taken of a body.
#[derive(Clone)]
pub(crate) struct Progress(Arc<Mutex<Instant>>);

impl Progress {
    pub(crate) fn new() -> Progress {
        Progress(Arc::new(Mutex::new(Instant::now())))
    }

    /// The body, whose every piece is progress.
    pub(crate) fn watch(&self, body: Body) -> Body {
        Body::new(Watched {
            body,
            progress: self.clone(),
        })
    }

    /// Waits for an answer until there was no progress for so long.
    pub(crate) async fn wait<T>(
        &self,
        pause_max: Duration,
        sending: impl Future<Output = Result<T, HttpError>>,
    ) -> Result<T, HttpError> {
        let mut sending = std::pin::pin!(sending);
        loop {
            let last = self.last();
            match timeout_at(last + pause_max, &mut sending).await {
                Ok(answer) => return answer,
                Err(_) if self.last() == last => return Err(HttpError::Slow),
                Err(_) => {}
            }
        }
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn made(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

struct Watched {
    body: Body,
    progress: Progress,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_ready() {
            self.progress.made();
        }
        frame
    }

    // A request without a body must not get one.
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
