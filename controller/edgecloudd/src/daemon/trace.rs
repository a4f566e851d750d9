//! What would become of a packet, asked of the switch, and told in the manifests' words.

use openflow::PortNumber;

use super::{Daemon, lock};
use crate::api::documents::{Trace, Traced};
use crate::ovs::{Carried, Fate, Probe};
use crate::refusal::Refusal;

impl Daemon {
    /// Traces a packet, which begins a connection.
    ///
    /// # Errors
    /// No such packet, nobody of that name, or the switch.
    pub async fn trace(&self, asked: &Trace) -> Result<Traced, Refusal> {
        let carried = carried(asked)?;
        if asked.source.is_ipv4() != asked.target.is_ipv4() {
            let text = "`source` and `target` are of different families: give two of one";
            return Err(Refusal::Malformed(text.to_owned()));
        }
        let port = self.port_of(&asked.from)?;
        let desired = lock(&self.state).desired(&self.host);
        let desired = desired.map_err(|error| Refusal::Switch(error.to_string()))?;
        let addresses = (asked.source, asked.target);
        let probe = Probe::new(&desired, port, addresses, carried);
        let traced = self.switch.trace(&probe).await;
        let traced = traced.map_err(|error| Refusal::Switch(error.to_string()))?;
        let (verdict, reason) = match &traced.fate {
            Fate::Denied(reason) => ("denied", Some(reason.as_str().to_owned())),
            Fate::Delivered(_) => ("delivered", None),
            Fate::Summons => ("waits", None),
            Fate::Lost => ("lost", None),
        };
        Ok(Traced {
            verdict: verdict.to_owned(),
            reason,
            steps: traced.explain(&desired),
        })
    }

    /// The port of the access side, of the backhaul side, of dom0, or of a domain.
    fn port_of(&self, from: &str) -> Result<PortNumber, Refusal> {
        match from {
            "access" => Ok(self.host.access),
            "backhaul" => Ok(self.host.backhaul),
            "host" => Ok(PortNumber::LOCAL),
            name => {
                let (_, replica) = self.named(name)?;
                let running = replica.running.ok_or(Refusal::Ended)?;
                Ok(running.port)
            }
        }
    }
}

fn carried(asked: &Trace) -> Result<Carried, Refusal> {
    let ports = (asked.source_port, asked.target_port);
    match (asked.protocol.as_str(), ports) {
        ("icmp", _) => Ok(Carried::Echo),
        ("tcp" | "udp", (_, 0)) => {
            let text = "`target-port` is missing: say which";
            Err(Refusal::Malformed(text.to_owned()))
        }
        ("tcp", (from, to)) => Ok(Carried::Tcp(from, to)),
        ("udp", (from, to)) => Ok(Carried::Udp(from, to)),
        (other, _) => {
            let text = format!("`protocol` is {other:?}: write tcp, udp or icmp");
            Err(Refusal::Malformed(text))
        }
    }
}
