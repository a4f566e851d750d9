//! What went over the wires of a scenario's sites, kept when the scenario fails: `tcpdump` in dom0 writes
//! two files in turns, so that the last megabytes are there whatever the scenario moves, and a failure
//! brings them to `target/captures/`.

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use testbed::Testbed;

use crate::image::workspace;

/// Of each packet: all headers, and the beginning of what they carry.
const SNAP_BYTES: usize = 256;
/// Each of the two files of a site, in millions of bytes: dom0 keeps them while the scenario runs.
const FILE_MB: usize = 4;
/// Where they are in dom0.
const FOLDER: &str = "/tmp/captures";

/// The captures of the scenario that runs now.
#[derive(Default)]
pub(crate) struct Captures {
    scenario: Mutex<String>,
    /// The namespaces whose first interface is watched.
    sites: Mutex<Vec<String>>,
}

impl Captures {
    /// Forgets the captures of the scenario before.
    pub(crate) fn begin(&self, testbed: &Testbed, scenario: &str) {
        locked(&self.sites).clear();
        *locked(&self.scenario) = file_name(scenario);
        // A machine that does not answer has none.
        drop(testbed.exec(&format!("rm -rf {FOLDER}")));
    }

    /// Watches `eth0` of a namespace; returns when nothing is missed any more.
    pub(crate) fn start(&self, testbed: &Testbed, namespace: &str) -> Result<()> {
        let file = format!("{FOLDER}/{namespace}");
        // `head` has the line that says that it listens, and what is written after that goes nowhere.
        let tcpdump = format!(
            "ip netns exec {namespace} tcpdump -Z root -i eth0 -n -s {SNAP_BYTES} -C {FILE_MB} -W 2 \
             -w {file}.pcap"
        );
        let command = format!(
            "mkdir -p {FOLDER} && {{ (trap '' PIPE; exec {tcpdump}) 2>&1 >/dev/null & \
             echo $! >{file}.pid; }} | head -n 1"
        );
        testbed.exec(&command)?.ok()?;
        locked(&self.sites).push(namespace.to_owned());
        Ok(())
    }

    /// Ends the watching of a namespace; its files stay until the next scenario begins.
    pub(crate) fn stop(&self, testbed: &Testbed, namespace: &str) {
        let pid = format!("$(cat {FOLDER}/{namespace}.pid)");
        // `tail` waits for its end, when all is written.
        let command = format!("kill {pid} && timeout 10 tail --pid={pid} -f /dev/null");
        drop(testbed.exec(&command));
    }

    /// Brings the captures of a failed scenario here; says where they are, one line each.
    pub(crate) fn keep(&self, testbed: &Testbed) -> String {
        let (sites, scenario) = (locked(&self.sites).clone(), locked(&self.scenario).clone());
        let mut told = String::new();
        for (number, site) in sites.iter().enumerate() {
            let kept = match keep(testbed, site, &format!("{scenario}-{number}.pcap")) {
                Ok(path) => format!("the packets of {site} are in {}\n", path.display()),
                Err(error) => format!("the packets of {site} are lost: {error:#}\n"),
            };
            told.push_str(&kept);
        }
        told
    }
}

fn keep(testbed: &Testbed, site: &str, name: &str) -> Result<PathBuf> {
    // The older file first, then the other without its header of 24 bytes (pcap-savefile(5)).
    let join = format!(
        "cd {FOLDER} && set -- $(ls -tr {site}.pcap?) && cat \"$1\" && \
         if [ $# -gt 1 ]; then tail -c +25 \"$2\"; fi"
    );
    let packets = testbed.exec(&join)?.ok()?.stdout;
    let folder = workspace().join("target/captures");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join(name);
    fs::write(&path, packets).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// A scenario's name as that of a file.
fn file_name(scenario: &str) -> String {
    let words = scenario.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join("-")
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn names_of_scenarios_make_names_of_files() {
        assert_eq!(
            file_name("network: xl's packets, over IPv4"),
            "network-xl-s-packets-over-IPv4"
        );
    }
}
