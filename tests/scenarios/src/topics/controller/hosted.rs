//! A site with `hello` launched as `one`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use edgecloudd::pipeline::{Class, Cookie};
use serde_json::Value;
use site::{
    Backhaul, Launch, NAMES, Network, ORIGIN, ORIGIN_V6, Operator, Patience, Place, Publisher,
    Service, Settings,
};

/// Where the origin answers, too.
pub(super) const ORIGIN_BLOCKED: &str = "203.0.113.8";
pub(super) const ORIGIN_FILM: &str = "203.0.113.9";
pub(super) const ORIGIN_BRIEF: &str = "203.0.113.10";
/// What hello says, and what the origin does.
pub(super) const HELLO_SAYS: &str = "Hello from";
pub(super) const ORIGIN_SAYS: &str = "origin from";
/// The links are good here.
const BACKHAUL: Backhaul = Backhaul {
    kbit_per_s: 100_000,
    round_trip_ms: 2,
    loss_percent: 0.0,
};
/// The host's name in tokens, as the site gives it.
pub(super) const HOST: &str = "edge-1";
/// How long an event is waited for.
const EVENT_S: u32 = 60;

/// What the operator permits: port 80 of the publisher's own names.
const POLICIES: &str = r#"
@id("basics")
permit (principal, action == Action::"speak", resource);

@id("own-names") @narrow("tcp=80") @reason("no TLS is looked into here")
permit (principal in Group::"partners", action == Action::"intercept", resource)
when { context has toName && context.toName like "*.photos.example" };

@id("services")
permit (principal in Group::"partners", action == Action::"serve", resource)
when { context.name like "*.photos.example" };
"#;

/// What the publisher wants; one rule is narrowed, the last one refused.
const RULES: &str = r#"
[[speak]]
protocols = ["arp", "dns", "nd"]
[[intercept]]
from = "clients"
to = { name = "www.photos.example", tcp = [80, 443] }
[[intercept]]
from = "clients"
to = { name = "img.photos.example", tcp = [80] }
on-fail = "block"
[[call]]
to = { name = "mail.other.example", tcp = [25] }
"#;

/// A site with `hello` launched as `one`.
pub(super) struct Hosted<'p> {
    pub(super) place: &'p Place<'p>,
    pub(super) operator: Operator<'p>,
    pub(super) publisher: Publisher<'p>,
    pub(super) image: String,
    /// The smallest client and server.
    pub(super) edge: String,
    /// What the authority answered first.
    pub(super) offer: String,
    /// The number of the application that `one` belongs to.
    pub(super) application: u64,
    _names: Service<'p>,
    _origin: Service<'p>,
    _network: Network<'p>,
}

/// Brings the site up, launches, and does what a scenario wants.
pub(super) fn hosted(
    place: &Place<'_>,
    patience: Patience,
    body: fn(&mut Hosted<'_>) -> Result<()>,
) -> Result<()> {
    let mut hosted = Hosted::start(place, patience)?;
    hosted.offer = hosted.submit()?;
    let done = hosted.launch().and_then(|()| body(&mut hosted));
    done.with_context(|| hosted.operator.daemon_log())
}

impl<'p> Hosted<'p> {
    fn start(place: &'p Place<'p>, patience: Patience) -> Result<Hosted<'p>> {
        let network = Network::make(place, &BACKHAUL)?;
        // The switch's ends of the cables are dom0's interfaces in the fast world: none of them
        // speaks for dom0. Nor does the router send clients round itself.
        let quiet = match place.is_xen() {
            true => "true",
            false => "sysctl -qw net.ipv4.conf.all.arp_ignore=1",
        };
        place.run(&format!(
            "{quiet}
             for address in {ORIGIN_BLOCKED} {ORIGIN_FILM} {ORIGIN_BRIEF}; do
                 ip -n origin address add $address/24 dev eth0
             done
             for device in all eth0; do
                 ip netns exec router sysctl -qw net.ipv4.conf.$device.send_redirects=0
             done
             # A small disk of the daemon's own, which can be full.
             mkdir -p \"$HERE/state\"; mount -t tmpfs -o size=16m state \"$HERE/state\""
        ))?;
        let zone =
            |name: &str, address: &str| format!("address=/{name}.photos.example/{address}\n");
        let zones = [
            zone("www", ORIGIN),
            zone("www", ORIGIN_V6),
            zone("img", ORIGIN_BLOCKED),
            zone("film", ORIGIN_FILM),
            zone("brief", ORIGIN_BRIEF),
        ];
        let names = network.serve_names(&(zones.concat() + "local=/example/"))?;
        let edge = place.program("edgecloud-netns", "edge")?;
        let origin = place.start("origin", &format!("exec ip netns exec origin {edge}"))?;
        let publisher = Publisher::new(place, "photos")?;
        let settings = Settings {
            policies: POLICIES.to_owned(),
            publishers: format!(
                "[[publishers]]\nkey = \"{}\"\nname = \"Photos\"\naccounts = [\"photos\"]\n\
                 groups = [\"partners\"]\n",
                publisher.key()
            ),
            ipv6: true,
            patience,
            daemon: format!(
                "[resolver]\nupstream = [\"{NAMES}\"]\n\
                 clients = [\"10.0.0.0/24\", \"fd00:a::/64\"]\n"
            ),
        };
        Ok(Hosted {
            place,
            operator: Operator::start(place, &settings)?,
            publisher,
            image: place.image("hello")?,
            edge,
            offer: String::new(),
            application: 0,
            _names: names,
            _origin: origin,
            _network: network,
        })
    }

    /// Submits the manifest, and accepts what is offered; what was offered.
    fn submit(&self) -> Result<String> {
        let (operator, image) = (&self.operator, &self.image);
        let manifest = format!(
            "name = \"photos-edge\"\npublisher = \"{}\"\nexpires = 9000-01-01T00:00:00Z\n\
             {RULES}[bill]\naccount = \"photos\"\n",
            self.publisher.key()
        );
        self.place.write("photos.toml", manifest.as_bytes())?;
        let holder = operator.edgecloud("keygen domain.pem")?;
        let holder = holder.trim();
        let sign = "--key photos.pem --name hello --memory-mib 16 --out hello.descriptor";
        operator.edgecloud(&format!("image sign {image} {sign}"))?;
        let words = "manifest submit photos.toml --key photos.pem";
        let offered = operator.edgecloud(&format!(
            "{words} --host {HOST} --image {image} --holder {holder} || echo code=$?"
        ))?;
        ensure!(offered.ends_with("code=4\n"), "no offer: {offered}");
        operator.edgecloud("manifest accept photos.offer --key photos.pem")?;
        Ok(offered)
    }

    fn launch(&mut self) -> Result<()> {
        let words = self.launching("one");
        self.operator.edgecloud(&words)?;
        self.wait_for_answer(ORIGIN, HELLO_SAYS)?;
        self.wait_for_answer(ORIGIN_BLOCKED, HELLO_SAYS)?;
        self.application = self.domain("one")?["application"]
            .as_u64()
            .context("no number")?;
        Ok(())
    }

    /// The words that launch another replica of what `one` is.
    pub(super) fn launching(&self, name: &str) -> String {
        let image = &self.image;
        let given = "--token photos.token --descriptor hello.descriptor --key domain.pem";
        format!("launch {image} {given} --env TRANSPARENT=true --name {name}")
    }

    /// Another application of the publisher, which intercepts its own name on port 80; live.
    pub(super) fn launch_application(&self, name: &str, more: &str) -> Result<()> {
        let manifest = format!(
            "[[speak]]\nprotocols = [\"arp\", \"dns\", \"nd\"]\n[[intercept]]\nfrom = \"clients\"\n\
             to = {{ name = \"{name}.photos.example\", tcp = [80] }}\n{more}"
        );
        self.publisher.launch(
            &self.operator,
            &Launch {
                name,
                image: &self.image,
                memory_mib: 16,
                manifest: &manifest,
                configuration: "",
                disk: None,
                more: "--env TRANSPARENT=true",
            },
        )
    }

    /// A domain as `edgecloud ps` has it.
    pub(super) fn domain(&self, name: &str) -> Result<Value> {
        self.operator
            .domain(name)?
            .with_context(|| format!("there is no domain {name:?}"))
    }

    /// What `edgecloud --json` prints.
    pub(super) fn json(&self, words: &str) -> Result<Value> {
        let text = self.operator.edgecloud(&format!("--json {words}"))?;
        serde_json::from_str(&text).with_context(|| text)
    }

    /// That a command is refused, for a reason by its name, with the exit code of refusals.
    pub(super) fn refused(&self, words: &str, reason: &str) -> Result<()> {
        let said = self
            .operator
            .edgecloud(&format!("--json {words} || echo code=$?"))?;
        let kind = format!("urn:edgecloud:problem:{reason}\"");
        ensure!(
            said.contains(&kind) && said.ends_with("code=3\n"),
            "{words}: not refused as {reason}: {said}"
        );
        Ok(())
    }

    /// The interface of a domain in the switch, as dom0 names it.
    pub(super) fn interface(&self, name: &str) -> Result<String> {
        let domain = self.domain(name)?;
        Ok(match self.place.is_xen() {
            true => format!("vif{}.0", domain["id"]),
            false => format!("ec{}", domain["replica"]),
        })
    }

    /// What a client gets from an address and port: `200 …`, or nothing.
    pub(super) fn get(&self, address: &str) -> Result<String> {
        let edge = &self.edge;
        self.place.run(&format!(
            "ip netns exec phone {edge} get {address} / 3000 2>/dev/null || true"
        ))
    }

    /// Waits, in dom0, until a shell command succeeds.
    pub(super) fn wait_until(&self, what: &str, command: &str) -> Result<()> {
        let until =
            format!("end=$(($(date +%s) + {EVENT_S})); while test $(date +%s) -lt $end; do");
        let script = format!("{until} if {command}; then exit 0; fi; sleep 0.1; done; exit 1");
        let waited = self.place.run(&script);
        waited.map(drop).with_context(|| format!("not: {what}"))
    }

    /// Waits until who answers a client at an address says something with these words.
    pub(super) fn wait_for_answer(&self, address: &str, words: &str) -> Result<()> {
        let ask = format!("ip netns exec phone {} get {address}:80 / 1000", self.edge);
        let command = format!("{ask} 2>/dev/null | grep -q '{words}'");
        let waited = self.wait_until(&format!("{words:?} answers at {address}"), &command);
        waited.with_context(|| self.operator.daemon_log())
    }

    /// The command that asks the switch for flows, with what they counted.
    pub(super) fn dump(&self, words: &str) -> String {
        let folder = match self.place.is_xen() {
            true => "/run/openvswitch",
            false => self.place.directory(),
        };
        format!("ovs-ofctl -O OpenFlow15 dump-flows {folder}/edgecloud.mgmt {words}")
    }

    /// How many packets were denied, by the reasons' names.
    pub(super) fn denied(&self) -> Result<BTreeMap<&'static str, u64>> {
        let flows = self.place.run(&self.dump(""))?;
        let word = |line: &str, name: &str| {
            let rest = line.split_once(name)?.1;
            rest.split([',', ' ']).next().map(str::to_owned)
        };
        let mut denied = BTreeMap::new();
        for line in flows.lines() {
            let (Some(cookie), Some(count)) = (word(line, "cookie=0x"), word(line, "n_packets="))
            else {
                continue;
            };
            let cookie = Cookie::with_number(u64::from_str_radix(&cookie, 16)?);
            if let Some(Class::Deny(reason)) = cookie.map(|cookie| cookie.class) {
                *denied.entry(reason.as_str()).or_default() += count.parse::<u64>()?;
            }
        }
        Ok(denied)
    }

    /// Waits until more packets than so many were denied for a reason.
    pub(super) fn is_denied_beyond(&self, reason: &str, before: u64) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(EVENT_S.into());
        loop {
            let denied = self.denied()?;
            if denied.get(reason).is_some_and(|count| *count > before) {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "not more than {before} packets were denied as {reason}: {denied:?}"
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// One of the daemon's metrics.
    pub(super) fn metric(&self, name: &str) -> Result<u64> {
        let metrics = "curl -s --unix-socket \"$HERE/api.sock\" http://x/metrics";
        let line = self.place.run(&format!("{metrics} | grep '^{name} '"))?;
        let value = line.trim().rsplit(' ').next().unwrap_or_default();
        value.parse().with_context(|| line)
    }

    /// Between the questions of clients that go on asking: they are not to keep an emulated machine
    /// from everything else.
    pub(super) fn pause_ms(&self) -> u32 {
        match self.place.is_xen() {
            true => 150,
            false => 20,
        }
    }

    /// Asks over one connection, again and again, from the client's side; see `edge hold`.
    pub(super) fn hold(&self, name: &str, address: &str) -> Result<Service<'p>> {
        let edge = &self.edge;
        let pause = self.pause_ms();
        let hold = format!("exec ip netns exec phone {edge} hold {address}:80 {pause}");
        self.place.start(name, &hold)
    }

    /// Waits until a client that goes on asking got so many more answers of hello.
    pub(super) fn wait_for_more(&self, client: &str, count: u32) -> Result<()> {
        let answers = format!("$(grep -c '{HELLO_SAYS}' \"$HERE/{client}.log\" || true)");
        let before = self.place.run(&format!("echo {answers}"))?;
        let enough = before.trim().parse::<u32>()? + count;
        let what = format!("{client} is answered {count} times more");
        self.wait_until(&what, &format!("test {answers} -ge {enough}"))
    }
}

impl Drop for Hosted<'_> {
    /// The daemon's disk goes once the daemon does, which is ended next.
    fn drop(&mut self) {
        drop(self.place.run("umount -l \"$HERE/state\""));
    }
}
