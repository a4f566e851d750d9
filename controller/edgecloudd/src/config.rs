//! The daemon's configuration: one TOML file. Paths in it are relative to it.

use std::fs;
use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use manifest::{Cidr, Name, PublicKey, Verifier};
use serde::{Deserialize, Deserializer, de};

use crate::resolver;

/// Longest configuration.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Prefixes that domains get addresses of: one or two of each version.
const PREFIXES_MAX: usize = 4;
/// Servers that the resolver asks: it asks three at most for one question.
const SERVERS_MAX: usize = 3;
/// The port of DNS.
const DNS_PORT: u16 = 53;

/// The configuration file. Unknown keys are errors.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// This host's name, which tokens are for.
    #[serde(deserialize_with = "parsed")]
    pub host: Name,
    /// The authority whose tokens are believed.
    #[serde(deserialize_with = "parsed")]
    pub issuer: Name,
    /// Its keys.
    #[serde(deserialize_with = "all_parsed")]
    pub authority_keys: Vec<PublicKey>,
    /// Where the database, the images and the logs are.
    pub directory: PathBuf,
    /// The operator's interface.
    #[serde(default = "default_socket")]
    pub socket: PathBuf,
    /// What domains are.
    pub domains: Toolstack,
    /// The switch.
    pub switch: SwitchConfig,
    /// The network around the host.
    pub network: Network,
    /// The network of the domains.
    pub domain_network: DomainNetwork,
    /// How domains are asked whether they live.
    #[serde(default)]
    pub health: Health,
    /// The resolver of the domains; without it they know nobody by name, and no rule that speaks
    /// of a name permits anything.
    pub resolver: Option<ResolverConfig>,
}

/// What domains are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Toolstack {
    /// Xen's, through `xl`.
    Xl,
    /// Linux processes in network namespaces: without Xen, for trying.
    Process,
}

/// The switch.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SwitchConfig {
    /// The bridge's name.
    pub bridge: String,
    /// Its datapath: `system` is the kernel's, `netdev` the one in userspace.
    #[serde(default = "default_datapath")]
    pub datapath: String,
    /// The database's socket.
    pub database: PathBuf,
    /// The bridge's OpenFlow socket, for management.
    pub openflow: PathBuf,
    /// The interface to the clients.
    pub access: String,
    /// The interface to everything else.
    pub backhaul: String,
}

/// The network around the host.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Network {
    /// Dom0's own addresses, on the bridge.
    pub addresses: Vec<IpAddr>,
    /// The MAC address of the router on the backhaul side.
    #[serde(deserialize_with = "parsed")]
    pub gateway_mac: Mac,
    /// The addresses of the operator's clients.
    #[serde(deserialize_with = "all_parsed")]
    pub clients: Vec<Cidr>,
    /// The resolvers that domains may ask.
    pub resolvers: Vec<IpAddr>,
    /// The time servers that domains may ask.
    #[serde(default)]
    pub time_servers: Vec<IpAddr>,
    /// Who answers the domains' DHCP.
    pub dhcp: DhcpServer,
}

/// Who answers the domains' DHCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DhcpServer {
    /// Dom0.
    Host,
    /// Somebody on the backhaul side.
    Backhaul,
}

/// The network of the domains.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DomainNetwork {
    /// Where domains get an address each, one of IPv4 at least: the metadata service needs it.
    #[serde(deserialize_with = "all_parsed")]
    pub prefixes: Vec<Cidr>,
    /// Their routers.
    pub gateways: Vec<IpAddr>,
}

/// How domains are asked whether they live. The product of what is here bounds how long traffic
/// goes to a domain that died silently.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Health {
    /// Between questions.
    pub interval_ms: u64,
    /// How long an answer may take.
    pub timeout_ms: u64,
    /// After how many questions without an answer, one right after the other, it has failed.
    pub failures: u32,
}

impl Default for Health {
    fn default() -> Health {
        Health {
            interval_ms: 200,
            timeout_ms: 250,
            failures: 2,
        }
    }
}

impl Health {
    /// Between questions.
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms)
    }

    /// How long an answer may take.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

/// The resolver.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ResolverConfig {
    /// The operator's servers, in order of preference: addresses, with a port if it is not 53.
    #[serde(deserialize_with = "all_servers")]
    pub upstream: Vec<SocketAddr>,
    /// Where it listens; without it on those of `network`'s `addresses` that are `resolvers`.
    #[serde(default)]
    pub listen: Vec<IpAddr>,
    /// Who may ask beside the host's domains.
    #[serde(default, deserialize_with = "all_parsed")]
    pub clients: Vec<Cidr>,
    /// Private addresses that names of the world may have all the same.
    #[serde(default, deserialize_with = "all_parsed")]
    pub private: Vec<Cidr>,
    /// Whether names are asked in drawn letters, against those who guess answers.
    #[serde(default = "yes")]
    pub mixed_letters: bool,
}

/// A MAC address, as `02:00:00:00:00:02`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Mac, String> {
        let byte = |part: &str| match part.len() {
            2 => u8::from_str_radix(part, 16).ok(),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = text.split(':').map(byte).collect();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes
            .map(Mac)
            .ok_or_else(|| format!("{text:?} is no MAC address: write it as 02:00:00:00:00:02"))
    }
}

impl std::fmt::Display for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

fn default_datapath() -> String {
    "system".to_owned()
}

fn default_socket() -> PathBuf {
    "/run/edgecloud/edgecloudd.sock".into()
}

fn yes() -> bool {
    true
}

fn all_servers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SocketAddr>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let server = |text: &String| {
        let alone = text
            .parse()
            .map(|address: IpAddr| (address, DNS_PORT).into());
        alone.or_else(|_| text.parse())
    };
    let all = texts.iter().map(|text| {
        server(text).map_err(|error| format!("{text:?} is no server: {error}; write 192.0.2.53"))
    });
    all.collect::<Result<_, _>>().map_err(de::Error::custom)
}

fn parsed<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr<Err: std::fmt::Display>,
    D: Deserializer<'de>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(de::Error::custom)
}

fn all_parsed<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: FromStr<Err: std::fmt::Display>,
    D: Deserializer<'de>,
{
    let texts = Vec::<String>::deserialize(deserializer)?;
    let all = texts.iter().map(|text| text.parse());
    all.collect::<Result<_, _>>().map_err(de::Error::custom)
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// A file that cannot be read, or what is wrong in it, with line and column.
    pub fn read(file: &Path) -> Result<Config> {
        let read = || -> Result<String> {
            let mut text = String::new();
            let limited = fs::File::open(file)?.take(FILE_BYTES_MAX + 1);
            let length = { limited }.read_to_string(&mut text)?;
            ensure!(length as u64 <= FILE_BYTES_MAX, "it is too long");
            Ok(text)
        };
        let text = read().with_context(|| format!("cannot read {}", file.display()))?;
        let mut config = Config::parse(&text)
            .with_context(|| format!("{} is no configuration of edgecloudd", file.display()))?;
        let beside = file.parent().unwrap_or(Path::new(""));
        for path in [
            &mut config.directory,
            &mut config.socket,
            &mut config.switch.database,
            &mut config.switch.openflow,
        ] {
            *path = beside.join(&*path);
        }
        Ok(config)
    }

    fn parse(text: &str) -> Result<Config> {
        let config: Config = toml::from_str(text)?;
        config.verifier()?;
        let prefixes = &config.domain_network.prefixes;
        ensure!(
            (1..=PREFIXES_MAX).contains(&prefixes.len())
                && prefixes.iter().any(|range| range.address().is_ipv4()),
            "`prefixes` has to have one of IPv4, and at most {PREFIXES_MAX}"
        );
        let room = |range: &&Cidr| match range.address() {
            IpAddr::V4(_) => range.prefix() <= 29,
            IpAddr::V6(_) => range.prefix() <= 112,
        };
        if let Some(small) = prefixes.iter().find(|range| !room(range)) {
            anyhow::bail!(
                "`prefixes` has {small}, which has no room for domains: give a wider one"
            );
        }
        let health = config.health;
        ensure!(
            (20..=60_000).contains(&health.interval_ms)
                && (20..=60_000).contains(&health.timeout_ms)
                && (1..=100).contains(&health.failures),
            "`health` is out of range: 20 to 60000 ms, and 1 to 100 failures"
        );
        ensure!(
            config.switch.access != config.switch.backhaul,
            "`access` and `backhaul` are one interface: give two"
        );
        if let Some(resolver) = &config.resolver {
            ensure!(
                (1..=SERVERS_MAX).contains(&resolver.upstream.len()),
                "`upstream` of the resolver has to have one to {SERVERS_MAX} servers"
            );
            ensure!(
                !config.resolver_addresses().is_empty(),
                "the resolver listens nowhere: give `listen`, or one of `addresses` in `resolvers`"
            );
        }
        Ok(config)
    }

    /// Where the resolver listens.
    pub fn resolver_addresses(&self) -> Vec<SocketAddr> {
        let given = self.resolver.iter().flat_map(|resolver| &resolver.listen);
        let mut addresses: Vec<IpAddr> = given.copied().collect();
        if addresses.is_empty() {
            let own = self.network.addresses.iter().copied();
            addresses = own.filter(|a| self.network.resolvers.contains(a)).collect();
        }
        addresses
            .into_iter()
            .map(|a| (a, DNS_PORT).into())
            .collect()
    }

    /// What the resolver is for, if there is one.
    pub fn resolver_settings(&self) -> Option<resolver::Settings> {
        let resolver = self.resolver.as_ref()?;
        let own = self.network.addresses.iter().filter_map(|address| {
            let prefix = if address.is_ipv4() { 32 } else { 128 };
            Cidr::new(*address, prefix)
        });
        let domains = self.domain_network.prefixes.iter();
        Some(resolver::Settings {
            listen: self.resolver_addresses(),
            upstream: resolver.upstream.clone(),
            mixes_letters: resolver.mixed_letters,
            clients: resolver.clients.clone(),
            filter: resolver::Filter {
                own: own.chain(domains.copied()).collect(),
                clients: self.network.clients.clone(),
                permitted: resolver.private.clone(),
            },
        })
    }

    /// What this host believes.
    ///
    /// # Errors
    /// No key, or too many.
    pub fn verifier(&self) -> Result<Verifier> {
        let (issuer, host) = (self.issuer.clone(), self.host.clone());
        Verifier::new(issuer, self.authority_keys.clone(), host)
            .context("`authority-keys` has to have one to four keys")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../example/edgecloudd.toml");

    #[test]
    fn the_example_is_read() {
        let config = Config::parse(EXAMPLE).unwrap();
        assert_eq!(config.domains, Toolstack::Xl);
        assert_eq!(config.network.gateway_mac.to_string(), "02:00:00:00:00:02");
        assert_eq!(config.health.interval(), Duration::from_millis(200));
    }

    #[test]
    fn errors_name_their_place() {
        let check = |from: &str, to: &str, words: &[&str]| {
            let text = EXAMPLE.replacen(from, to, 1);
            assert_ne!(text, EXAMPLE, "{from}");
            let error = format!("{:#}", Config::parse(&text).unwrap_err());
            for word in words {
                assert!(error.contains(word), "{word} in: {error}");
            }
        };
        check("issuer", "isuer", &["line 4", "isuer"]);
        check("edge-1.isp.example", "edge_1", &["line 3", "'_'"]);
        check("02:00:00:00:00:02", "2:0:0:0:0:2", &["no MAC address"]);
        check(
            "10.0.1.0/24\", ",
            "10.0.1.0/31\", ",
            &["10.0.1.0/31", "wider"],
        );
        check("\"10.0.1.0/24\", ", "", &["one of IPv4"]);
        check("interval-ms = 200", "interval-ms = 1", &["20 to 60000"]);
        check(
            "[\"192.0.2.53\"]",
            "[\"dns\"]",
            &["is no server", "192.0.2.53"],
        );
        check("[\"192.0.2.53\"]", "[]", &["one to 3 servers"]);
        check(
            "resolvers = [\"10.0.1.1\"]",
            "resolvers = []",
            &["listens nowhere"],
        );
        check("\"eth1\"", "\"eth0\"", &["one interface"]);
        check(
            "[\"ed25519:PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw\"]",
            "[]",
            &["authority-keys"],
        );
    }
}
