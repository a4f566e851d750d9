//! What the daemon asks of the switch, and how Open vSwitch does it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use async_trait::async_trait;
use openflow::{Flow, PortNumber};
use tokio::process::Command;

use crate::config::{Mac, SwitchConfig};
use crate::ovs::{
    Bridge, Counters, Database, Handle, Opener, Owner, Probe, Settings, Traced, openers, settled,
    trace,
};
use crate::pipeline::DesiredState;

/// The switch did not do it. What it holds is as before, or unknown: ask again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SwitchError(pub String);

/// A switch with one bridge.
#[async_trait]
pub trait Switch: Send + Sync {
    /// Makes the switch hold what is desired, now and after its restarts; how many messages it took.
    async fn apply(&self, desired: Arc<DesiredState>) -> Result<usize, SwitchError>;
    /// Waits until no packet is sent any more as the switch's tables were before.
    async fn settled(&self) -> Result<(), SwitchError>;
    /// Makes the connection tracker forget a zone.
    async fn flush_zone(&self, zone: u16) -> Result<(), SwitchError>;
    /// What the switch holds.
    async fn flows(&self) -> Result<Vec<Flow>, SwitchError>;
    /// What the flows that carry traffic counted, with those that went since the last call.
    async fn counters(&self) -> Result<Counters, SwitchError>;
    /// The port of an interface; plugs it in if it is not.
    async fn plug(&self, interface: &str) -> Result<PortNumber, SwitchError>;
    /// The port of an interface that is plugged in.
    async fn port(&self, interface: &str) -> Result<PortNumber, SwitchError>;
    /// Tells dom0 where a domain is, so that it need not ask, and nobody can answer falsely.
    async fn neighbour(&self, address: IpAddr, mac: [u8; 6]) -> Result<(), SwitchError>;
    /// Who opened the connections in a zone.
    async fn openers(&self, zone: u16) -> Result<Vec<Opener>, SwitchError>;
    /// What would become of a packet.
    async fn trace(&self, probe: &Probe) -> Result<Traced, SwitchError>;
    /// Takes an interface out; fine if it is not there.
    async fn unplug(&self, interface: &str) -> Result<(), SwitchError>;
}

/// Open vSwitch.
#[derive(Debug)]
pub struct OpenVswitch {
    bridge: String,
    socket: PathBuf,
    /// Where ovs-vswitchd has its sockets.
    run: PathBuf,
    database: Database,
    handle: Handle,
}

impl OpenVswitch {
    /// The switch of a configuration, with its bridge.
    ///
    /// # Errors
    /// No database, or a bridge that it does not make.
    pub async fn start(config: &SwitchConfig) -> Result<OpenVswitch, SwitchError> {
        let bridge = Bridge {
            name: config.bridge.clone(),
            datapath_type: config.datapath.clone(),
        };
        let database = Database::new(&config.database, bridge).map_err(told)?;
        database.ensure_bridge().await.map_err(told)?;
        let socket = config.openflow.clone();
        let run = socket.parent().map(Path::to_path_buf).unwrap_or_default();
        Ok(OpenVswitch {
            bridge: config.bridge.clone(),
            socket: config.database.clone(),
            run,
            database,
            handle: Owner::start(Settings { socket }),
        })
    }

    /// Asks the switch's owner itself.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The MAC address of dom0 on the bridge.
    ///
    /// # Errors
    /// No bridge of that name.
    pub async fn mac(&self) -> Result<String, SwitchError> {
        let database = format!("--db=unix:{}", self.socket.display());
        let get = ["get", "interface", &self.bridge, "mac_in_use"];
        let mut command = Command::new("ovs-vsctl");
        let answer = run(
            command.args(["--timeout=20", &database]).args(get),
            "ovs-vsctl",
        )
        .await?;
        Ok(answer.trim().trim_matches('"').to_owned())
    }

    /// Gives dom0 an address on the bridge.
    ///
    /// # Errors
    /// What `ip` wrote.
    pub async fn give_address(&self, address: IpAddr) -> Result<(), SwitchError> {
        let address = address.to_string();
        let give = ["address", "replace", &address, "dev", &self.bridge];
        run(Command::new("ip").args(give), "ip").await.map(drop)
    }
}

fn told(error: impl std::fmt::Display) -> SwitchError {
    SwitchError(error.to_string())
}

async fn run(command: &mut Command, program: &str) -> Result<String, SwitchError> {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = output.await;
    let output = output.map_err(|error| SwitchError(format!("{program}: {error}")))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(SwitchError(format!("{program}: {}", why.trim())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[async_trait]
impl Switch for OpenVswitch {
    async fn apply(&self, desired: Arc<DesiredState>) -> Result<usize, SwitchError> {
        let applied = self.handle.apply(desired).await.map_err(told)?;
        Ok(applied.sent)
    }

    async fn settled(&self) -> Result<(), SwitchError> {
        settled(&self.run).await.map_err(told)
    }

    async fn flush_zone(&self, zone: u16) -> Result<(), SwitchError> {
        self.handle.flush_zone(zone).await.map_err(told)
    }

    async fn flows(&self) -> Result<Vec<Flow>, SwitchError> {
        let installed = self.handle.installed().await.map_err(told)?;
        Ok(installed.flows.into_values().collect())
    }

    async fn counters(&self) -> Result<Counters, SwitchError> {
        self.handle.counters().await.map_err(told)
    }

    async fn plug(&self, interface: &str) -> Result<PortNumber, SwitchError> {
        self.database.add_port(interface, None).await.map_err(told)
    }

    async fn port(&self, interface: &str) -> Result<PortNumber, SwitchError> {
        self.database.port_number(interface).await.map_err(told)
    }

    async fn neighbour(&self, address: IpAddr, mac: [u8; 6]) -> Result<(), SwitchError> {
        let (address, mac) = (address.to_string(), Mac(mac).to_string());
        let at = ["dev", &self.bridge, "nud", "permanent"];
        let tell = [&["neighbour", "replace", &address, "lladdr", &mac], &at[..]].concat();
        run(Command::new("ip").args(tell), "ip").await.map(drop)
    }

    async fn openers(&self, zone: u16) -> Result<Vec<Opener>, SwitchError> {
        openers(&self.run, zone).await.map_err(told)
    }

    async fn trace(&self, probe: &Probe) -> Result<Traced, SwitchError> {
        let traced = trace(&self.run, &self.bridge, probe).await;
        traced.map_err(told)
    }

    async fn unplug(&self, interface: &str) -> Result<(), SwitchError> {
        self.database.remove_port(interface).await.map_err(told)
    }
}
