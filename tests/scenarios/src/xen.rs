//! The world of domains: the guests are images that boot on the testbed.

use std::collections::HashMap;
use std::io::Write as _;
use std::num::NonZero;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use testbed::{Domain, Reason, Testbed};

use crate::capture::Captures;
use crate::image::{Builds, Image, static_program, text, workspace, xtask};
use crate::launch::{Ending, Launch};
use crate::process::Processes;

/// A guest that takes longer than this hangs: software emulation is slow, and two cores are few.
pub(crate) const LIMIT: Duration = Duration::from_secs(240);

/// An emulated machine keeps one core busy and takes some gigabytes.
const MACHINES_MAX: usize = 2;

/// Boots guests as domains of one machine.
pub(crate) struct Xen {
    pub(crate) testbed: Testbed,
    /// What a transcript is compared with.
    pub(crate) processes: Processes,
    builds: Arc<Builds>,
    installed: Mutex<HashMap<Image, String>>,
    /// Where the peer of the network guests is in dom0.
    peer: OnceLock<String>,
    domains: AtomicU32,
    pub(crate) captures: Captures,
    /// What the scenario that runs now booted, for the symbols of its consoles.
    booted: Mutex<Vec<Image>>,
}

impl Xen {
    /// Boots testbeds, or takes the one that is up, and builds the images meanwhile.
    pub(crate) fn prepare(images: &[Image], fresh: bool) -> Result<Vec<Xen>> {
        let builds = Arc::new(Builds::default());
        let (testbeds, processes) = std::thread::scope(|scope| {
            let testbeds = scope.spawn(move || machines(fresh));
            let processes = Processes::prepare();
            // What cannot be built fails in the scenarios that need it.
            images.iter().for_each(|&image| drop(builds.elf(image)));
            (testbeds.join(), processes)
        });
        let testbeds = testbeds.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let processes = processes?;
        let on = |testbed| Xen {
            testbed,
            processes: processes.clone(),
            builds: Arc::clone(&builds),
            installed: Mutex::default(),
            peer: OnceLock::new(),
            domains: AtomicU32::new(0),
            captures: Captures::default(),
            booted: Mutex::default(),
        };
        Ok(testbeds.into_iter().map(on).collect())
    }

    /// Puts an image into dom0 and says where it is there.
    pub(crate) fn install(&self, image: Image) -> Result<String> {
        self.booted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(image);
        let mut installed = self
            .installed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = installed.get(&image) {
            return Ok(path.clone());
        }
        let path = format!("/var/lib/edgecloud/images/{}.elf", image.name());
        self.testbed.put(&self.builds.elf(image)?, &path)?;
        installed.insert(image, path.clone());
        Ok(path)
    }

    /// Puts the client that behaves badly into dom0, and says where it is there.
    pub(crate) fn peer(&self) -> Result<&str> {
        if self.peer.get().is_none() {
            let path = "/var/lib/edgecloud/peer";
            self.testbed
                .put(&static_program("guests-net", "peer")?, path)?;
            self.in_dom0(&format!("chmod 755 {path}"))?;
            self.peer.get_or_init(|| path.to_owned());
        }
        self.peer.get().map(String::as_str).context("no peer")
    }

    /// The ELF on this machine.
    pub(crate) fn elf(&self, image: Image) -> Result<Vec<u8>> {
        let path = self.builds.elf(image)?;
        std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// The text of the `xl.cfg`.
    pub(crate) fn config(&self, launch: &Launch) -> Result<String> {
        let kernel = self.install(launch.image)?;
        let config = config(&kernel, launch.memory_mib, &launch.as_command_line());
        let disk = launch
            .disk
            .iter()
            .map(|target| format!("disk = [\"format=raw,vdev=xvda,access=rw,target={target}\"]\n"));
        Ok(config + &disk.collect::<String>())
    }

    /// Boots a guest. It is created paused, because one that ends at once has no number any more
    /// when `xl` is asked for it.
    pub(crate) fn boot(&self, launch: &Launch) -> Result<Domain<'_>> {
        let domain = self.boot_paused(launch)?;
        domain.unpause()?;
        Ok(domain)
    }

    pub(crate) fn boot_paused(&self, launch: &Launch) -> Result<Domain<'_>> {
        self.testbed
            .create_paused(&self.domain_name(launch.image), &self.config(launch)?)
    }

    /// Boots a guest and waits for its end.
    pub(crate) fn run(&self, launch: &Launch) -> Result<Ending> {
        let end = self.boot(launch)?.wait_for_end(LIMIT)?;
        Ok(Ending {
            succeeded: end.reason == Reason::Poweroff,
            how: format!("{:?}", end.reason),
            transcript: end.console,
        })
    }

    /// A command in dom0 that must succeed; what it printed, without the blanks at its end.
    pub(crate) fn in_dom0(&self, command: &str) -> Result<String> {
        Ok(self
            .testbed
            .exec(command)?
            .ok()?
            .text()
            .trim_end()
            .to_owned())
    }

    /// A command in dom0 that prints a number.
    pub(crate) fn number_in_dom0(&self, command: &str) -> Result<f64> {
        let printed = self.in_dom0(command)?;
        printed
            .parse()
            .with_context(|| format!("`{command}` printed {printed:?}, no number"))
    }

    /// A name that no other domain of this run has.
    pub(crate) fn domain_name(&self, image: Image) -> String {
        let number = self.domains.fetch_add(1, Ordering::Relaxed);
        format!("{}-{number}", image.name())
    }

    /// Forgets what was booted, sent and said, as a scenario begins.
    pub(crate) fn begin(&self, scenario: &str) {
        self.captures.begin(&self.testbed, scenario);
        // The evidence of one scenario is the better for this, but none depends on it.
        drop(self.testbed.forget());
        self.booted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// What a person wants to see of a scenario that failed, symbolised if it was about one image.
    pub(crate) fn diagnose(&self) -> String {
        let evidence = self.captures.keep(&self.testbed) + &self.testbed.diagnose();
        let mut booted = self
            .booted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        booted.dedup();
        match booted.as_slice() {
            [image] => symbolize(*image, &evidence).unwrap_or(evidence),
            _ => evidence,
        }
    }
}

/// The machine that `cargo xtask testbed up` keeps, or some of our own.
fn machines(fresh: bool) -> Result<Vec<Testbed>> {
    let kept = if fresh {
        None
    } else {
        Testbed::connect(workspace()).ok()
    };
    if let Some(testbed) = kept {
        println!("using the testbed that is up");
        return Ok(vec![testbed]);
    }
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    // One after the other: the first may have to make dom0's disk.
    (0..cores.min(MACHINES_MAX))
        .map(|_| Testbed::start(workspace(), &mut |line: &str| println!("{line}")))
        .collect()
}

/// Puts function names and lines to the addresses on a console.
pub(crate) fn symbolize(image: Image, console: &str) -> Result<String> {
    let mut command = xtask(["symbolize", &image.name()]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().context("cargo could not be started")?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    let console = console.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(console.as_bytes()));
    let output = child.wait_with_output()?;
    let written = writer.join();
    ensure!(
        output.status.success(),
        "`cargo xtask symbolize` failed:\n{}",
        text(&output)
    );
    if !matches!(written, Ok(Ok(()))) {
        bail!("`cargo xtask symbolize` did not read all of the console");
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The text of an `xl.cfg`. A domain that ends stays ended, whatever the reason.
pub(crate) fn config(kernel: &str, memory_mib: u32, command_line: &str) -> String {
    format!(
        "type = \"pvh\"\nkernel = \"{kernel}\"\nmemory = {memory_mib}\nmaxmem = {memory_mib}\n\
         vcpus = 1\ntsc_mode = \"native\"\ncmdline = {}\n\
         on_poweroff = \"destroy\"\non_reboot = \"destroy\"\non_crash = \"destroy\"\n",
        quoted(command_line)
    )
}

/// A string as xl's configuration language has it (libxlu_cfg.c, `xlu__cfgl_dequote`). Its escapes
/// for bytes do not work, but bytes pass as they are.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_for_xl() {
        assert_eq!(quoted("plain 'words'"), "\"plain 'words'\"");
        assert_eq!(quoted("\"\\ü"), r#""\"\\ü""#);
    }
}
