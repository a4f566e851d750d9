//! What would become of a packet, asked of the switch itself (`ofproto/trace`), and why, by the
//! cookies of the flows that it met.
//!
//! The question goes to ovs-vswitchd's control socket, which speaks JSON-RPC as the database does.
//! A packet is taken for the first of its connection; the connection tracker is not asked.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use manifest::Rule;
use openflow::PortNumber;
use serde_json::json;
use tokio::time::timeout;

use super::json::{JsonError, Stream};
use crate::pipeline::{Class, Cookie, Deny, DesiredState};

/// How long the switch may take: it walks through nine tables.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What a packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carried {
    /// TCP's SYN, from a port to a port.
    Tcp(u16, u16),
    /// UDP, from a port to a port.
    Udp(u16, u16),
    /// An echo request of ICMP.
    Echo,
}

/// A packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The port it comes in by.
    pub port: PortNumber,
    /// Its source and target MAC addresses.
    pub macs: [[u8; 6]; 2],
    /// Its source address.
    pub source: IpAddr,
    /// Its target address; of the source's family.
    pub target: IpAddr,
    /// What it carries.
    pub carried: Carried,
}

impl Probe {
    /// A packet with the MAC addresses that it would have: who sends it uses his own, and sends to
    /// the gateway what is for others.
    pub fn new(
        state: &DesiredState,
        port: PortNumber,
        (source, target): (IpAddr, IpAddr),
        carried: Carried,
    ) -> Probe {
        let host = state.host();
        let sender = state.replicas().find(|(_, replica)| replica.port == port);
        let from = match (port, sender) {
            (PortNumber::LOCAL, _) => host.mac,
            (_, Some((_, replica))) => replica.mac,
            (port, _) if port == host.backhaul => host.gateway,
            // A client's own is not known, and no flow asks for it.
            _ => [2, 0, 0, 0, 0xff, 0xff],
        };
        let receiver = state
            .replicas()
            .find(|(_, replica)| replica.addresses.contains(&target));
        let to = match receiver {
            _ if host.addresses.contains(&target) => host.mac,
            Some((_, replica)) => replica.mac,
            None => host.gateway,
        };
        let macs = [from, to];
        Probe {
            port,
            macs,
            source,
            target,
            carried,
        }
    }

    /// In the words of `ofproto/trace`.
    fn text(&self) -> String {
        let mac = |bytes: [u8; 6]| bytes.map(|byte| format!("{byte:02x}")).join(":");
        let is_v6 = self.source.is_ipv6();
        let (network, protocol, ports) = match self.carried {
            Carried::Tcp(from, to) => ("tcp", "tcp", Some((from, to))),
            Carried::Udp(from, to) => ("udp", "udp", Some((from, to))),
            Carried::Echo => ("icmp", "icmp", None),
        };
        let six = if is_v6 { "6" } else { "" };
        let addresses = if is_v6 {
            ["ipv6_src", "ipv6_dst"]
        } else {
            ["nw_src", "nw_dst"]
        };
        let mut text = format!(
            "in_port={},{network}{six},dl_src={},dl_dst={},{}={},{}={},nw_ttl=64",
            self.port.0,
            mac(self.macs[0]),
            mac(self.macs[1]),
            addresses[0],
            self.source,
            addresses[1],
            self.target,
        );
        match ports {
            Some((from, to)) => text += &format!(",{protocol}_src={from},{protocol}_dst={to}"),
            None if is_v6 => text += ",icmp_type=128,icmp_code=0",
            None => text += ",icmp_type=8,icmp_code=0",
        }
        if matches!(self.carried, Carried::Tcp(..)) {
            text += ",tcp_flags=0x002";
        }
        text
    }
}

/// Where a packet ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is dropped, for a reason.
    Denied(Deny),
    /// It leaves by these ports.
    Delivered(Vec<PortNumber>),
    /// It waits for an appliance that sleeps.
    Summons,
    /// No flow of ours says anything of it: the switch does not hold what it should.
    Lost,
}

/// A packet's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    /// The cookies of the flows that it met, in order.
    pub met: Vec<Cookie>,
    /// Where it ends.
    pub fate: Fate,
    /// The switch's own words.
    pub text: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// ovs-vswitchd wrote no process id.
    #[error("{0}: {1}; is ovs-vswitchd running?")]
    Process(PathBuf, std::io::Error),
    /// Its control socket.
    #[error("ovs-vswitchd's control socket: {0}")]
    Stream(#[from] JsonError),
    /// It refused the question.
    #[error("ovs-vswitchd refused to answer: {0}")]
    Refused(String),
    /// It took too long.
    #[error("ovs-vswitchd did not answer within {} s", ANSWER_WITHIN.as_secs())]
    Late,
}

/// Asks the switch whose run directory (such as `/run/openvswitch`) this is.
///
/// # Errors
/// It is not there, or refuses.
pub async fn trace(run: &Path, bridge: &str, probe: &Probe) -> Result<Traced, TraceError> {
    let text = control(run, "ofproto/trace", &[bridge, &probe.text()]).await?;
    Ok(Traced::read(&text))
}

/// What ovs-vswitchd answers at its control socket, as `ovs-appctl` does.
pub(super) async fn control(
    run: &Path,
    method: &str,
    parameters: &[&str],
) -> Result<String, TraceError> {
    let file = run.join("ovs-vswitchd.pid");
    let process = std::fs::read_to_string(&file);
    let process = process.map_err(|error| TraceError::Process(file, error))?;
    let socket = run.join(format!("ovs-vswitchd.{}.ctl", process.trim()));
    let call = json!({"method": method, "params": parameters, "id": 0});
    let asked = async {
        let mut stream = Stream::connect(&socket).await?;
        stream.send(&call).await?;
        stream.receive().await
    };
    let answer = timeout(ANSWER_WITHIN, asked).await;
    let answer = answer.map_err(|_| TraceError::Late)??;
    match answer["result"].as_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(TraceError::Refused(answer["error"].to_string())),
    }
}

impl Traced {
    /// Reads what `ofproto/trace` wrote.
    fn read(text: &str) -> Traced {
        let (mut met, mut ports, mut is_paused) = (Vec::new(), Vec::new(), false);
        let mut lines = text.lines().map(str::trim).peekable();
        while let Some(line) = lines.next() {
            if let Some((_, number)) = line.split_once("cookie 0x") {
                let number = u64::from_str_radix(number.trim(), 16).ok();
                met.extend(number.and_then(Cookie::with_number));
            }
            is_paused |= line.starts_with("controller(") && line.contains("pause");
            let skipped = lines
                .peek()
                .is_some_and(|next| next.contains(">> skipping"));
            if !skipped && !line.starts_with("Final flow") {
                ports.extend(output(line));
            }
        }
        let last = met.last().map(|cookie| cookie.class);
        let fate = match last {
            _ if is_paused => Fate::Summons,
            _ if !ports.is_empty() => Fate::Delivered(ports),
            Some(Class::Deny(reason)) => Fate::Denied(reason),
            _ => Fate::Lost,
        };
        let text = text.to_owned();
        Traced { met, fate, text }
    }

    /// Its way in the words of the manifests, a line for each flow that decided something.
    pub fn explain(&self, state: &DesiredState) -> Vec<String> {
        let mut lines: Vec<String> = self.met.iter().filter_map(|c| told(*c, state)).collect();
        lines.push(match &self.fate {
            Fate::Denied(reason) => format!("it is dropped: {}", reason.as_str()),
            Fate::Summons => "it waits until the appliance is awake".to_owned(),
            Fate::Lost => "it is dropped, and no flow says why: compare the flows".to_owned(),
            Fate::Delivered(ports) => {
                let names: Vec<String> = ports.iter().map(|port| name(*port, state)).collect();
                format!("it leaves to {}", names.join(", "))
            }
        });
        lines
    }
}

/// The port that an action sends to.
fn output(line: &str) -> Option<PortNumber> {
    match line {
        "LOCAL" | "output:LOCAL" => Some(PortNumber::LOCAL),
        "IN_PORT" | "output:IN_PORT" => Some(PortNumber::IN_PORT),
        _ => line.strip_prefix("output:")?.parse().ok().map(PortNumber),
    }
}

fn name(port: PortNumber, state: &DesiredState) -> String {
    let host = state.host();
    let replica = state.replicas().find(|(_, replica)| replica.port == port);
    match (port, replica) {
        (PortNumber::LOCAL, _) => "dom0".to_owned(),
        (_, Some((application, replica))) => {
            let number = application.number.get();
            format!("replica {} of application {number}", replica.number)
        }
        (port, _) if port == host.access => "the access side".to_owned(),
        (port, _) if port == host.backhaul => "the backhaul side".to_owned(),
        (port, _) => format!("port {port}"),
    }
}

/// What a flow decided; None for those that only pass on.
fn told(cookie: Cookie, state: &DesiredState) -> Option<String> {
    let of = |what: &str| Some(format!("{what} application {}", cookie.application));
    match cookie.class {
        Class::Track if cookie.application != 0 => of("it concerns"),
        Class::Established => of("its connection is one of"),
        Class::Rule | Class::Free if cookie.rule != Cookie::NO_RULE => {
            let rule = rule(cookie, state).map_or_else(String::new, |rule| format!(" `{rule}`"));
            let number = u32::from(cookie.rule) + 1;
            let does = match cookie.class {
                Class::Free => "pays for",
                _ => "permits",
            };
            of(&format!("rule {number}{rule} {does} it, of"))
        }
        Class::Control if cookie.application != 0 => of("a protocol with the network, of"),
        Class::Replica => of("a replica is chosen, of"),
        Class::Transit => Some("it concerns no application, and passes".to_owned()),
        _ => None,
    }
}

/// The rule of a cookie.
fn rule(cookie: Cookie, state: &DesiredState) -> Option<&Rule> {
    let mut applications = state.applications().iter();
    let application = applications.find(|one| one.number.get() == cookie.application)?;
    let mut grants = application.grants.iter();
    let grant = grants.find(|grant| grant.index == cookie.rule)?;
    Some(&grant.rule)
}
