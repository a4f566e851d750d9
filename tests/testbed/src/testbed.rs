//! Starting machines, and what one can ask of them.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::command::{Command, Output};
use crate::connection::Connection;
use crate::console;
use crate::domain::{self, Domain};
use crate::image::Image;
use crate::kept::{self, Place, State};
use crate::machine::{self, Accelerator, Folder, Owned, PortLock};
use crate::peers::{self, LinuxGuest, Peers};
use crate::probe::{self, Probe};
use crate::progress::{Progress, step};
use crate::{agent, host, xl};

/// A Xen machine. Threads share it by reference; all of its methods may be called at once.
pub struct Testbed {
    // In this order: first the session ends, then the machine, then its folder goes.
    connection: Connection,
    _port: PortLock,
    _owned: Option<Owned>,
    folder: Folder,
    diary: Mutex<Diary>,
}

/// What has not been told by [`Testbed::diagnose`] yet.
#[derive(Default)]
struct Diary {
    domains: Vec<String>,
    hypervisor_log: String,
}

/// What [`up`] found or did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Up {
    /// It started a machine.
    Started,
    /// One was running.
    Already,
}

impl Testbed {
    /// Boots a machine for the caller; dropping the `Testbed` ends it. What is missing is
    /// installed and built first. `root` is the workspace's folder.
    pub fn start(root: &Path, log: &mut dyn Progress) -> Result<Self> {
        let cache = cache(root)?;
        sweep(&cache)?;
        let prepared = Prepared::make(root, &cache, log)?;
        start_somehow(&cache, log, |accelerator, log| {
            prepared.boot_owned(accelerator, log)
        })
    }

    /// Uses the machine that `cargo xtask testbed up` keeps; dropping the `Testbed` leaves it as it
    /// is, apart from killing the commands that still run.
    pub fn connect(root: &Path) -> Result<Self> {
        let place = Place::new(&cache(root)?);
        if place.state() == State::Absent {
            bail!("no testbed is running: start one with `cargo xtask testbed up`");
        }
        Self::open(
            Folder::of_running(place.folder()),
            None,
            Instant::now() + kept::CONNECT_LIMIT,
        )
    }

    fn open(folder: Folder, owned: Option<Owned>, deadline: Instant) -> Result<Self> {
        let (connection, port) = folder
            .connect(deadline)
            .map_err(|error| folder.explain(error))?;
        let diary = Mutex::default();
        Ok(Self {
            connection,
            _port: port,
            _owned: owned,
            folder,
            diary,
        })
    }

    /// Runs `sh -c COMMAND` in dom0 for at most 60 s. That the command fails is no error: see
    /// [`Output::ok`].
    pub fn exec(&self, command: &str) -> Result<Output> {
        self.command(command).run()
    }

    /// A shell command for dom0, to be given a time limit, input or an environment.
    pub fn command(&self, command: &str) -> Command<'_> {
        Command::new(self, command)
    }

    /// Copies a file of the host's into dom0, with its permission to be executed. Missing folders
    /// are made, and the file appears whole or not at all.
    pub fn put(&self, local: &Path, remote: &str) -> Result<()> {
        let bytes = fs::read(local).with_context(|| format!("cannot read {}", local.display()))?;
        self.put_bytes(&bytes, remote)?;
        if rustix::fs::access(local, rustix::fs::Access::EXEC_OK).is_ok() {
            self.exec(&format!("chmod a+x {}", quote(remote)))?.ok()?;
        }
        Ok(())
    }

    /// Writes a file in dom0.
    pub fn put_bytes(&self, bytes: &[u8], remote: &str) -> Result<()> {
        let write = "mkdir -p \"$(dirname \"$FILE\")\" && cat >\"$FILE.part$$\" && \
                     mv -T \"$FILE.part$$\" \"$FILE\"";
        self.command(write)
            .env("FILE", remote)
            .stdin(bytes)
            .timeout(COPY_LIMIT)
            .run()?
            .ok()?;
        Ok(())
    }

    /// Reads a file in dom0.
    pub fn get_bytes(&self, remote: &str) -> Result<Vec<u8>> {
        let read = self
            .command("exec cat <\"$FILE\"")
            .env("FILE", remote)
            .timeout(COPY_LIMIT);
        Ok(read.run()?.ok()?.stdout)
    }

    /// Copies a file of dom0's to the host.
    pub fn get(&self, remote: &str, local: &Path) -> Result<()> {
        fs::write(local, self.get_bytes(remote)?)
            .with_context(|| format!("cannot write {}", local.display()))
    }

    /// Creates a domain. `config` is the text of an xl.cfg, whose `name` this function sets;
    /// names are letters, digits, `-`, `_` and `.`. An error has what `xl` and Xen said.
    pub fn create(&self, name: &str, config: &str) -> Result<Domain<'_>> {
        domain::create(self, name, config, "")
    }

    /// Creates a domain that does not run before [`Domain::unpause`].
    pub fn create_paused(&self, name: &str, config: &str) -> Result<Domain<'_>> {
        domain::create(self, name, config, "-p")
    }

    /// Creates a domain and measures, in dom0, the time from before `xl create` until the
    /// domain's console has `text`. The domain lives on until the [`Domain`] is dropped.
    pub fn time_to_console(
        &self,
        name: &str,
        config: &str,
        text: &str,
        limit: Duration,
    ) -> Result<(Duration, Domain<'_>)> {
        let what = format!("time-console {name} {}", quote(text));
        domain::create_timed(self, name, config, &what, limit)
    }

    /// Creates a domain and measures, in dom0, the time from before `xl create` until `xl` has
    /// noted that it shut down.
    pub fn time_to_end(
        &self,
        name: &str,
        config: &str,
        limit: Duration,
    ) -> Result<(Duration, Domain<'_>)> {
        domain::create_timed(self, name, config, &format!("time-end {name}"), limit)
    }

    /// Creates a domain and measures, in dom0, the time from before `xl create` until an HTTP
    /// server at `address` (`10.0.0.2:80`), which dom0 itself must reach, has answered `GET /bytes/1024`
    /// with status 200.
    pub fn time_to_answer(
        &self,
        name: &str,
        config: &str,
        address: SocketAddr,
        limit: Duration,
    ) -> Result<(Duration, Domain<'_>)> {
        domain::create_timed(
            self,
            name,
            config,
            &format!("time-answer {name} {address}"),
            limit,
        )
    }

    /// Makes a Linux guest's RAM disk in dom0; gives the configuration without devices and memory.
    pub fn linux_guest(&self, guest: &LinuxGuest<'_>) -> Result<String> {
        guest.install(self)
    }

    /// Builds a program of the workspace so that it runs in dom0 and in Linux guests, and puts it
    /// there as `remote`.
    pub fn put_program(
        &self,
        root: &Path,
        package: &str,
        program: &str,
        remote: &str,
    ) -> Result<()> {
        let program = agent::build_static(root, &cache(root)?, package, program)?;
        self.put(&program, remote)
    }

    /// Guests to compare with, whose files are in dom0.
    pub fn peers(&self) -> Peers {
        Peers::new()
    }

    /// Everything that Xen has written, the guests' port 0xE9 included: `xl dmesg`.
    pub fn hypervisor_log(&self) -> Result<String> {
        Ok(console::clean(&self.exec("xl dmesg")?.ok()?.stdout))
    }

    /// For the report of a test that failed: the consoles of all domains that were created since
    /// the last call, and what Xen has written since then.
    pub fn diagnose(&self) -> String {
        let domains = std::mem::take(&mut self.diary().domains);
        let mut report = String::new();
        for name in domains {
            let text = domain::console(self, &name).unwrap_or_else(|error| format!("{error:#}"));
            report += &format!("--- console of {name} ---\n{text}\n");
        }
        let log = self
            .hypervisor_log()
            .unwrap_or_else(|error| format!("{error:#}"));
        let mut diary = self.diary();
        report += &format!(
            "--- xl dmesg ---\n{}\n",
            xl::without_domain_building(news(&diary.hypervisor_log, &log))
        );
        diary.hypervisor_log = log;
        report
    }

    /// Starts a fresh report: what happened so far is not for the next [`Testbed::diagnose`].
    pub fn forget(&self) -> Result<()> {
        let hypervisor_log = self.hypervisor_log()?;
        *self.diary() = Diary {
            domains: Vec::new(),
            hypervisor_log,
        };
        Ok(())
    }

    pub(crate) fn note_domain(&self, name: &str) {
        self.diary().domains.push(name.to_owned());
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(crate) fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        self.folder.explain(error)
    }

    fn diary(&self) -> MutexGuard<'_, Diary> {
        self.diary.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// 100 MB take some seconds; this is for a machine that is very busy.
const COPY_LIMIT: Duration = Duration::from_secs(600);

/// A text as one word of a shell command.
pub(crate) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// What a log has beyond what it had; all of it, if its beginning was overwritten.
fn news<'l>(old: &str, new: &'l str) -> &'l str {
    new.strip_prefix(old).unwrap_or(new)
}

/// Starts the machine that is kept, unless it runs. One that cannot be talked to, because another
/// build started it or it hangs, is replaced.
pub fn up(root: &Path, log: &mut dyn Progress) -> Result<Up> {
    let cache = cache(root)?;
    let place = Place::new(&cache);
    let _lock = place.lock()?;
    if place.state() != State::Absent {
        match Testbed::connect(root) {
            Ok(_) => return Ok(Up::Already),
            Err(error) => log.say(&format!("testbed: replacing one: {}", in_one_line(&error))),
        }
    }
    let prepared = Prepared::make(root, &cache, log)?;
    start_somehow(&cache, log, |accelerator, log| {
        prepared.boot_kept(&place, accelerator, log)
    })?;
    Ok(Up::Started)
}

/// Ends the machine that is kept; says whether there was one.
pub fn down(root: &Path) -> Result<bool> {
    let place = Place::new(&cache(root)?);
    let _lock = place.lock()?;
    place.end()
}

/// Where everything of the testbed's is. Its real path, because it identifies a running machine.
fn cache(root: &Path) -> Result<PathBuf> {
    let root = fs::canonicalize(root)
        .with_context(|| format!("cannot find the workspace {}", root.display()))?;
    Ok(root.join("target/testbed"))
}

/// What every machine boots from.
struct Prepared {
    cache: PathBuf,
    image: Image,
    initrd: Vec<u8>,
}

impl Prepared {
    fn make(root: &Path, cache: &Path, log: &mut dyn Progress) -> Result<Self> {
        host::install_missing(log)?;
        let image = Image::prepare(cache, log)?;
        let programs = step(log, "built dom0's programs", || agent::build(root, cache))?;
        let initrd = agent::initrd(&image, &programs, &smallest_peer(cache)?)?;
        Ok(Self {
            cache: cache.to_owned(),
            image,
            initrd,
        })
    }

    fn boot_owned(&self, accelerator: Accelerator, log: &mut dyn Progress) -> Result<Testbed> {
        static MACHINES: AtomicU32 = AtomicU32::new(0);
        let number = MACHINES.fetch_add(1, Ordering::Relaxed);
        let path = self
            .cache
            .join(format!("own/{}-{number}", std::process::id()));
        let folder = Folder::make(path, &self.image, &self.initrd)?.temporary();
        boot(accelerator, log, || {
            let owned = Owned::start(&folder, accelerator)?;
            Testbed::open(
                folder,
                Some(owned),
                Instant::now() + accelerator.boot_limit(),
            )
        })
    }

    fn boot_kept(
        &self,
        place: &Place,
        accelerator: Accelerator,
        log: &mut dyn Progress,
    ) -> Result<Testbed> {
        place.end()?;
        let folder = Folder::make(place.folder(), &self.image, &self.initrd)?;
        boot(accelerator, log, || {
            machine::start_detached(&folder, accelerator, &place.pid_file())?;
            let deadline = Instant::now() + accelerator.boot_limit();
            Testbed::open(folder, None, deadline).inspect_err(|_| {
                // The error about the boot is the one to tell.
                let _ = place.end();
            })
        })
    }
}

fn smallest_peer(cache: &Path) -> Result<Vec<u8>> {
    // Of this process alone: another one may be doing the same.
    let folder = cache.join(format!("peers-{}", std::process::id()));
    fs::create_dir_all(&folder).context("cannot make a folder for the peers")?;
    let peer = peers::smallest(&folder);
    fs::remove_dir_all(&folder).context("cannot remove the peers' folder")?;
    peer
}

fn boot(
    accelerator: Accelerator,
    log: &mut dyn Progress,
    start: impl FnOnce() -> Result<Testbed>,
) -> Result<Testbed> {
    step(
        log,
        &format!("booted Xen and dom0 with {}", accelerator.name()),
        start,
    )
}

/// Starts a machine with KVM where guests really boot under it, with emulation otherwise.
fn start_somehow(
    cache: &Path,
    log: &mut dyn Progress,
    mut start: impl FnMut(Accelerator, &mut dyn Progress) -> Result<Testbed>,
) -> Result<Testbed> {
    let probe = Probe::new(cache);
    match probe.verdict() {
        Some(accelerator) => start(accelerator, log),
        None => {
            log.say("testbed: trying whether a guest boots under KVM");
            let tried = start(Accelerator::Kvm, log)
                .and_then(|testbed| probe::runs_a_guest(&testbed).map(|()| testbed));
            match tried {
                Ok(testbed) => {
                    probe.remember(Accelerator::Kvm)?;
                    Ok(testbed)
                }
                Err(error) => {
                    log.say(&format!("testbed: not KVM: {}", in_one_line(&error)));
                    let testbed = start(Accelerator::Emulation, log)?;
                    // Only now: the reason may have had nothing to do with KVM.
                    probe.remember(Accelerator::Emulation)?;
                    Ok(testbed)
                }
            }
        }
    }
}

fn in_one_line(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    text.lines().take(2).collect::<Vec<_>>().join(" ")
}

/// Removes the folders of machines whose processes are gone.
fn sweep(cache: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(cache.join("own")) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let process = name.split('-').next().unwrap_or_default();
        if !Path::new("/proc").join(process).exists() {
            fs::remove_dir_all(&path)
                .with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_text_is_one_word() {
        let text = "it's $HOME; `x` \"y\"\n\\";
        let echo = host::run(
            host::program("sh")
                .arg("-c")
                .arg(format!("printf %s {}", quote(text))),
        );
        assert_eq!(echo.unwrap().stdout, text.as_bytes());
    }

    #[test]
    fn news_of_a_log() {
        assert_eq!(news("a\n", "a\nb\n"), "b\n");
        assert_eq!(news("a\n", "b\nc\n"), "b\nc\n");
        assert_eq!(news("", "a\n"), "a\n");
    }

    #[test]
    fn threads_may_share_a_testbed() {
        fn shared<T: Send + Sync>() {}
        shared::<Testbed>();
    }
}
