//! `cargo xtask bench reconcile`: from desired state to a running ovs-vswitchd, beside `ovs-ofctl`.
//!
//! Each turn has a fresh switch. Ours compiles the state of many applications and installs it through the
//! daemon's owner of the switch; `ovs-ofctl` reads the same flows from a file and installs them in one
//! bundle. Then the session begins anew with the flows unchanged, through a relay that counts what is
//! sent; and one client is let through a gate while all else stays.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use edgecloudd::ovs::{Event, Handle, Owner, Settings};
use edgecloudd::pipeline::{
    Addresses, Admitted, Application, DesiredState, Host, Installed, Replica, ReplicaState, Side,
    compile,
};
use manifest::token::ApplicationNumber;
use manifest::{Grant, Manifest};
use netns::{Switch, WorldError};
use openflow::PortNumber;
use tokio::sync::broadcast::Receiver;

use crate::figure::{Better, Figure};
use crate::relay::Relay;

/// What is asked for: so many flows, at least.
const FLOWS: usize = 20_000;
/// Clients that are let through one by one, with all else as it is.
const LOGINS: u8 = 20;

/// What the turns told.
#[derive(Default)]
struct Turns {
    ours: Vec<f64>,
    peer: Vec<f64>,
    restarts: Vec<f64>,
    comparisons: Vec<f64>,
    sent: Vec<f64>,
    logins: Vec<f64>,
    additions: Vec<f64>,
}

/// Runs all turns and prints the figures.
pub(crate) async fn run(rounds: u16) -> Result<()> {
    let applications = applications()?;
    let desired = state(applications, 0)?;
    let installed = compile(&desired);
    let count = installed.flows.len();
    eprintln!(
        "reconcile: {count} flows of {} applications",
        desired.applications().len()
    );
    let mut turns = Turns::default();
    for round in 1..=rounds {
        eprintln!("reconcile: round {round}");
        turns.peer.push(ovs_ofctl(
            &installed,
            &mut turns.comparisons,
            &mut turns.additions,
        )?);
        turns.ours(applications, &desired, &installed).await?;
    }
    let bundle = "ovs-ofctl --bundle add-flows";
    let lower = Better::Lower;
    Figure::new("reconcile", "one more client at the gate", "s", lower)
        .beside(&turns.logins, "ovs-ofctl add-flow", &turns.additions)
        .print();
    Figure::new("reconcile", "restart with all unchanged", "s", lower)
        .beside(&turns.restarts, "ovs-ofctl diff-flows", &turns.comparisons)
        .print();
    Figure::new("reconcile", "changes sent at that restart", "1", lower)
        .alone(&turns.sent)
        .print();
    Figure::new(
        "reconcile",
        "flows compiled and installed",
        "1/s",
        Better::Higher,
    )
    .beside(&turns.ours, bundle, &turns.peer)
    .print();
    Ok(())
}

impl Turns {
    async fn ours(
        &mut self,
        applications: u16,
        desired: &Arc<DesiredState>,
        installed: &Installed,
    ) -> Result<()> {
        let switch = Switch::start().map_err(told)?;
        let (handle, _) = connected(&switch.openflow()).await?;
        let began = Instant::now();
        handle.apply(desired.clone()).await?;
        let seconds = began.elapsed().as_secs_f64();
        self.ours.push(installed.flows.len() as f64 / seconds);
        ensure!(
            handle.installed().await? == *installed,
            "it was not installed"
        );
        for number in 1..=LOGINS {
            let more = state(applications, number)?;
            let began = Instant::now();
            handle.apply(more).await?;
            self.logins.push(began.elapsed().as_secs_f64());
        }
        handle.apply(desired.clone()).await?;
        drop(handle);

        // The daemon is started again; what it sends is counted on its way.
        let relay = Relay::start(switch.directory().join("relay"), switch.openflow())?;
        let began = Instant::now();
        let (handle, _) = connected(relay.socket()).await?;
        handle.apply(desired.clone()).await?;
        self.restarts.push(began.elapsed().as_secs_f64());
        ensure!(
            relay.messages() > 0,
            "the session did not go through the relay"
        );
        self.sent.push(relay.changes() as f64);
        // And it would have been seen.
        handle.apply(state(applications, 1)?).await?;
        ensure!(
            relay.changes() as f64 > *self.sent.last().unwrap_or(&0.0),
            "the relay is blind"
        );
        Ok(())
    }
}

/// An owner that has its session.
async fn connected(socket: &Path) -> Result<(Handle, Receiver<Event>)> {
    let handle = Owner::start(Settings {
        socket: socket.to_owned(),
    });
    let mut events = handle.events();
    while !matches!(events.recv().await?, Event::Connected { .. }) {}
    Ok((handle, events))
}

/// The same flows by `ovs-ofctl`: flows a second. Also how long it takes to compare them with the file, and
/// to add one.
fn ovs_ofctl(
    installed: &Installed,
    comparisons: &mut Vec<f64>,
    additions: &mut Vec<f64>,
) -> Result<f64> {
    let switch = Switch::start().map_err(told)?;
    let write = |name: &str, text: String| -> Result<String> {
        let path: PathBuf = switch.directory().join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    };
    let groups = write("groups", installed.groups_text())?;
    switch.ofctl("add-groups", &[&groups]).map_err(told)?;
    for meter in installed.meters_text().lines() {
        switch.ofctl("add-meter", &[meter]).map_err(told)?;
    }
    let flows = write("flows", installed.flows_text())?;
    // Without the word it would be taken for a file.
    let socket = format!("unix:{}", switch.openflow().display());
    let timed = |arguments: &[&str]| -> Result<f64> {
        let command = [&["ovs-ofctl", "-O", "OpenFlow15"], arguments].concat();
        let began = Instant::now();
        switch.run(&command).map_err(told)?;
        Ok(began.elapsed().as_secs_f64())
    };
    let seconds = timed(&["--bundle", "add-flows", &socket, &flows])?;
    comparisons.push(timed(&["diff-flows", &socket, &flows])?);
    for port in 1..=LOGINS {
        let flow = format!("table=0,priority=1,tcp,tp_dst={port},actions=drop");
        additions.push(timed(&["add-flow", &socket, &flow])?);
    }
    Ok(installed.flows.len() as f64 / seconds)
}

fn told(error: WorldError) -> anyhow::Error {
    anyhow!("{error}")
}

fn ip(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    Ipv4Addr::new(a, b, c, d).into()
}

/// How many applications make [`FLOWS`] flows.
fn applications() -> Result<u16> {
    let mut count = 64;
    loop {
        let flows = compile(&*state(count, 0)?).flows.len();
        if flows >= FLOWS {
            return Ok(count);
        }
        // What is missing, by what one makes now; at most a few hundred.
        count += ((FLOWS - flows) * usize::from(count) / flows).max(1) as u16;
    }
}

/// Applications with one replica each: each intercepts what clients send to its name, serves another name
/// and calls a third. `admitted` clients are let through by the first.
fn state(count: u16, admitted: u8) -> Result<Arc<DesiredState>> {
    let host = Host {
        access: PortNumber(1),
        backhaul: PortNumber(2),
        mac: [2, 0, 0, 0, 0, 1],
        addresses: vec![ip(10, 0, 1, 1)],
        gateway: [2, 0, 0, 0, 0, 2],
        clients: vec!["10.0.0.0/24".parse()?],
        resolvers: vec![ip(10, 0, 1, 1)],
        time_servers: vec![],
        dhcp: Side::Host,
    };
    let mut names = BTreeMap::new();
    let mut all = Vec::new();
    for number in 1..=count {
        let [high, low] = number.to_be_bytes();
        for (name, net) in [("www", 198), ("api", 199)] {
            let addresses = Addresses {
                current: (0..4).map(|last| ip(net, high, low, last)).collect(),
                ..Addresses::default()
            };
            names.insert(format!("{name}.site-{number}.example").parse()?, addresses);
        }
        all.push(application(number, if number == 1 { admitted } else { 0 })?);
    }
    Ok(Arc::new(DesiredState::new(host, all, names)?))
}

fn application(number: u16, admitted: u8) -> Result<Application> {
    let [high, low] = number.to_be_bytes();
    let gate = if number == 1 {
        "[[admit]]\nfrom = \"clients\"\n"
    } else {
        ""
    };
    let text = format!(
        "name = \"site-{number}\"\n\
         publisher = \"ed25519:PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw\"\n\
         expires = 2099-01-01T00:00:00Z\n\
         [[speak]]\nprotocols = [\"arp\", \"dns\", \"icmp\"]\n{gate}\
         [[intercept]]\nfrom = \"clients\"\nto = {{ name = \"www.site-{number}.example\", tcp = [80, 443] }}\n\
         [[call]]\nto = {{ name = \"api.site-{number}.example\", tcp = [443] }}\n\
         [[serve]]\nas = \"edge.site-{number}.example\"\ntcp = [443]\n\
         [limit]\nrate = \"50Mbit\"\n[bill]\naccount = \"site\"\n"
    );
    let manifest = Manifest::from_toml(&text).map_err(|error| anyhow!("{error:?}"))?;
    let grants = manifest.rules().iter().cloned().zip(0..);
    let client = |place: u8| Admitted {
        place: place.into(),
        address: ip(10, 0, 0, 100 + place),
        mac: [2, 0, 0, 0, 1, place],
        rate: None,
    };
    Ok(Application {
        number: ApplicationNumber::new(number.into()).context("a number")?,
        zone: number,
        grants: grants.map(|(rule, index)| Grant { index, rule }).collect(),
        on_fail: manifest.on_fail(),
        rate: manifest.limit().rate,
        sleeping: false,
        replicas: vec![Replica {
            number: number.into(),
            port: PortNumber(10 + u32::from(number)),
            mac: [2, 0, 0, 2, high, low],
            addresses: vec![ip(10, 1, high, low)],
            state: ReplicaState::Live,
        }],
        free_to_client: false,
        admitted: (1..=admitted).map(client).collect(),
    })
}
