//! A railway station's hotspot, from the operator's manifest to clients that cheat, in both worlds.
//!
//! ```text
//!  clients ── street ── access ── the switch ── router ── the Internet: chat, far, names, RADIUS
//!                                   │    │
//!                                portal  chat's edge
//! ```
//!
//! The operator's own publisher runs the auth proxy, whose token lets it keep the gate; another one pays
//! for a chat service that everybody may use. [`Station::open`] sets it, [`play`] is the story, and
//! asserts each step.
//!
//! | file | has |
//! |---|---|
//! | `street.rs` | the access point: each client has a MAC address of its own, and what it carried is counted |
//! | `crowd.rs`, `crowd.py` | clients, many at once |
//! | `origin.py`, `frames.py`, `hold.py` | the Internet's servers; what goes there; who holds a connection |
//! | `radius.rs`, `coa.py` | FreeRADIUS, what it was told, and what it asks for |
//! | `chat.rs` | the publisher of the free service, its offers and prices |
//! | `play/` | the story |
//! | `figures.rs` | what a benchmark measures here |

#![forbid(unsafe_code)]

mod chat;
mod crowd;
pub mod figures;
mod play;
mod radius;
mod street;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use site::{
    Backhaul, Launch, NAMES, Network, ORIGIN, Operator, Patience, Place, Publisher, Service,
    Settings,
};

use crate::chat::Chat;
use crate::radius::Radius;
use crate::street::Street;

pub use play::play;

/// The free chat service.
const CHAT: &str = "203.0.113.8";
/// The portal's name, which the host's resolver answers.
const PORTAL: &str = "portal.station.example";
/// What opens the operator's port.
const TOKEN: &str = "the-token-of-this-scenario";
/// The port that the rest of the Internet is reached at. Its servers speak HTTP there, too: what passes the
/// switch is nobody's business, and what does not is refused before anybody speaks.
const PORT: u16 = 443;
/// The ports of all servers.
const PORTS: &str = "80,443";
/// The file that clients download.
const FILE_BYTES: u64 = 1_000_000;
/// The first client's address is 10.0.0.10.
const FIRST: u8 = 10;
/// Longer than anything takes on an emulated, busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

const MANIFEST: &str = r#"
on-fail = "block"
[[speak]]
protocols = ["arp", "dns", "icmp"]
[[admit]]
from = "clients"
[[intercept]]
from = "clients"
to = { net = "0.0.0.0/0", tcp = [80, 443] }
[[serve]]
as = "portal.station.example"
tcp = [80, 443]
[[call]]
to = { net = "203.0.113.54/32", udp = [1812, 1813] }
[[serve]]
as = "radius.station.example"
from = "203.0.113.54/32"
udp = [3799]
"#;

/// What the operator permits; the price of free services changes.
fn policies(price: &str) -> String {
    format!(
        r#"
@id("basics")
permit (principal, action == Action::"speak", resource)
when {{ ["arp", "nd", "dns", "icmp"].containsAll(context.protocols) }};

@id("gate")
permit (
    principal in Group::"operator",
    action in [Action::"admit", Action::"intercept", Action::"call"],
    resource
);

@id("portal")
permit (principal in Group::"operator", action == Action::"serve", resource)
when {{ context.name like "*.station.example" }};

@id("edges")
permit (principal in Group::"partners", action == Action::"serve", resource)
when {{ context.name like "*.chat.example" }};

@id("free-services")
@price("{price}")
permit (principal in Group::"partners", action == Action::"admit", resource)
when {{ !context.keepsTheGate && context has toName }};
"#
    )
}

/// The station. Fields are dropped in this order: who speaks before what is spoken through.
pub struct Station<'p> {
    radius: Radius<'p>,
    internet: Service<'p>,
    _names: Service<'p>,
    chat: Chat<'p>,
    /// The operator.
    pub operator: Operator<'p>,
    street: Street<'p>,
    _network: Network<'p>,
    place: &'p Place<'p>,
    clients: Vec<u8>,
    portal: String,
}

impl<'p> Station<'p> {
    /// Opens it: `clients` of them on the access side, and the portal is live.
    ///
    /// # Errors
    /// What cannot be built or started, and why.
    pub fn open(place: &'p Place<'p>, clients: u8) -> Result<Station<'p>> {
        Station::with_file(place, clients, FILE_BYTES)
    }

    /// [`Station::open`] with a file of another size to download.
    ///
    /// # Errors
    /// As there.
    pub fn with_file(place: &'p Place<'p>, clients: u8, bytes: u64) -> Result<Station<'p>> {
        let clients: Vec<u8> = (FIRST..).take(clients.into()).collect();
        let publisher = Publisher::new(place, "station")?;
        let chat = Chat::new(place)?;
        let backhaul = Backhaul {
            kbit_per_s: 200_000,
            round_trip_ms: 2,
            loss_percent: 0.0,
        };
        let network = Network::make(place, &backhaul)?;
        let street = Street::between(place, &clients)?;
        place.run(&format!(
            "ip -n origin address add {CHAT}/24 dev eth0
             ip -n origin address add {}/24 dev eth0",
            radius::ADDRESS
        ))?;
        let mut all = Vec::new();
        for (address, name) in [(ORIGIN, "bank.example"), (CHAT, "chat.example")] {
            all.push(format!("{address}={}", make_certificate(place, name)?));
        }
        let internet = serve(place, "internet", bytes, &all)?;
        let names = network.serve_names(&format!("address=/chat.example/{CHAT}"))?;
        let radius = Radius::start(place, &clients)?;
        let settings = Settings {
            policies: policies(chat::PRICE),
            publishers: format!(
                "[[publishers]]\nkey = \"{}\"\nname = \"Station\"\naccounts = [\"station\"]\n\
                 groups = [\"operator\"]\n{}",
                publisher.key(),
                chat.as_publisher()
            ),
            ipv6: false,
            patience: Patience::default(),
            daemon: format!("[resolver]\nupstream = [\"{NAMES}\"]\nclients = [\"10.0.0.0/24\"]\n"),
        };
        let operator = Operator::start(place, &settings)?;
        let mut station = Station {
            radius,
            internet,
            _names: names,
            chat,
            operator,
            street,
            _network: network,
            place,
            clients,
            portal: String::new(),
        };
        station.launch(&publisher)?;
        station.chat.begin(&station.operator)?;
        Ok(station)
    }

    fn launch(&mut self, publisher: &Publisher<'_>) -> Result<()> {
        let place = self.place;
        let here = place.directory();
        let image = place.image("auth-proxy")?;
        let disk = format!("{here}/sessions.disk");
        place.run(&format!("truncate -s 64M {disk}"))?;
        // A process has no /dev/xvda of its own; a file that is no database yet must not be there.
        let store = match place.is_xen() {
            true => "/dev/xvda".to_owned(),
            false => format!("{here}/sessions.redb"),
        };
        place.write("operator.token", TOKEN.as_bytes())?;
        let configuration = format!(
            "[appliance]\ntransparent = true\ntls-names = [\"{PORTAL}\"]\n\
             [service]\nportal = \"http://{PORTAL}/\"\nstore = \"{store}\"\n\
             operator = \"[::]:8443\"\naudience = \"station\"\n{}\
             [[service.publishers]]\nname = \"chat\"\nkid = \"chat-1\"\nkey = \"{}\"\n\
             quota = {{ seconds = 600 }}\n",
            radius::settings(),
            self.chat.token_key()?
        );
        publisher.launch(
            &self.operator,
            &Launch {
                name: "portal",
                image: &image,
                memory_mib: 64,
                manifest: MANIFEST,
                configuration: &configuration,
                disk: place.is_xen().then_some(disk.as_str()),
                more: &format!(
                    "--env-file OPERATOR_TOKEN={here}/operator.token \
                     --env-file RADIUS_SECRET={here}/radius.secret"
                ),
            },
        )?;
        let domain = self.operator.domain("portal")?.context("no portal")?;
        let addresses = domain["addresses"].as_array().cloned().unwrap_or_default();
        let v4 = addresses
            .iter()
            .filter_map(Value::as_str)
            .find(|a| a.contains('.'));
        self.portal = v4.context("the portal has no address")?.to_owned();
        Ok(())
    }

    /// The clients whose numbers have this rest by ten: of ten, six only chat, two have vouchers, one has
    /// an account, and one an app.
    fn those(&self, rests: &[u8]) -> Vec<u8> {
        let all = self.clients.iter().copied();
        all.filter(|client| rests.contains(&(client % 10)))
            .collect()
    }

    /// What a client's curl says: its status and body. Status 0 is no answer.
    fn curl(&self, client: u8, arguments: &str) -> Result<(u16, String)> {
        let said = self.place.run(&format!(
            "ip netns exec phone curl -s --interface 10.0.0.{client} --max-time 20 \
                 --connect-timeout 3 --resolve {PORTAL}:80:{portal} --resolve {PORTAL}:443:{portal} \
                 -w '\\n%{{http_code}}' {arguments} || true",
            portal = self.portal
        ))?;
        let (body, status) = said.rsplit_once('\n').context("curl says nothing")?;
        Ok((status.trim().parse()?, body.to_owned()))
    }

    /// Whether a client reaches the rest of the Internet.
    fn is_online(&self, client: u8) -> Result<bool> {
        let (status, _) = self.curl(client, &format!("http://{ORIGIN}:{PORT}/"))?;
        Ok(status == 200)
    }

    /// The certificate of a server, by which it is believed.
    fn certificate(&self, name: &str) -> String {
        certificate(self.place, name)
    }

    /// Counts, from now on, the frames between the portal and the chat service on the router's interface at
    /// the switch.
    fn count_frames(&self) -> Result<Frames<'p>> {
        let script = self
            .place
            .write("frames.py", include_str!("frames.py").as_bytes())?;
        let sum = format!("{}/frames", self.place.directory());
        let counting = self.place.start(
            "frames",
            &format!(
                "exec ip netns exec router python3 {script} eth0 {} {CHAT} {sum}",
                self.portal
            ),
        )?;
        self.until("frames are counted", || {
            Ok(self
                .place
                .run(&format!("[ -e {sum} ] && echo yes || echo no"))?
                .trim()
                == "yes")
        })?;
        let place = self.place;
        Ok(Frames {
            place,
            sum,
            _counting: counting,
        })
    }

    /// Has a client hold a connection with who has a name, at an address; its log says how that ends.
    fn hold(&self, client: u8, target: &str, name: &str) -> Result<Service<'p>> {
        let script = self
            .place
            .write("hold.py", include_str!("hold.py").as_bytes())?;
        let held = self.place.start(
            "hold",
            &format!(
                "exec ip netns exec phone python3 {script} {} {target} 443 {name} {}",
                crowd::address(client),
                self.certificate(name)
            ),
        )?;
        self.until("it is held", || {
            let log = held.log();
            ensure!(!log.contains("Error"), "{log}");
            Ok(log.contains("held"))
        })?;
        Ok(held)
    }

    /// What the operator's port answers to dom0.
    fn ask_portal(&self, arguments: &str, path: &str) -> Result<Value> {
        let said = self.place.run(&format!(
            "curl -sSfk --max-time 30 -H 'Authorization: Bearer {TOKEN}' {arguments} \
                 https://{}:8443{path}",
            self.portal
        ))?;
        Ok(serde_json::from_str(&said).unwrap_or(Value::Null))
    }

    fn vouchers(&self, count: usize, quota: &str) -> Result<Vec<String>> {
        let order = format!(
            "-H 'Content-Type: application/json' -d '{{\"count\":{count},\"quota\":{quota}}}'"
        );
        let made = self.ask_portal(&order, "/v1/vouchers")?;
        let codes = made["codes"].as_array().context("no codes")?.iter();
        Ok(codes.filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// All sessions, as the operator sees them.
    fn sessions(&self) -> Result<Vec<Value>> {
        let all = self.ask_portal("", "/v1/sessions")?;
        Ok(all["sessions"].as_array().cloned().unwrap_or_default())
    }

    /// A client's session.
    fn session(&self, client: u8) -> Result<Option<Value>> {
        let address = crowd::address(client);
        let all = self.sessions()?.into_iter();
        Ok(all
            .into_iter()
            .find(|session| session["client"] == *address))
    }

    /// Asks until it is so.
    fn until(&self, what: &str, mut so: impl FnMut() -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if so()? {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "never so: {what}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What consoles, daemon and RADIUS say, for a step that failed.
    pub fn diagnosis(&self) -> String {
        let logs = |domain: &str| self.operator.edgecloud(&format!("logs {domain}"));
        let console = logs("portal").unwrap_or_default();
        let (daemon, radius) = (self.operator.daemon_log(), self.radius.log());
        let internet = self.internet.log();
        let said = internet
            .lines()
            .filter(|line| !line.starts_with("visitor "));
        let internet = said.collect::<Vec<_>>().join("\n");
        format!("{console}\n{daemon}\n{radius}\n{internet}")
    }
}

/// Frames that are counted by somebody who knows neither the switch nor its flows.
struct Frames<'p> {
    place: &'p Place<'p>,
    sum: String,
    _counting: Service<'p>,
}

impl Frames<'_> {
    /// The bytes of all of them so far.
    fn bytes(&self) -> Result<u64> {
        let sum = self.place.read(&self.sum)?;
        Ok(String::from_utf8(sum)?.trim().parse()?)
    }
}

fn certificate(place: &Place<'_>, name: &str) -> String {
    format!("{}/{name}.pem", place.directory())
}

/// Makes a certificate for a name, with its key in the same file.
fn make_certificate(place: &Place<'_>, name: &str) -> Result<String> {
    let file = certificate(place, name);
    place.run(&format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
             -subj /CN={name} -addext subjectAltName=DNS:{name} \
             -keyout {file}.key -out {file} 2>/dev/null
         cat {file}.key >>{file}"
    ))?;
    Ok(file)
}

/// Starts the servers behind the backhaul, at all of these addresses, which may have certificates.
fn serve<'p>(
    place: &'p Place<'p>,
    name: &str,
    bytes: u64,
    addresses: &[String],
) -> Result<Service<'p>> {
    let script = place.write("origin.py", include_str!("origin.py").as_bytes())?;
    let addresses = addresses.join(" ");
    place.start(
        name,
        &format!("exec ip netns exec origin python3 {script} {PORTS} {bytes} {addresses}"),
    )
}
