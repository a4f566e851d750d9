//! Connections to origins: HTTP/1.1, kept and used again.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::limits::{CONNECT_TIME_MAX, HEAD_TIME_MAX, IDLE_CONNECTIONS_MAX, IDLE_TIME_MAX};
use crate::refusal::Refused;

/// Sends requests to origins.
#[derive(Clone, Debug)]
pub(crate) struct Origin(Client<Connector, Body>);

impl Origin {
    pub(crate) fn new() -> Self {
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME_MAX)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            // The client's Host goes to the origin, whatever address that has.
            .set_host(false);
        Self(builder.build(Connector))
    }

    /// Sends a request whose URI says where to connect, and waits for the head of the answer.
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, Refused> {
        match timeout(HEAD_TIME_MAX, self.0.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(_)) => Err(Refused::OriginFailed),
            Err(_) => Err(Refused::OriginSlow),
        }
    }
}

/// Connects to the authority of a URI.
#[derive(Clone, Copy, Debug)]
struct Connector;

type Connecting = Pin<Box<dyn Future<Output = io::Result<TokioIo<TcpStream>>> + Send>>;

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Connecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Connecting {
        Box::pin(async move {
            let authority = uri.authority().ok_or(io::ErrorKind::InvalidInput)?;
            let host = authority.host().trim_matches(['[', ']']);
            let connecting = TcpStream::connect((host, authority.port_u16().unwrap_or(80)));
            let stream = timeout(CONNECT_TIME_MAX, connecting).await??;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(stream))
        })
    }
}
