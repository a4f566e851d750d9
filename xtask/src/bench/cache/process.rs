//! Processes of a benchmark on this machine: started, measured, ended.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// Nothing takes this long to start.
const START_LIMIT: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(10);
/// `USER_HZ` of Linux on x86-64, in which it tells processes' times.
const TICKS_PER_SECOND: f64 = 100.0;

/// How the line begins that says where a cache of ours listens.
pub(super) const HTTP_SIGN: &str = "cache: http on ";

/// A folder for a benchmark's files, which goes with this.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn make() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("bench-cache-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left lies in the folder for such things.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server with its workers; killed when dropped.
pub(super) struct Server {
    child: Child,
    pub(super) address: SocketAddr,
}

impl Server {
    /// Starts a server that will listen at an address, and waits until it does.
    pub(super) fn start(command: &mut Command, address: SocketAddr) -> Result<Self> {
        let program = command.get_program().to_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", Path::new(&program).display()))?;
        let mut server = Self { child, address };
        let until = Instant::now() + START_LIMIT;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("{} ended: {status}", Path::new(&program).display());
            }
            ensure!(Instant::now() < until, "nothing listens on {address}");
            sleep(PAUSE); // Nobody says when nginx listens.
        }
        Ok(server)
    }

    /// Starts a cache of ours, which says where it listens; and the line that begins so, which may be that
    /// one or a later.
    pub(super) fn ours(program: &Path, document: &str, sign: &str) -> Result<(Self, String)> {
        let mut command = Command::new(program);
        let mut child = command
            .env("CONFIG", document)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no pipe")?);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut server = Self { child, address };
        loop {
            let mut line = String::new();
            let read = lines.read_line(&mut line)?;
            ensure!(read > 0, "the cache ended before it said {sign:?}");
            if let Some(address) = line.strip_prefix(HTTP_SIGN) {
                server.address = address.trim().parse()?;
            }
            if line.starts_with(sign) {
                // What it says later is read by somebody, or it would stop at a full pipe.
                std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
                return Ok((server, line.trim().to_owned()));
            }
        }
    }

    /// Kills it, as when the power fails.
    pub(super) fn kill(&mut self) {
        // It may have ended already; that it does is waited for when it is dropped.
        let _ = self.child.kill();
    }

    /// Seconds of the processor that the server and its workers took so far.
    pub(super) fn cpu_seconds(&self) -> Result<f64> {
        let own = self.child.id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children"))?;
        let children = children.split_whitespace().filter_map(|id| id.parse().ok());
        let ticks = std::iter::once(own).chain(children).map(ticks);
        Ok(ticks.sum::<Result<u64>>()? as f64 / TICKS_PER_SECOND)
    }
}

/// User's and system's time of a process (proc(5), `/proc/pid/stat`, fields 14 and 15).
fn ticks(process: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, fields) = stat.rsplit_once(") ").context("no name in stat")?;
    let times = fields.split(' ').skip(11).take(2);
    let times = times.map(|time| time.parse::<u64>().context("no number in stat"));
    times.sum()
}

impl Drop for Server {
    fn drop(&mut self) {
        // nginx and varnishd end their workers at SIGTERM; what has ended already is no matter.
        let id = self.child.id().to_string();
        let _ = Command::new("kill").arg(id).status();
        let until = Instant::now() + START_LIMIT;
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() > until {
                let _ = self.child.kill();
            }
            sleep(PAUSE);
        }
    }
}

/// A port that was free just now.
pub(super) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
