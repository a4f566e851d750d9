//! Waiting in dom0 for what a domain writes and for its end, woken by inotify.
//!
//! A domain's console is xenconsoled's log of it; its end is in the log of the `xl` that stays in
//! the background to look after it.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use testbed::xl::{self, Progress};

/// Waits until the console has the text; the code is [`xl::ENDED_WITHOUT`] if the domain ended first.
pub(crate) fn console(name: &str, text: &str) -> Result<ExitCode> {
    let mut domain = Logs::new(name)?;
    loop {
        // In this order: what it wrote last is in its log once its end is.
        let ended = domain.has_ended()?;
        if domain.console_has(text)? {
            return Ok(ExitCode::SUCCESS);
        }
        if ended {
            return Ok(ExitCode::from(xl::ENDED_WITHOUT));
        }
        domain.watch.wait(None)?;
    }
}

/// Creates a domain and prints its number. If it cannot be created, what `xl` says goes to standard
/// error.
pub(crate) fn create(name: &str, config: &str, flags: &[&str]) -> Result<ExitCode> {
    let mut domain = Logs::new(name)?;
    let mut supervisor = Supervisor::start(name, config, flags)?;
    loop {
        let ended = supervisor.has_ended;
        domain.xl.read()?;
        // Asking for the number by name would fail for a domain that has ended already.
        if let Some(id) = xl::id(&domain.xl.text()) {
            println!("{id}");
            return Ok(ExitCode::SUCCESS);
        }
        if ended {
            eprint!("{}", domain.xl.text());
            return Ok(ExitCode::FAILURE);
        }
        supervisor.wait(&domain.watch)?;
    }
}

/// Waits until the domain has ended and its console is complete; prints xl's log of it.
pub(crate) fn end(name: &str) -> Result<ExitCode> {
    let mut domain = Logs::new(name)?;
    while !domain.has_ended()? {
        domain.watch.wait(None)?;
    }
    print!("{}", domain.xl.text());
    Ok(ExitCode::SUCCESS)
}

/// Creates a domain and prints the nanoseconds until its console has the text.
pub(crate) fn time_to_console(name: &str, text: &str, config: &str) -> Result<ExitCode> {
    time(name, config, |domain| domain.console_has(text))
}

/// Creates a domain and prints the nanoseconds until xl has seen it shut down.
pub(crate) fn time_to_end(name: &str, config: &str) -> Result<ExitCode> {
    time(name, config, |domain| {
        Ok(domain.progress()? >= Progress::ShutDown)
    })
}

fn time(
    name: &str,
    config: &str,
    mut happened: impl FnMut(&mut Logs) -> Result<bool>,
) -> Result<ExitCode> {
    let mut domain = Logs::new(name)?;
    let start = Instant::now();
    let mut supervisor = Supervisor::start(name, config, &[])?;
    loop {
        let ended = supervisor.has_ended;
        let gone = domain.has_ended()?;
        if happened(&mut domain)? {
            println!("{}", start.elapsed().as_nanos());
            return Ok(ExitCode::SUCCESS);
        }
        if gone {
            bail!(
                "the domain ended without it; its console: {}",
                domain.console.text()
            );
        }
        if ended && xl::id(&domain.xl.text()).is_none() {
            bail!("xl create failed: {}", domain.xl.text());
        }
        supervisor.wait(&domain.watch)?;
    }
}

/// The `xl create` that stays to look after a domain, and writes its log.
///
/// It stays in the foreground. The one that it would leave in the background is a fork of a process
/// with threads (libxenstore's), and one in some hundred of those hung in its first call of
/// `pthread_create`, or died of a broken heap, and so never saw the domain's end.
pub(crate) struct Supervisor {
    pidfd: OwnedFd,
    has_ended: bool,
}

impl Supervisor {
    pub(crate) fn start(name: &str, config: &str, flags: &[&str]) -> Result<Self> {
        let path = xl::xl_log(name);
        let log = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let xl = Command::new("xl")
            .args(["create", "-q", "-F"])
            .args(flags)
            .arg(config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // It outlives the command that this process is part of.
            .process_group(0)
            .spawn()
            .context("cannot start xl")?;
        let pidfd = pidfd_open(Pid::from_child(&xl), PidfdFlags::empty());
        Ok(Self {
            pidfd: pidfd.context("cannot watch xl")?,
            has_ended: false,
        })
    }

    /// Whether this `xl` has ended, and so the domain.
    pub(crate) fn ended(&self) -> Result<bool> {
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(&mut fds, Some(&now)).context("cannot poll")?;
        Ok(fds[0].revents().contains(PollFlags::IN))
    }

    /// Waits until a log grows or this `xl` ends.
    fn wait(&mut self, watch: &Watch) -> Result<()> {
        let pidfd = (!self.has_ended).then_some(&self.pidfd);
        self.has_ended |= watch.wait(pidfd)?;
        Ok(())
    }
}

/// The two logs of a domain, and what tells when they grow.
struct Logs {
    console: Tail,
    xl: Tail,
    watch: Watch,
}

impl Logs {
    fn new(name: &str) -> Result<Self> {
        // Made before the first look, or something that happens in between would be missed.
        let watch = Watch::new(&[xl::LOG_DIR, xl::CONSOLE_DIR])?;
        let (console, xl) = (
            Tail::new(xl::console_log(name)),
            Tail::new(xl::xl_log(name)),
        );
        Ok(Self { console, xl, watch })
    }

    fn console_has(&mut self, text: &str) -> Result<bool> {
        self.console.read()?;
        Ok(self.console.has(text.as_bytes()))
    }

    fn progress(&mut self) -> Result<Progress> {
        self.xl.read()?;
        Ok(xl::progress(&self.xl.text()))
    }

    /// Whether the domain has ended and xenconsoled has written everything that it said.
    fn has_ended(&mut self) -> Result<bool> {
        Ok(match self.progress()? {
            Progress::Running | Progress::ShutDown => false,
            Progress::Kept => true,
            Progress::Gone => !is_open_in_xenconsoled(&self.console.path)?,
        })
    }
}

/// xenconsoled closes the log of a domain when it has read the rest of its ring.
fn is_open_in_xenconsoled(log: &Path) -> Result<bool> {
    let pid = fs::read_to_string("/run/xenconsoled.pid").context("is xenconsoled running?")?;
    let fds =
        fs::read_dir(format!("/proc/{}/fd", pid.trim())).context("is xenconsoled running?")?;
    Ok(fds
        .flatten()
        .any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target == log)))
}

/// A log that is read as it grows.
struct Tail {
    path: PathBuf,
    bytes: Vec<u8>,
    /// The text that is looked for does not begin before this: a flood is not searched twice.
    searched: usize,
}

impl Tail {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            bytes: Vec::new(),
            searched: 0,
        }
    }

    fn read(&mut self) -> Result<()> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).context("cannot read a log"),
        };
        if file.metadata()?.len() < self.bytes.len() as u64 {
            self.bytes.clear();
            self.searched = 0;
        }
        file.seek(SeekFrom::Start(self.bytes.len() as u64))?;
        file.read_to_end(&mut self.bytes)?;
        Ok(())
    }

    fn has(&mut self, text: &[u8]) -> bool {
        if text.is_empty() {
            return true;
        }
        let new = &self.bytes[self.searched..];
        let found = new.windows(text.len()).position(|window| window == text);
        self.searched += found.unwrap_or((new.len() + 1).saturating_sub(text.len()));
        found.is_some()
    }

    fn text(&self) -> String {
        testbed::console::clean(&self.bytes)
    }
}

/// Wakes when a file in one of some directories appears, grows or is closed.
struct Watch(OwnedFd);

impl Watch {
    fn new(directories: &[&str]) -> Result<Self> {
        let fd = inotify::init(CreateFlags::CLOEXEC).context("cannot use inotify")?;
        let flags = WatchFlags::CREATE | WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE;
        for directory in directories {
            inotify::add_watch(&fd, *directory, flags)
                .with_context(|| format!("cannot watch {directory}"))?;
        }
        Ok(Self(fd))
    }

    /// Waits for an event, or for `process` to end; says whether it has.
    fn wait(&self, process: Option<&OwnedFd>) -> Result<bool> {
        let mut fds = vec![PollFd::new(&self.0, PollFlags::IN)];
        fds.extend(process.map(|process| PollFd::new(process, PollFlags::IN)));
        poll(&mut fds, None).context("cannot poll")?;
        let ended = fds
            .get(1)
            .is_some_and(|fd| fd.revents().contains(PollFlags::IN));
        if fds[0].revents().contains(PollFlags::IN) {
            let mut events = [0; 4096];
            rustix::io::read(self.0.as_fd(), &mut events).context("cannot read from inotify")?;
        }
        Ok(ended)
    }
}
