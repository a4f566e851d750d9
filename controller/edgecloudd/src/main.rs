//! `edgecloudd`: enforces in a host's switch what tokens permit, and runs their domains.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use edgecloudd::api::{metadata, operator, server};
use edgecloudd::config::{Config, DhcpServer, Toolstack};
use edgecloudd::daemon::Daemon;
use edgecloudd::domains::{Domains, Processes, Xl};
use edgecloudd::names::LEARNED_MAX;
use edgecloudd::pipeline::{Host, METADATA, Side};
use edgecloudd::resolver::{self, Resolver};
use edgecloudd::store::Store;
use edgecloudd::switch::{OpenVswitch, Switch as _};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// The port of the metadata service.
const METADATA_PORT: u16 = 80;

/// The daemon of a host: launches domains by their tokens and keeps the switch as they permit.
///
/// SIGTERM ends it and leaves domains and flows as they are; started again, it goes on.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The configuration, a TOML file; paths in it are relative to it.
    #[arg(long, default_value = "/etc/edgecloud/edgecloudd.toml")]
    config: PathBuf,
    /// Only read the configuration, and say what is wrong.
    #[arg(long)]
    check: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .json()
        .with_writer(std::io::stderr)
        .init();
    let config = Config::read(&arguments.config)?;
    if arguments.check {
        println!("{} believes {}", config.host, config.issuer);
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(config))
}

async fn run(config: Config) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    for directory in ["images", "domains"] {
        let directory = config.directory.join(directory);
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        let private = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(&directory, private)?;
    }
    let switch = OpenVswitch::start(&config.switch).await?;
    let host = host(&config, &switch).await?;
    let metadata_listener = listen_for_domains(&switch).await?;
    let files = config.directory.join("domains");
    let domains: Arc<dyn Domains> = match config.domains {
        Toolstack::Xl => Arc::new(Xl::new(files, config.switch.bridge.clone())),
        Toolstack::Process => Arc::new(Processes::new(files)),
    };
    let operator_listener = listen_for_operators(&config.socket)?;
    let socket = config.socket.clone();
    let resolver = config.resolver_settings();
    let store = Store::open(&config.directory.join("edgecloudd.redb"))?;
    let daemon = Daemon::start(config, store, host, Arc::new(switch), domains).await?;
    if let Some(settings) = resolver {
        resolve(&daemon, settings).await?;
    }
    tokio::spawn(server::serve_domains(
        metadata_listener,
        metadata::router(Arc::clone(&daemon)),
        daemon.connections_refused(),
    ));
    tokio::spawn(server::serve_operator(
        operator_listener,
        operator::router(daemon),
    ));
    tracing::info!(socket = %socket.display(), "ready");
    terminate.recv().await;
    tracing::info!("ended; domains and flows stay");
    Ok(())
}

/// Starts the resolver, which learns for the daemon.
async fn resolve(daemon: &Arc<Daemon>, settings: resolver::Settings) -> Result<()> {
    let (learned, news) = mpsc::channel(LEARNED_MAX);
    tokio::spawn(Arc::clone(daemon).keep_learning(news));
    let known = daemon.known_names();
    Resolver::start(settings, daemon.interest(), learned, known).await?;
    Ok(())
}

/// Facts of the host, from configuration and switch.
async fn host(config: &Config, switch: &OpenVswitch) -> Result<Host> {
    let port = async |interface: &str| {
        let port = switch.port(interface).await;
        port.with_context(|| format!("the bridge has no port {interface}: add it"))
    };
    let mac: edgecloudd::config::Mac = {
        let text = switch.mac().await?;
        text.parse().map_err(anyhow::Error::msg)?
    };
    let network = &config.network;
    Ok(Host {
        access: port(&config.switch.access).await?,
        backhaul: port(&config.switch.backhaul).await?,
        mac: mac.0,
        addresses: network.addresses.clone(),
        gateway: network.gateway_mac.0,
        clients: network.clients.clone(),
        resolvers: network.resolvers.clone(),
        time_servers: network.time_servers.clone(),
        dhcp: match network.dhcp {
            DhcpServer::Host => Side::Host,
            DhcpServer::Backhaul => Side::Backhaul,
        },
    })
}

async fn listen_for_domains(switch: &OpenVswitch) -> Result<TcpListener> {
    switch.give_address(METADATA.into()).await?;
    let listener = TcpListener::bind((METADATA, METADATA_PORT)).await;
    listener.with_context(|| format!("cannot listen on {METADATA}:{METADATA_PORT}"))
}

/// The socket of this daemon; another one that lives is not pushed aside.
fn listen_for_operators(socket: &Path) -> Result<UnixListener> {
    if let Some(directory) = socket.parent() {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
    }
    let lives = std::os::unix::net::UnixStream::connect(socket).is_ok();
    ensure!(
        !lives,
        "another edgecloudd serves {}: stop it",
        socket.display()
    );
    if socket.exists() {
        std::fs::remove_file(socket)?;
    }
    let listener = UnixListener::bind(socket);
    let listener = listener.with_context(|| format!("cannot listen on {}", socket.display()))?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}
