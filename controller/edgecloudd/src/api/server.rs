//! Connections, and what they may hold.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::{Extension, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

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

/// Serves domains, for ever.
pub async fn serve_domains(listener: TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(DOMAINS_MAX));
    let addresses = Arc::new(Addresses::default());
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
        let Some(counted) = Addresses::count(&addresses, from.ip()) else {
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

/// How many connections each address has.
#[derive(Debug, Default)]
struct Addresses(Mutex<HashMap<IpAddr, usize>>);

/// A connection that is counted.
struct Counted(Arc<Addresses>, IpAddr);

impl Addresses {
    fn count(addresses: &Arc<Addresses>, address: IpAddr) -> Option<Counted> {
        let mut counts = addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= CONNECTIONS_PER_DOMAIN_MAX {
            return None;
        }
        *count += 1;
        Some(Counted(Arc::clone(addresses), address))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_has_so_many_places_and_gives_them_back() {
        let addresses = Arc::new(Addresses::default());
        let [one, two] = ["10.0.1.2", "10.0.1.3"].map(|text| text.parse().unwrap());
        let all: Vec<Counted> = (0..CONNECTIONS_PER_DOMAIN_MAX)
            .map(|_| Addresses::count(&addresses, one).unwrap())
            .collect();
        assert!(Addresses::count(&addresses, one).is_none());
        assert!(Addresses::count(&addresses, two).is_some());
        drop(all);
        assert!(addresses.0.lock().unwrap().is_empty());
    }
}
