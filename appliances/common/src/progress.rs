//! How long a request that is on its way waits: as long as its body is taken, and some time after.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, timeout_at};

/// When a request was begun, or a piece or the end of its body was last taken to be sent.
#[derive(Clone, Debug)]
pub struct Progress(Arc<Mutex<Instant>>);

impl Progress {
    /// Of a request that begins now.
    pub fn begin() -> Progress {
        Progress(Arc::new(Mutex::new(Instant::now())))
    }

    /// The body, whose every piece is progress.
    pub fn watch(&self, body: Body) -> Body {
        Body::new(Watched {
            body,
            progress: self.clone(),
        })
    }

    /// Waits for an answer; `None` when there was no progress for so long.
    pub async fn wait<T>(&self, pause_max: Duration, answer: impl Future<Output = T>) -> Option<T> {
        let mut answer = std::pin::pin!(answer);
        loop {
            let last = self.last();
            match timeout_at(last + pause_max, &mut answer).await {
                Ok(answer) => return Some(answer),
                Err(_) if self.last() == last => return None,
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
