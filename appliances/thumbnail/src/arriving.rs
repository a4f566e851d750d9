//! A body on its way in, and what of it is here already.

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use crate::http::Rejoined;
use crate::limits::STALL_TIME_MAX;

/// A body of which everything that came is kept, so that it can still go another way.
pub(crate) struct Arriving {
    pub(crate) buffer: Vec<u8>,
    rest: Option<Body>,
}

/// The body broke off, or nothing came for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stopped;

impl Arriving {
    pub(crate) fn new(body: Body, length: Option<usize>) -> Arriving {
        Arriving {
            // As it comes: a length that is claimed takes nothing yet.
            buffer: Vec::with_capacity(length.unwrap_or(0).min(64 << 10)),
            rest: Some(body),
        }
    }

    /// The next piece, which is in the buffer as well; `None` at the end.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, Stopped> {
        let Some(body) = &mut self.rest else {
            return Ok(None);
        };
        loop {
            let frame = timeout(STALL_TIME_MAX, body.frame())
                .await
                .map_err(|_| Stopped)?;
            let Some(frame) = frame else {
                self.rest = None;
                return Ok(None);
            };
            // Trailers say nothing that is needed.
            if let Ok(piece) = frame.map_err(|_| Stopped)?.into_data() {
                self.buffer.extend_from_slice(&piece);
                return Ok(Some(piece));
            }
        }
    }

    /// Whether all of it is here.
    pub(crate) fn is_whole(&self) -> bool {
        self.rest.is_none()
    }

    /// All of it, as if it had not been looked at.
    pub(crate) fn into_body(self) -> Body {
        Body::new(Rejoined {
            start: Some(self.buffer.into()),
            rest: self.rest,
        })
    }
}
