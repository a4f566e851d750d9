//! What an operator sets, in `[service]` of the document.
//!
//! Publishers who share a cache have a `[[service.publishers]]` each:
//!
//! ```toml
//! [service]
//! memory-mib = 512
//! [[service.publishers]]
//! name = "tv"
//! sites = ["tv.example", "*.tv.example"]
//! origin = "https://origin.tv.example"
//! memory-mib = 256
//! purge-token-sha256 = "…"  # sha256sum of the token, which the publisher alone has
//! ```
//! No secret is in it: of a token there is its digest.

use std::net::IpAddr;
use std::path::PathBuf;

use data_encoding::HEXLOWER_PERMISSIVE;
use edgecloud_appliance::Served;
use http::uri::{Authority, Scheme, Uri};
use rustls::pki_types::ServerName;
use serde::{Deserialize, Deserializer, de::Error};

use crate::origin::{Server, Upstream};

/// The cache's own settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Own {
    /// The origin, as `host:port` or `https://host`: the cache serves its name. Without it the cache
    /// intercepts, and asks whom the client meant; unless all publishers have origins.
    #[serde(default)]
    pub origin: Option<OriginUrl>,
    /// The name in the origin's certificate, where it is another than the origin's.
    #[serde(default)]
    pub origin_name: Option<CertificateName>,
    /// The authorities that the origin's certificate must come from, in PEM; the web PKI's without it.
    #[serde(default)]
    pub origin_ca: Option<String>,
    /// Mebibytes of memory for responses.
    #[serde(default = "memory")]
    pub memory_mib: u32,
    /// The disk tier: a block device, or a file with as many bytes as it may have. Without it responses
    /// are in memory only.
    #[serde(default)]
    pub disk: Option<PathBuf>,
    /// Seconds for which a 404 or 410 is kept whose origin says nothing of that.
    #[serde(default)]
    pub negative_seconds: u16,
    /// URLs that are fetched at the start, where there is an origin.
    #[serde(default)]
    pub prefetch: Vec<String>,
    /// Mebibytes that one response may have to be stored in one piece; at most a quarter of the memory.
    #[serde(default = "object")]
    pub object_mib: u32,
    /// Those who share the cache, each with a part of its own. What is nobody's has the rest.
    #[serde(default)]
    pub publishers: Vec<Publisher>,
}

/// A publisher in a cache that several share.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Publisher {
    /// Its name in accounts and metrics.
    pub name: String,
    /// Its sites: names, or `*.example` for all below a name.
    pub sites: Vec<SitePattern>,
    /// Where its sites are: in the intercepting role a client's word for a site does not count elsewhere.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// As [`Own::origin`], for its sites.
    #[serde(default)]
    pub origin: Option<OriginUrl>,
    /// As [`Own::origin_name`].
    #[serde(default)]
    pub origin_name: Option<CertificateName>,
    /// As [`Own::origin_ca`].
    #[serde(default)]
    pub origin_ca: Option<String>,
    /// What clients who ask for its sites by TLS are served, in place of the appliance's own.
    #[serde(default)]
    pub tls: Option<Served>,
    /// Mebibytes of the cache's memory that are for its responses alone.
    pub memory_mib: u32,
    /// Mebibytes of the disk that are for its responses alone.
    #[serde(default)]
    pub disk_mib: u32,
    /// The SHA-256 of the token with which it purges: hexadecimal digits, as `sha256sum` prints them.
    #[serde(default)]
    pub purge_token_sha256: Option<TokenDigest>,
}

fn memory() -> u32 {
    64
}

fn object() -> u32 {
    16
}

/// Where an origin is, and whether it has TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginUrl {
    authority: Authority,
    tls: bool,
}

impl<'de> Deserialize<'de> for OriginUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong =
            || D::Error::custom("an origin is like origin.example:80 or https://origin.example");
        let (tls, authority) = match text.split_once("://") {
            None => (false, text.parse().map_err(|_| wrong())?),
            Some(_) => {
                let url: Uri = text.parse().map_err(|_| wrong())?;
                let tls = url.scheme() == Some(&Scheme::HTTPS);
                if !tls && url.scheme() != Some(&Scheme::HTTP) || url.path() != "/" {
                    return Err(wrong());
                }
                (tls, url.authority().cloned().ok_or_else(wrong)?)
            }
        };
        match authority.host().is_empty() || text.contains('@') {
            true => Err(wrong()),
            false => Ok(Self { authority, tls }),
        }
    }
}

impl OriginUrl {
    /// Where requests go, if the certificate has this name.
    fn upstream(&self, name: Option<&CertificateName>) -> Result<Upstream, &'static str> {
        if !self.tls {
            return match name {
                Some(_) => {
                    Err("origin-name is for an origin with TLS, like https://origin.example")
                }
                None => Ok(Upstream::Plain(self.authority.clone())),
            };
        }
        let own =
            || ServerName::try_from(self.authority.host().trim_matches(['[', ']']).to_owned());
        let name = match name {
            Some(name) => name.0.clone(),
            None => {
                own().map_err(|_| "an origin with TLS needs a name that a certificate can have")?
            }
        };
        Ok(Upstream::Tls {
            server: Server::Named(self.authority.clone()),
            name,
        })
    }
}

/// A name that a certificate can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateName(ServerName<'static>);

impl<'de> Deserialize<'de> for CertificateName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = ServerName::try_from(String::deserialize(deserializer)?);
        name.map(Self).map_err(D::Error::custom)
    }
}

/// Which names of sites are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SitePattern {
    /// This one.
    Name(String),
    /// All that end so, with a dot in front: those below a name.
    Below(String),
}

impl SitePattern {
    /// Whether it means the host of a request, which is in small letters.
    pub fn means(&self, host: &str) -> bool {
        match self {
            Self::Name(name) => name == host,
            Self::Below(end) => host.len() > end.len() && host.ends_with(end),
        }
    }
}

impl<'de> Deserialize<'de> for SitePattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?.to_ascii_lowercase();
        let (below, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text.as_str()),
        };
        match (ServerName::try_from(name), below) {
            (Ok(ServerName::DnsName(_)), true) => Ok(Self::Below(format!(".{name}"))),
            (Ok(_), false) => Ok(Self::Name(text)),
            _ => Err(D::Error::custom(
                "a site is like www.tv.example or *.tv.example",
            )),
        }
    }
}

/// The SHA-256 of a token.
#[derive(Clone, Copy, Debug)]
pub struct TokenDigest(pub(crate) [u8; 32]);

impl<'de> Deserialize<'de> for TokenDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let digits = String::deserialize(deserializer)?;
        let bytes = HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok();
        let digest = bytes.and_then(|bytes| bytes.try_into().ok());
        let wrong =
            || D::Error::custom("a digest has 64 hexadecimal digits, as sha256sum prints them");
        digest.map(Self).ok_or_else(wrong)
    }
}

pub(crate) const MEBIBYTE: u64 = 1 << 20;

impl Own {
    /// Where requests for nobody's sites go. None: to whom the client meant, or nowhere.
    pub(crate) fn upstream(&self) -> Result<Option<Upstream>, &'static str> {
        let named = |origin: &OriginUrl| origin.upstream(self.origin_name.as_ref());
        self.origin.as_ref().map(named).transpose()
    }

    /// Whether the cache asks whom clients meant.
    pub(crate) fn intercepts(&self) -> bool {
        let without = self.publishers.iter().filter(|one| one.origin.is_none());
        self.origin.is_none() && (self.publishers.is_empty() || without.count() > 0)
    }

    /// Mebibytes of memory that no publisher has; none if they have more than there is.
    pub(crate) fn memory_left_mib(&self) -> Option<u32> {
        let taken = self.publishers.iter().map(|one| u64::from(one.memory_mib));
        let left = u64::from(self.memory_mib.max(1)).checked_sub(taken.sum())?;
        u32::try_from(left).ok()
    }

    /// What is wrong with the settings as a whole, if anything is.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let mut names: Vec<_> = self
            .publishers
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        let named = |name: &str| {
            let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            !name.is_empty() && name.len() <= 64 && name.bytes().all(letters)
        };
        if names.len() < self.publishers.len() || names.iter().any(|name| !named(name)) {
            return Err("publishers need names of their own, of letters, digits, dots and dashes");
        }
        if self
            .publishers
            .iter()
            .any(|one| one.memory_mib == 0 || one.sites.is_empty())
        {
            return Err("each publisher needs sites, and a mebibyte of memory at least");
        }
        if self.memory_left_mib().is_none() {
            return Err(
                "publishers have more memory-mib than the cache; give it more, or them less",
            );
        }
        if self.intercepts() && self.publishers.iter().any(|one| one.addresses.is_empty()) {
            return Err("a cache that intercepts needs the addresses of each publisher's sites");
        }
        let mixed = self.intercepts() && self.publishers.iter().any(|one| one.origin.is_some());
        match mixed {
            true => Err("give every publisher an origin, or none"),
            false => Ok(()),
        }
    }
}

impl Publisher {
    /// Where requests for its sites go.
    pub(crate) fn upstream(&self, own: &Own) -> Result<Option<Upstream>, &'static str> {
        let named = |origin: &OriginUrl| origin.upstream(self.origin_name.as_ref());
        match self.origin.as_ref() {
            Some(origin) => named(origin).map(Some),
            None => own.upstream(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(service: &str) -> Result<Own, toml::de::Error> {
        toml::from_str(service)
    }

    #[test]
    fn origins_are_with_tls_or_without() {
        let upstream = |service| read(service).expect("settings").upstream();
        let plain = upstream("origin = '192.0.2.1:80'").expect("an upstream");
        assert_eq!(
            plain,
            Some(Upstream::Plain(Authority::from_static("192.0.2.1:80")))
        );
        let named = |name: &'static str| Upstream::Tls {
            server: Server::Named(Authority::from_static("192.0.2.1")),
            name: ServerName::try_from(name).expect("a name"),
        };
        assert_eq!(
            upstream("origin = 'https://192.0.2.1'"),
            Ok(Some(named("192.0.2.1")))
        );
        let service = "origin = 'https://192.0.2.1'\norigin-name = 'tv.example'";
        assert_eq!(upstream(service), Ok(Some(named("tv.example"))));
        assert!(upstream("origin = '192.0.2.1'\norigin-name = 'tv.example'").is_err());
        for bad in ["", "ftp://a", "https://a/b", "u@a", "https://u@a", "a b"] {
            assert!(read(&format!("origin = '{bad}'")).is_err(), "{bad}");
        }
    }

    #[test]
    fn sites_are_names_or_all_below_one() {
        let pattern = |text: &str| {
            let toml = format!("a = '{text}'");
            let mut all: std::collections::HashMap<String, SitePattern> =
                toml::from_str(&toml).ok()?;
            all.remove("a")
        };
        let tv = pattern("TV.example").expect("a site");
        assert!(tv.means("tv.example") && !tv.means("a.tv.example"));
        let below = pattern("*.tv.example").expect("sites");
        assert!(below.means("a.tv.example") && !below.means("tv.example"));
        assert!(!below.means("eviltv.example") && !below.means(".tv.example"));
        for bad in ["", "*", "*.", "a b", "*.192.0.2.1", "http://a"] {
            assert!(pattern(bad).is_none(), "{bad}");
        }
    }

    #[track_caller]
    fn check(service: &str, publisher: &str, is_right: bool) {
        let text =
            format!("{service}\n[[publishers]]\nname = 'tv'\nsites = ['tv.example']\n{publisher}");
        let read = read(&text).expect("settings");
        assert_eq!(read.check().is_ok(), is_right, "{text}: {:?}", read.check());
    }

    #[test]
    fn publishers_fit_into_the_cache_they_share() {
        check("", "memory-mib = 32\naddresses = ['192.0.2.1']", true);
        check("", "memory-mib = 32", false);
        check("", "memory-mib = 65\naddresses = ['192.0.2.1']", false);
        check("", "memory-mib = 0\naddresses = ['192.0.2.1']", false);
        check("origin = 'a:80'", "memory-mib = 32", true);
        check("", "memory-mib = 32\norigin = 'a:80'", true);
        let twice =
            "memory-mib = 1\n[[publishers]]\nname = 'tv'\nsites = ['a.example']\nmemory-mib = 1";
        check("origin = 'a:80'", twice, false);
        assert!(read("publishers = [{}]").is_err() && read("publisher = 1").is_err());
    }
}
