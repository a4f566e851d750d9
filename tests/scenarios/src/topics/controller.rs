//! The controller, from a key to a revoked application, with `hello` as the appliance: the same
//! source in both worlds.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use site::{Backhaul, CLIENT, DOM0, NAMES, Network, ORIGIN, Operator, Place, Publisher, Settings};

use crate::image::{HELLO, workspace};
use crate::scenario::Scenario;
use crate::xen::Xen;

/// Where the origin answers, too.
const ORIGIN_BLOCKED: &str = "203.0.113.8";
/// The links are good here.
const BACKHAUL: Backhaul = Backhaul {
    kbit_per_s: 100_000,
    round_trip_ms: 2,
    loss_percent: 0.0,
};
/// The host's name in tokens, as the site gives it.
const HOST: &str = "edge-1";

/// What the operator permits: port 80 of the publisher's own names.
const POLICIES: &str = r#"
@id("basics")
permit (principal, action == Action::"speak", resource);

@id("own-names") @narrow("tcp=80") @reason("no TLS is looked into here")
permit (principal in Group::"partners", action == Action::"intercept", resource)
when { context has toName && context.toName like "*.photos.example" };
"#;

/// What the publisher wants; the last rule is refused, the first two are narrowed.
const RULES: &str = r#"
[[speak]]
protocols = ["arp", "dns"]
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

/// What hello says.
const HELLO_SAYS: &str = "Hello from";

pub(crate) fn scenarios() -> Vec<Scenario> {
    let both = |name: &str, body: fn(&mut Hosted<'_>) -> Result<()>| {
        Scenario::on_xen(name, &[HELLO], move |xen: &Xen| {
            hosted(&Place::xen(workspace(), &xen.testbed)?, body)
        })
        .and_as_process(move |_| hosted(&Place::netns(workspace())?, body))
    };
    vec![
        both(
            "controller: a manifest is narrowed, accepted, launched and its flow served",
            served,
        ),
        both(
            "controller: a dead replica is passed by or blocks, and a killed daemon goes on",
            killed,
        ),
        both(
            "controller: a revoked application is cut while its client speaks",
            revoked,
        ),
    ]
}

/// A site with `hello` launched as `one`.
struct Hosted<'p> {
    place: &'p Place<'p>,
    operator: Operator<'p>,
    image: String,
    /// The smallest client and server.
    edge: String,
    /// What the authority answered first.
    offer: String,
    application: u64,
}

/// Brings the site up, launches, and does what a scenario wants.
fn hosted(place: &Place<'_>, body: fn(&mut Hosted<'_>) -> Result<()>) -> Result<()> {
    let network = Network::make(place, &BACKHAUL)?;
    // The switch's ends of the cables are dom0's interfaces in the fast world: none of them speaks
    // for dom0. Nor does the router send clients round itself.
    let quiet = match place.is_xen() {
        true => "true",
        false => "sysctl -qw net.ipv4.conf.all.arp_ignore=1",
    };
    place.run(&format!(
        "{quiet}; ip -n origin address add {ORIGIN_BLOCKED}/24 dev eth0
         for device in all eth0; do
             ip netns exec router sysctl -qw net.ipv4.conf.$device.send_redirects=0
         done"
    ))?;
    let zone = |name: &str, address: &str| format!("address=/{name}/{address}\n");
    let zones = zone("www.photos.example", ORIGIN) + &zone("img.photos.example", ORIGIN_BLOCKED);
    let _names = network.serve_names(&(zones + "local=/example/"))?;
    let edge = place.program("edgecloud-netns", "edge")?;
    let _origin = place.start("origin", &format!("exec ip netns exec origin {edge}"))?;
    let publisher = Publisher::new(place, "photos")?;
    let patience = match place.is_xen() {
        true => "interval-ms = 500\ntimeout-ms = 3000\nfailures = 3",
        false => "interval-ms = 200\ntimeout-ms = 500\nfailures = 3",
    };
    let settings = Settings {
        policies: POLICIES.to_owned(),
        publishers: format!(
            "[[publishers]]\nkey = \"{}\"\nname = \"Photos\"\naccounts = [\"photos\"]\n\
             groups = [\"partners\"]\n",
            publisher.key()
        ),
        daemon: format!(
            "[resolver]\nupstream = [\"{NAMES}\"]\nclients = [\"10.0.0.0/24\"]\n\
             [health]\n{patience}\n"
        ),
    };
    let mut hosted = Hosted {
        place,
        operator: Operator::start(place, &settings)?,
        image: place.image("hello")?,
        edge,
        offer: String::new(),
        application: 0,
    };
    hosted.offer = hosted.submit(&publisher)?;
    hosted.launch()?;
    let done = body(&mut hosted);
    done.with_context(|| hosted.operator.daemon_log())
}

impl Hosted<'_> {
    /// Submits the manifest, and accepts what is offered; what was offered.
    fn submit(&self, publisher: &Publisher<'_>) -> Result<String> {
        let (operator, image) = (&self.operator, &self.image);
        let manifest = format!(
            "name = \"photos-edge\"\npublisher = \"{}\"\nexpires = 9000-01-01T00:00:00Z\n\
             {RULES}[bill]\naccount = \"photos\"\n",
            publisher.key()
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
        self.application = self.domain()?["application"]
            .as_u64()
            .context("no number")?;
        Ok(())
    }

    fn launching(&self, name: &str) -> String {
        let image = &self.image;
        let given = "--token photos.token --descriptor hello.descriptor --key domain.pem";
        format!("launch {image} {given} --env TRANSPARENT=true --name {name}")
    }

    fn domain(&self) -> Result<Value> {
        self.operator
            .domain("one")?
            .context("there is no domain `one`")
    }

    fn json(&self, words: &str) -> Result<Value> {
        let text = self.operator.edgecloud(&format!("--json {words}"))?;
        serde_json::from_str(&text).with_context(|| text)
    }

    /// What a client gets from an address and port: `200 …`, or nothing.
    fn get(&self, address: &str) -> Result<String> {
        let edge = &self.edge;
        self.place.run(&format!(
            "ip netns exec phone {edge} get {address} / 3000 2>/dev/null || true"
        ))
    }

    /// Waits, in dom0, until a shell command succeeds.
    fn wait_until(&self, what: &str, command: &str) -> Result<()> {
        let until = "end=$(($(date +%s) + 90)); while test $(date +%s) -lt $end; do";
        let script = format!("{until} if {command}; then exit 0; fi; sleep 0.1; done; exit 1");
        let waited = self.place.run(&script);
        waited.map(drop).with_context(|| format!("not: {what}"))
    }

    /// Waits until who answers a client at an address says something with these words.
    fn wait_for_answer(&self, address: &str, words: &str) -> Result<()> {
        let ask = format!("ip netns exec phone {} get {address}:80 / 1000", self.edge);
        let command = format!("{ask} 2>/dev/null | grep -q '{words}'");
        let waited = self.wait_until(&format!("{words:?} answers at {address}"), &command);
        waited.with_context(|| self.operator.daemon_log())
    }

    /// The command that asks the switch for flows, with what they counted.
    fn dump(&self, words: &str) -> String {
        let folder = match self.place.is_xen() {
            true => "/run/openvswitch",
            false => self.place.directory(),
        };
        format!("ovs-ofctl -O OpenFlow15 dump-flows {folder}/edgecloud.mgmt {words}")
    }

    /// Waits until packets were denied to the application for a reason, by its number in cookies.
    fn denied(&self, reason: u8) -> Result<()> {
        let cookie = u64::from(reason) << 40 | 1 << 48 | self.application << 16;
        let dump = self.dump(&format!("cookie={cookie:#x}/0xffffffffffff0000"));
        let count = format!("{dump} | grep n_packets= | grep -qv n_packets=0,");
        self.wait_until(
            &format!("denied packets are counted, by {reason:#x}"),
            &count,
        )
    }

    fn trace(&self, words: &str) -> Result<(String, String)> {
        let traced = self.json(&format!("trace {words}"))?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let last = traced["steps"].as_array().and_then(|steps| steps.last());
        let reason = text(&traced["reason"]);
        let end = last.map(text).unwrap_or_default();
        Ok((
            text(&traced["verdict"]),
            if reason.is_empty() { end } else { reason },
        ))
    }
}

/// The cookies' number of `unspoken`.
const UNSPOKEN: u8 = 0x89;

fn served(hosted: &mut Hosted<'_>) -> Result<()> {
    let offer = &hosted.offer;
    for words in [
        "own-names",
        "no TLS is looked into here",
        "narrowed",
        "refused",
    ] {
        ensure!(offer.contains(words), "no {words:?} in {offer}");
    }
    // Both addresses are as they were meant.
    let said = hosted.get(&format!("{ORIGIN}:80"))?;
    let expected = format!("You are {CLIENT}, and you asked {ORIGIN}.");
    ensure!(said.contains(&expected), "{said}");
    // What was not granted goes its way, or nowhere.
    let domain = hosted.domain()?;
    let direct = domain["addresses"][0].as_str().context("no address")?;
    for port in [80, 8008] {
        let answer = hosted.get(&format!("{direct}:{port}"))?;
        ensure!(
            answer.is_empty(),
            "the domain answers at {direct}: {answer}"
        );
    }
    hosted.denied(UNSPOKEN)?;
    traces(hosted, direct)?;
    // Clients may ask the host's resolver, too.
    let asked = format!("ip netns exec phone python3 -c '{}'", ask_for_www());
    let answer = hosted.place.run(&asked)?;
    ensure!(answer.trim() == ORIGIN, "the resolver says {answer}");
    // The publisher's account pays.
    let accounts = hosted.json("accounts")?;
    let paid = accounts["accounts"].as_array().context("no accounts")?;
    ensure!(
        paid.iter().any(|one| one["account"] == "photos"),
        "{accounts}"
    );
    Ok(())
}

/// What was tried, asked of the switch.
fn traces(hosted: &Hosted<'_>, direct: &str) -> Result<()> {
    let from_client = format!("--from access --source {CLIENT} --target {ORIGIN} --target-port");
    for (words, verdict, end) in [
        (format!("{from_client} 80"), "delivered", "replica 1"),
        (
            format!("{from_client} 443"),
            "delivered",
            "the backhaul side",
        ),
        (
            format!("--from one --source {direct} --target {ORIGIN} --target-port 25"),
            "denied",
            "unspoken",
        ),
        (
            format!("--from one --source {CLIENT} --target {ORIGIN} --target-port 80"),
            "denied",
            "spoofed-address",
        ),
    ] {
        let traced = hosted.trace(&words)?;
        ensure!(
            traced.0 == verdict && traced.1.contains(end),
            "{words}: {traced:?}"
        );
    }
    Ok(())
}

/// Python that asks the resolver for `www.photos.example`, and prints the address.
fn ask_for_www() -> String {
    let head = "000701000001000000000000";
    let name = ["www", "photos", "example"].map(|label| {
        let letters: String = label.bytes().map(|byte| format!("{byte:02x}")).collect();
        format!("{:02x}{letters}", label.len())
    });
    let question = format!("{head}{}0000010001", name.concat());
    format!(
        "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.settimeout(10)\n\
         s.sendto(bytes.fromhex(\"{question}\"), (\"{DOM0}\", 53))\n\
         print(socket.inet_ntoa(s.recv(512)[-4:]))"
    )
}

fn killed(hosted: &mut Hosted<'_>) -> Result<()> {
    // The daemon dies: nothing changes, and the next one has nothing to send.
    let flows = hosted.dump("--no-stats");
    let before = (hosted.place.run(&flows)?, hosted.domain()?);
    hosted.operator.kill_daemon()?;
    let said = hosted.get(&format!("{ORIGIN}:80"))?;
    ensure!(said.contains(HELLO_SAYS), "without the daemon: {said}");
    hosted.operator.start_daemon()?;
    let metrics = "curl -s --unix-socket \"$HERE/api.sock\" http://x/metrics";
    let sent = hosted.place.run(&format!(
        "{metrics} | grep ^edgecloudd_switch_messages_total"
    ))?;
    ensure!(sent.trim().ends_with(" 0"), "after a restart: {sent}");
    let after = (hosted.place.run(&flows)?, hosted.domain()?);
    ensure!(before == after, "{before:?}\nbecame\n{after:?}");

    // The replica dies: traffic goes by the rules' `on-fail`, until there is another one.
    let id = hosted.domain()?["id"].as_u64().context("no id")?;
    hosted.place.run(&match hosted.place.is_xen() {
        true => "xl destroy one".to_owned(),
        false => format!("kill -9 {id}"),
    })?;
    hosted.wait_for_answer(ORIGIN, "origin from")?;
    let meanwhile = hosted.get(&format!("{ORIGIN_BLOCKED}:80"))?;
    ensure!(!meanwhile.contains("origin"), "not blocked: {meanwhile}");
    hosted.wait_for_answer(ORIGIN, HELLO_SAYS)?;
    let again = hosted.domain()?;
    ensure!(again["restarts"] == 1 && again["id"] != id, "{again}");
    Ok(())
}

fn revoked(hosted: &mut Hosted<'_>) -> Result<()> {
    let edge = &hosted.edge;
    let hold = format!("exec ip netns exec phone {edge} hold {ORIGIN}:80");
    let _held = hosted.place.start("held", &hold)?;
    let count = format!("test $(grep -c '{HELLO_SAYS}' \"$HERE/held.log\") -gt 5");
    hosted.wait_until("a client speaks over one connection", &count)?;
    let told = hosted.json(&format!("revoke {}", hosted.application))?;
    ensure!(told["domains"][0] == "one", "{told}");
    hosted.wait_until("it is cut", "grep -q ^cut \"$HERE/held.log\"")?;
    // What clients meant is theirs again, and the application does not come back.
    hosted.wait_for_answer(ORIGIN, "origin from")?;
    hosted.wait_for_answer(ORIGIN_BLOCKED, "origin from")?;
    let again = format!("{} 2>&1 || echo code=$?", hosted.launching("two"));
    let again = hosted.operator.edgecloud(&again)?;
    ensure!(
        again.contains("revoked") && again.contains("code="),
        "{again}"
    );
    Ok(())
}
