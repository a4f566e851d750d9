//! What the interfaces are sent and answer. Unknown members of what is sent are errors.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// `POST /v1/launch`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Launch {
    /// The domain's name on this host: 1 to 32 lower-case letters, digits and hyphens. Without it,
    /// the application's name and the replica's number.
    #[serde(default)]
    pub name: Option<String>,
    /// The signed token, base64.
    pub token: String,
    /// The signed descriptor of the image, base64.
    pub descriptor: String,
    /// The image: an absolute path on the host, or a file's name in its directory of images.
    pub image: String,
    /// The private key that the token names, PKCS#8 in PEM.
    pub key: String,
    /// What the appliance gets as `GET /v1/configuration`: TOML, at most 64 KiB.
    #[serde(default)]
    pub configuration: String,
    /// Further variables of its environment, at most 64.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// How it is asked whether it lives: `http:PORT/PATH`, or `tcp:PORT`.
    #[serde(default = "default_health")]
    pub health: String,
    /// A file or block device on the host as `/dev/xvda`, if the descriptor names a disk.
    #[serde(default)]
    pub disk: Option<String>,
}

/// The management port of `appliances/common`.
fn default_health() -> String {
    "http:8008/health".to_owned()
}

/// A running domain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Domain {
    /// Its name on this host.
    pub name: String,
    /// Its number in the switch's `ct_mark`.
    pub replica: u32,
    /// The application's number.
    pub application: u32,
    /// What the publisher calls the application.
    pub application_name: String,
    /// `starting`, `live`, `draining`, `failed` or `stopped` (it will be started again).
    pub state: String,
    /// Whether it proved that it has its token's key.
    pub registered: bool,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its MAC address.
    pub mac: String,
    /// Its port in the switch; none while it does not run.
    pub port: Option<u32>,
    /// Xen's number of the domain, or the process's.
    pub id: Option<u32>,
    /// How often it was started again after it died.
    pub restarts: u32,
    /// MiB.
    pub memory_mib: u32,
    /// The image's path.
    pub image: String,
}

/// `GET /v1/domains`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Domains {
    /// By name.
    pub domains: Vec<Domain>,
}

/// `POST /v1/domains/NAME/stop`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Stop {
    /// How long its connections may take to end, at most 3600.
    #[serde(default = "default_drain")]
    pub drain_seconds: u64,
}

impl Default for Stop {
    fn default() -> Self {
        Stop {
            drain_seconds: default_drain(),
        }
    }
}

/// What an appliance's requests in flight take at most, as `appliances/hello` has it.
const fn default_drain() -> u64 {
    5
}

/// `GET /v1/applications`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Applications {
    /// By number.
    pub applications: Vec<Application>,
}

/// An application that this host has a token of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Application {
    /// Its number at the operator.
    pub number: u32,
    /// What the publisher calls it.
    pub name: String,
    /// Whose it is.
    pub publisher: String,
    /// Its zone in the connection tracker.
    pub zone: u16,
    /// Its token's serial number.
    pub serial: u64,
    /// When the token ends, RFC 3339.
    pub expires: String,
    /// The account that pays.
    pub account: String,
    /// Why it is served no more: `revoked` or `expired`.
    pub withdrawn: Option<String>,
    /// The granted rules in the manifest's words, with their numbers.
    pub rules: Vec<Rule>,
}

/// A granted rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// Which rule of the manifest, from 0.
    pub index: u16,
    /// In the manifest's words.
    pub rule: String,
}

/// `POST /v1/revocations`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocations {
    /// The authority's signed list, base64.
    pub list: String,
}

/// What a revocation ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// The applications whose connections were cut.
    pub applications: Vec<u32>,
    /// The domains that are being destroyed.
    pub domains: Vec<String>,
}

/// `GET /v1/flows`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Flows {
    /// By table, then by descending priority.
    pub flows: Vec<Flow>,
}

/// A flow that the switch holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Flow {
    /// Its table's name.
    pub table: String,
    /// The flow in `ovs-ofctl`'s words.
    pub flow: String,
    /// What it is for: a class of `Cookie`.
    pub class: String,
    /// Whose it is; 0 is the host's.
    pub application: u32,
    /// The rule that put it there, if one did.
    pub rule: Option<u16>,
}

/// `POST /v1/trace`: a packet.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Trace {
    /// Where it comes from: `access`, `backhaul`, `host`, or a domain's name.
    pub from: String,
    /// Its source address.
    pub source: IpAddr,
    /// Its target address.
    pub target: IpAddr,
    /// `tcp`, `udp` or `icmp`.
    pub protocol: String,
    /// Its source port.
    #[serde(default)]
    pub source_port: u16,
    /// Its target port.
    #[serde(default)]
    pub target_port: u16,
}

/// What would become of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traced {
    /// `delivered`, `denied`, `waits` (for an appliance that sleeps), or `lost`: dropped, and no flow
    /// of the daemon's says why.
    pub verdict: String,
    /// Why it is denied, as flows' classes say it.
    pub reason: Option<String>,
    /// Its way, a line for each flow that decided something.
    pub steps: Vec<String>,
}

/// `GET /v1/accounts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounts {
    /// By account, application and rule.
    pub accounts: Vec<Account>,
}

/// What a rule's flows carried, both ways, from the first packet on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The account that pays.
    pub account: String,
    /// The application's number.
    pub application: u32,
    /// The rule, from 0; none for what the flows of all its rules carried together.
    pub rule: Option<u16>,
    /// Packets.
    pub packets: u64,
    /// Bytes of frames, without the frame check sequence.
    pub bytes: u64,
}

/// `GET /v1/names`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Names {
    /// Addresses by name: what DNS says now.
    pub names: BTreeMap<String, Vec<IpAddr>>,
}

/// `GET /v1/nonce`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Challenge {
    /// 32 bytes, base64; it can be used once, within 30 s.
    pub nonce: String,
    /// The domain's signed token, base64.
    pub token: String,
}

/// `POST /v1/register`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// The domain's signed token, base64.
    pub token: String,
    /// The signed [`manifest::Proof`], base64.
    pub proof: String,
}

/// `GET /v1/state`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainState {
    /// `starting`, `live`, `draining` or `failed`. Of `draining`: take no more, end when done.
    pub state: String,
}

/// `GET /v1/free-services`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreeServices {
    /// What `known` is to be in the next question.
    pub version: String,
    /// By who pays, rule and name.
    pub services: Vec<FreeService>,
    /// All who pay, also for names that have no address now: connections of others are cut.
    pub payers: Vec<String>,
}

/// What clients may use at somebody's expense, under one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreeService {
    /// The name that a client asks for: in small letters, without a wildcard.
    pub name: String,
    /// The name as the manifest has it, perhaps a wildcard: what figures are kept by.
    pub service: String,
    /// Who pays, as a word that means nothing else.
    pub payer: String,
    /// The range of the clients for whom it is free; none for all.
    pub clients: Option<String>,
    /// Ranges of ports, first and last.
    pub tcp: Vec<(u16, u16)>,
    /// Where the name is now, as far as the switch lets the asking application go there.
    pub addresses: Vec<IpAddr>,
}

/// `POST /v1/admissions`: lets a client through, or changes until when and how fast.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Admit {
    /// The client.
    pub address: IpAddr,
    /// The port of its connection to the application by which it asked for this: its MAC address is that
    /// connection's.
    #[serde(default)]
    pub port: Option<u16>,
    /// Its MAC address; without it and without a port the one that it has been let through with, or that
    /// all its connections to the application have.
    #[serde(default)]
    pub mac: Option<String>,
    /// Kilobits a second, both directions together; without it, the application's limit.
    #[serde(default)]
    pub kbit: Option<u32>,
    /// Until when, in Unix time; at most until the token's end.
    pub expires: u64,
}

/// A client that is let through, and what it carried since.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Admission {
    /// The client.
    pub address: IpAddr,
    /// Its MAC address.
    pub mac: String,
    /// Kilobits a second, both directions together.
    pub kbit: Option<u32>,
    /// Until when, in Unix time.
    pub expires: u64,
    /// Bytes that it sent.
    pub sent: u64,
    /// Bytes that it received.
    pub received: u64,
    /// Both.
    pub bytes: u64,
}

/// `GET /v1/admissions`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Admissions {
    /// By address.
    pub admissions: Vec<Admission>,
}
