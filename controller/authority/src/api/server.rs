//! Connections: TLS, and bounds on what one of them and all of them may take.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

/// Connections at once. Publishers and hosts keep none open for long; further ones wait in the
/// kernel's queue.
pub const CONNECTIONS_MAX: usize = 256;
/// Connections of one address at once: one that opens and never speaks keeps no other out.
pub const CONNECTIONS_PER_ADDRESS_MAX: u32 = 32;
/// How long a handshake may take, and the head of a request.
pub const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a connection may live, whatever it does: nobody keeps one of the places for ever.
pub const CONNECTION_TIME_MAX: Duration = Duration::from_secs(300);
/// Requests at once on one connection of HTTP/2.
const STREAMS_MAX: u32 = 16;
/// How long connections may go on when the authority ends.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);
/// The pause after a failure to accept: out of descriptors, trying again at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The server's side of TLS from PEM texts.
///
/// # Errors
/// A text without certificate or key, or two that do not belong together.
pub fn tls(certificates: &str, key: &str) -> Result<Arc<rustls::ServerConfig>> {
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(certificates.as_bytes()).collect();
    let chain = chain.context("the certificates are not PEM")?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|_| anyhow::anyhow!("the TLS key is no private key in PEM"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("the certificate and the TLS key do not fit")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Serves connections until `end` is ready, and then lets the open ones finish for a while.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    router: Router,
    end: impl Future<Output = ()>,
) {
    let acceptor = TlsAcceptor::from(tls);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let addresses = Arc::new(Addresses::default());
    let graceful = GracefulShutdown::new();
    tokio::pin!(end);
    loop {
        let place = Arc::clone(&places).acquire_owned();
        let accepted = async {
            let place = place.await.expect("never closed");
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut end => break,
        };
        let (stream, address) = match accepted {
            Ok((stream, from)) => (stream, from.ip()),
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(counted) = Addresses::count(&addresses, address) else {
            continue;
        };
        let (acceptor, router, watcher) = (acceptor.clone(), router.clone(), graceful.watcher());
        tokio::spawn(async move {
            let connection = connection(stream, acceptor, router, watcher);
            let _ = tokio::time::timeout(CONNECTION_TIME_MAX, connection).await;
            drop((place, counted));
        });
    }
    let _ = tokio::time::timeout(DRAIN_TIME_MAX, graceful.shutdown()).await;
}

/// How many connections each address has; those with none are not in it.
#[derive(Default)]
struct Addresses(Mutex<HashMap<IpAddr, u32>>);

/// One connection of an address, as long as it lives.
struct Counted(Arc<Addresses>, IpAddr);

impl Addresses {
    /// Counts one more; nothing if the address has as many as it may.
    fn count(addresses: &Arc<Self>, address: IpAddr) -> Option<Counted> {
        let mut counts = addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_insert(0);
        if *count >= CONNECTIONS_PER_ADDRESS_MAX {
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

async fn connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    router: Router,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let handshake = tokio::time::timeout(HEAD_TIME_MAX, acceptor.accept(stream));
    let Ok(Ok(stream)) = handshake.await else {
        return;
    };
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(HEAD_TIME_MAX);
    let service = TowerToHyperService::new(router);
    let served = builder.serve_connection(TokioIo::new(stream), service);
    // A client that goes away in the middle is no event.
    let _ = watcher.watch(served).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_places_and_gives_them_back() {
        let addresses = Arc::new(Addresses::default());
        let [one, two] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        let all: Vec<Counted> = (0..CONNECTIONS_PER_ADDRESS_MAX)
            .map(|_| Addresses::count(&addresses, one).unwrap())
            .collect();
        assert!(Addresses::count(&addresses, one).is_none());
        assert!(Addresses::count(&addresses, two).is_some());
        drop(all);
        assert!(Addresses::count(&addresses, one).is_some());
        assert!(addresses.0.lock().unwrap().is_empty());
    }
}
