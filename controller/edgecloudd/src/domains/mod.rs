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
use std::time::Duration;

use async_trait::async_trait;
use zeroize::Zeroizing;

pub use process::Processes;
pub use xl::Xl;

/// A command that takes longer hangs, and is killed. The slowest, `xl create` on an emulated processor beside
/// thirty others, takes half a minute.
const COMMAND_LIMIT: Duration = Duration::from_secs(120);
/// A command that only looks or flips a switch.
const QUICK_LIMIT: Duration = Duration::from_secs(30);
/// How often such a one is tried.
const QUICK_ATTEMPTS: u32 = 3;

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
    let done = run_within(COMMAND_LIMIT, program, arguments).await;
    done.unwrap_or_else(|| Err(hangs(COMMAND_LIMIT, program, arguments)))
}

/// Runs a command that does no harm if it is done twice: again, if it hangs.
async fn run_quick(program: &str, arguments: &[&str]) -> Result<String, DomainsError> {
    for _ in 0..QUICK_ATTEMPTS {
        if let Some(done) = run_within(QUICK_LIMIT, program, arguments).await {
            return done;
        }
        let error = hangs(QUICK_LIMIT, program, arguments);
        tracing::warn!(%error, "killed, and tried again");
    }
    Err(hangs(QUICK_LIMIT, program, arguments))
}

fn hangs(limit: Duration, program: &str, arguments: &[&str]) -> DomainsError {
    let (words, seconds) = (arguments.join(" "), limit.as_secs());
    DomainsError(format!("{program} {words}: not done within {seconds} s"))
}

/// None if its time was up; it is killed then.
async fn run_within(
    limit: Duration,
    program: &str,
    arguments: &[&str],
) -> Option<Result<String, DomainsError>> {
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).stdin(std::process::Stdio::null());
    let finished = finish(command.kill_on_drop(true), program);
    tokio::time::timeout(limit, finished).await.ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_command_that_hangs_is_killed_and_told_of() {
        let limit = Duration::from_millis(100);
        let hanging = run_within(limit, "sleep", &["1000"]).await;
        assert!(hanging.is_none());
        let told = hangs(COMMAND_LIMIT, "xl", &["create", "a.cfg"]);
        assert_eq!(told.to_string(), "xl create a.cfg: not done within 120 s");
        let quick = run_quick("echo", &["done"]).await;
        assert_eq!(quick.expect("echo"), "done\n");
        assert!(run_quick("false", &[]).await.is_err());
    }
}
