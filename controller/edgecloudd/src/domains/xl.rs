//! Domains by Xen's toolstack, `xl`, with configurations rendered from
//! `xen-configs/appliance.cfg.in`. What a domain is told goes through xenstore before it is unpaused:
//! its own directory can be read by dom0 and that domain only, and no secret is on a command line.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use super::xenstore::{self, SOCKET};
use super::{Domains, DomainsError, Found, Spec, end_of_file, run, run_quick};
use crate::config::Mac;

/// The template that images are rendered from, too.
const TEMPLATE: &str = include_str!("../../../../xen-configs/appliance.cfg.in");
/// Where Xen's toolstack has its hotplug scripts.
const SCRIPTS: &str = "/etc/xen/scripts";
/// What plugs an interface into the switch: our own program (`controller/vif`), or else Xen's script.
const VIF_SCRIPTS: [&str; 2] = ["vif-edgecloud", "vif-openvswitch"];
/// Where xenconsoled writes what domains say.
const CONSOLES: &str = "/var/log/xen/console";

/// Between two watches, where the first one failed.
const WATCH_PAUSE: Duration = Duration::from_secs(1);

/// Domains by `xl`.
#[derive(Debug)]
pub struct Xl {
    directory: PathBuf,
    bridge: String,
    scripts: PathBuf,
    /// The toolstack's program.
    program: String,
}

impl Xl {
    /// With configurations in a directory and interfaces on a bridge.
    pub fn new(directory: PathBuf, bridge: String) -> Xl {
        let scripts = SCRIPTS.into();
        Xl {
            directory,
            bridge,
            scripts,
            program: "xl".to_owned(),
        }
    }

    /// The first script that this host has.
    fn vif_script(&self) -> &'static str {
        let [ours, xens] = VIF_SCRIPTS;
        match self.scripts.join(ours).exists() {
            true => ours,
            false => xens,
        }
    }

    /// What `xl create` reads.
    fn configuration(&self, spec: &Spec) -> String {
        let memory = spec.memory_mib.to_string();
        let mut text = TEMPLATE
            .replace(
                "/var/lib/edgecloud/images/@NAME@.elf",
                &spec.image.display().to_string(),
            )
            .replace("@NAME@", &spec.name)
            .replace("@MEMORY@", &memory)
            .replace("@COMMAND_LINE@", "\"\"");
        let mac = Mac(spec.mac);
        let (bridge, script) = (&self.bridge, self.vif_script());
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "vif = [\"mac={mac},bridge={bridge},script={script}\"]"
        );
        if let Some(disk) = &spec.disk {
            let _ = writeln!(
                text,
                "disk = [\"format=raw,vdev=xvda,access=rw,target={}\"]",
                disk.display()
            );
        }
        text
    }

    /// Xen's number of a domain and its state's letters, if there is one, as `xl list` shows them.
    async fn listed(&self, name: &str) -> Result<Option<(u32, String)>, DomainsError> {
        // Of all: about one that is not there `xl` fails, as it does when it cannot tell.
        let listed = run_quick(&self.program, &["list"]).await?;
        Ok(parse_list(&listed, name))
    }

    /// Returns once a domain has ended, or fails when that cannot be told.
    async fn wait_for_end(&self, name: &str, id: u32) -> Result<(), DomainsError> {
        let failed = |why: &dyn std::fmt::Display| DomainsError(format!("xenstore-watch: {why}"));
        let mut watch = Command::new("xenstore-watch");
        // Xenstore's own event for a domain that shut down or is gone.
        watch
            .arg("@releaseDomain")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut watched = watch.spawn().map_err(|error| failed(&error))?;
        let output = watched.stdout.take().ok_or_else(|| failed(&"no output"))?;
        let mut lines = BufReader::new(output).lines();
        // The first line comes at once: what ended before the watch was set is seen, too.
        while let Ok(Some(_)) = lines.next_line().await {
            match self.listed(name).await? {
                Some((found, state)) if found == id && runs(&state) => {}
                _ => return Ok(()),
            }
        }
        Err(failed(&"it ended"))
    }
}

/// `Name ID Mem VCPUs State Time(s)`.
fn parse_list(listed: &str, name: &str) -> Option<(u32, String)> {
    listed.lines().skip(1).find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [found, id, _, _, state, _] if found == name => {
                Some((id.parse().ok()?, state.to_owned()))
            }
            _ => None,
        }
    })
}

/// Whether a state of `xl list` is a domain's that runs or waits.
fn runs(state: &str) -> bool {
    !state.contains(['p', 's', 'c', 'd'])
}

/// `NET`, as README's table says.
fn net(spec: &Spec) -> String {
    let addresses = spec
        .addresses
        .iter()
        .map(|(a, prefix)| format!("ip={a}/{prefix}"));
    let gateways = spec.gateways.iter().map(|a| format!("gateway={a}"));
    let resolvers = spec.resolvers.iter().map(|a| format!("dns={a}"));
    let words: Vec<String> = addresses.chain(gateways).chain(resolvers).collect();
    words.join(",")
}

#[async_trait]
impl Domains for Xl {
    async fn prepare(&self, spec: &Spec) -> Result<String, DomainsError> {
        let file = self.directory.join(format!("{}.cfg", spec.name));
        let written = std::fs::write(&file, self.configuration(spec));
        written.map_err(|error| DomainsError(format!("{}: {error}", file.display())))?;
        let path = file.display().to_string();
        // No xl that waits for the domain's end: the daemon does. That xl would be a fork of a process with
        // threads, of which one in some hundreds hangs.
        run(&self.program, &["create", "-e", "-p", "-q", &path]).await?;
        let Some((id, _)) = self.listed(&spec.name).await? else {
            return Err(DomainsError(format!("{} is gone already", spec.name)));
        };
        let at = format!("/local/domain/{id}/edgecloud/environment");
        let net = net(spec);
        let mut values = vec![(format!("{at}/NET"), net.into())];
        for (name, value) in &spec.environment {
            values.push((format!("{at}/{name}"), value.clone()));
        }
        xenstore::write(SOCKET.as_ref(), &values).await?;
        Ok(format!("vif{id}.0"))
    }

    async fn start(&self, spec: &Spec) -> Result<u32, DomainsError> {
        run_quick(&self.program, &["unpause", &spec.name]).await?;
        let listed = self.listed(&spec.name).await?;
        listed
            .map(|(id, _)| id)
            .ok_or_else(|| DomainsError(format!("{} ended at once", spec.name)))
    }

    async fn find(&self, spec: &Spec) -> Result<Option<Found>, DomainsError> {
        let listed = self.listed(&spec.name).await?;
        Ok(listed
            .filter(|(_, state)| runs(state))
            .map(|(id, _)| Found {
                id,
                interface: format!("vif{id}.0"),
            }))
    }

    async fn ended(&self, spec: &Spec, id: u32) {
        loop {
            match self.wait_for_end(&spec.name, id).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(%error, domain = spec.name, "watched anew"),
            }
            tokio::time::sleep(WATCH_PAUSE).await;
        }
    }

    async fn shutdown(&self, spec: &Spec, _: u32) {
        // Gone is what it should be.
        let _ = run_quick(&self.program, &["shutdown", &spec.name]).await;
    }

    async fn destroy(&self, spec: &Spec) -> Result<(), DomainsError> {
        match self.listed(&spec.name).await? {
            Some(_) => run(&self.program, &["destroy", &spec.name]).await.map(drop),
            None => Ok(()),
        }
    }

    /// The vif's script unplugs it.
    fn interface(&self, _: &Spec) -> Option<String> {
        None
    }

    async fn log(&self, spec: &Spec, bytes_max: usize) -> Result<String, DomainsError> {
        let file = format!("{CONSOLES}/guest-{}.log", spec.name);
        let end = end_of_file(file.as_ref(), bytes_max).await;
        end.map_err(|error| DomainsError(format!("{file}: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Spec {
        Spec {
            number: 7,
            name: "photos-7".to_owned(),
            image: "/images/photos.elf".into(),
            memory_mib: 16,
            mac: [2, 1, 2, 0, 0, 7],
            addresses: vec![
                ("10.0.1.2".parse().unwrap(), 24),
                ("fd00::2".parse().unwrap(), 64),
            ],
            gateways: vec!["10.0.1.254".parse().unwrap()],
            resolvers: vec!["10.0.1.1".parse().unwrap()],
            environment: [("EDGECLOUD_KEY".to_owned(), "SECRET".to_owned().into())].into(),
            disk: Some("/disks/photos.img".into()),
        }
    }

    #[test]
    fn a_configuration_has_everything_and_no_secret() {
        let scripts = tempfile::tempdir().unwrap();
        let mut xl = Xl::new("/tmp".into(), "edgecloud".to_owned());
        xl.scripts = scripts.path().into();
        let text = xl.configuration(&spec());
        for line in [
            "name = \"photos-7\"",
            "kernel = \"/images/photos.elf\"",
            "memory = 16",
            "cmdline = \"\"",
            "vif = [\"mac=02:01:02:00:00:07,bridge=edgecloud,script=vif-openvswitch\"]",
            "disk = [\"format=raw,vdev=xvda,access=rw,target=/disks/photos.img\"]",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        assert!(!text.contains('@') && !text.contains("SECRET"), "{text}");
        std::fs::write(scripts.path().join("vif-edgecloud"), "").unwrap();
        let text = xl.configuration(&spec());
        assert!(text.contains("script=vif-edgecloud"), "{text}");
    }

    #[test]
    fn the_network_is_told_as_the_runtime_reads_it() {
        let expected = "ip=10.0.1.2/24,ip=fd00::2/64,gateway=10.0.1.254,dns=10.0.1.1";
        assert_eq!(net(&spec()), expected);
    }

    #[tokio::test]
    async fn a_domain_that_xl_cannot_tell_of_is_not_taken_for_gone() {
        let mut xl = Xl::new("/tmp".into(), "edgecloud".to_owned());
        // It fails, whatever it is asked.
        xl.program = "false".to_owned();
        xl.find(&spec()).await.unwrap_err();
        xl.destroy(&spec()).await.unwrap_err();
        // It lists nothing.
        xl.program = "true".to_owned();
        assert_eq!(xl.find(&spec()).await.unwrap(), None);
        xl.destroy(&spec()).await.unwrap();
    }

    #[test]
    fn lists_are_read() {
        let list = "Name                                        ID   Mem VCPUs\tState\tTime(s)\n\
                    photos-7                                     3    16     1     -b----       0.4\n";
        assert_eq!(parse_list(list, "photos-7"), Some((3, "-b----".to_owned())));
        assert_eq!(parse_list(list, "photos"), None);
        assert!(runs("-b----") && runs("r-----") && runs("------"));
        assert!(!runs("--p---") && !runs("---s--") && !runs("----c-"));
    }
}
