//! One connection, from its first byte to its end.
//!
//! It ends when the client ends it, when it has been without a request for too long, or, once the
//! service drains, when its requests are answered. hyper's own limits hold while a head is read;
//! here is what they leave out: a client that never says which protocol it speaks, one that does
//! not read its answer, and idle connections of HTTP/2.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{interval, timeout};
use tokio_rustls::TlsAcceptor;
use tower_service::Service as _;

use crate::drain::Drain;
use crate::figures::Figures;
use crate::limits::{
    HANDSHAKE_TIME_MAX, HEAD_BYTES_MAX, HEAD_FIELDS_MAX, HEAD_TIME_MAX, IDLE_TIME_MAX, STREAMS_MAX,
    WINDOW_BYTES,
};
use crate::meant::Opened;
use crate::own_name::{OwnName, Whose};

/// A connection as its requests see it: an extension of each
/// (`axum::Extension<Ends>` takes it out).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The client's end.
    pub peer: SocketAddr,
    /// The address that the client meant, also where it is not ours; unknown if it is gone already.
    pub local: Option<SocketAddr>,
    /// Whether there is TLS between.
    pub tls: bool,
}

impl Ends {
    /// The client's address; one of IPv4 that came to a socket of IPv6 is one of IPv4.
    pub fn client(&self) -> IpAddr {
        self.peer.ip().to_canonical()
    }

    /// The address and port that the client meant, likewise.
    pub fn intended(&self) -> Option<SocketAddr> {
        let canonical = |local: SocketAddr| (local.ip().to_canonical(), local.port()).into();
        self.local.map(canonical)
    }
}

/// What connections of a listener have in common.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) router: Router,
    pub(crate) tls: Option<TlsAcceptor>,
    /// The only name that is spoken for, if there is one.
    pub(crate) own_name: OwnName,
    pub(crate) drain: Drain,
    /// None: nobody counts.
    pub(crate) figures: Option<Figures>,
    /// Bytes of a body that are read at once.
    pub(crate) read_bytes: usize,
}

/// Serves a connection to its end, with TLS if there is an acceptor. Its seat is given back when somebody
/// takes it who counts connections himself.
pub(crate) async fn serve(stream: TcpStream, server: Server, seat: OwnedSemaphorePermit) {
    // Answers must not wait for acknowledgements. A peer that has reset the connection already
    // shows at the next read.
    let _ = stream.set_nodelay(true);
    let Ok(peer) = stream.peer_addr() else {
        return;
    };
    let ends = Ends {
        peer,
        local: stream.local_addr().ok(),
        tls: server.tls.is_some(),
    };
    let looked = tokio::select! {
        looked = timeout(HANDSHAKE_TIME_MAX, whose(stream.into(), ends, &server)) => looked,
        () = server.drain.begun() => return,
    };
    match looked {
        Ok(Ok(Whose::Secure(stream))) => serve_http(*stream, ends, server).await,
        Ok(Ok(Whose::Plain(stream))) => serve_http(stream, ends, server).await,
        Ok(Ok(Whose::Taken(taken))) => {
            drop((seat, server));
            taken.await;
        }
        Ok(Ok(Whose::Nobody)) => server.figures.iter().for_each(Figures::meant_for_others),
        // Who fails to shake hands has been told why by a TLS alert.
        _ if ends.tls => server.figures.iter().for_each(Figures::handshake_failed),
        _ => {}
    }
}

/// Whose a connection is: ours, where nobody else's come.
async fn whose(stream: Opened, ends: Ends, server: &Server) -> io::Result<Whose> {
    if let Some(own) = server.own_name.get() {
        return own.whose(stream, ends, server.tls.clone()).await;
    }
    Ok(match &server.tls {
        Some(acceptor) => Whose::Secure(Box::new(acceptor.accept(stream).await?)),
        None => Whose::Plain(stream),
    })
}

async fn serve_http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ends: Ends,
    server: Server,
) {
    let activity = Arc::new(Activity::default());
    let drain = server.drain.clone();
    let seat = Seat {
        ends,
        activity: Arc::clone(&activity),
        server,
    };
    let protocols = protocols(seat.server.read_bytes);
    let service = hyper::service::service_fn(move |request| respond(seat.clone(), request));
    let mut connection = pin!(protocols.serve_connection(TokioIo::new(stream), service));
    let mut look = interval(IDLE_TIME_MAX);
    look.reset(); // The first look is not now.
    let (mut seen, mut leaving) = (Look::default(), false);
    loop {
        tokio::select! {
            // What goes wrong on a connection is its client's business.
            _ = connection.as_mut() => return,
            () = drain.begun(), if !leaving => {
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

fn protocols(read_bytes: usize) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_headers(HEAD_FIELDS_MAX)
        .max_buf_size(read_bytes);
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
    server: Server,
}

async fn respond(seat: Seat, request: Request<Incoming>) -> Result<Response, Infallible> {
    let busy = Busy::begin(&seat.activity);
    let began = Instant::now();
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(seat.ends);
    let mut router = seat.server.router;
    let response = match head_bytes(&request) > HEAD_BYTES_MAX {
        // hyper refuses it where no more is read at once.
        true => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.into_response(),
        false => router.call(request).await?,
    };
    if let Some(figures) = &seat.server.figures {
        figures.answered(response.status(), began.elapsed());
    }
    busy.0.answered.fetch_add(1, Ordering::Relaxed);
    Ok(response.map(|body| Body::new(Sending { body, busy })))
}

/// What a head takes, about.
fn head_bytes(request: &Request) -> usize {
    let fields = request.headers().iter();
    let fields = fields.map(|(name, value)| name.as_str().len() + value.len() + 4);
    let path = request.uri().path_and_query();
    fields.sum::<usize>() + path.map_or(0, |path| path.as_str().len())
}

/// Counts what requests do.
#[derive(Default)]
struct Activity {
    begun: AtomicU64,
    /// Answers that have begun.
    answered: AtomicU64,
    /// Parts of answers that the connection took.
    taken: AtomicU64,
    ended: AtomicU64,
}

/// What was counted at one time.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Look {
    begun: u64,
    answered: u64,
    taken: u64,
    ended: u64,
    /// Requests whose handler was at work.
    at_work: u64,
}

impl Activity {
    fn look(&self) -> Look {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (begun, answered) = (count(&self.begun), count(&self.answered));
        Look {
            begun,
            answered,
            taken: count(&self.taken),
            ended: count(&self.ended),
            at_work: begun.saturating_sub(answered),
        }
    }
}

impl Look {
    /// Whether nothing is being worked on, and nothing was done or taken since: a client that does
    /// not read its answer is idle as well.
    fn is_idle_since(&self, before: &Look) -> bool {
        self == before && self.at_work == 0
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

/// The body of an answer on its way.
struct Sending {
    body: Body,
    busy: Busy,
}

impl http_body::Body for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_ready() {
            self.busy.0.taken.fetch_add(1, Ordering::Relaxed);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
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
        activity.answered.fetch_add(1, Ordering::Relaxed);
        let sending = activity.look();
        activity.taken.fetch_add(1, Ordering::Relaxed);
        assert!(!activity.look().is_idle_since(&sending));
        let stalled = activity.look();
        assert!(activity.look().is_idle_since(&stalled));
        drop(busy);
        let after = activity.look();
        assert!(!after.is_idle_since(&stalled) && after.is_idle_since(&activity.look()));
    }

    #[test]
    fn addresses_are_what_people_write() {
        let ends = Ends {
            peer: "[::ffff:10.0.0.1]:5000".parse().expect("an address"),
            local: "[::ffff:192.0.2.1]:443".parse().ok(),
            tls: true,
        };
        assert_eq!(ends.client().to_string(), "10.0.0.1");
        assert_eq!(ends.intended(), "192.0.2.1:443".parse().ok());
    }
}
