//! The intercepting role: a broadcaster's manifest captures its viewers' requests inside the operator's
//! network, and the cache that it launched there answers in the origin's place, until it dies or is revoked.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use site::{
    Backhaul, Launch, NAMES, Network, ORIGIN, Operator, Patience, Place, Publisher, Settings,
};

use crate::topics::until_within;

const BACKHAUL: Backhaul = Backhaul {
    kbit_per_s: 10_000,
    round_trip_ms: 20,
    loss_percent: 0.0,
};
/// Another server behind the backhaul, which is the broadcaster's as well.
const OTHER: &str = "203.0.113.8";
/// For what happens by itself, on an emulated, busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the operator allows a broadcaster: its own names.
const POLICIES: &str = r#"
@id("basics")
permit (principal, action == Action::"speak", resource)
when { ["arp", "nd", "dns", "icmp"].containsAll(context.protocols) };

@id("own-names")
permit (principal in Group::"partners", action in [Action::"intercept", Action::"call"], resource)
when { context has toName && context.toName like "*.tv.example" };
"#;

const MANIFEST: &str = r#"
on-fail = "pass"
[[speak]]
protocols = ["arp", "dns", "icmp"]
[[intercept]]
from = "clients"
to = { name = "www.tv.example", tcp = [80] }
[[call]]
to = { name = "www.tv.example", tcp = [80] }
"#;

/// What its origins send: their own address, fresh for an hour; and a line of the log for each request.
const ORIGINS: &str = r#"
import http.server, sys, threading

class Origin(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        own = self.server.server_address[0]
        body = f"{own} has {self.path} of {self.headers['Host']}\n".encode() * 1000
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "max-age=3600")
        self.end_headers()
        self.wfile.write(body)
        print(own, self.path, "from", self.client_address[0], flush=True)

    def log_message(self, *_):
        pass

servers = [http.server.ThreadingHTTPServer((address, 80), Origin) for address in sys.argv[1:]]
for server in servers[1:]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
servers[0].serve_forever()
"#;

pub(super) fn captured(place: &Place<'_>) -> Result<()> {
    let publisher = Publisher::new(place, "tv")?;
    let network = Network::make(place, &BACKHAUL)?;
    place.run(&format!("ip -n origin address add {OTHER}/24 dev eth0"))?;
    let script = place.write("origins.py", ORIGINS.as_bytes())?;
    let origins = place.start(
        "origins",
        &format!("exec ip netns exec origin python3 {script} {ORIGIN} {OTHER}"),
    )?;
    let zone = format!("address=/www.tv.example/{ORIGIN}\naddress=/www.tv.example/{OTHER}");
    let _names = network.serve_names(&zone)?;
    let operator = Operator::start(
        place,
        &Settings {
            policies: POLICIES.to_owned(),
            publishers: format!(
                "[[publishers]]\nkey = \"{}\"\nname = \"TV\"\naccounts = [\"tv\"]\n\
                 groups = [\"partners\"]\n",
                publisher.key()
            ),
            ipv6: false,
            patience: Patience::default(),
            daemon: format!("[resolver]\nupstream = [\"{NAMES}\"]\nclients = [\"10.0.0.0/24\"]\n"),
        },
    )?;
    let played = play(place, &operator, &publisher, || origins.log());
    played.with_context(|| {
        let console = operator.edgecloud("logs cache").unwrap_or_default();
        format!("{console}\n{}", operator.daemon_log())
    })
}

fn play(
    place: &Place<'_>,
    operator: &Operator<'_>,
    publisher: &Publisher<'_>,
    log: impl Fn() -> String,
) -> Result<()> {
    let asked = |line: &str| log().lines().filter(|one| one.starts_with(line)).count();
    until_within(PATIENCE, "the origins answer", || {
        Ok(viewer(place, ORIGIN, "/before").is_ok())
    })?;
    let direct = viewer(place, ORIGIN, "/film")?;
    ensure!(direct.did.is_empty(), "who is between? {}", direct.did);

    let image = place.image("cache")?;
    let launch = Launch {
        name: "cache",
        image: &image,
        memory_mib: super::MEMORY_MIB,
        manifest: MANIFEST,
        configuration: "[appliance]\ntransparent = true\n[service]\nmemory-mib = 16\n",
        disk: None,
        more: "",
    };
    publisher.launch(operator, &launch)?;
    let before = asked(&format!("{ORIGIN} /film"));
    let first = viewer(place, ORIGIN, "/film")?;
    let second = viewer(place, ORIGIN, "/film")?;
    ensure!(
        first.did.contains("fwd=uri-miss; stored") && second.did.contains("edgecloud; hit"),
        "the cache says {:?}, then {:?}",
        first.did,
        second.did
    );
    ensure!(
        [&first.body, &second.body] == [&direct.body; 2],
        "not what the origin says: {:?}",
        second.body.lines().next()
    );
    ensure!(
        asked(&format!("{ORIGIN} /film")) == before + 1,
        "asked more than once:\n{}",
        log()
    );
    // The same name at another server is another's word, and another name at this one as well.
    let other = viewer(place, OTHER, "/film")?;
    ensure!(
        other.did.contains("fwd=uri-miss") && other.body.starts_with(OTHER),
        "another server's film: {:?} {:?}",
        other.did,
        other.body.lines().next()
    );
    let again = viewer(place, ORIGIN, "/film")?;
    ensure!(
        again.did.contains("edgecloud; hit") && again.body == direct.body,
        "{:?} {:?}",
        again.did,
        again.body.lines().next()
    );

    // It dies: viewers reach the origin at once, and the cache that is started in its place.
    let domain = operator.domain("cache")?.context("no cache")?;
    let id = domain["id"].as_u64().context("no id")?;
    place.run(&match place.is_xen() {
        true => "xl destroy cache".to_owned(),
        false => format!("kill -KILL {id}"),
    })?;
    until_within(PATIENCE, "viewers are answered without it", || {
        Ok(viewer(place, ORIGIN, "/meanwhile").is_ok_and(|seen| seen.body.starts_with(ORIGIN)))
    })?;
    operator.wait_for_state("cache", "live")?;
    until_within(PATIENCE, "another answers in its place", || {
        Ok(viewer(place, ORIGIN, "/film")?.did.contains("edgecloud"))
    })?;
    let application = domain["application"].as_u64().context("no application")?;
    operator.edgecloud(&format!("revoke {application}"))?;
    let direct = viewer(place, ORIGIN, "/film")?;
    ensure!(
        direct.did.is_empty() && direct.body.starts_with(ORIGIN),
        "revoked, and still between: {}",
        direct.did
    );
    Ok(())
}

/// What a viewer sees.
struct Seen {
    /// `Cache-Status`.
    did: String,
    body: String,
}

/// Asks a server of the broadcaster's, which has to answer from its own address.
fn viewer(place: &Place<'_>, server: &str, path: &str) -> Result<Seen> {
    let said = place.run(&format!(
        "ip netns exec phone curl -sS --fail --max-time 30 -o \"$HERE/seen\" \
             -w '%{{remote_ip}} %header{{cache-status}}\\n' \
             --resolve www.tv.example:80:{server} http://www.tv.example{path}"
    ))?;
    let (from, did) = said.trim_end().split_once(' ').unwrap_or((said.trim(), ""));
    ensure!(from == server, "{from} answers for {server}");
    let body = place.read(&format!("{}/seen", place.directory()))?;
    Ok(Seen {
        did: did.to_owned(),
        body: String::from_utf8(body)?,
    })
}
