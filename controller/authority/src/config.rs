//! The authority's configuration: one TOML file. Paths in it are relative to it; secrets are in
//! files of their own, which only their owner may read.

use std::collections::HashMap;
use std::fs;
use std::io::Read as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, Result, bail, ensure};
use manifest::{Account, Name, PublicKey, SigningKey};
use serde::{Deserialize, Deserializer, de};
use zeroize::Zeroizing;

/// Longest configuration, key or certificate file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The configuration file. Unknown keys are errors.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// The operator's name, which tokens carry and hosts expect.
    #[serde(deserialize_with = "parsed")]
    pub issuer: Name,
    /// Where the interface listens.
    pub listen: SocketAddr,
    /// The PEM file of the key that signs tokens.
    pub key: PathBuf,
    /// The database.
    pub database: PathBuf,
    /// The Cedar policies.
    pub policies: PathBuf,
    /// Longest life of a token, in days: what was granted is looked at again at least so often.
    #[serde(default = "token_days_max")]
    pub token_days_max: u32,
    /// How long an offer can be accepted, in hours.
    #[serde(default = "offer_hours_max")]
    pub offer_hours_max: u32,
    /// The hosts that tokens may be for.
    #[serde(deserialize_with = "all_parsed")]
    pub hosts: Vec<Name>,
    /// The keys of those who may revoke tokens and read the audit log.
    #[serde(deserialize_with = "all_parsed")]
    pub operators: Vec<PublicKey>,
    /// The server's certificate.
    pub tls: Tls,
    /// The publishers that the operator has a contract with.
    #[serde(default)]
    pub publishers: Vec<Publisher>,
}

/// The certificate of the interface.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Tls {
    /// The chain, PEM.
    pub certificates: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
}

/// A publisher that the operator has a contract with.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Publisher {
    /// Its key.
    #[serde(deserialize_with = "parsed")]
    pub key: PublicKey,
    /// What the operator calls it.
    pub name: String,
    /// The accounts that its manifests may bill.
    #[serde(deserialize_with = "all_parsed")]
    pub accounts: Vec<Account>,
    /// Its groups in policies.
    #[serde(default)]
    pub groups: Vec<String>,
}

const fn token_days_max() -> u32 {
    30
}

const fn offer_hours_max() -> u32 {
    24
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
    /// Reads a configuration; its paths become relative to where this program runs.
    ///
    /// # Errors
    /// A file that cannot be read, or what is wrong in it, with line and column.
    pub fn read(file: &Path) -> Result<Self> {
        let text = read_text(file)?;
        let mut config = Self::parse(&text)
            .with_context(|| format!("{} is no configuration of an authority", file.display()))?;
        let directory = file.parent().unwrap_or(Path::new(""));
        for path in [
            &mut config.key,
            &mut config.database,
            &mut config.policies,
            &mut config.tls.certificates,
            &mut config.tls.key,
        ] {
            *path = directory.join(&*path);
        }
        Ok(config)
    }

    fn parse(text: &str) -> Result<Self> {
        let config: Self = toml::from_str(text)?;
        ensure!(
            (1..=3650).contains(&config.token_days_max),
            "`token-days-max` is {}: write from 1 to 3650",
            config.token_days_max
        );
        ensure!(
            (1..=720).contains(&config.offer_hours_max),
            "`offer-hours-max` is {}: write from 1 to 720",
            config.offer_hours_max
        );
        let mut keys = HashMap::new();
        for publisher in &config.publishers {
            if let Some(first) = keys.insert(publisher.key, &publisher.name) {
                bail!(
                    "publishers {first:?} and {:?} have the same key: join them",
                    publisher.name
                );
            }
        }
        Ok(config)
    }
}

/// Reads a file of bounded size.
///
/// # Errors
/// A file that cannot be read, is too long, or is no text.
pub fn read_text(file: &Path) -> Result<String> {
    let read = || -> Result<String> {
        let mut text = String::new();
        let limited = fs::File::open(file)?
            .take(FILE_BYTES_MAX + 1)
            .read_to_string(&mut text)?;
        ensure!(
            limited as u64 <= FILE_BYTES_MAX,
            "it has more than {FILE_BYTES_MAX} bytes"
        );
        Ok(text)
    };
    read().with_context(|| format!("cannot read {}", file.display()))
}

/// Reads a secret, which others on this machine must not be able to read.
///
/// # Errors
/// As [`read_text`], and a file that others can read.
pub fn read_secret(file: &Path) -> Result<Zeroizing<String>> {
    let mode = fs::metadata(file)
        .with_context(|| format!("cannot read {}", file.display()))?
        .permissions()
        .mode();
    ensure!(
        mode & 0o077 == 0,
        "{} can be read by others than its owner: chmod 600 it",
        file.display()
    );
    read_text(file).map(Zeroizing::new)
}

/// Reads the key that signs tokens.
///
/// # Errors
/// As [`read_secret`], and a file that is no key.
pub fn read_key(file: &Path) -> Result<SigningKey> {
    let pem = read_secret(file)?;
    SigningKey::from_pem(&pem).with_context(|| file.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../example/authority.toml");

    #[test]
    fn the_example_is_read() {
        let config = Config::parse(EXAMPLE).unwrap();
        assert_eq!((config.token_days_max, config.publishers.len()), (30, 1));
    }

    #[test]
    fn errors_name_their_place() {
        let check = |from: &str, to: &str, words: &[&str]| {
            let text = EXAMPLE.replacen(from, to, 1);
            let error = format!("{:#}", Config::parse(&text).unwrap_err());
            for word in words {
                assert!(error.contains(word), "{word} in: {error}");
            }
        };
        check("issuer", "isuer", &["line 4", "isuer"]);
        check("isp.example", "isp_example", &["line 4", "'_'"]);
        check("127.0.0.1:8443", "127.0.0.1", &["line 5"]);
        check("\"photos\"", "\"Photos\"", &["line 23", "Photos"]);
        check(
            "token-days-max = 30",
            "token-days-max = 0",
            &["token-days-max"],
        );
        let publisher = &EXAMPLE[EXAMPLE.find("[[publishers]]").unwrap()..];
        check(publisher, &publisher.repeat(2), &["same key"]);
    }
}
