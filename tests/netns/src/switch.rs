//! Open vSwitch with its userspace datapath.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::world::{World, WorldError, finish};

/// The name of the one bridge.
pub const BRIDGE: &str = "br0";
/// Debian's place of the database's layout.
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// A database and a switch; with the first bridge made, or with none.
#[derive(Debug)]
pub struct Switch {
    /// Dropped before the directory, so that nothing writes there any more.
    world: World,
    directory: TempDir,
}

impl Switch {
    /// Starts both, with one bridge, [`BRIDGE`], that drops everything (`fail_mode=secure`) and
    /// speaks OpenFlow 1.5.
    ///
    /// # Errors
    /// The namespaces, or what a program of Open vSwitch wrote.
    pub fn start() -> Result<Switch, WorldError> {
        let switch = Switch::without_bridge()?;
        let set = "datapath_type=netdev fail_mode=secure protocols=OpenFlow15";
        let mut command = vec!["add-br", BRIDGE, "--", "set", "bridge", BRIDGE];
        command.extend(set.split(' '));
        switch.vsctl(&command)?;
        Ok(switch)
    }

    /// Starts both; the database is empty.
    ///
    /// # Errors
    /// The namespaces, or what a program of Open vSwitch wrote.
    pub fn without_bridge() -> Result<Switch, WorldError> {
        let directory = tempfile::Builder::new().prefix("ovs-").tempdir();
        let directory = directory.map_err(|error| WorldError(format!("a directory: {error}")))?;
        let switch = Switch {
            world: World::new()?,
            directory,
        };
        let database = switch.file("conf.db");
        switch.run(&["ovsdb-tool", "create", &database, SCHEMA])?;
        switch.start_database()?;
        switch.vsctl(&["--no-wait", "init"])?;
        switch.start_vswitchd()?;
        Ok(switch)
    }

    /// The namespaces it lives in.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The directory of its sockets, logs and database.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The database's socket.
    pub fn database(&self) -> PathBuf {
        self.directory().join("db.sock")
    }

    /// The bridge's OpenFlow socket, for management.
    pub fn openflow(&self) -> PathBuf {
        self.directory().join(format!("{BRIDGE}.mgmt"))
    }

    /// Runs `ovs-vsctl`.
    ///
    /// # Errors
    /// What it wrote.
    pub fn vsctl(&self, arguments: &[&str]) -> Result<String, WorldError> {
        let database = format!("--db=unix:{}", self.file("db.sock"));
        self.run(&[&["ovs-vsctl", "--timeout=20", &database], arguments].concat())
    }

    /// Runs `ovs-ofctl` with OpenFlow 1.5: a command, the bridge's socket, further arguments.
    ///
    /// # Errors
    /// What it wrote.
    pub fn ofctl(&self, command: &str, further: &[&str]) -> Result<String, WorldError> {
        let socket = self.file(&format!("{BRIDGE}.mgmt"));
        let start = ["ovs-ofctl", "-O", "OpenFlow15", "--timeout=20"];
        self.run(&[&start[..], &[command, &socket], further].concat())
    }

    /// Runs `ovs-appctl` on the switch.
    ///
    /// # Errors
    /// What it wrote.
    pub fn appctl(&self, arguments: &[&str]) -> Result<String, WorldError> {
        self.run(
            &[
                &["ovs-appctl", "--timeout=20", "-t", "ovs-vswitchd"],
                arguments,
            ]
            .concat(),
        )
    }

    /// Runs a command beside the switch, with its directories.
    ///
    /// # Errors
    /// What it wrote.
    pub fn run(&self, command: &[&str]) -> Result<String, WorldError> {
        let [program, arguments @ ..] = command else {
            return Err(WorldError("no command".to_string()));
        };
        finish(self.command(program).args(arguments), command)
    }

    /// Starts the switch's process; returns when it serves what the database says.
    ///
    /// # Errors
    /// What it wrote.
    pub fn start_vswitchd(&self) -> Result<(), WorldError> {
        let database = format!("unix:{}", self.file("db.sock"));
        self.daemon("ovs-vswitchd", &[&database])
    }

    /// Starts the database's process; returns when it answers.
    ///
    /// # Errors
    /// What it wrote.
    pub fn start_database(&self) -> Result<(), WorldError> {
        let remote = format!("--remote=punix:{}", self.file("db.sock"));
        self.daemon("ovsdb-server", &[&remote, &self.file("conf.db")])
    }

    /// Kills the switch's process with SIGKILL, and returns when it is gone.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill_vswitchd(&self) -> Result<(), WorldError> {
        self.kill("ovs-vswitchd")
    }

    /// Kills the database's process with SIGKILL, and returns when it is gone.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill_database(&self) -> Result<(), WorldError> {
        self.kill("ovsdb-server")
    }

    /// By its id, which is one of the world's own ids. `tail --pid` returns when it is gone.
    fn kill(&self, name: &str) -> Result<(), WorldError> {
        let file = self.file(&format!("{name}.pid"));
        let read = std::fs::read_to_string(&file);
        let process = read.map_err(|error| WorldError(format!("{name} does not run: {error}")))?;
        let process = process.trim();
        self.run(&["sh", "-c", &format!("kill -9 {process}")])?;
        let wait = format!("--pid={process}");
        self.run(&[
            "timeout",
            "20",
            "tail",
            "-s",
            "0.02",
            &wait,
            "-f",
            "/dev/null",
        ])?;
        Ok(())
    }

    fn daemon(&self, name: &str, arguments: &[&str]) -> Result<(), WorldError> {
        let pid = format!("--pidfile={}", self.file(&format!("{name}.pid")));
        let log = format!("--log-file={}", self.file(&format!("{name}.log")));
        let common = ["--detach", "--no-chdir", &pid, &log, "-vconsole:off"];
        self.run(&[&[name], arguments, &common].concat())?;
        Ok(())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self.world.command(program);
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"] {
            command.env(variable, self.directory());
        }
        command
    }

    fn file(&self, name: &str) -> String {
        self.directory().join(name).display().to_string()
    }
}
