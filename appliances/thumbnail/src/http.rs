//! HTTP as a client: one connection to the origin or to the uploader, and what of a head goes on to it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, Request, Response, header};
use bytes::Bytes;
use http_body::Frame;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::limits::{CONNECT_TIME_MAX, PASSED_BYTES_MAX, UPLOADER_TIME_MAX};

/// `http://HOST:PORT/PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// `HOST:PORT`.
    pub(crate) authority: String,
    /// Without a slash at its end.
    pub(crate) path: String,
}

impl Endpoint {
    pub(crate) fn parse(text: &str) -> Option<Endpoint> {
        let rest = text.strip_prefix("http://")?;
        let uri: axum::http::Uri = text.parse().ok()?;
        let authority = uri.authority()?.as_str();
        if uri.query().is_some() || rest.contains(['@', '#']) {
            return None;
        }
        let port = if uri.port().is_some() { "" } else { ":80" };
        Some(Endpoint {
            authority: format!("{authority}{port}"),
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("no connection: {0}")]
    Connect(#[from] io::Error),
    #[error("no HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("no answer in time")]
    Slow,
    #[error("its name {0:?} cannot be checked")]
    Name(String),
}

impl From<tokio::time::error::Elapsed> for HttpError {
    fn from(_: tokio::time::error::Elapsed) -> HttpError {
        HttpError::Slow
    }
}

/// A connection of HTTP/1.1. It ends when it is dropped.
pub(crate) struct Connection(SendRequest<Body>);

impl Connection {
    /// To a name or an address with a port, without TLS.
    pub(crate) async fn to(authority: &str) -> Result<Connection, HttpError> {
        let stream = timeout(CONNECT_TIME_MAX, TcpStream::connect(authority)).await??;
        stream.set_nodelay(true)?;
        Connection::over(stream).await
    }

    /// To an address, with TLS for the name if there is one.
    pub(crate) async fn to_origin(
        address: SocketAddr,
        tls: Option<(&Tls, &str)>,
    ) -> Result<Connection, HttpError> {
        let stream = timeout(CONNECT_TIME_MAX, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        let Some((tls, name)) = tls else {
            return Connection::over(stream).await;
        };
        let server =
            ServerName::try_from(name.to_owned()).map_err(|_| HttpError::Name(name.to_owned()))?;
        let stream = timeout(CONNECT_TIME_MAX, tls.0.connect(server, stream)).await??;
        Connection::over(stream).await
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Connection, HttpError> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // What goes wrong on it, the sender hears of.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Connection(sender))
    }

    /// Sends a request; the head of its answer.
    pub(crate) async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, HttpError> {
        self.0.ready().await?;
        Ok(self.0.send_request(request).await?)
    }
}

/// TLS to origins.
pub(crate) struct Tls(TlsConnector);

impl Tls {
    pub(crate) fn new(roots: RootCertStore) -> Result<Tls, rustls::Error> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Tls(TlsConnector::from(Arc::new(config))))
    }
}

/// Fields that concern one connection (RFC 9110, section 7.6.1), and those by which clients say who they
/// are: whoever believes them believes anybody.
const NOT_FORWARDED: [&str; 13] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "expect",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-real-ip",
];

/// What of a head goes on to the other side.
pub(crate) fn forwarded(headers: &HeaderMap) -> HeaderMap {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let goes = |name: &HeaderName| !NOT_FORWARDED.contains(&name.as_str()) && !named.contains(name);
    headers
        .iter()
        .filter(|(name, _)| goes(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// A body that is fed piece by piece. It is whole only after [`Feed::end`]: a feed that is dropped before
/// breaks the request off, so that nobody takes a part for the whole.
pub(crate) struct Fed(mpsc::Receiver<Option<Bytes>>);

/// Feeds a [`Fed`].
pub(crate) struct Feed(mpsc::Sender<Option<Bytes>>);

/// Nobody takes it any more, or nobody has for too long.
#[derive(Debug)]
pub(crate) struct Gone;

pub(crate) fn fed(pieces: usize) -> (Feed, Fed) {
    let (sender, receiver) = mpsc::channel(pieces);
    (Feed(sender), Fed(receiver))
}

impl Feed {
    pub(crate) async fn piece(&self, piece: Bytes) -> Result<(), Gone> {
        self.send(Some(piece)).await
    }

    pub(crate) async fn end(self) -> Result<(), Gone> {
        self.send(None).await
    }

    /// An uploader that takes nothing for so long is away.
    async fn send(&self, piece: Option<Bytes>) -> Result<(), Gone> {
        match timeout(UPLOADER_TIME_MAX, self.0.send(piece)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Gone),
        }
    }
}

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(context).map(|piece| match piece {
            Some(Some(piece)) => Some(Ok(Frame::data(piece))),
            Some(None) => None,
            None => Some(Err(io::ErrorKind::ConnectionAborted.into())),
        })
    }
}

/// What came of a body already, and then the rest of it.
pub(crate) struct Rejoined {
    pub(crate) start: Bytes,
    pub(crate) rest: Option<Body>,
}

impl http_body::Body for Rejoined {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if !self.start.is_empty() {
            let length = self.start.len().min(PASSED_BYTES_MAX);
            let piece = self.start.split_to(length);
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(context),
            None => Poll::Ready(None),
        }
    }
}

/// An answer without a body.
pub(crate) fn empty(status: axum::http::StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_has_a_port_and_no_slash() {
        let check = |text: &str, authority: &str, path: &str| {
            let endpoint = Endpoint::parse(text).expect("an endpoint");
            assert_eq!(
                (endpoint.authority.as_str(), endpoint.path.as_str()),
                (authority, path)
            );
        };
        check("http://up.example/files/", "up.example:80", "/files");
        check("http://[fd00::3]:8080", "[fd00::3]:8080", "");
        for wrong in ["https://x/", "http://", "http://a@b/", "http://x/?a", "x"] {
            assert_eq!(Endpoint::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_concerns_one_connection_is_not_forwarded() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Own"),
            ("x-own", "1"),
            ("transfer-encoding", "chunked"),
            ("x-forwarded-for", "127.0.0.1"),
            ("cookie", "a=b"),
            ("x-kept", "1"),
        ] {
            headers.insert(name, value.parse().expect("a value"));
        }
        let forwarded = forwarded(&headers);
        let names: Vec<_> = forwarded.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["cookie", "x-kept"]);
    }
}
