//! `cargo xtask bench revoke`: from the revocation of an application to silence on its live connection, on
//! the real daemon and a running Open vSwitch; beside the same by hand, with Open vSwitch's own programs.
//!
//! A client asks over one connection without a pause. Silence begins with the last answer that it got, by
//! the one clock of this machine. Another application's connection lives through all of it.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use data_encoding::BASE64;
use manifest::{
    ApplicationNumber, Claims, Device, Digest, Grant, ImageDescriptor, Manifest, Serial, Signed,
    SigningKey, Timestamp, Token,
};
use serde_json::{Value, json};
use site::{ORIGIN, Place, Service};

use crate::figure::{Better, Figure, quantile};
use crate::served::Site;

/// The other application's target, which it intercepts.
const BYSTANDER: &str = "203.0.113.8";
/// What the project's issue asks for, in milliseconds.
const BOUND_MS: f64 = 50.0;
/// By hand once in so many rounds.
const BY_HAND_EVERY: u32 = 4;
/// How long an event is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a round needs.
struct Bench<'p> {
    place: &'p Place<'p>,
    site: &'p Site<'p>,
    authority: SigningKey,
    /// Of the publisher, and of the domains.
    key: SigningKey,
    image: String,
    digest: Digest,
}

/// Runs all rounds and prints the figures.
pub(crate) fn run(rounds: u32) -> Result<()> {
    let place = Place::netns(crate::served::workspace())?;
    let site = Site::open(&place)?;
    let image = place.program("edgecloud-netns", "edge")?;
    let authority = place.read(&format!("{}/authority.pem", place.directory()))?;
    let authority = SigningKey::from_pem(std::str::from_utf8(&authority)?);
    let bench = Bench {
        place: &place,
        site: &site,
        authority: authority.map_err(|error| anyhow!("{error}"))?,
        key: SigningKey::from_seed(&[7; 32]),
        digest: Digest::of(&std::fs::read(&image)?),
        image,
    };
    bench.launch(1, BYSTANDER)?;
    let bystander = bench.watch("bystander", BYSTANDER, "domain-1 ")?;
    let (mut ours, mut by_hand) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        if round % 20 == 0 {
            eprintln!("revoke: round {} of {rounds}", round + 1);
        }
        ours.push(bench.round(3 * round + 2, false)?);
        if round % BY_HAND_EVERY == 0 {
            by_hand.push(bench.round(3 * round + 3, true)?);
        }
    }
    ensure!(
        !bystander.log().contains("last "),
        "another application's connection was cut: {}",
        bystander.log()
    );
    print(&ours, &by_hand);
    Ok(())
}

fn print(ours: &[f64], by_hand: &[f64]) {
    let name = "ovs-ofctl del-flows and dpctl/flush-conntrack";
    Figure::new("revoke", "revocation to silence, p50", "ms", Better::Lower)
        .beside(ours, name, by_hand)
        .print();
    let p99 = |name: &str, peer: f64| {
        Figure::new("revoke", "revocation to silence, p99", "ms", Better::Lower)
            .bounded(quantile(ours, 0.99), ours.len(), name, peer)
            .print();
    };
    p99(name, quantile(by_hand, 0.99));
    p99("the bound", BOUND_MS);
}

impl Bench<'_> {
    /// One application lives and is revoked; milliseconds to silence.
    fn round(&self, number: u32, is_by_hand: bool) -> Result<f64> {
        self.launch(number, ORIGIN)?;
        let says = format!("domain-{number} ");
        let watch = self.watch(&format!("watch-{number}"), ORIGIN, &says)?;
        let began = if is_by_hand {
            self.cut_by_hand(number)?
        } else {
            let began = since_1970()?;
            self.revoke(number)?;
            began
        };
        let line = wait_for("silence", &watch, "last ")?;
        let last = line.split(' ').nth(1).context("no time")?.parse::<u64>()?;
        let silence = Duration::from_micros(last).saturating_sub(began);
        if is_by_hand {
            self.revoke(number)?;
        }
        self.wait_until_gone(number)?;
        Ok(silence.as_secs_f64() * 1e3)
    }

    fn revoke(&self, number: u32) -> Result<Value> {
        self.ask(
            "POST",
            &format!("/v1/applications/{number}/revoke"),
            &Value::Null,
        )
    }

    /// What an operator without a controller would type; when it began.
    fn cut_by_hand(&self, number: u32) -> Result<Duration> {
        let all = self.ask("GET", "/v1/applications", &Value::Null)?;
        let all = all["applications"].as_array().cloned().unwrap_or_default();
        let own = all.into_iter().find(|one| one["number"] == number);
        let zone = own.and_then(|own| own["zone"].as_u64());
        let zone = zone.context("no such application")?;
        let cookie = format!("{:#x}/0xffffff0000", u64::from(number) << 16);
        let told = self.place.run(&format!(
            "date +%s%N
             ovs-ofctl -O OpenFlow15 del-flows \"$HERE/edgecloud.mgmt\" cookie={cookie}
             ovs-appctl -t ovs-vswitchd dpctl/flush-conntrack zone={zone}"
        ))?;
        let began = told.lines().next().context("no time")?;
        Ok(Duration::from_nanos(began.trim().parse()?))
    }

    /// Launches a domain that intercepts what clients send to an address; returns when it answers.
    fn launch(&self, number: u32, target: &str) -> Result<()> {
        let key = self.key.public();
        let text = format!(
            "name = \"bench-{number}\"\npublisher = \"{key}\"\nexpires = 2099-01-01T00:00:00Z\n\
             [[speak]]\nprotocols = [\"arp\"]\n\
             [[intercept]]\nfrom = \"clients\"\nto = {{ net = \"{target}/32\", tcp = [80] }}\n\
             [bill]\naccount = \"bench\"\n"
        );
        let manifest = Manifest::from_toml(&text).map_err(|error| anyhow!("{error:?}"))?;
        let descriptor = ImageDescriptor {
            name: "edge".parse().map_err(|_| anyhow!("a name"))?,
            digest: self.digest,
            publisher: key,
            memory_mib: 16,
            devices: [Device::Network].into(),
            version: "1".to_owned(),
        };
        let descriptor = Signed::sign(descriptor, &self.key);
        let token = self.token(number, &manifest)?;
        let pem = self.key.to_pem().map_err(|error| anyhow!("{error}"))?;
        let name = format!("domain-{number}");
        let launch = json!({
            "name": name,
            "token": BASE64.encode(token.bytes()),
            "descriptor": BASE64.encode(descriptor.bytes()),
            "image": self.image,
            "key": pem.to_string(),
            "environment": { "EDGE_NAME": name },
            "health": "http:80/health",
        });
        self.ask("POST", "/v1/launch", &launch)?;
        let says = format!("{name} ");
        let deadline = Instant::now() + PATIENCE;
        while !self
            .domain(&name)?
            .is_some_and(|domain| domain["state"] == "live")
        {
            ensure!(
                Instant::now() < deadline,
                "{says} is not live: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn token(&self, number: u32, manifest: &Manifest) -> Result<Signed<Token>> {
        let now = Timestamp::from_seconds(since_1970()?.as_secs()).context("a time")?;
        let grants = manifest.rules().iter().cloned().zip(0..);
        let claims = Claims {
            issuer: "isp.example".parse().map_err(|_| anyhow!("a name"))?,
            hosts: vec!["edge-1".parse().map_err(|_| anyhow!("a name"))?],
            expires: now.after(86_400),
            not_before: now.before(60),
            serial: Serial(number.into()),
            publisher: self.key.public(),
            application: manifest.name().clone(),
            number: ApplicationNumber::new(number).context("a number")?,
            manifest: manifest.digest(),
            image: self.digest,
            holder: self.key.public(),
            grants: grants.map(|(rule, index)| Grant { index, rule }).collect(),
            on_fail: manifest.on_fail(),
            limit: manifest.limit(),
            bill: manifest.bill().clone(),
        };
        let token = Token::new(claims).map_err(|error| anyhow!("{error}"))?;
        Ok(Signed::sign(token, &self.authority))
    }

    /// A client that speaks over one connection, to who says these words.
    fn watch(&self, name: &str, target: &str, says: &str) -> Result<Service<'_>> {
        let client = &self.site.client;
        let command = format!("exec ip netns exec phone {client} watch {target}:80");
        let watch = self.place.start(name, &command)?;
        let line = wait_for("a connection that lives", &watch, "speaks ")?;
        ensure!(line.contains(says), "another answers: {line}");
        Ok(watch)
    }

    fn wait_until_gone(&self, number: u32) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.domain(&format!("domain-{number}"))?.is_some() {
            ensure!(
                Instant::now() < deadline,
                "domain-{number} stays: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn domain(&self, name: &str) -> Result<Option<Value>> {
        let all = self.ask("GET", "/v1/domains", &Value::Null)?;
        let all = all["domains"].as_array().cloned().unwrap_or_default();
        Ok(all.into_iter().find(|domain| domain["name"] == name))
    }

    fn log(&self) -> String {
        self.site.operator.daemon_log()
    }

    /// One request of the daemon's interface, and its answer.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let socket = format!("{}/api.sock", self.place.directory());
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(head.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let is_done = answer.starts_with("HTTP/1.1 2");
        ensure!(is_done, "{method} {path}: {answer}\n{}", self.log());
        let (_, body) = answer.split_once("\r\n\r\n").context("no body")?;
        Ok(serde_json::from_str(body)?)
    }
}

/// The first line of a service that begins so.
fn wait_for(what: &str, service: &Service<'_>, begins: &str) -> Result<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let log = service.log();
        let mut lines = log.lines();
        if let Some(line) = lines.find(|line| line.starts_with(begins)) {
            return Ok(line.to_owned());
        }
        if Instant::now() > deadline {
            bail!("no {what}: {log}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn since_1970() -> Result<Duration> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?)
}
