//! Connections, and what they may hold.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::{Extension, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

use crate::places::Places;

/// Connections of the operator at once: some people and a monitor.
const OPERATORS_MAX: usize = 64;
/// Connections of all domains at once: as many as there may be replicas, and each waits with one.
const DOMAINS_MAX: usize = 4096;
/// Connections of one domain at once: one waits, others ask.
pub const CONNECTIONS_PER_DOMAIN_MAX: usize = 8;
/// How long the head of a request may take.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a connection may last: longer than a question for a state.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(600);
/// After the system refused a connection: it has no more files, and others end meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves the operator, for ever.
pub async fn serve_operator(listener: UnixListener, router: Router) {
    let places = Arc::new(Semaphore::new(OPERATORS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    connection(stream, router, None).await;
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Serves domains, for ever; counts the connections that are too many for one.
pub async fn serve_domains(listener: TcpListener, router: Router, refused: Arc<AtomicUsize>) {
    let places = Arc::new(Semaphore::new(DOMAINS_MAX));
    let addresses = Places::new(CONNECTIONS_PER_DOMAIN_MAX);
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(_) => {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Closed at once, for the next one may be another's.
        let Some(counted) = addresses.take(from.ip()) else {
            refused.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let router = router.clone().layer(Extension(from));
        tokio::spawn(async move {
            connection(stream, router, Some(from)).await;
            drop((place, counted));
        });
    }
}

async fn connection<S>(stream: S, router: Router, from: Option<SocketAddr>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX);
    let service = TowerToHyperService::new(router);
    let served = builder.serve_connection(TokioIo::new(stream), service);
    if from.is_some() {
        // Who is cut, or goes away in the middle, is no event.
        let _ = tokio::time::timeout(CONNECTION_TIME_MAX, served).await;
    } else {
        let _ = served.await;
    }
}
