//! Where commands run: one interface to both worlds.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use netns::Switch;
use testbed::Testbed;

/// A command that takes longer hangs; emulated machines are slow.
const COMMAND_LIMIT: Duration = Duration::from_secs(120);

/// A place with Open vSwitch, whose database is empty of ours.
pub struct Place<'t> {
    world: World<'t>,
    root: PathBuf,
    directory: String,
}

enum World<'t> {
    /// The fast world.
    Netns(Box<Switch>),
    /// Dom0 of the testbed.
    Xen(&'t Testbed),
}

/// A program that runs in a place. Dropping it ends it, by its process id.
pub struct Service<'p> {
    place: &'p Place<'p>,
    name: String,
}

impl<'t> Place<'t> {
    /// A new fast world. `root` is the workspace's directory, whose programs are built.
    ///
    /// # Errors
    /// What the switch's programs say.
    pub fn netns(root: &Path) -> Result<Place<'static>> {
        let switch = Switch::without_bridge().map_err(|error| anyhow!("{error}"))?;
        let directory = switch.directory().display().to_string();
        Ok(Place {
            world: World::Netns(Box::new(switch)),
            root: root.to_owned(),
            directory,
        })
    }

    /// Dom0 of a testbed. A place at a time: all use the same addresses.
    ///
    /// # Errors
    /// Where dom0 does not answer.
    pub fn xen(root: &Path, testbed: &'t Testbed) -> Result<Place<'t>> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = format!("/var/lib/edgecloud/site-{}-{number}", std::process::id());
        let place = Place {
            world: World::Xen(testbed),
            root: root.to_owned(),
            directory,
        };
        place.run("mkdir -p \"$HERE\"")?;
        Ok(place)
    }

    /// Whether domains are Xen's.
    pub fn is_xen(&self) -> bool {
        matches!(self.world, World::Xen(_))
    }

    /// The place's directory, as commands there name it; `$HERE` in scripts.
    pub fn directory(&self) -> &str {
        &self.directory
    }

    /// Runs a shell script to its end, and returns what it printed. It stops at the first command
    /// that fails.
    ///
    /// # Errors
    /// It did not succeed: what it wrote. It took longer than two minutes.
    pub fn run(&self, script: &str) -> Result<String> {
        self.run_within(script, COMMAND_LIMIT)
    }

    /// [`Place::run`] with another limit.
    ///
    /// # Errors
    /// As there.
    pub fn run_within(&self, script: &str, limit: Duration) -> Result<String> {
        let script = format!("set -e; HERE={}; {script}", self.directory);
        match &self.world {
            World::Netns(switch) => {
                let seconds = limit.as_secs().to_string();
                let command = ["timeout", "-k", "1", &seconds, "sh", "-c", &script];
                switch.run(&command).map_err(|error| anyhow!("{error}"))
            }
            World::Xen(testbed) => {
                let output = testbed.command(&script).timeout(limit).run()?;
                Ok(output.ok()?.text())
            }
        }
    }

    /// Writes a file that only root can read; its path.
    ///
    /// # Errors
    /// The disk's.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<String> {
        let path = format!("{}/{name}", self.directory);
        match &self.world {
            World::Netns(_) => {
                std::fs::write(&path, bytes).with_context(|| format!("cannot write {path}"))?;
            }
            World::Xen(testbed) => testbed.put_bytes(bytes, &path)?,
        }
        self.run(&format!("chmod 600 {path}"))?;
        Ok(path)
    }

    /// Brings a file of this computer there; its path.
    ///
    /// # Errors
    /// It cannot be read, or written there.
    pub fn put(&self, name: &str, local: &Path) -> Result<String> {
        let path = format!("{}/{name}", self.directory);
        match &self.world {
            World::Netns(_) => {
                std::fs::copy(local, &path)
                    .with_context(|| format!("cannot copy {}", local.display()))?;
            }
            World::Xen(testbed) => testbed.put(local, &path)?,
        }
        Ok(path)
    }

    /// A file's bytes.
    ///
    /// # Errors
    /// It is not there.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        match &self.world {
            World::Netns(_) => std::fs::read(path).with_context(|| format!("cannot read {path}")),
            World::Xen(testbed) => testbed.get_bytes(path),
        }
    }

    /// Builds a program of the workspace, and brings it there; its path. Dom0 is the same Debian as
    /// this computer, and runs the same programs.
    ///
    /// # Errors
    /// What cargo says.
    pub fn program(&self, package: &str, program: &str) -> Result<String> {
        match &self.world {
            World::Netns(_) => Ok(self.built(package, program)?.display().to_string()),
            World::Xen(testbed) => {
                let local = stripped(&self.built(package, program)?)?;
                // Once per machine: another content has another name.
                let facts = std::fs::metadata(&local)?;
                let made = facts.modified()?.duration_since(std::time::UNIX_EPOCH)?;
                let version = format!("{}-{}", facts.len(), made.as_nanos());
                let path = format!("/var/lib/edgecloud/programs/{version}/{program}");
                if !testbed.exec(&format!("test -e {path}"))?.success() {
                    testbed.put(&local, &path)?;
                }
                Ok(path)
            }
        }
    }

    /// Builds the image of `images/NAME.toml`, or the package's Linux program where domains are
    /// processes, and brings it there; its path.
    ///
    /// # Errors
    /// What the build says.
    pub fn image(&self, name: &str) -> Result<String> {
        let World::Xen(testbed) = &self.world else {
            return Ok(self.built(name, name)?.display().to_string());
        };
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .current_dir(&self.root)
            .args(["xtask", "image", name])
            .output()
            .context("cannot run cargo")?;
        let complaint = String::from_utf8_lossy(&built.stderr);
        ensure!(built.status.success(), "no image of {name}: {complaint}");
        let path = format!("{}/{name}.elf", self.directory);
        let local = self.root.join(format!("target/images/{name}.elf"));
        testbed.put(&local, &path)?;
        Ok(path)
    }

    fn built(&self, package: &str, program: &str) -> Result<PathBuf> {
        if !netns::programs_are_built() {
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let arguments = ["build", "--quiet", "--package", package, "--bin", program];
            let built = Command::new(cargo)
                .current_dir(&self.root)
                .args(arguments)
                .status()
                .context("cannot run cargo")?;
            ensure!(built.success(), "{program} cannot be built");
        }
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| self.root.join("target"), PathBuf::from);
        Ok(target.join("debug").join(program))
    }

    /// Kills the switch's process with SIGKILL and starts another; returns when it serves what the
    /// database says.
    ///
    /// # Errors
    /// What it wrote.
    pub fn restart_switch(&self) -> Result<()> {
        match &self.world {
            World::Netns(switch) => {
                let again = switch
                    .kill_vswitchd()
                    .and_then(|()| switch.start_vswitchd());
                again.map_err(|error| anyhow!("{error}"))
            }
            World::Xen(_) => {
                let kill = "p=$(cat /run/openvswitch/ovs-vswitchd.pid); kill -KILL $p
                     timeout 20 tail -s 0.05 --pid=$p -f /dev/null";
                let start = "/usr/share/openvswitch/scripts/ovs-ctl --no-record-hostname \
                     --system-id=random start";
                self.run(&format!("{kill}; {start}")).map(drop)
            }
        }
    }

    /// Waits until the switch's datapath has been gone through since now: it sends packets as the flows
    /// are, and the flows have counted what it sent (ovs-vswitchd(8), `revalidator/wait`).
    ///
    /// # Errors
    /// The switch does not answer.
    pub fn settle_switch(&self) -> Result<()> {
        // The first round that ends may have begun before now.
        let wait = "ovs-appctl --timeout=60 -t ovs-vswitchd revalidator/wait";
        self.run(&format!("{wait}; {wait}")).map(drop)
    }

    /// Starts a program that runs until it is dropped; what it writes is in [`Service::log`].
    ///
    /// # Errors
    /// The shell could not be started.
    pub fn start<'p>(&'p self, name: &str, command: &str) -> Result<Service<'p>> {
        // The shell becomes the program, whose process id in its own world it has told.
        self.run(&format!(
            "cat >\"$HERE/{name}.sh\" <<'SCRIPT'\nHERE={}\n{command}\nSCRIPT\n\
             rm -f \"$HERE/{name}.pid\"
             setsid sh -c 'echo $$ >\"$0.pid\"; . \"$0.sh\"' \"$HERE/{name}\" \
                 >>\"$HERE/{name}.log\" 2>&1 </dev/null &
             for i in $(seq 100); do [ -s \"$HERE/{name}.pid\" ] && exit; sleep 0.05; done; exit 1",
            self.directory
        ))?;
        Ok(Service {
            place: self,
            name: name.to_owned(),
        })
    }
}

/// A program without its debug information: a fifth of it has to go into dom0.
fn stripped(program: &Path) -> Result<PathBuf> {
    // Of two scenarios at once that want the same program the second one finds it.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let target = program.with_extension("stripped");
    let made = |path: &Path| std::fs::metadata(path).and_then(|file| file.modified());
    if matches!((made(&target), made(program)), (Ok(it), Ok(from)) if it >= from) {
        return Ok(target);
    }
    // Renamed into its place, for other processes may strip it now, too.
    let part = program.with_extension(format!("stripped-{}", std::process::id()));
    let mut strip = Command::new("strip");
    let status = strip.arg("-o").arg(&part).arg(program).status();
    let status = status.context("cannot run strip: install binutils")?;
    ensure!(status.success(), "{} cannot be stripped", program.display());
    std::fs::rename(&part, &target)
        .with_context(|| format!("cannot write {}", target.display()))?;
    Ok(target)
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.is_xen() {
            // A machine that does not answer has nothing to remove.
            drop(self.run("rm -rf \"$HERE\""));
        }
    }
}

impl Service<'_> {
    /// What it wrote so far.
    pub fn log(&self) -> String {
        let log = format!("{}/{}.log", self.place.directory, self.name);
        let log = self.place.read(&log).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Sends it a signal, such as `-TERM`.
    ///
    /// # Errors
    /// It is gone.
    pub fn signal(&self, signal: &str) -> Result<()> {
        let script = format!("kill {signal} \"$(cat \"$HERE/{}.pid\")\"", self.name);
        self.place.run(&script).map(drop)
    }

    /// Ends it at once, and returns when it is gone.
    ///
    /// # Errors
    /// It does not end within twenty seconds.
    pub fn kill(&self) -> Result<()> {
        self.end("-KILL")
    }

    /// Ends it by a signal, and returns when it is gone.
    ///
    /// # Errors
    /// It does not end within twenty seconds.
    pub fn end(&self, signal: &str) -> Result<()> {
        let script = format!(
            "p=$(cat \"$HERE/{}.pid\"); kill {signal} $p || true
             timeout 20 tail -s 0.05 --pid=$p -f /dev/null",
            self.name
        );
        self.place.run(&script).map(drop)
    }
}

impl Drop for Service<'_> {
    fn drop(&mut self) {
        drop(self.kill());
    }
}
