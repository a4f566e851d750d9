//! The service: it listens, serves, and drains when it is asked to end.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::certificate::Certificate;
use crate::connection;
use crate::limits::{ACCEPT_PAUSE, CONNECTIONS_MAX, DRAIN_TIME_MAX};
use crate::settings::Addresses;

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServiceError {
    #[error("cannot listen on {address}: {source}; choose another address with {variable}")]
    Listen {
        variable: &'static str,
        address: SocketAddr,
        source: io::Error,
    },
    #[error("the event loop does not work: {0}")]
    EventLoop(#[from] io::Error),
}

/// Serves until SIGTERM, and drains.
pub(crate) fn run(addresses: Addresses, certificate: Certificate) -> Result<(), ServiceError> {
    // A domain has one processor: more threads would only take memory.
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(addresses, certificate))
}

async fn serve(addresses: Addresses, certificate: Certificate) -> Result<(), ServiceError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let http = listen(addresses.http, "HTTP_ADDRESS").await?;
    let https = listen(addresses.https, "HTTPS_ADDRESS").await?;
    println!("hello: http on {}", http.local_addr()?);
    println!("hello: https on {}", https.local_addr()?);
    let acceptor = TlsAcceptor::from(certificate.config);
    let (drain, draining) = watch::channel(false);
    let mut connections = JoinSet::new();
    loop {
        let has_room = connections.len() < CONNECTIONS_MAX;
        let (accepted, tls) = tokio::select! {
            _ = terminate.recv() => break,
            Some(_) = connections.join_next() => continue,
            accepted = http.accept(), if has_room => (accepted, None),
            accepted = https.accept(), if has_room => (accepted, Some(acceptor.clone())),
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(connection::serve(stream, tls, draining.clone()));
            }
            Err(error) => rest_after(&error).await,
        }
    }
    drop((http, https));
    drain.send_replace(true);
    let cut = end(connections).await;
    println!("hello: drained, {cut} connections cut");
    Ok(())
}

async fn listen(address: SocketAddr, variable: &'static str) -> Result<TcpListener, ServiceError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| ServiceError::Listen {
            variable,
            address,
            source,
        })
}

/// A client that went away before it was accepted is none of ours; any other error would come again
/// at once.
async fn rest_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionReset) {
        eprintln!("hello: cannot accept a connection: {error}");
        sleep(ACCEPT_PAUSE).await;
    }
}

/// Waits for the connections to end; how many had to be cut.
async fn end(mut connections: JoinSet<()>) -> usize {
    println!("hello: draining {} connections", connections.len());
    let all = async { while connections.join_next().await.is_some() {} };
    // Those that are left end with the set.
    match timeout(DRAIN_TIME_MAX, all).await {
        Ok(()) => 0,
        Err(_) => connections.len(),
    }
}
