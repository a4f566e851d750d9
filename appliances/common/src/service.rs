//! The life of an appliance: settings, listeners, requests, drain.

use std::env;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::beside::Beside;
use crate::certificate::{Certificate, Certificates};
use crate::connection::{self, Server};
use crate::drain::Drain;
use crate::figures::Figures;
use crate::limits::{ACCEPT_PAUSE, HEAD_BYTES_MAX, MANAGEMENT_CONNECTIONS_MAX};
use crate::listener::{ListenError, listen};
use crate::log::Log;
use crate::management::{self, Pages};
use crate::metrics::Registry;
use crate::own_name::OwnName;
use crate::readiness::Readiness;
use crate::registration::{Metadata, Part};
use crate::settings::{Addresses, Environment, Settings, SettingsError};
use crate::stage::{Background, Failure, Reads, Stage};

/// The exit code for settings that make no sense.
pub const BAD_SETTINGS: u8 = 2;

/// Why an appliance ends before it was asked to.
enum End {
    Settings(Failure),
    Failure(Failure),
}

/// Runs an appliance to its end: the whole of its `main`. `make` is handed its settings and what it
/// takes part with, and makes its router; requests wait in the backlog until it has.
pub fn run<T, F>(name: &'static str, make: impl FnOnce(Stage<T>) -> F) -> ExitCode
where
    T: DeserializeOwned,
    F: Future<Output = Result<Router, Failure>>,
{
    // A domain has one processor: more threads would only take memory.
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(live(Log::new(name), make)),
        Err(error) => Err(End::Failure(error.into())),
    };
    let (code, failure) = match ended {
        Ok(()) => return ExitCode::SUCCESS,
        Err(End::Settings(failure)) => (ExitCode::from(BAD_SETTINGS), failure),
        Err(End::Failure(failure)) => (ExitCode::FAILURE, failure),
    };
    eprintln!("{name}: {failure}");
    code
}

async fn live<T, F>(log: Log, make: impl FnOnce(Stage<T>) -> F) -> Result<(), End>
where
    T: DeserializeOwned,
    F: Future<Output = Result<Router, Failure>>,
{
    let drain = Drain::default();
    end_on_sigterm(&drain).map_err(failure)?;
    let environment = Environment(|variable: &'static str| env::var_os(variable));
    let bad = |error: SettingsError| End::Settings(error.into());
    let controller = environment.controller().map_err(bad)?;
    let document = match (environment.document().map_err(bad)?, &controller) {
        (Some(document), _) => document,
        (None, None) => String::new(),
        (None, Some(controller)) => tokio::select! {
            document = controller.configuration(&log) => document,
            () = drain.begun() => return Ok(()),
        },
    };
    let settings = environment.settings(log.name(), &document).map_err(bad)?;
    let Settings { common, service } = settings;
    let (drain_time, connections_max) = (common.drain_time, common.connections_max);
    let certificates = Certificates::default();
    let certificate = Certificate::of(common.identity, certificates.clone());
    let certificate = certificate.map_err(|error| End::Settings(error.into()))?;
    let places = Places::bind(&common.addresses).map_err(failure)?;
    places.tell(&log, &certificate).map_err(failure)?;

    let readiness = Readiness::new(drain.clone());
    let starting = readiness.gate("starting");
    let stage = Stage {
        settings: service,
        connections_max,
        log: log.clone(),
        metrics: Registry::default(),
        drain: drain.clone(),
        readiness,
        background: Background::default(),
        pages: Pages::default(),
        metadata: controller.as_ref().map(Metadata::of),
        own_name: OwnName::default(),
        certificates,
        beside: Beside::new(log.clone(), drain.clone(), Arc::clone(&certificate.config)),
        reads: Reads::default(),
    };
    let reads = stage.reads.clone();
    // Until the appliance has ended those who watch are answered.
    let _management = watched(places.management, &stage);
    let (metrics, background) = (stage.metrics.clone(), stage.background.clone());
    let own_name = stage.own_name.clone();
    if let Some(controller) = controller {
        let (log, readiness) = (log.clone(), stage.readiness.clone());
        let part = Part::new(log, drain.clone(), readiness, &stage.metrics);
        stage.background.spawn(controller.take_part(part));
    }
    let router = tokio::select! {
        router = make(stage) => router.map_err(End::Failure)?,
        () = drain.begun() => return Ok(()),
    };
    starting.open();
    let seats = Arc::new(Semaphore::new(connections_max));
    let accepting = places.clients.into_iter().map(|(listener, name)| {
        let server = Server {
            router: router.clone(),
            tls: (name == HTTPS).then(|| TlsAcceptor::from(Arc::clone(&certificate.config))),
            own_name: own_name.clone(),
            drain: drain.clone(),
            figures: Some(Figures::of(&metrics, name)),
            read_bytes: reads.bytes(),
        };
        accept(listener, server, Arc::clone(&seats), log.clone())
    });
    let connections = accepting.collect::<JoinSet<_>>().join_all().await;
    end(&log, connections, background.take(), drain_time).await;
    Ok(())
}

fn failure(error: impl Into<Failure>) -> End {
    End::Failure(error.into())
}

fn end_on_sigterm(drain: &Drain) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let drain = drain.clone();
    tokio::spawn(async move {
        terminate.recv().await;
        drain.begin();
    });
    Ok(())
}

const HTTP: &str = "http";
const HTTPS: &str = "https";

/// Where the appliance listens.
struct Places {
    clients: Vec<(TcpListener, &'static str)>,
    management: TcpListener,
}

impl Places {
    fn bind(addresses: &Addresses) -> Result<Self, ListenError> {
        let mut clients = Vec::new();
        for (address, name, variable) in [
            (addresses.http, HTTP, "HTTP_ADDRESS"),
            (addresses.https, HTTPS, "HTTPS_ADDRESS"),
        ] {
            if let Some(address) = address {
                clients.push((listen(address, addresses.transparent, variable)?, name));
            }
        }
        Ok(Self {
            clients,
            management: listen(addresses.management, false, "MANAGEMENT_ADDRESS")?,
        })
    }

    /// What was asked for may have left the port open.
    fn tell(&self, log: &Log, certificate: &Certificate) -> io::Result<()> {
        let fingerprint = certificate.fingerprint();
        log.say(format_args!("certificate sha256 fingerprint={fingerprint}"));
        let management = self.management.local_addr()?;
        log.say(format_args!("management on {management}"));
        for (listener, name) in &self.clients {
            log.say(format_args!("{name} on {}", listener.local_addr()?));
        }
        Ok(())
    }
}

/// Answers those who watch, as long as the result is kept.
fn watched<T>(listener: TcpListener, stage: &Stage<T>) -> JoinSet<()> {
    let server = Server {
        router: management::router(
            stage.readiness.clone(),
            stage.metrics.clone(),
            stage.pages.clone(),
        ),
        tls: None,
        own_name: OwnName::default(),
        // It answers while the appliance drains.
        drain: Drain::default(),
        figures: None,
        read_bytes: HEAD_BYTES_MAX,
    };
    let seats = Arc::new(Semaphore::new(MANAGEMENT_CONNECTIONS_MAX));
    let log = stage.log.clone();
    let mut watched = JoinSet::new();
    watched.spawn(async move {
        accept(listener, server, seats, log).await;
    });
    watched
}

/// Serves connections until the service drains; those that are open then.
pub(crate) async fn accept(
    listener: TcpListener,
    server: Server,
    seats: Arc<Semaphore>,
    log: Log,
) -> JoinSet<()> {
    let mut connections = JoinSet::new();
    let drain = server.drain.clone();
    loop {
        // What has ended is let go of, so the set grows with what is open alone.
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = drain.begun() => return connections,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                rest_after(&error, &log).await;
                continue;
            }
        };
        // While all seats are taken one connection waits here, and more in the backlog.
        let seat = tokio::select! {
            () = drain.begun() => return connections,
            seat = Arc::clone(&seats).acquire_owned() => seat,
        };
        // The semaphore is never closed.
        let Ok(seat) = seat else { return connections };
        let server = server.clone();
        connections.spawn(async move {
            let _open = server.figures.as_ref().map(Figures::accepted);
            connection::serve(stream, server, seat).await;
        });
    }
}

/// A client that went away before it was accepted is none of ours; any other error would come again
/// at once.
async fn rest_after(error: &io::Error, log: &Log) {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionReset) {
        log.often(format_args!("cannot accept a connection: {error}"), &[]);
        sleep(ACCEPT_PAUSE).await;
    }
}

/// Waits for what is in flight to end, and cuts the rest.
async fn end(
    log: &Log,
    connections: Vec<JoinSet<()>>,
    mut background: JoinSet<()>,
    time_max: Duration,
) {
    let open: usize = connections.iter().map(JoinSet::len).sum();
    log.say(format_args!("draining {open} connections"));
    let mut connections = connections;
    let all = async {
        for listener in &mut connections {
            while listener.join_next().await.is_some() {}
        }
        while background.join_next().await.is_some() {}
    };
    // Those that are left end with their set.
    let cut = match timeout(time_max, all).await {
        Ok(()) => 0,
        Err(_) => connections.iter().map(JoinSet::len).sum(),
    };
    log.say(format_args!("drained, {cut} connections cut"));
    if !background.is_empty() {
        let left = background.len();
        log.say(format_args!("unfinished work cut tasks={left}"));
    }
}
