//! The Debian packages that unit tests and scenarios as processes need: a real switch, what makes hosts
//! beside it, origins and their clients.
//!
//! The testbed installs its own; what is here is for the tests that run on this machine.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Programs, and the packages they are in.
const PROGRAMS: [(&str, &str); 21] = [
    ("python3", "python3"),
    ("nmap", "nmap"),
    ("dig", "bind9-dnsutils"),
    ("dnsmasq", "dnsmasq-base"),
    ("ovs-vswitchd", "openvswitch-switch"),
    ("openssl", "openssl"),
    ("ethtool", "ethtool"),
    ("freeradius", "freeradius"),
    ("ip", "iproute2"),
    ("ping", "iputils-ping"),
    ("pip3", "python3-pip"),
    ("unshare", "util-linux"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("nginx", "nginx-light"),
    ("h2load", "nghttp2-client"),
    ("curl", "curl"),
    ("chromium", "chromium"),
    ("tc", "iproute2"),
    ("tcpdump", "tcpdump"),
    ("faketime", "faketime"),
];

/// Where they may be; a user's `PATH` may lack the folders of the superuser.
const FOLDERS: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// Installs what is missing.
///
/// # Errors
/// Where that is not allowed or fails, with the command that cures it.
pub(crate) fn install_missing() -> Result<()> {
    install_missing_of(&PROGRAMS)?;
    ensure!(
        Path::new("/dev/net/tun").exists(),
        "there is no /dev/net/tun, which the switch of the tests needs: modprobe tun"
    );
    Ok(())
}

/// Installs the packages of programs that are missing.
///
/// # Errors
/// As [`install_missing`].
pub(crate) fn install_missing_of(programs: &[(&str, &'static str)]) -> Result<()> {
    let missing = missing(programs, |program| {
        FOLDERS
            .iter()
            .any(|folder| Path::new(folder).join(program).exists())
    });
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("installing {}", missing.join(" "));
    for arguments in [vec!["update"], install(&missing)] {
        // Not in a runlevel of service, so that no switch of the system's is started.
        let output = Command::new("apt-get")
            .args(&arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("RUNLEVEL", "1")
            .output()
            .context("cannot run apt-get: the tests are for Debian 12")?;
        if !output.status.success() {
            bail!(
                "run as root: apt-get {}\n{}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
    Ok(())
}

fn install<'p>(packages: &[&'p str]) -> Vec<&'p str> {
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(packages);
    arguments
}

fn missing(programs: &[(&str, &'static str)], has: impl Fn(&str) -> bool) -> Vec<&'static str> {
    programs
        .iter()
        .filter(|(program, _)| !has(program))
        .map(|&(_, package)| package)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_installed() {
        assert!(missing(&PROGRAMS, |_| true).is_empty());
        let lacking = missing(&PROGRAMS, |program| program != "ethtool");
        assert_eq!(lacking, ["ethtool"]);
    }
}
