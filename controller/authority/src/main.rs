//! `edgecloud-authority`: answers manifests with tokens and offers, by the operator's policies.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use authority::api;
use authority::authority::{Authority, Terms};
use authority::config::{Config, read_key, read_secret, read_text};
use authority::policy::Policies;
use authority::store::Store;
use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// The operator's authority: checks manifests against policy, makes offers, signs tokens.
///
/// SIGHUP reads the policies again; wrong ones are refused, and the old ones stay. SIGTERM ends it
/// after the requests that are being answered.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The configuration, a TOML file; paths in it are relative to it.
    #[arg(long, default_value = "/etc/edgecloud/authority.toml")]
    config: PathBuf,
    /// Only read configuration, key, certificate and policies, and say what is wrong.
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
    let policies = read_policies(&config.policies)?;
    let key = read_key(&config.key)?;
    let certificates = read_text(&config.tls.certificates)?;
    let tls = api::server::tls(&certificates, &read_secret(&config.tls.key)?)?;
    if arguments.check {
        println!("{} policies, key {}", policies.count(), key.public());
        return Ok(());
    }
    let store = Store::open(&config.database)
        .with_context(|| format!("cannot open {}", config.database.display()))?;
    let (listen, policy_file) = (config.listen, config.policies.clone());
    let authority = Arc::new(Authority::new(key, terms(config), policies, store));
    authority.start(api::now())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(authority, listen, tls, policy_file))
}

fn terms(config: Config) -> Terms {
    Terms {
        issuer: config.issuer,
        hosts: config.hosts,
        operators: config.operators,
        publishers: config.publishers,
        token_days_max: config.token_days_max,
        offer_hours_max: config.offer_hours_max,
    }
}

async fn run(
    authority: Arc<Authority>,
    listen: std::net::SocketAddr,
    tls: Arc<rustls::ServerConfig>,
    policy_file: PathBuf,
) -> Result<()> {
    let mut reload = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}"))?;
    let address = listener.local_addr()?;
    tracing::info!(%address, key = %authority.public_key(), "ready");
    let end = async {
        loop {
            tokio::select! {
                _ = reload.recv() => replace(&authority, &policy_file),
                _ = terminate.recv() => break,
            }
        }
    };
    api::server::serve(listener, tls, api::router(Arc::clone(&authority)), end).await;
    tracing::info!("ended");
    Ok(())
}

fn read_policies(file: &Path) -> Result<Policies> {
    Policies::parse(&read_text(file)?).with_context(|| file.display().to_string())
}

/// New policies take the old ones' place only if nothing is wrong with them.
fn replace(authority: &Authority, file: &Path) {
    let replaced = read_policies(file).and_then(|policies| {
        let count = policies.count();
        authority.replace_policies(policies, api::now())?;
        Ok(count)
    });
    match replaced {
        Ok(count) => tracing::info!(count, "policies reloaded"),
        Err(error) => tracing::error!(error = format!("{error:#}"), "policies kept"),
    }
}
