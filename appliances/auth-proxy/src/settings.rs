//! What an operator sets, in `[service]` of the document. Secrets come by the environment only:
//! `OPERATOR_TOKEN` opens the operator's port, `RADIUS_SECRET` is shared with the RADIUS servers.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;

use axum::http::Uri;
use data_encoding::BASE64;
use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Deserializer, de::Error};

use crate::session::Quota;
use crate::subscriber::Subscriber;
use crate::token::{Publisher, Publishers};

/// The auth proxy's own settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Own {
    /// The portal's address, as clients are sent there: `http://portal.example/`.
    pub portal: Portal,
    /// Where sessions are kept: a disk (`/dev/xvda`) or a file.
    pub store: PathBuf,
    /// Where the operator's API and page are, over HTTPS; without it they are nowhere.
    pub operator: Option<SocketAddr>,
    /// How the pages look.
    #[serde(default)]
    pub look: Look,
    /// The operator's own list.
    #[serde(default)]
    pub subscribers: Vec<Subscriber>,
    /// What publishers' tokens name as `aud`; needed with publishers.
    #[serde(default)]
    pub audience: String,
    /// Publishers whose tokens let their users in.
    #[serde(default)]
    pub publishers: Vec<PublisherKey>,
    /// RADIUS servers.
    pub radius: Option<Radius>,
    /// Further languages, and other texts.
    #[serde(default)]
    pub languages: BTreeMap<String, BTreeMap<String, String>>,
}

/// The portal's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Portal {
    /// `http` or `https`, `://`, host and port, `/`.
    pub url: String,
    /// The host, in small letters.
    pub host: String,
}

impl<'de> Deserialize<'de> for Portal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let cure = "a portal is like http://portal.example/";
        let uri: Uri = text.parse().map_err(|_| D::Error::custom(cure))?;
        let is_plain = uri.path_and_query().is_none_or(|path| path == "/");
        match (uri.scheme_str(), uri.authority()) {
            (Some(scheme @ ("http" | "https")), Some(authority))
                if is_plain && !authority.as_str().contains('@') =>
            {
                Ok(Self {
                    url: format!("{scheme}://{}/", authority.as_str().to_ascii_lowercase()),
                    host: authority.host().to_ascii_lowercase(),
                })
            }
            _ => Err(D::Error::custom(cure)),
        }
    }
}

/// How the pages look.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Look {
    /// Above each page; without it, the language's word for it.
    pub name: Option<String>,
    /// The colour of buttons and headings.
    #[serde(default)]
    pub colour: Colour,
    /// A picture above each page, as SVG.
    pub logo_svg: Option<String>,
    /// Terms of use, as plain text.
    pub terms: Option<String>,
}

/// A colour as `#rrggbb`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Colour(pub String);

impl Default for Colour {
    fn default() -> Self {
        Self("#005a9c".to_owned())
    }
}

impl<'de> Deserialize<'de> for Colour {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.strip_prefix('#').unwrap_or_default();
        match digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            true => Ok(Self(text)),
            false => Err(D::Error::custom("a colour is like #005a9c")),
        }
    }
}

/// A publisher's key.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PublisherKey {
    /// The publisher.
    pub name: String,
    /// What tokens name as `kid`.
    pub kid: String,
    /// The key.
    #[serde(deserialize_with = "verifying_key")]
    pub key: VerifyingKey,
    /// The most that one token may ask for.
    #[serde(default)]
    pub quota: Quota,
}

fn verifying_key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<VerifyingKey, D::Error> {
    let text = String::deserialize(deserializer)?;
    let bytes = BASE64.decode(text.as_bytes()).ok();
    let bytes = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let key = bytes.and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
    // A key of small order would accept signatures that nobody made.
    let key = key.filter(|key| !key.is_weak());
    key.ok_or_else(|| D::Error::custom("a publisher's key is the 32 bytes of Ed25519 in base64"))
}

/// RADIUS servers.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Radius {
    /// For authentication, in the order in which they are asked: `10.0.0.5:1812`.
    pub servers: Vec<SocketAddr>,
    /// For accounting; without them none is done.
    #[serde(default)]
    pub accounting: Vec<SocketAddr>,
    /// What this hotspot calls itself (`NAS-Identifier`).
    #[serde(default = "nas")]
    pub nas_identifier: String,
    /// Where Disconnect and CoA requests are taken; without it they are not.
    pub dynamic: Option<SocketAddr>,
    /// Seconds between interim accounting, whatever a server asks for (RFC 2869, section 2.1). Without
    /// it a server's `Acct-Interim-Interval` holds, or else 300; never less than 60 (section 5.16).
    pub interim_seconds: Option<u64>,
    /// Whether answers without Message-Authenticator are dropped. Turn it off only where the way to the
    /// servers is protected and they cannot be brought up to date.
    #[serde(default = "yes")]
    pub message_authenticator: bool,
    /// What a login is good for, where the server does not say it.
    #[serde(default)]
    pub quota: Quota,
}

fn yes() -> bool {
    true
}

fn nas() -> String {
    "edgecloud".to_owned()
}

/// What is wrong between settings that are right each.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    /// Two publishers' keys with one name.
    #[error("two publishers' keys have the kid {0:?}; give each its own")]
    Kid(String),
    /// Publishers, and no audience.
    #[error("publishers are set and `audience` is not; give what their tokens name as `aud`")]
    Audience,
    /// Two subscribers with one name.
    #[error("two subscribers are named {0:?}; leave one of them out")]
    Subscriber(String),
}

impl Own {
    /// The publishers' keys.
    ///
    /// # Errors
    /// Two have one name, or nobody knows whom tokens are for.
    pub fn publishers(&self) -> Result<Publishers, Wrong> {
        if !self.publishers.is_empty() && self.audience.is_empty() {
            return Err(Wrong::Audience);
        }
        let mut keys = HashMap::new();
        for key in &self.publishers {
            let publisher = Publisher {
                name: key.name.clone(),
                key: key.key,
                quota: key.quota,
            };
            if keys.insert(key.kid.clone(), publisher).is_some() {
                return Err(Wrong::Kid(key.kid.clone()));
            }
        }
        Ok(Publishers {
            audience: self.audience.clone(),
            keys,
        })
    }

    /// The subscribers by name.
    ///
    /// # Errors
    /// Two have one name.
    pub fn subscribers(&self) -> Result<HashMap<String, Subscriber>, Wrong> {
        let mut all = HashMap::new();
        for subscriber in &self.subscribers {
            let name = subscriber.name.clone();
            if all.insert(name.clone(), subscriber.clone()).is_some() {
                return Err(Wrong::Subscriber(name));
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "portal = 'http://Portal.example'\nstore = '/dev/xvda'\n";

    fn check(more: &str) -> Result<Own, String> {
        toml::from_str(&format!("{LEAST}{more}"))
            .map_err(|error: toml::de::Error| error.to_string())
    }

    #[test]
    fn few_settings_are_needed() {
        let own = check("").expect("good");
        assert_eq!(own.portal.url, "http://portal.example/");
        assert_eq!(own.portal.host, "portal.example");
        assert_eq!(own.look.colour, Colour::default());
    }

    #[test]
    fn what_makes_no_sense_is_explained() {
        let wrong = |more: &str, part: &str| {
            let error = check(more).expect_err(more);
            assert!(error.contains(part), "{more}: {error}");
        };
        wrong("look = { colour = 'red;}body{' }", "like #005a9c");
        wrong(
            "publishers = [{ name = 'a', kid = 'b', key = 'AAAA' }]",
            "32 bytes",
        );
        // The neutral element is a point, and no key.
        let weak = BASE64.encode(&[[1].as_slice(), &[0; 31]].concat());
        wrong(
            &format!("publishers = [{{ name = 'a', kid = 'b', key = '{weak}' }}]"),
            "32 bytes",
        );
        wrong("subscribes = []", "unknown field");
        for portal in [
            "portal.example",
            "ftp://a/",
            "http://a/b",
            "http://u@a/",
            "http://a/?x",
        ] {
            let text = format!("portal = '{portal}'\nstore = 'x'");
            assert!(toml::from_str::<Own>(&text).is_err(), "{portal}");
        }
    }
}
