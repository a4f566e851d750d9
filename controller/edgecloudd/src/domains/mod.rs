//! How domains are made, watched and ended: by Xen's `xl`, or as processes.
//!
//! The order is what makes the switch safe: a domain is prepared (it exists, with its interface, and
//! runs nothing), then the switch learns what it may do, and only then it starts.

mod process;
mod xenstore;
mod xl;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use async_trait::async_trait;
use zeroize::Zeroizing;

pub use process::Processes;
pub use xl::Xl;

/// The toolstack did not do it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DomainsError(pub String);

/// What a domain is made of.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Its number on this host.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// The image, or the program.
    pub image: PathBuf,
    /// MiB.
    pub memory_mib: u32,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Its addresses with the lengths of their prefixes; link-local ones are not among them.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Its routers.
    pub gateways: Vec<IpAddr>,
    /// Its resolvers.
    pub resolvers: Vec<IpAddr>,
    /// Its environment, secrets among it.
    pub environment: BTreeMap<String, Zeroizing<String>>,
    /// Its disk.
    pub disk: Option<PathBuf>,
}

/// A domain that is found running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Xen's number of it, or the process's.
    pub id: u32,
    /// Its interface's name in dom0.
    pub interface: String,
}

/// A toolstack.
#[async_trait]
pub trait Domains: Send + Sync {
    /// Makes a domain that runs nothing yet; returns its interface's name in dom0.
    async fn prepare(&self, spec: &Spec) -> Result<String, DomainsError>;
    /// Lets it run; returns its id.
    async fn start(&self, spec: &Spec) -> Result<u32, DomainsError>;
    /// The domain, if it runs from an earlier life of the daemon. One that was prepared only does
    /// not count.
    async fn find(&self, spec: &Spec) -> Result<Option<Found>, DomainsError>;
    /// Returns once the domain has ended.
    async fn ended(&self, spec: &Spec, id: u32);
    /// Asks the domain to end.
    async fn shutdown(&self, spec: &Spec, id: u32);
    /// Ends the domain, and removes all that was made for it; fine if there is nothing.
    async fn destroy(&self, spec: &Spec) -> Result<(), DomainsError>;
    /// The name of its interface, if nobody else unplugs it.
    fn interface(&self, spec: &Spec) -> Option<String>;
    /// The last bytes of what it wrote to its console.
    async fn log(&self, spec: &Spec, bytes_max: usize) -> Result<String, DomainsError>;
}

/// The end of a file, as text.
async fn end_of_file(file: &std::path::Path, bytes_max: usize) -> std::io::Result<String> {
    use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
    let mut opened = tokio::fs::File::open(file).await?;
    let length = opened.metadata().await?.len();
    let from = length.saturating_sub(bytes_max as u64);
    opened.seek(std::io::SeekFrom::Start(from)).await?;
    let mut bytes = Vec::new();
    opened
        .take(bytes_max as u64)
        .read_to_end(&mut bytes)
        .await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Runs a command to its end; what it wrote, or why not.
async fn run(program: &str, arguments: &[&str]) -> Result<String, DomainsError> {
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).stdin(std::process::Stdio::null());
    finish(command.kill_on_drop(true), program).await
}

async fn finish(
    command: &mut tokio::process::Command,
    program: &str,
) -> Result<String, DomainsError> {
    let output = command.output().await;
    let output = output.map_err(|error| DomainsError(format!("{program}: {error}")))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        let why = format!("{program}: {}: {}", output.status, complaint.trim());
        return Err(DomainsError(why));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
