//! Who speaks in the operator's network: a client, the origin behind a gateway, a replica that takes
//! any address. Each speaks by `talk.py`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use netns::{Host, Switch, WorldError};

use crate::site::{CLIENT, GATEWAY_MAC, ORIGIN, replica_mac};

/// The three, plugged in where [`crate::site::state`] says.
pub(crate) struct People<'a> {
    pub(crate) client: Host<'a>,
    pub(crate) origin: Host<'a>,
    pub(crate) replica: Host<'a>,
}

impl<'a> People<'a> {
    pub(crate) fn plug(switch: &'a Switch) -> Result<People<'a>, WorldError> {
        // Nobody says anything unasked: every packet is one of the test's.
        let quiet = "net.ipv6.conf.default.disable_ipv6=1";
        switch.run(&["sysctl", "-q", "-w", quiet])?;
        let people = People {
            client: Host::plug(switch, "client", 1, &format!("{CLIENT}/24"))?,
            origin: Host::plug(switch, "origin", 2, &format!("{ORIGIN}/24"))?,
            replica: Host::plug(switch, "replica", 11, "10.0.1.11/24")?,
        };
        for (host, mac, router) in [
            (&people.client, "02:00:00:00:00:c1".to_owned(), "10.0.0.1"),
            (&people.origin, told(GATEWAY_MAC), "203.0.113.1"),
            (&people.replica, told(replica_mac(1)), "10.0.1.1"),
        ] {
            host.run(&["sysctl", "-q", "-w", "net.ipv6.conf.all.disable_ipv6=1"])?;
            host.run(&["ip", "link", "set", "eth0", "address", &mac])?;
            // The origin's router is the client, to save a host.
            let gateway = match router {
                "203.0.113.1" => "02:00:00:00:00:c1".to_owned(),
                _ => told(GATEWAY_MAC),
            };
            let neighbour = ["neighbour", "replace", router, "lladdr", &gateway];
            host.run(&[&["ip"], &neighbour[..], &["dev", "eth0"]].concat())?;
            host.run(&["ip", "route", "replace", "default", "via", router])?;
        }
        // As an intercepting domain does.
        let table = ["iif", "eth0", "lookup", "100"];
        people
            .replica
            .run(&[&["ip", "rule", "add"], &table[..]].concat())?;
        let local = ["local", "default", "dev", "lo", "table", "100"];
        people
            .replica
            .run(&[&["ip", "route", "add"], &local[..]].concat())?;
        Ok(people)
    }
}

pub(crate) fn told(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// A process of `talk.py`; it ends with this value.
pub(crate) struct Talk {
    process: Child,
    says: Option<ChildStdin>,
    tells: BufReader<ChildStdout>,
}

impl Talk {
    pub(crate) fn start(host: &Host<'_>, arguments: &[&str]) -> std::io::Result<Talk> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/owner/talk.py");
        let mut process = host
            .command("python3")
            .arg(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(says), Some(tells)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(std::io::Error::other("no pipes"));
        };
        let tells = BufReader::new(tells);
        Ok(Talk {
            process,
            says: Some(says),
            tells,
        })
    }

    /// What it tells next.
    pub(crate) fn told(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        self.tells.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    /// Says a line over the connection; whether the same came back.
    pub(crate) fn says(&mut self, line: &str) -> std::io::Result<bool> {
        if let Some(says) = &mut self.says {
            writeln!(says, "{line}")?;
        }
        Ok(self.told()? == "same")
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        drop(self.says.take());
        // It ends with its input; there is nothing to do about an error here.
        let _ = self.process.wait();
    }
}
