//! One connection, from its first byte to its end.
//!
//! It ends when the client ends it, when it has been without a request for too long, or, once the
//! service drains, when its requests are answered. hyper's own limits hold while a head is read;
//! here is what they leave out: a client that never says which protocol it speaks, one that does
//! not read its answer, and idle connections of HTTP/2.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body::Body as _;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{interval, timeout};
use tokio_rustls::TlsAcceptor;

use crate::answer::{Answer, Ends, Question, Refusal, answer};
use crate::limits::{
    BODY_BYTES_MAX, BODY_TIME_MAX, HANDSHAKE_TIME_MAX, HEAD_BYTES_MAX, HEAD_FIELDS_MAX,
    HEAD_TIME_MAX, IDLE_TIME_MAX, STREAMS_MAX, WINDOW_BYTES,
};

/// Whether the service drains.
pub(crate) type Draining = watch::Receiver<bool>;

/// Serves a connection to its end, with TLS if there is an acceptor.
pub(crate) async fn serve(stream: TcpStream, tls: Option<TlsAcceptor>, mut draining: Draining) {
    // An answer is one small write, which must not wait for an acknowledgement. A peer that has
    // reset the connection already shows at the next read.
    let _ = stream.set_nodelay(true);
    let Ok(client) = stream.peer_addr() else {
        return;
    };
    let ends = Ends {
        client,
        local: stream.local_addr().ok(),
        tls: tls.is_some(),
    };
    let Some(acceptor) = tls else {
        return serve_http(stream, ends, draining).await;
    };
    let handshake = tokio::select! {
        handshake = timeout(HANDSHAKE_TIME_MAX, acceptor.accept(stream)) => handshake,
        _ = draining.wait_for(|&draining| draining) => return,
    };
    // Who fails to shake hands has been told why by a TLS alert.
    if let Ok(Ok(stream)) = handshake {
        serve_http(stream, ends, draining).await;
    }
}

async fn serve_http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ends: Ends,
    mut draining: Draining,
) {
    let activity = Arc::new(Activity::default());
    let seat = Seat {
        ends,
        activity: Arc::clone(&activity),
        draining: draining.clone(),
    };
    let router = Router::new().fallback(respond).with_state(seat);
    let protocols = protocols();
    let service = TowerToHyperService::new(router);
    let mut connection = pin!(protocols.serve_connection(TokioIo::new(stream), service));
    let mut look = interval(IDLE_TIME_MAX);
    look.reset(); // The first look is not now.
    let (mut seen, mut leaving) = (Look::default(), false);
    loop {
        tokio::select! {
            // What goes wrong on a connection is its client's business.
            _ = connection.as_mut() => return,
            _ = draining.wait_for(|&draining| draining), if !leaving => {
                leaving = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = look.tick() => {
                let now = activity.look();
                if now.is_idle_since(&seen) {
                    if leaving {
                        return;
                    }
                    leaving = true;
                    connection.as_mut().graceful_shutdown();
                }
                seen = now;
            }
        }
    }
}

fn protocols() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_headers(HEAD_FIELDS_MAX)
        .max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    builder
}

/// What requests of a connection know.
#[derive(Clone)]
struct Seat {
    ends: Ends,
    activity: Arc<Activity>,
    draining: Draining,
}

/// Counts requests.
#[derive(Default)]
struct Activity {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// What was counted at one time.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Look {
    begun: u64,
    ended: u64,
}

impl Activity {
    fn look(&self) -> Look {
        Look {
            begun: self.begun.load(Ordering::Relaxed),
            ended: self.ended.load(Ordering::Relaxed),
        }
    }
}

impl Look {
    /// Whether nothing is being answered, and nothing was since.
    fn is_idle_since(&self, before: &Look) -> bool {
        self == before && self.begun == self.ended
    }
}

/// Counts a request's end, also where its client goes away before.
struct Busy(Arc<Activity>);

impl Busy {
    fn begin(activity: &Arc<Activity>) -> Busy {
        activity.begun.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(activity))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

async fn respond(State(seat): State<Seat>, request: Request) -> Response {
    let _busy = Busy::begin(&seat.activity);
    let (head, body) = request.into_parts();
    if let Err(refusal) = discard(body).await {
        return response(Answer::Refused(refusal));
    }
    let draining = *seat.draining.borrow();
    response(answer(&Question {
        method: &head.method,
        path: head.uri.path(),
        version: head.version,
        ends: seat.ends,
        draining,
    }))
}

/// Reads a body that nobody wants, so that its connection can be used again.
async fn discard(body: Body) -> Result<(), Refusal> {
    // Who says at once that it will be too much need not send it.
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(Refusal::BadBody);
    }
    match timeout(BODY_TIME_MAX, axum::body::to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) => Err(Refusal::BadBody),
        Err(_) => Err(Refusal::SlowBody),
    }
}

fn response(answer: Answer) -> Response {
    let status = answer.status();
    let mut response = (status, answer.text()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    match status {
        StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        _ => {}
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_idle_when_nothing_was_or_is_asked() {
        let activity = Arc::new(Activity::default());
        let first = activity.look();
        assert!(first.is_idle_since(&first));
        let busy = Busy::begin(&activity);
        let during = activity.look();
        assert!(!during.is_idle_since(&first) && !during.is_idle_since(&during));
        drop(busy);
        let after = activity.look();
        assert!(!after.is_idle_since(&during) && after.is_idle_since(&activity.look()));
    }

    #[test]
    fn refusals_tell_what_to_do() {
        let refused = |refusal| response(Answer::Refused(refusal));
        let method = refused(Refusal::NoSuchMethod);
        assert_eq!(method.headers()[header::ALLOW], "GET, HEAD");
        let draining = refused(Refusal::Draining);
        assert_eq!(draining.headers()[header::RETRY_AFTER], "1");
        assert_eq!(draining.headers()[header::CACHE_CONTROL], "no-store");
    }
}
