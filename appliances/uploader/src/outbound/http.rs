//! HTTP/1.1 to an origin, with TLS and without.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, Response};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::destination::Place;
use crate::limits::{ANSWER_BYTES_MAX, CONNECT_TIME_MAX, ORIGIN_STALL_TIME_MAX};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("no connection: {0}")]
    Connect(#[from] io::Error),
    #[error("no address for {0:?}")]
    Unknown(String),
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

/// A connection to an origin. It ends when it is dropped.
pub(crate) struct Connection(SendRequest<Body>);

impl Connection {
    /// To an origin: to `address`, or to what its name resolves to.
    pub(crate) async fn to(
        place: &Place,
        address: Option<SocketAddr>,
        tls: &Tls,
    ) -> Result<Connection, HttpError> {
        let stream = timeout(CONNECT_TIME_MAX, reach(place, address)).await??;
        stream.set_nodelay(true)?;
        if !place.is_tls {
            return Connection::over(stream).await;
        }
        let wrong = |_| HttpError::Name(place.host.clone());
        let name = ServerName::try_from(place.host.clone()).map_err(wrong)?;
        let stream = timeout(CONNECT_TIME_MAX, tls.0.connect(name, stream)).await??;
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

    /// Sends a request with a body that somebody else watches; the head of its answer.
    pub(crate) async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, HttpError> {
        self.0.ready().await?;
        Ok(self.0.send_request(request).await?)
    }

    /// Sends a request that is short, and reads its answer to the end.
    pub(crate) async fn ask(&mut self, request: Request<Body>) -> Result<Response<()>, HttpError> {
        let response = timeout(ORIGIN_STALL_TIME_MAX, self.send(request)).await??;
        Ok(finish(response).await)
    }
}

/// Reads an answer to its end, as far as it is short, so that the connection serves again.
pub(crate) async fn finish(response: Response<Incoming>) -> Response<()> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX);
    // What it says besides its status is of no use to us.
    let _ = timeout(ORIGIN_STALL_TIME_MAX, body.collect()).await;
    Response::from_parts(head, ())
}

async fn reach(place: &Place, address: Option<SocketAddr>) -> Result<TcpStream, HttpError> {
    if let Some(address) = address {
        return Ok(TcpStream::connect(address).await?);
    }
    let mut last = HttpError::Unknown(place.host.clone());
    for address in lookup_host((place.host.as_str(), place.port)).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}
