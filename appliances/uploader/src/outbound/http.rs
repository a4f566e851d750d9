//! HTTP/1.1 to an origin, with TLS and without.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, Response};
use bytes::Bytes;
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
#[derive(Clone)]
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

/// A connection to an origin. It ends when it is dropped, and is made anew if the origin ends it after an
/// answer.
pub(crate) struct Connection {
    sender: SendRequest<Body>,
    place: Place,
    address: Option<SocketAddr>,
    tls: Tls,
}

impl Connection {
    /// To an origin: to `address`, or to what its name resolves to.
    pub(crate) async fn to(
        place: &Place,
        address: Option<SocketAddr>,
        tls: &Tls,
    ) -> Result<Connection, HttpError> {
        Ok(Connection {
            sender: connect(place, address, tls).await?,
            place: place.clone(),
            address,
            tls: tls.clone(),
        })
    }

    /// Sends a request with a body that somebody else watches; the head of its answer.
    pub(crate) async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, HttpError> {
        if self.sender.ready().await.is_err() {
            // Nothing of this request went yet.
            self.sender = connect(&self.place, self.address, &self.tls).await?;
            self.sender.ready().await?;
        }
        Ok(self.sender.send_request(request).await?)
    }

    /// Sends a request that is short, and reads its answer to the end.
    pub(crate) async fn ask(&mut self, request: Request<Body>) -> Result<Response<()>, HttpError> {
        let response = timeout(ORIGIN_STALL_TIME_MAX, self.send(request)).await??;
        Ok(finish(response).await)
    }
}

/// Reads an answer to its end, as far as it is short, so that the connection serves again.
pub(crate) async fn finish(response: Response<Incoming>) -> Response<()> {
    // What it says besides its status is of no use to us.
    read(response, ANSWER_BYTES_MAX).await.map(drop)
}

/// Reads an answer to its end; one that is longer, or does not end, is empty.
pub(crate) async fn read(response: Response<Incoming>, bytes_max: usize) -> Response<Bytes> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, bytes_max);
    let body = match timeout(ORIGIN_STALL_TIME_MAX, body.collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        _ => Bytes::new(),
    };
    Response::from_parts(head, body)
}

async fn connect(
    place: &Place,
    address: Option<SocketAddr>,
    tls: &Tls,
) -> Result<SendRequest<Body>, HttpError> {
    let stream = timeout(CONNECT_TIME_MAX, reach(place, address)).await??;
    stream.set_nodelay(true)?;
    if !place.is_tls {
        return speak(stream).await;
    }
    let wrong = |_| HttpError::Name(place.host.clone());
    let name = ServerName::try_from(place.host.clone()).map_err(wrong)?;
    let stream = timeout(CONNECT_TIME_MAX, tls.0.connect(name, stream)).await??;
    speak(stream).await
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<Body>, HttpError> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // What goes wrong on it, the sender hears of.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
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
