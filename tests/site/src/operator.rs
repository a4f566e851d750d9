//! The operator: an authority with policies, and the daemon of one host.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::network::{BRIDGE, DOM0, DOM0_V6, ROUTER_MAC};
use crate::place::{Place, Service};

/// How long an event is waited for: far longer than it takes on a busy, emulated machine.
const PATIENCE: Duration = Duration::from_secs(180);
/// The host's name in tokens.
pub(crate) const HOST: &str = "edge-1";
/// Another host of the operator's, which is not there.
const OTHER_HOST: &str = "edge-2";

/// How the daemon asks domains whether they live. On Xen an emulated processor serves all of them, and one
/// that works hard answers late: the daemon's own default would take it for dead.
#[derive(Clone, Copy, Debug, Default)]
pub enum Patience {
    /// Often: who dies is noticed soon.
    #[default]
    Short,
    /// Once a minute: a site can be quiet.
    Long,
}

impl Patience {
    fn health(self, is_xen: bool) -> &'static str {
        match (self, is_xen) {
            (Patience::Short, true) => "interval-ms = 500\ntimeout-ms = 3000\nfailures = 3",
            (Patience::Short, false) => "interval-ms = 200\ntimeout-ms = 500\nfailures = 3",
            (Patience::Long, _) => "interval-ms = 60000\ntimeout-ms = 5000\nfailures = 3",
        }
    }
}

/// What differs from site to site.
#[derive(Debug, Default)]
pub struct Settings {
    /// The operator's policies, in Cedar.
    pub policies: String,
    /// `[[publishers]]` of the authority: key, name, accounts, groups.
    pub publishers: String,
    /// Whether domains, and dom0 for them, have addresses of IPv6 beside those of IPv4.
    pub ipv6: bool,
    /// How the daemon asks domains whether they live.
    pub patience: Patience,
    /// Further lines of the daemon's configuration, from a new table on.
    pub daemon: String,
}

/// A running authority and a running daemon.
pub struct Operator<'p> {
    pub(crate) place: &'p Place<'p>,
    pub(crate) cli: String,
    authority: Service<'p>,
    daemon: Option<Service<'p>>,
    edgecloudd: String,
    pub(crate) authority_key: String,
}

impl<'p> Operator<'p> {
    /// Makes keys and configurations, starts both, and returns when they serve. The network is
    /// there already.
    ///
    /// # Errors
    /// What cargo or one of the programs says.
    pub fn start(place: &'p Place<'p>, settings: &Settings) -> Result<Operator<'p>> {
        let cli = place.program("edgecloud", "edgecloud")?;
        let authority = place.program("edgecloud-authority", "edgecloud-authority")?;
        let edgecloudd = place.program("edgecloudd", "edgecloudd")?;
        let key = place.run(&format!("{cli} keygen \"$HERE/authority.pem\""))?;
        let key = key.trim().to_owned();
        place.run(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3 \
                 -keyout \"$HERE/tls.key\" -out \"$HERE/tls.pem\" -subj /CN=authority \
                 -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE \
                 2>\"$HERE/openssl.log\"; chmod 600 \"$HERE/tls.key\"; ip link set lo up",
        )?;
        place.write("policies.cedar", settings.policies.as_bytes())?;
        let config = format!(
            "issuer = \"isp.example\"\nlisten = \"127.0.0.1:8443\"\nkey = \"authority.pem\"\n\
             database = \"authority.redb\"\npolicies = \"policies.cedar\"\ntoken-days-max = 30\n\
             offer-hours-max = 24\nhosts = [\"{HOST}\", \"{OTHER_HOST}\"]\noperators = [\"{key}\"]\n\
             [tls]\ncertificates = \"tls.pem\"\nkey = \"tls.key\"\n{}",
            settings.publishers
        );
        let config = place.write("authority.toml", config.as_bytes())?;
        let authority = place.start("authority", &format!("exec {authority} --config {config}"))?;
        place.write(
            "edgecloudd.toml",
            daemon_config(place, &key, settings).as_bytes(),
        )?;
        let mut operator = Operator {
            place,
            cli,
            authority,
            daemon: None,
            edgecloudd,
            authority_key: key,
        };
        operator.wait_for_authority()?;
        operator.start_daemon()?;
        Ok(operator)
    }

    fn wait_for_authority(&self) -> Result<()> {
        let ask = "curl -sS --max-time 5 --cacert \"$HERE/tls.pem\" -o /dev/null \
                   https://127.0.0.1:8443/ && echo answered";
        wait_for("the authority answers", || Ok(self.place.run(ask).is_ok()))
            .with_context(|| self.authority.log())
    }

    /// Starts the daemon, again if it was killed; returns when the switch is as desired.
    ///
    /// # Errors
    /// It is not ready: its log.
    pub fn start_daemon(&mut self) -> Result<()> {
        let command = format!(
            "exec {} --config \"$HERE/edgecloudd.toml\"",
            self.edgecloudd
        );
        self.daemon = Some(self.place.start("edgecloudd", &command)?);
        let ask = "curl -sSf --max-time 5 --unix-socket \"$HERE/api.sock\" http://localhost/ready";
        wait_for("the daemon is ready", || Ok(self.place.run(ask).is_ok()))
            .with_context(|| self.daemon_log())
    }

    /// Kills the daemon with SIGKILL.
    ///
    /// # Errors
    /// It does not end.
    pub fn kill_daemon(&mut self) -> Result<()> {
        match self.daemon.take() {
            Some(daemon) => daemon.kill(),
            None => bail!("the daemon does not run"),
        }
    }

    /// What the daemon wrote.
    pub fn daemon_log(&self) -> String {
        self.daemon.as_ref().map(Service::log).unwrap_or_default()
    }

    /// `edgecloud`, asking this daemon and this authority; what it printed.
    ///
    /// # Errors
    /// What it wrote, if it did not succeed.
    pub fn edgecloud(&self, arguments: &str) -> Result<String> {
        let Operator {
            cli, authority_key, ..
        } = self;
        self.place.run(&format!(
            "export EDGECLOUD_AUTHORITY=https://127.0.0.1:8443 EDGECLOUD_AUTHORITY_KEY={authority_key} \
                 EDGECLOUD_CA=\"$HERE/tls.pem\" EDGECLOUD_SOCKET=\"$HERE/api.sock\"
             cd \"$HERE\"; {cli} {arguments}"
        ))
    }

    /// `edgecloud` as commands in the place name it.
    pub fn cli(&self) -> &str {
        &self.cli
    }

    /// Gives the authority other policies while it runs. It reads them soon after.
    ///
    /// # Errors
    /// It is gone.
    pub fn change_policies(&self, policies: &str) -> Result<()> {
        self.place.write("policies.cedar", policies.as_bytes())?;
        self.authority.signal("-HUP")
    }

    /// A domain as `edgecloud ps` has it, if it is there.
    ///
    /// # Errors
    /// The daemon does not answer.
    pub fn domain(&self, name: &str) -> Result<Option<Value>> {
        let all: Value = serde_json::from_str(&self.edgecloud("--json ps")?)?;
        let all = all["domains"].as_array().cloned().unwrap_or_default();
        Ok(all.into_iter().find(|domain| domain["name"] == name))
    }

    /// Waits until a domain is in a state, such as `live`.
    ///
    /// # Errors
    /// It is not: what is known of it, its console and the daemon's log.
    pub fn wait_for_state(&self, name: &str, state: &str) -> Result<()> {
        let waited = wait_for(&format!("{name} is {state}"), || {
            let domain = self.domain(name)?;
            Ok(domain.is_some_and(|domain| domain["state"] == state))
        });
        waited.with_context(|| {
            let console = self.edgecloud(&format!("logs {name}")).unwrap_or_default();
            let known = self.domain(name).ok().flatten().unwrap_or_default();
            format!("{known}\n{console}\n{}", self.daemon_log())
        })
    }
}

impl Drop for Operator<'_> {
    /// Domains outlive the daemon: they are ended by name first.
    fn drop(&mut self) {
        let Ok(all) = self.edgecloud("--json ps") else {
            return;
        };
        let all: Value = serde_json::from_str(&all).unwrap_or_default();
        for domain in all["domains"].as_array().into_iter().flatten() {
            let name = domain["name"].as_str().unwrap_or_default();
            drop(self.edgecloud(&format!("stop {name} --drain-seconds 0")));
        }
    }
}

fn daemon_config(place: &Place<'_>, authority: &str, settings: &Settings) -> String {
    let here = place.directory();
    // Debian's place of Open vSwitch's sockets, and the fast world's.
    let run = if place.is_xen() {
        "/run/openvswitch"
    } else {
        here
    };
    let (domains, datapath) = match place.is_xen() {
        true => ("xl", "system"),
        false => ("process", "netdev"),
    };
    let list = |v4: &str, v6: &str| match settings.ipv6 {
        true => format!("[\"{v4}\", \"{v6}\"]"),
        false => format!("[\"{v4}\"]"),
    };
    let own = list(DOM0, DOM0_V6);
    let clients = list("10.0.0.0/24", "fd00:a::/64");
    let prefixes = list("10.0.1.0/24", "fd00:d::/64");
    let gateways = list("10.0.1.254", "fd00:d::fe");
    let (health, more) = (settings.patience.health(place.is_xen()), &settings.daemon);
    format!(
        "host = \"{HOST}\"\nissuer = \"isp.example\"\nauthority-keys = [\"{authority}\"]\n\
         directory = \"{here}/state\"\nsocket = \"{here}/api.sock\"\ndomains = \"{domains}\"\n\
         [switch]\nbridge = \"{BRIDGE}\"\ndatapath = \"{datapath}\"\n\
         database = \"{run}/db.sock\"\nopenflow = \"{run}/{BRIDGE}.mgmt\"\n\
         access = \"access\"\nbackhaul = \"backhaul\"\n\
         [network]\naddresses = {own}\ngateway-mac = \"{ROUTER_MAC}\"\n\
         clients = {clients}\nresolvers = {own}\ndhcp = \"host\"\n\
         [domain-network]\nprefixes = {prefixes}\ngateways = {gateways}\n\
         [health]\n{health}\n{more}"
    )
}

/// Asks until it is so.
pub(crate) fn wait_for(what: &str, mut so: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !so()? {
        if Instant::now() > deadline {
            bail!("not within {} s: {what}", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
