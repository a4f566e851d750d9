//! `cargo xtask bench openflow`: flows that a controller sets up a second, beside ovs-testcontroller and
//! os-ken.
//!
//! The same switches (`tests/switchload`) ask all three, in turns, each a process started for the turn. A
//! set-up counts when the right flow was installed and the very packet then left by the right port. Each
//! speaks the version in which it is fastest; 1.5 is the only one that ours speaks.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{Better, Figure};
use crate::succeed::succeed;
use crate::test::{install_missing_of, install_packages};

/// The release of PyPI whose packets the codec's tests read, too.
const OS_KEN: &str = "os-ken==4.2.2";
const LEARNING_SWITCH: &str = include_str!("openflow/learning_switch.py");
/// How long a controller may take until it listens.
const LISTENS_WITHIN: Duration = Duration::from_secs(30);

/// What the command line said.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often each is asked
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Packets that each of sixteen switches sends without waiting for an answer
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    window: u16,
}

/// A controller.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Controller {
    Ours,
    Testcontroller,
    OsKen,
}

/// Where things are.
struct Place {
    load: PathBuf,
    folder: PathBuf,
    window: u16,
}

/// A controller that runs, and ends with this value.
struct Running {
    process: Child,
    port: u16,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What one turn told.
#[derive(Default)]
struct Turns {
    /// Set-ups a second.
    rates: Vec<f64>,
    /// Microseconds of processors for each.
    costs: Vec<f64>,
    lost: u64,
}

/// Runs the command.
pub(crate) fn run(options: &Options) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = root.join("target/bench/openflow");
    fs::create_dir_all(&folder)?;
    install_packages()?;
    install_missing_of(&[("ovs-testcontroller", "openvswitch-testcontroller")])?;
    install_os_ken(&folder)?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--release", "--quiet", "--locked"]);
    build.args(["--package", "switch-load"]).current_dir(&root);
    succeed(&mut build, "build the switches")?;
    let place = Place {
        load: root.join("target/release/switch-load"),
        folder,
        window: options.window,
    };
    let all = [
        Controller::OsKen,
        Controller::Testcontroller,
        Controller::Ours,
    ];
    let mut turns = [(); 3].map(|()| Turns::default());
    for round in 1..=options.rounds {
        for (controller, turns) in all.into_iter().zip(&mut turns) {
            eprintln!("openflow: round {round}, {}", controller.name());
            turns.add(&place.ask(controller)?)?;
        }
    }
    let [os_ken, testcontroller, ours] = turns;
    for (controller, turns) in all.into_iter().zip([&os_ken, &testcontroller, &ours]) {
        if turns.lost > 0 {
            eprintln!("openflow: {} lost {}", controller.name(), turns.lost);
        }
    }
    let name = Controller::Testcontroller.name();
    let cost = ("openflow", "processor time of a flow set-up", "µs");
    Figure::of_rounds(
        Better::Lower,
        cost,
        &ours.costs,
        (name, &testcontroller.costs),
    )
    .print()?;
    let rate = ("openflow", "completed flow set-ups", "1/s");
    for (name, peer) in [
        (Controller::OsKen.name(), &os_ken.rates),
        (name, &testcontroller.rates),
    ] {
        Figure::of_rounds(Better::Higher, rate, &ours.rates, (name, peer)).print()?;
    }
    Ok(())
}

impl Turns {
    fn add(&mut self, told: &Value) -> Result<()> {
        let number = |name: &str| told[name].as_f64().with_context(|| format!("no {name}"));
        let setups = number("setups")?;
        ensure!(setups > 0.0, "nothing was set up");
        self.rates.push(setups / number("seconds")?);
        self.costs.push(number("processor-seconds")? / setups * 1e6);
        self.lost += told["lost"].as_u64().context("no lost")?;
        Ok(())
    }
}

impl Controller {
    fn name(self) -> &'static str {
        match self {
            Controller::Ours => "ours",
            Controller::Testcontroller => "ovs-testcontroller (OpenFlow 1.0)",
            Controller::OsKen => "os-ken 4.2.2 (OpenFlow 1.3)",
        }
    }

    /// The version's number on the wire.
    fn version(self) -> &'static str {
        match self {
            Controller::Ours => "6",
            Controller::Testcontroller => "1",
            Controller::OsKen => "4",
        }
    }
}

impl Place {
    fn ask(&self, controller: Controller) -> Result<Value> {
        let running = self.start(controller)?;
        let mut load = Command::new(&self.load);
        load.arg("ask")
            .arg(format!("127.0.0.1:{}", running.port))
            .args(["--version", controller.version()])
            .args(["--window", &self.window.to_string()])
            .args(["--process", &running.process.id().to_string()]);
        let output = load.output().context("cannot start the switches")?;
        ensure!(
            output.status.success(),
            "{}: {}",
            controller.name(),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    fn start(&self, controller: Controller) -> Result<Running> {
        let free = TcpListener::bind("127.0.0.1:0")?;
        let mut port = free.local_addr()?.port();
        drop(free);
        let mut command = match controller {
            Controller::Ours => {
                let mut command = Command::new(&self.load);
                command.arg("learn");
                command
            }
            Controller::Testcontroller => {
                let mut command = Command::new("ovs-testcontroller");
                command
                    .args(["-O", "OpenFlow10", "-vconsole:off"])
                    .arg(format!("ptcp:{port}:127.0.0.1"))
                    .env("OVS_RUNDIR", &self.folder);
                command
            }
            Controller::OsKen => {
                let mut command = Command::new("python3");
                command
                    .arg(self.folder.join("learning_switch.py"))
                    .arg(port.to_string())
                    .env("PYTHONPATH", self.folder.join(OS_KEN));
                command
            }
        };
        let log = fs::File::create(self.folder.join("controller.log"))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let spawned = command.stderr(log).spawn();
        let mut process = spawned.with_context(|| format!("cannot start {command:?}"))?;
        let output = process.stdout.take();
        let mut running = Running { process, port };
        if controller == Controller::Ours {
            let mut line = String::new();
            BufReader::new(output.context("no output")?).read_line(&mut line)?;
            let number = line.trim().rsplit(':').next().map(str::parse);
            port = number.and_then(Result::ok).context("it does not listen")?;
            running.port = port;
        }
        running.wait_until_it_listens(&self.folder)?;
        Ok(running)
    }
}

impl Running {
    /// By the kernel's table: a connection to see would be a switch to the controller.
    fn wait_until_it_listens(&mut self, folder: &Path) -> Result<()> {
        // 127.0.0.1 as the kernel writes it, and the state LISTEN.
        let entry = format!("0100007F:{:04X} 00000000:0000 0A", self.port);
        let deadline = Instant::now() + LISTENS_WITHIN;
        while !fs::read_to_string("/proc/net/tcp")?.contains(&entry) {
            if self.process.try_wait()?.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(folder.join("controller.log"))?;
                bail!("the controller does not listen: {log}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// Once, below `target/`.
fn install_os_ken(folder: &Path) -> Result<()> {
    fs::write(folder.join("learning_switch.py"), LEARNING_SWITCH)?;
    let target = folder.join(OS_KEN);
    if target.is_dir() {
        return Ok(());
    }
    eprintln!("installing {OS_KEN}");
    let fresh = folder.join("fresh");
    let mut pip = Command::new("pip3");
    pip.args(["install", "--quiet", "--upgrade", "--target"]);
    pip.arg(&fresh).arg(OS_KEN);
    succeed(&mut pip, "install os-ken from PyPI")?;
    // Complete, it gets its name.
    Ok(fs::rename(&fresh, &target)?)
}
