//! Domains as Linux processes: each in a network namespace of its own, `ec-NUMBER`, with a cable
//! `ecNUMBER` to the bridge. The appliance's ordinary Linux program is the image.
//!
//! For the fast world and for who wants to try without Xen. The network is as strictly bounded as a
//! domain's; nothing else is: such a process is as trusted as any of root's.
//!
//! Which processes are a domain's is asked of its namespace (`ip netns pids`), so a restarted daemon
//! finds them, and never takes another process with the same number for one.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;

use async_trait::async_trait;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use tokio::io::unix::AsyncFd;
use tokio::process::Command;

use super::{Domains, DomainsError, Found, Spec, end_of_file, finish, run};
use crate::config::Mac;

/// The interface's name in the namespace.
const INSIDE: &str = "eth0";

/// The routing table of what arrives.
const ANY: &str = "100";

/// Puts the domain's own resolvers into a mount namespace of its own, and becomes the program.
const BECOME: &str =
    r#"[ ! -e /etc/resolv.conf ] || mount --bind "$0" /etc/resolv.conf; exec "$@""#;

/// Processes as domains.
#[derive(Debug)]
pub struct Processes {
    directory: PathBuf,
}

impl Processes {
    /// With logs and resolvers' files in a directory.
    pub fn new(directory: PathBuf) -> Processes {
        Processes { directory }
    }

    fn namespace(spec: &Spec) -> String {
        format!("ec-{}", spec.number)
    }

    fn cable(spec: &Spec) -> String {
        format!("ec{}", spec.number)
    }

    fn log_file(&self, spec: &Spec) -> PathBuf {
        self.directory.join(format!("{}.log", spec.name))
    }

    async fn processes(spec: &Spec) -> Vec<u32> {
        // An error is a namespace that is not there.
        let listed = run("ip", &["netns", "pids", &Processes::namespace(spec)]).await;
        let listed = listed.unwrap_or_default();
        listed
            .lines()
            .filter_map(|line| line.trim().parse().ok())
            .collect()
    }

    async fn inside(spec: &Spec, command: &[&str]) -> Result<String, DomainsError> {
        let namespace = Processes::namespace(spec);
        let start = ["netns", "exec", namespace.as_str()];
        run("ip", &[&start, command].concat()).await
    }
}

#[async_trait]
impl Domains for Processes {
    async fn prepare(&self, spec: &Spec) -> Result<String, DomainsError> {
        let (namespace, outside) = (Processes::namespace(spec), Processes::cable(spec));
        let mac = Mac(spec.mac).to_string();
        run("ip", &["netns", "add", &namespace]).await?;
        let mut cable = vec![
            "link", "add", &outside, "type", "veth", "peer", "name", INSIDE,
        ];
        cable.extend(["address", &mac, "netns", &namespace]);
        run("ip", &cable).await?;
        // Quiet until the switch knows it.
        Processes::inside(spec, &["ip", "link", "set", "lo", "up"]).await?;
        // The userspace datapath passes on checksums that the kernel left to a device.
        Processes::inside(spec, &["ethtool", "-K", INSIDE, "tx", "off"]).await?;
        for (address, prefix) in &spec.addresses {
            let address = format!("{address}/{prefix}");
            let mut add = vec!["ip", "address", "add", &address, "dev", INSIDE];
            if address.contains(':') {
                // Nobody else may have it: the switch sees to that.
                add.push("nodad");
            }
            Processes::inside(spec, &add).await?;
        }
        for family in ["-4", "-6"] {
            // What arrives is for the program, whatever address it is for: interception. On Linux
            // it has to say so, too, with IP_TRANSPARENT.
            let rule = ["rule", "add", "iif", INSIDE, "lookup", ANY];
            Processes::inside(spec, &[&["ip", family], &rule[..]].concat()).await?;
            let route = [
                "route", "add", "local", "default", "dev", "lo", "table", ANY,
            ];
            Processes::inside(spec, &[&["ip", family], &route[..]].concat()).await?;
        }
        run("ip", &["link", "set", &outside, "up"]).await?;
        Ok(outside)
    }

    async fn start(&self, spec: &Spec) -> Result<u32, DomainsError> {
        Processes::inside(spec, &["ip", "link", "set", INSIDE, "up"]).await?;
        for gateway in &spec.gateways {
            let family = if gateway.is_ipv4() { "-4" } else { "-6" };
            let gateway = gateway.to_string();
            let via = ["via", gateway.as_str(), "dev", INSIDE];
            let route = [&["ip", family, "route", "replace", "default"], &via[..]].concat();
            Processes::inside(spec, &route).await?;
        }
        let io = |error: std::io::Error| DomainsError(format!("{}: {error}", spec.name));
        let resolvers = self.directory.join(format!("{}.resolv", spec.name));
        let lines = spec
            .resolvers
            .iter()
            .map(|a: &IpAddr| format!("nameserver {a}\n"));
        std::fs::write(&resolvers, lines.collect::<String>()).map_err(io)?;
        let log = std::fs::File::create(self.log_file(spec)).map_err(io)?;
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", Processes::namespace(spec)))
            .args(["unshare", "--mount", "sh", "-c", BECOME])
            .arg(&resolvers)
            .arg(&spec.image)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(
                spec.environment
                    .iter()
                    .map(|(name, value)| (name, value.as_str())),
            )
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(io)?)
            .stderr(log)
            // It outlives the daemon, and whatever signal ends that.
            .process_group(0)
            .kill_on_drop(false);
        let mut child = command.spawn().map_err(io)?;
        let id = child
            .id()
            .ok_or_else(|| DomainsError("it ended at once".to_owned()))?;
        // Somebody has to collect what is left of it.
        tokio::spawn(async move { child.wait().await });
        Ok(id)
    }

    async fn find(&self, spec: &Spec) -> Result<Option<Found>, DomainsError> {
        let processes = Processes::processes(spec).await;
        let interface = Processes::cable(spec);
        // The first is the program, or what will become it.
        let first = processes.into_iter().min();
        Ok(first.map(|id| Found { id, interface }))
    }

    async fn ended(&self, _: &Spec, id: u32) {
        // Deprecated for file descriptors that are somebody else's; this one is owned.
        #[allow(deprecated)]
        let watch = AsyncFd::<OwnedFd>::new;
        let opened = pid(id).and_then(|pid| pidfd_open(pid, PidfdFlags::NONBLOCK).ok());
        let Some(Ok(process)) = opened.map(watch) else {
            return;
        };
        // Readable once the process has ended, pidfd_open(2).
        let _ = process.readable().await;
    }

    async fn shutdown(&self, _: &Spec, id: u32) {
        if let Some(pid) = pid(id) {
            // Gone is what it should be.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    async fn destroy(&self, spec: &Spec) -> Result<(), DomainsError> {
        for id in Processes::processes(spec).await {
            if let Some(pid) = pid(id) {
                let _ = kill_process(pid, Signal::KILL);
                self.ended(spec, id).await;
            }
        }
        let namespace = Processes::namespace(spec);
        let all = run("ip", &["netns", "list"]).await?;
        let is_there = |line: &str| line.split(' ').next() == Some(namespace.as_str());
        if all.lines().any(is_there) {
            run("ip", &["netns", "delete", &namespace]).await?;
        }
        // The cable goes with its other end, but later, when the namespace does.
        let mut delete = Command::new("ip");
        delete.args(["link", "delete", &Processes::cable(spec)]);
        let _ = finish(&mut delete, "ip").await;
        Ok(())
    }

    fn interface(&self, spec: &Spec) -> Option<String> {
        Some(Processes::cable(spec))
    }

    async fn log(&self, spec: &Spec, bytes_max: usize) -> Result<String, DomainsError> {
        let end = end_of_file(&self.log_file(spec), bytes_max).await;
        end.map_err(|error| DomainsError(format!("{}'s log: {error}", spec.name)))
    }
}

fn pid(id: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(id).ok()?)
}
