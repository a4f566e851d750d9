//! A listener beside those for clients, with TLS always: for an operator's interface.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use rustls::ServerConfig;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::connection::Server;
use crate::drain::Drain;
use crate::limits::MANAGEMENT_CONNECTIONS_MAX;
use crate::listener::listen;
use crate::log::Log;
use crate::own_name::OwnName;
use crate::service::accept;
use crate::stage::{Background, Failure};

/// Listens beside. It has the certificate of the service, and connections of its own.
#[derive(Clone, Debug)]
pub struct Beside {
    log: Log,
    drain: Drain,
    tls: Arc<ServerConfig>,
}

impl Beside {
    pub(crate) fn new(log: Log, drain: Drain, tls: Arc<ServerConfig>) -> Self {
        Self { log, drain, tls }
    }

    /// Serves a router over HTTPS until the appliance drains, and tells where, as `NAME on ADDRESS`.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub fn serve(
        &self,
        name: &'static str,
        address: SocketAddr,
        router: Router,
        background: &Background,
    ) -> Result<(), Failure> {
        let listener = listen(address, false, name)?;
        self.log
            .say(format_args!("{name} on {}", listener.local_addr()?));
        let server = Server {
            router,
            tls: Some(TlsAcceptor::from(Arc::clone(&self.tls))),
            own_name: OwnName::default(),
            drain: self.drain.clone(),
            figures: None,
            read_bytes: crate::limits::HEAD_BYTES_MAX,
        };
        let seats = Arc::new(Semaphore::new(MANAGEMENT_CONNECTIONS_MAX));
        let log = self.log.clone();
        background.spawn(async move {
            let mut open = accept(listener, server, seats, log).await;
            while open.join_next().await.is_some() {}
        });
        Ok(())
    }
}
