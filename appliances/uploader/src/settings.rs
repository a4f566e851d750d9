//! The uploader's own settings: `[service]` of the document.
//!
//! | key | meaning | without it |
//! |---|---|---|
//! | `device` | the disk, or a file in its place | `/dev/xvda` |
//! | `size-mib` | makes the file with this size if it is not there | it must be there |
//! | `path` | where uploads are made, by tus 1.0: `POST` to it, with or without a slash at its end | `/files` |
//! | `upload-mib-max` | the largest upload | half of the disk |
//! | `destination` | the URL where uploads go whose metadata name none | such are refused |
//! | `originals-at-once`, `thumbnails-at-once` | uploads on their way to origins | 2, 4 |
//! | `timetable`, `utc-offset-minutes` | what the link costs by time of day ([`crate::timetable`]) | always 0, UTC |
//! | `original-price-max` | the price up to which originals go | 0 |
//! | `patience-hours` | after which an original goes whatever the link costs | 24 |
//! | `rest-seconds` | how long an original rests before it goes, so that whoever brought it can take it back: the thumbnailer does, if the origin wants no thumbnail | 5 |
//! | `unfinished-hours` | after which an upload that nobody goes on with is forgotten | 24 |
//! | `keep-hours` | after which one is forgotten that was delivered; where room is short, after ten minutes | 24 |
//! | `refused-hours` | after which one is forgotten that its origin refused and the operator did not send again; where room is short, after `keep-hours` | 720 |
//! | `origin-ca` | certificates that an origin's may be signed with, in PEM, instead of the Web's | none |
//! | `status` | `ADDRESS:PORT` of the status page and its JSON (`src/status/mod.rs`), for the operator only | none is served |
//! | `[[service.origin]]` | origins by `host`; with any, nothing goes to others | every origin |
//!
//! An origin has `host` (as in the URL, without the port), and may have `address` (`ADDRESS:PORT` that is
//! connected to, whatever the metadata say), `protocol` (`replay`, without it, repeats the phone's request;
//! `put` sends a PUT to the URL; `tus` uploads by tus 1.0; `s3` makes objects of a bucket, named by their
//! SHA-256) and `endpoint` (the path that tus uploads are made at, the URL's own without it; with `s3` bucket
//! and prefix, which are needed). `s3` signs for `region` (`us-east-1` without it), with the keys that the
//! environment has as `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;

use crate::expiry::Keep;
use crate::timetable::{Timetable, TimetableError};

/// Origins with settings of their own.
const ORIGINS_MAX: usize = 256;
/// A year is longer than anybody waits.
const HOURS_MAX: u64 = 365 * 24;
/// Whoever takes an upload back does so at once.
const REST_SECONDS_MAX: u64 = 3600;
/// Each takes a connection and some extents of memory.
const AT_ONCE_MAX: usize = 32;

/// As they are written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Written {
    device: String,
    size_mib: Option<u64>,
    path: String,
    upload_mib_max: Option<u64>,
    destination: Option<String>,
    originals_at_once: usize,
    thumbnails_at_once: usize,
    timetable: Vec<String>,
    utc_offset_minutes: i32,
    original_price_max: u32,
    patience_hours: u64,
    rest_seconds: u64,
    unfinished_hours: u64,
    keep_hours: u64,
    refused_hours: u64,
    origin_ca: Option<String>,
    status: Option<SocketAddr>,
    origin: Vec<WrittenOrigin>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WrittenOrigin {
    host: String,
    address: Option<SocketAddr>,
    #[serde(default)]
    protocol: Protocol,
    endpoint: Option<String>,
    region: Option<String>,
}

/// How an origin takes uploads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Protocol {
    /// As the phone sent it.
    #[default]
    Replay,
    /// PUT to the URL.
    Put,
    /// tus 1.0.
    Tus,
    /// Objects of a bucket.
    S3,
}

impl Default for Written {
    fn default() -> Written {
        Written {
            device: "/dev/xvda".to_owned(),
            size_mib: None,
            path: "/files".to_owned(),
            upload_mib_max: None,
            destination: None,
            originals_at_once: 2,
            thumbnails_at_once: 4,
            timetable: Vec::new(),
            utc_offset_minutes: 0,
            original_price_max: 0,
            patience_hours: 24,
            rest_seconds: 5,
            unfinished_hours: 24,
            keep_hours: 24,
            refused_hours: 30 * 24,
            origin_ca: None,
            status: None,
            origin: Vec::new(),
        }
    }
}

/// As they are meant.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) device: String,
    /// In bytes.
    pub(crate) size: Option<u64>,
    /// Without a slash at its end.
    pub(crate) path: String,
    /// In bytes.
    pub(crate) upload_max: Option<u64>,
    pub(crate) destination: Option<String>,
    pub(crate) originals_at_once: usize,
    pub(crate) thumbnails_at_once: usize,
    pub(crate) timetable: Timetable,
    pub(crate) original_price_max: u32,
    pub(crate) patience: Duration,
    pub(crate) rest: Duration,
    pub(crate) keep: Keep,
    pub(crate) roots: RootCertStore,
    pub(crate) status: Option<SocketAddr>,
    pub(crate) origins: Origins,
}

/// Origins by their names in small letters; without any, every origin is one.
#[derive(Debug, Default)]
pub(crate) struct Origins(HashMap<String, Origin>);

/// What is special about an origin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin {
    pub(crate) address: Option<SocketAddr>,
    pub(crate) protocol: Protocol,
    pub(crate) endpoint: Option<String>,
    pub(crate) region: Option<String>,
}

impl Origins {
    /// Whether requests must be signed.
    pub(crate) fn need_keys(&self) -> bool {
        let needs = |origin: &Origin| origin.protocol == Protocol::S3;
        self.0.values().any(needs)
    }

    /// An origin; `None` if nothing may go there.
    pub(crate) fn get(&self, host: &str) -> Option<Origin> {
        match self.0.is_empty() {
            true => Some(Origin::default()),
            false => self.0.get(host).cloned(),
        }
    }
}

/// Which setting is wrong, why, and what would be right.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("{0}")]
    Timetable(#[from] TimetableError),
    #[error("{key} has {value:?}, which is no path; begin it with a slash, without spaces or ?")]
    Path { key: &'static str, value: String },
    #[error("{key} = {value} is out of bounds; give 1 to {max}")]
    Number {
        key: &'static str,
        value: u64,
        max: u64,
    },
    #[error("origin-ca holds no certificate in PEM; it begins with -----BEGIN CERTIFICATE")]
    Roots,
    #[error("origin {0:?} is there twice, or has no name; write host = \"www.photos.example\"")]
    Origin(String),
    #[error("origin {0:?} speaks s3, so it needs endpoint = \"/bucket\" or \"/bucket/prefix\"")]
    Bucket(String),
    #[error("region = {0:?} is none; it is letters, digits and -, as in eu-central-1")]
    Region(String),
    #[error(
        "an origin speaks s3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment"
    )]
    Keys,
    #[error("there are more than {ORIGINS_MAX} origins")]
    Origins,
    #[error("destination = {0:?} is no URL; write it like https://www.photos.example/upload")]
    Destination(String),
}

impl TryFrom<Written> for Settings {
    type Error = SettingsError;

    fn try_from(written: Written) -> Result<Settings, SettingsError> {
        check_path("path", &written.path)?;
        let number = |key, value: u64, max: u64| match (1..=max).contains(&value) {
            true => Ok(value),
            false => Err(SettingsError::Number { key, value, max }),
        };
        let hours = |key, value| {
            number(key, value, HOURS_MAX).map(|hours| Duration::from_secs(hours * 3600))
        };
        let mib = |key, value: Option<u64>| {
            let bytes = value.map(|value| number(key, value, 1 << 40).map(|mib| mib << 20));
            bytes.transpose()
        };
        let at_once =
            |key, value: usize| number(key, value as u64, AT_ONCE_MAX as u64).map(|_| value);
        if let Some(url) = &written.destination
            && crate::destination::Place::parse(url).is_none()
        {
            return Err(SettingsError::Destination(url.clone()));
        }
        Ok(Settings {
            size: mib("size-mib", written.size_mib)?,
            upload_max: mib("upload-mib-max", written.upload_mib_max)?,
            device: written.device,
            path: written.path.trim_end_matches('/').to_owned(),
            destination: written.destination,
            originals_at_once: at_once("originals-at-once", written.originals_at_once)?,
            thumbnails_at_once: at_once("thumbnails-at-once", written.thumbnails_at_once)?,
            timetable: Timetable::parse(&written.timetable, written.utc_offset_minutes)?,
            original_price_max: written.original_price_max,
            patience: hours("patience-hours", written.patience_hours)?,
            rest: Duration::from_secs(written.rest_seconds.min(REST_SECONDS_MAX)),
            keep: Keep {
                unfinished: hours("unfinished-hours", written.unfinished_hours)?,
                delivered: hours("keep-hours", written.keep_hours)?,
                refused: hours("refused-hours", written.refused_hours)?,
            },
            roots: roots(written.origin_ca.as_deref())?,
            status: written.status,
            origins: origins(written.origin)?,
        })
    }
}

fn origins(written: Vec<WrittenOrigin>) -> Result<Origins, SettingsError> {
    if written.len() > ORIGINS_MAX {
        return Err(SettingsError::Origins);
    }
    let mut origins = HashMap::new();
    for one in written {
        if let Some(endpoint) = &one.endpoint {
            check_path("endpoint", endpoint)?;
        }
        if one.protocol == Protocol::S3 && one.endpoint.is_none() {
            return Err(SettingsError::Bucket(one.host));
        }
        let is_region =
            |text: &String| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if let Some(region) = one.region.as_ref().filter(|region| !is_region(region)) {
            return Err(SettingsError::Region(region.clone()));
        }
        let host = one.host.to_ascii_lowercase();
        let origin = Origin {
            address: one.address,
            protocol: one.protocol,
            endpoint: one.endpoint,
            region: one.region,
        };
        if host.is_empty() || origins.insert(host, origin).is_some() {
            return Err(SettingsError::Origin(one.host));
        }
    }
    Ok(Origins(origins))
}

fn check_path(key: &'static str, path: &str) -> Result<(), SettingsError> {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'?' && byte != b'#';
    match path.starts_with('/') && path.bytes().all(plain) {
        true => Ok(()),
        false => Err(SettingsError::Path {
            key,
            value: path.to_owned(),
        }),
    }
}

fn roots(pem: Option<&str>) -> Result<RootCertStore, SettingsError> {
    let Some(pem) = pem else {
        let web = webpki_roots::TLS_SERVER_ROOTS.iter().cloned();
        return Ok(RootCertStore::from_iter(web));
    };
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| SettingsError::Roots)?;
    let mut roots = RootCertStore::empty();
    match roots.add_parsable_certificates(certificates) {
        (1.., _) => Ok(roots),
        _ => Err(SettingsError::Roots),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str) -> Result<Settings, String> {
        let written: Written = toml::from_str(toml).map_err(|error| error.to_string())?;
        let settings = Settings::try_from(written);
        settings.map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_needs_to_be_said() {
        let settings = read("").expect("good");
        assert_eq!(
            (settings.device.as_str(), settings.path.as_str()),
            ("/dev/xvda", "/files")
        );
        assert!(settings.origins.get("anybody").is_some());
        let one = read("[[origin]]\nhost = 'A.example'\nprotocol = 'tus'\nendpoint = '/files/'")
            .expect("good");
        let origin = one.origins.get("a.example").expect("there");
        assert_eq!(
            (origin.protocol, origin.endpoint.as_deref()),
            (Protocol::Tus, Some("/files/"))
        );
        assert!(one.origins.get("b.example").is_none());
    }

    #[test]
    fn what_makes_no_sense_is_explained() {
        let check = |toml: &str, part: &str| {
            let error = read(toml).expect_err("refused");
            assert!(error.contains(part), "{error}");
        };
        check("path = 'files'", "begin it with a slash");
        check("originals-at-once = 0", "give 1 to 32");
        check("patience-hours = 100000", "give 1 to 8760");
        check("timetable = ['6 price=1']", "write it like");
        check("origin-ca = 'x'", "BEGIN CERTIFICATE");
        check("destination = 'upload'", "write it like https://");
        check(
            "[[origin]]\nhost = 'a'\n[[origin]]\nhost = 'A'",
            "there twice",
        );
        check("colour = 1", "unknown field");
        check(
            "[[origin]]\nhost = 'a'\nprotocol = 's3'",
            "it needs endpoint",
        );
        check(
            "[[origin]]\nhost = 'a'\nregion = 'a/b'",
            "as in eu-central-1",
        );
    }
}
