//! A railway station's hotspot, from the operator's manifest to clients that cheat, in both worlds.
//!
//! The clients are addresses of the host on the access side; the operator's own publisher runs the auth
//! proxy, whose token lets it keep the gate, and pays for a chat service that everybody may use.
//! [`Station::open`] sets it, [`play`] is the story, and asserts each step.

#![forbid(unsafe_code)]

mod play;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use site::{
    Backhaul, Launch, NAMES, Network, ORIGIN, Operator, Place, Publisher, Service, Settings,
};

pub use play::play;

/// The free chat service.
const CHAT: &str = "203.0.113.8";
/// The portal's name, which the host's resolver answers.
const PORTAL: &str = "portal.station.example";
/// What opens the operator's port.
const TOKEN: &str = "the-token-of-this-scenario";
/// The port that the rest of the Internet is reached at: nobody intercepts it.
const PORT: u16 = 443;
/// The file that clients download.
const FILE_BYTES: u64 = 2_000_000;

const POLICIES: &str = r#"
@id("basics")
permit (principal, action == Action::"speak", resource)
when { ["arp", "nd", "dns", "icmp"].containsAll(context.protocols) };

@id("gate")
permit (principal in Group::"operator", action in [Action::"admit", Action::"intercept"], resource);

@id("portal")
permit (principal in Group::"operator", action == Action::"serve", resource)
when { context.name like "*.station.example" };
"#;

const MANIFEST: &str = r#"
on-fail = "block"
[[speak]]
protocols = ["arp", "dns", "icmp"]
[[admit]]
from = "clients"
[[admit]]
from = "clients"
to = { name = "chat.example", tcp = [443] }
[[intercept]]
from = "clients"
to = { net = "0.0.0.0/0", tcp = [80] }
[[serve]]
as = "portal.station.example"
tcp = [80, 443]
"#;

/// The station. Fields are dropped in this order: who speaks before what is spoken through.
pub struct Station<'p> {
    _internet: Service<'p>,
    _names: Service<'p>,
    /// The operator.
    pub operator: Operator<'p>,
    /// The links.
    pub network: Network<'p>,
    place: &'p Place<'p>,
    portal: String,
}

impl<'p> Station<'p> {
    /// Opens it: `clients` addresses on the access side from 10.0.0.10 on, and the portal is live.
    ///
    /// # Errors
    /// What cannot be built or started, and why.
    pub fn open(place: &'p Place<'p>, clients: u8) -> Result<Station<'p>> {
        let publisher = Publisher::new(place, "station")?;
        let backhaul = Backhaul {
            kbit_per_s: 100_000,
            round_trip_ms: 2,
            loss_percent: 0.0,
        };
        let network = Network::make(place, &backhaul)?;
        let last = 10 + clients;
        place.run(&format!(
            "for n in $(seq 10 {last}); do ip -n phone address add 10.0.0.$n/24 dev eth0; done
             ip -n origin address add {CHAT}/24 dev eth0
             mkdir -p \"$HERE/internet\"; echo far >\"$HERE/internet/index.html\"
             head -c {FILE_BYTES} /dev/zero >\"$HERE/internet/file\""
        ))?;
        let internet = place.start(
            "internet",
            &format!(
                "exec ip netns exec origin python3 -m http.server --directory \"$HERE/internet\" {PORT}"
            ),
        )?;
        let names = network.serve_names(&format!("address=/chat.example/{CHAT}"))?;
        let settings = Settings {
            policies: POLICIES.to_owned(),
            publishers: format!(
                "[[publishers]]\nkey = \"{}\"\nname = \"Station\"\naccounts = [\"station\"]\n\
                 groups = [\"operator\"]\n",
                publisher.key()
            ),
            daemon: format!("[resolver]\nupstream = [\"{NAMES}\"]\nclients = [\"10.0.0.0/24\"]\n"),
        };
        let operator = Operator::start(place, &settings)?;
        let mut station = Station {
            _internet: internet,
            _names: names,
            operator,
            network,
            place,
            portal: String::new(),
        };
        station.launch(&publisher)?;
        Ok(station)
    }

    fn launch(&mut self, publisher: &Publisher<'_>) -> Result<()> {
        let place = self.place;
        let image = place.image("auth-proxy")?;
        let disk = format!("{}/sessions.disk", place.directory());
        place.run(&format!("truncate -s 64M {disk}"))?;
        // A process has no /dev/xvda of its own; a file that is no database yet must not be there.
        let store = match place.is_xen() {
            true => "/dev/xvda".to_owned(),
            false => format!("{}/sessions.redb", place.directory()),
        };
        place.write("operator.token", TOKEN.as_bytes())?;
        let key = self.publishers_key()?;
        let configuration = format!(
            "[appliance]\ntransparent = true\n[service]\nportal = \"http://{PORTAL}/\"\nstore = \"{store}\"\n\
             operator = \"[::]:8443\"\naudience = \"station\"\n\
             [[service.publishers]]\nname = \"chat\"\nkid = \"chat-1\"\nkey = \"{key}\"\n\
             quota = {{ seconds = 600 }}\n"
        );
        let token = format!(
            "--env-file OPERATOR_TOKEN={}/operator.token",
            place.directory()
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
                more: &token,
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

    /// Makes the chat publisher's key by openssl; the public one, as settings have it.
    fn publishers_key(&self) -> Result<String> {
        let key = self.place.run(
            "openssl genpkey -algorithm ed25519 -out \"$HERE/chat.pem\" 2>/dev/null
             openssl pkey -in \"$HERE/chat.pem\" -pubout -outform DER | tail -c 32 | base64",
        )?;
        Ok(key.trim().to_owned())
    }

    /// A token of the chat publisher's, by openssl, good for five minutes.
    fn token(&self, id: &str) -> Result<String> {
        let script = format!(
            "now=$(date +%s); part() {{ base64 -w0 | tr '+/' '-_' | tr -d '='; }}
             head=$(printf '{{\"alg\":\"EdDSA\",\"kid\":\"chat-1\"}}' | part)
             body=$(printf '{{\"aud\":\"station\",\"nbf\":%d,\"exp\":%d,\"jti\":\"{id}\"}}' $now $((now + 300)) | part)
             printf '%s.%s' $head $body >\"$HERE/signed\"
             openssl pkeyutl -sign -rawin -inkey \"$HERE/chat.pem\" -in \"$HERE/signed\" -out \"$HERE/signature\"
             printf '%s.%s.%s' $head $body $(part <\"$HERE/signature\")"
        );
        self.place.run(&script)
    }

    /// What a client's curl says: its status and body. Status 0 is no answer.
    fn curl(&self, client: u8, arguments: &str) -> Result<(u16, String)> {
        let said = self.place.run(&format!(
            "ip netns exec phone curl -s --interface 10.0.0.{client} --max-time 10 \
                 --connect-timeout 2 --resolve {PORTAL}:80:{portal} -w '\\n%{{http_code}}' \
                 {arguments} || true",
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

    /// The field of the portal's forms.
    fn field(&self, client: u8) -> Result<String> {
        let (status, page) = self.curl(client, &format!("http://{PORTAL}/"))?;
        ensure!(status == 200, "client {client}: {status} {page}");
        let field = page.split_once("name=\"form\" value=\"");
        let field = field.and_then(|(_, rest)| rest.split('"').next());
        Ok(field.context("no form")?.to_owned())
    }

    fn redeem(&self, client: u8, code: &str) -> Result<u16> {
        let form = format!("-d form={} -d code={code}", self.field(client)?);
        Ok(self
            .curl(client, &format!("{form} http://{PORTAL}/voucher"))?
            .0)
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

    fn vouchers(&self, count: u8, quota: &str) -> Result<Vec<String>> {
        let order = format!(
            "-H 'Content-Type: application/json' -d '{{\"count\":{count},\"quota\":{quota}}}'"
        );
        let made = self.ask_portal(&order, "/v1/vouchers")?;
        let codes = made["codes"].as_array().context("no codes")?.iter();
        Ok(codes.filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// A client's session, as the operator sees it.
    fn session(&self, client: u8) -> Result<Option<Value>> {
        let all = self.ask_portal("", "/v1/sessions")?;
        let all = all["sessions"].as_array().cloned().unwrap_or_default();
        let address = format!("10.0.0.{client}");
        Ok(all
            .into_iter()
            .find(|session| session["client"] == *address))
    }

    /// Asks until it is so.
    fn until(&self, what: &str, mut so: impl FnMut() -> Result<bool>) -> Result<()> {
        for _ in 0..300 {
            if so()? {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        anyhow::bail!("never so: {what}")
    }

    /// What console, flows and daemon say, for a step that failed.
    pub fn diagnosis(&self) -> String {
        let console = self.operator.edgecloud("logs portal").unwrap_or_default();
        let flows = self.operator.edgecloud("flows").unwrap_or_default();
        format!("{console}\n{flows}\n{}", self.operator.daemon_log())
    }

    /// Asks a server for a name, as a client; the address. Dom0's resolver teaches the switch first.
    fn resolve(&self, client: u8, server: &str, name: &str) -> Result<String> {
        let script = self.place.write("ask.py", ASK.as_bytes())?;
        self.place.run(&format!(
            "ip netns exec phone python3 {script} 10.0.0.{client} {server} {name}"
        ))
    }
}

/// A question for an address (RFC 1035), without any package of Debian's.
const ASK: &str = r#"
import socket, sys
client, server, name = sys.argv[1:]
labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
asks = b"\x12\x34\x01\x00\x00\x01" + bytes(6) + labels + b"\0\0\x01\0\x01"
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
    udp.bind((client, 0))
    udp.settimeout(3)
    udp.sendto(asks, (server, 53))
    print(socket.inet_ntoa(udp.recv(512)[-4:]))
"#;
