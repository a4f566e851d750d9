//! A small operator's site: a switch, a client, a router with an origin behind it, and the daemon.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use manifest::{
    ApplicationNumber, Claims, Device, Digest, Grant, ImageDescriptor, Manifest, Serial, Signed,
    SigningKey, Timestamp, Token,
};
use netns::{BRIDGE, Host, Switch, programs_are_built};
use serde_json::{Value, json};

pub(crate) type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// How long an event is waited for: far longer than it takes on a busy computer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const ORIGIN: &str = "203.0.113.7";
/// Dom0, where the daemon answers for names.
pub(crate) const RESOLVER: &str = "10.0.1.1";
/// The operator's server, which it asks.
pub(crate) const NAME_SERVER: &str = "203.0.113.53";
pub(crate) const CLIENT: &str = "10.0.0.5";

/// The program that takes part, and its clients.
pub(crate) const EDGE: &str = env!("CARGO_BIN_EXE_edge");

/// The keys of the operator, the publisher and the domains.
pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

pub(crate) const AUTHORITY: u8 = 9;
const PUBLISHER: u8 = 1;
const HOLDER: u8 = 4;

pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .expect("after 1970");
    Timestamp::from_seconds(since.as_secs()).expect("before the year 9999")
}

/// A token of application 7 with these changes.
pub(crate) fn token(rules: &str, change: impl FnOnce(&mut Claims)) -> Signed<Token> {
    let manifest = format!(
        "name = \"photos\"\npublisher = \"{}\"\nexpires = 2099-01-01T00:00:00Z\n{rules}\n\
         [bill]\naccount = \"photos\"\n",
        key(PUBLISHER).public()
    );
    let manifest = Manifest::from_toml(&manifest).unwrap_or_else(|error| panic!("{error}"));
    let grants = manifest.rules().iter().cloned().zip(0..);
    let mut claims = Claims {
        issuer: "isp.example".parse().expect("a name"),
        hosts: vec!["edge-1.isp.example".parse().expect("a name")],
        expires: now().after(86_400),
        not_before: now(),
        serial: Serial(1),
        publisher: key(PUBLISHER).public(),
        application: manifest.name().clone(),
        number: ApplicationNumber::new(7).expect("a number"),
        manifest: manifest.digest(),
        image: image(),
        holder: key(HOLDER).public(),
        grants: grants.map(|(rule, index)| Grant { index, rule }).collect(),
        on_fail: manifest.on_fail(),
        limit: manifest.limit(),
        bill: manifest.bill().clone(),
    };
    change(&mut claims);
    Signed::sign(
        Token::new(claims).expect("claims that fit"),
        &key(AUTHORITY),
    )
}

fn image() -> Digest {
    Digest::of(&fs::read(EDGE).expect("the program was built"))
}

/// `POST /v1/launch`.
pub(crate) fn launch(name: &str, token: &Signed<Token>) -> Value {
    let descriptor = ImageDescriptor {
        name: "edge".parse().expect("a name"),
        digest: image(),
        publisher: key(PUBLISHER).public(),
        memory_mib: 16,
        devices: [Device::Network].into(),
        version: "1".to_owned(),
    };
    let descriptor = Signed::sign(descriptor, &key(PUBLISHER));
    json!({
        "name": name,
        "token": BASE64.encode(token.bytes()),
        "descriptor": BASE64.encode(descriptor.bytes()),
        "image": EDGE,
        "key": key(HOLDER).to_pem().expect("a key").to_string(),
        "environment": { "EDGE_NAME": name },
        "health": "http:80/health",
    })
}

/// The daemon's process.
#[derive(Debug)]
pub(crate) struct Daemon<'a> {
    switch: &'a Switch,
    child: Child,
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        self.kill("-KILL");
    }
}

impl<'a> Daemon<'a> {
    /// Starts it, and returns once it serves and the switch is as desired.
    pub(crate) fn start(switch: &'a Switch) -> Outcome<Daemon<'a>> {
        let directory = switch.directory();
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(directory.join("daemon.log"))?;
        // The shell becomes the daemon, whose process id in the world it has told.
        let script = "echo $$ >\"$1/daemon.pid\"; exec \"$0\" --config \"$1/edgecloudd.toml\"";
        let mut command = switch.world().command("sh");
        command
            .args(["-c", script])
            .arg(edgecloudd()?)
            .arg(directory);
        let child = command.stdout(Stdio::null()).stderr(log).spawn()?;
        let daemon = Daemon { switch, child };
        wait_for("the daemon is ready", || {
            Ok(daemon
                .ask("GET", "/ready", "")
                .is_ok_and(|(status, _)| status == 200))
        })
        .map_err(|error| format!("{error}\n{}", daemon.log()))?;
        Ok(daemon)
    }

    /// Sends it a signal, and returns when it is gone.
    pub(crate) fn kill(&mut self, signal: &str) {
        let file = self.switch.directory().join("daemon.pid");
        let process = fs::read_to_string(file).unwrap_or_default();
        // It may be gone already.
        let _ = self
            .switch
            .world()
            .run(&["sh", "-c", &format!("kill {signal} {process}")]);
        let _ = self.child.wait();
    }

    /// What it wrote.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.switch.directory().join("daemon.log")).unwrap_or_default()
    }

    /// One request, and its answer.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> Outcome<(u16, String)> {
        let mut stream = UnixStream::connect(self.switch.directory().join("api.sock"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
        let kind = "Content-Type: application/json\r\n";
        write!(stream, "{head}{kind}Content-Length: {length}\r\n\r\n{body}")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let status = answer.split(' ').nth(1).ok_or("no status")?.parse()?;
        let body = answer.split_once("\r\n\r\n").ok_or("no body")?.1;
        Ok((status, body.to_owned()))
    }

    /// One request that succeeds, and its answer.
    pub(crate) fn succeed(&self, method: &str, path: &str, body: &Value) -> Outcome<Value> {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let (status, answer) = self.ask(method, path, &body)?;
        if !(200..300).contains(&status) {
            return Err(format!("{method} {path}: {status} {answer}\n{}", self.log()).into());
        }
        Ok(serde_json::from_str(&answer).unwrap_or(Value::Null))
    }

    /// A domain, if it is there.
    pub(crate) fn domain(&self, name: &str) -> Outcome<Option<Value>> {
        let all = self.succeed("GET", "/v1/domains", &Value::Null)?;
        let all = all["domains"].as_array().cloned().unwrap_or_default();
        Ok(all.into_iter().find(|domain| domain["name"] == name))
    }

    /// Waits until a domain is in a state.
    pub(crate) fn wait_for_state(&self, name: &str, state: &str) -> Outcome {
        let waited = wait_for(&format!("{name} is {state}"), || {
            Ok(self
                .domain(name)?
                .is_some_and(|domain| domain["state"] == state))
        });
        waited.map_err(|error| {
            let console = self.ask("GET", &format!("/v1/domains/{name}/log"), "");
            let known = self.domain(name);
            format!("{error}\n{known:?}\nconsole: {console:?}\n{}", self.log()).into()
        })
    }

    /// One of the daemon's metrics.
    pub(crate) fn metric(&self, name: &str) -> Outcome<u64> {
        let (_, text) = self.ask("GET", "/metrics", "")?;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.ok_or("no such metric")?.parse()?)
    }
}

/// The daemon's program, built as it is now.
fn edgecloudd() -> Outcome<PathBuf> {
    if !programs_are_built() {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let arguments = [
            "build",
            "--quiet",
            "--package",
            "edgecloudd",
            "--bin",
            "edgecloudd",
        ];
        if !Command::new(cargo).args(arguments).status()?.success() {
            return Err("edgecloudd cannot be built".into());
        }
    }
    let beside = Path::new(EDGE).parent().ok_or("the program lies nowhere")?;
    Ok(beside.join("edgecloudd"))
}

/// The site, without its daemon.
pub(crate) struct Site<'a> {
    pub(crate) client: Host<'a>,
    pub(crate) router: Host<'a>,
    /// The origin's server.
    origin: Child,
}

impl Drop for Site<'_> {
    fn drop(&mut self) {
        // It ends with the world in any case.
        let _ = self.origin.kill();
        let _ = self.origin.wait();
    }
}

impl<'a> Site<'a> {
    pub(crate) fn new(switch: &'a Switch) -> Outcome<Site<'a>> {
        let world = switch.world();
        world.run(&["ethtool", "-K", BRIDGE, "tx", "off"])?;
        world.run(&["ip", "address", "add", "10.0.1.1/24", "dev", BRIDGE])?;
        world.run(&["ip", "link", "set", BRIDGE, "up"])?;
        let client = Host::plug(switch, "client", 1, "10.0.0.5/24")?;
        client.run(&["ip", "route", "add", "default", "via", "10.0.0.254"])?;
        let router = Host::plug(switch, "router", 2, "10.0.0.254/24")?;
        router.run(&["ip", "link", "set", "eth0", "address", "02:00:00:00:00:02"])?;
        for address in [
            "10.0.1.254/24",
            "203.0.113.7/32",
            "203.0.113.8/32",
            "203.0.113.9/32",
            "203.0.113.53/32",
        ] {
            router.run(&["ip", "address", "add", address, "dev", "eth0"])?;
        }
        for setting in [
            "net.ipv4.ip_forward=1",
            "net.ipv4.conf.all.send_redirects=0",
            "net.ipv4.conf.eth0.send_redirects=0",
        ] {
            router.run(&["sysctl", "-q", "-w", setting])?;
        }
        // The switch's ends of the cables are dom0's interfaces, too: none of them speaks for it.
        world.run(&["sysctl", "-q", "-w", "net.ipv4.conf.all.arp_ignore=1"])?;
        world.run(&["ip", "route", "add", "203.0.113.0/24", "via", "10.0.1.254"])?;
        // To the clients it speaks without the router, from whom its address would be a forged one.
        world.run(&["ip", "route", "add", "10.0.0.0/24", "dev", BRIDGE])?;
        let origin = router.command(EDGE).stdout(Stdio::null()).spawn()?;
        let directory = switch.directory().display();
        let socket = switch.openflow();
        let config = format!(
            "host = \"edge-1.isp.example\"\nissuer = \"isp.example\"\n\
             authority-keys = [\"{authority}\"]\ndirectory = \"{directory}/state\"\n\
             socket = \"{directory}/api.sock\"\ndomains = \"process\"\n\
             [switch]\nbridge = \"{BRIDGE}\"\ndatapath = \"netdev\"\n\
             database = \"{directory}/db.sock\"\nopenflow = \"{openflow}\"\n\
             access = \"client\"\nbackhaul = \"router\"\n\
             [network]\naddresses = [\"10.0.1.1\"]\ngateway-mac = \"02:00:00:00:00:02\"\n\
             clients = [\"10.0.0.0/24\"]\nresolvers = [\"{RESOLVER}\"]\ndhcp = \"host\"\n\
             [resolver]\nupstream = [\"{NAME_SERVER}\"]\nclients = [\"{CLIENT}/32\"]\n\
             [domain-network]\nprefixes = [\"10.0.1.0/24\"]\ngateways = [\"10.0.1.254\"]\n",
            authority = key(AUTHORITY).public(),
            openflow = socket.display(),
        );
        fs::write(switch.directory().join("edgecloudd.toml"), config)?;
        Ok(Site {
            client,
            router,
            origin,
        })
    }

    /// What a client gets from the origin's address; an error is no answer.
    pub(crate) fn get(&self) -> Outcome<String> {
        self.get_within("2000")
    }

    fn get_within(&self, milliseconds: &str) -> Outcome<String> {
        let address = format!("{ORIGIN}:80");
        Ok(self
            .client
            .run(&[EDGE, "get", &address, "/", milliseconds])?)
    }

    /// Waits until who answers the client is another; how long that took.
    pub(crate) fn wait_for_answer(&self, by: &str) -> Outcome<Duration> {
        let since = Instant::now();
        wait_for(&format!("{by} answers"), || {
            Ok(self
                .get_within("100")
                .is_ok_and(|answer| answer.starts_with(&format!("200 {by} "))))
        })?;
        Ok(since.elapsed())
    }
}

/// Asks until it is so.
pub(crate) fn wait_for(what: &str, mut so: impl FnMut() -> Outcome<bool>) -> Outcome {
    let deadline = Instant::now() + PATIENCE;
    while !so()? {
        if Instant::now() > deadline {
            return Err(format!("not within {} s: {what}", PATIENCE.as_secs()).into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
