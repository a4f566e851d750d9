//! A body on its way in, and what of it is here already.

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use crate::budget::Reservation;
use crate::http::Rejoined;
use crate::limits::STALL_TIME_MAX;

/// A body of which everything that came is kept, so that it can still go another way.
pub(crate) struct Arriving {
    pub(crate) buffer: Vec<u8>,
    /// For the buffer; none once it is frozen.
    reservation: Option<Reservation>,
    frozen: Bytes,
    rest: Option<Body>,
}

/// The body broke off, or nothing came for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stopped;

impl Arriving {
    pub(crate) fn new(body: Body, length: Option<usize>, reservation: Reservation) -> Arriving {
        Arriving {
            // As it comes: a length that is claimed takes nothing yet.
            buffer: Vec::with_capacity(length.unwrap_or(0).min(64 << 10)),
            reservation: Some(reservation),
            frozen: Bytes::new(),
            rest: Some(body),
        }
    }

    /// The next piece, which is in the buffer as well; `None` at the end.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, Stopped> {
        let piece = piece(&mut self.rest).await?;
        self.buffer
            .extend_from_slice(piece.as_deref().unwrap_or_default());
        Ok(piece)
    }

    /// Whether all of it is here.
    pub(crate) fn is_whole(&self) -> bool {
        self.rest.is_none()
    }

    /// What came, to be shared. It stays here too, and nothing more can come.
    pub(crate) fn frozen(&mut self) -> Bytes {
        if let Some(reservation) = self.reservation.take() {
            self.frozen = reservation.hold(std::mem::take(&mut self.buffer));
        }
        self.frozen.clone()
    }

    /// All of it, as if it had not been looked at. What is here holds its reservation until it is gone.
    pub(crate) fn into_body(mut self) -> Body {
        Body::new(Rejoined {
            start: self.frozen(),
            rest: self.rest,
        })
    }
}

/// The next piece of a body, which is `None` after its end.
pub(crate) async fn piece(rest: &mut Option<Body>) -> Result<Option<Bytes>, Stopped> {
    let Some(body) = rest else {
        return Ok(None);
    };
    loop {
        let frame = timeout(STALL_TIME_MAX, body.frame())
            .await
            .map_err(|_| Stopped)?;
        let Some(frame) = frame else {
            *rest = None;
            return Ok(None);
        };
        // Trailers say nothing that is needed.
        if let Ok(piece) = frame.map_err(|_| Stopped)?.into_data() {
            return Ok(Some(piece));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::budget::Budget;
    use crate::limits::PASSED_BYTES_MAX;

    #[tokio::test]
    async fn what_passes_is_reserved_until_it_is_gone() {
        let (client, bytes) = (IpAddr::from([10, 0, 0, 1]), 5 * PASSED_BYTES_MAX / 2);
        let budget = Budget::new(2 * bytes);
        let reservation = budget.reserve(client, bytes).expect("room");
        let mut arriving = Arriving::new(Body::from(vec![7; bytes]), Some(bytes), reservation);
        while arriving.piece().await.expect("a piece").is_some() {}
        let mut body = arriving.into_body();
        for left in [2, 1, 0] {
            assert!(budget.reserve(client, 1).is_err(), "{left}");
            let piece = body.frame().await.expect("a frame").expect("a piece");
            let piece = piece.into_data().expect("data");
            assert_eq!(piece.len() < PASSED_BYTES_MAX, left == 0);
        }
        assert!(budget.reserve(client, bytes).is_ok());
        assert!(body.frame().await.is_none());
    }
}
