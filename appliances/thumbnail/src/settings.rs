//! The thumbnailer's own settings: `[service]` of the document.
//!
//! | key | meaning | without it |
//! |---|---|---|
//! | `uploader` | `http://HOST:PORT/PATH` of the uploader's tus endpoint | needed |
//! | `sizes` | the thumbnails that are made, each `NAME=WIDTHxHEIGHT`, `:fill` or `:crop` behind it | needed |
//! | `paths` | beginnings of paths that take uploads | `["/upload"]` |
//! | `thumbnails` | the origin's path that thumbnails are posted to | `/thumbnails` |
//! | `alpha` | `png` or `webp`, for what is not opaque | `png` |
//! | `origin` | the origin's address and port, instead of the one that the client meant | none |
//! | `origin-ca` | certificates that an origin's may be signed with, in PEM, instead of the Web's | none |
//! | `memory-mib` | for the bodies of uploads that are on their way | 64 |

use std::net::SocketAddr;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;

use crate::http::Endpoint;
use crate::picture::{Alpha, Size, SizeError};

/// More sizes than a site has places for them.
const SIZES_MAX: usize = 8;
/// Beginnings of paths.
const PATHS_MAX: usize = 32;
/// A domain has less memory than this.
const MEMORY_MIB_MAX: usize = 16 << 10;

/// As they are written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Written {
    uploader: String,
    sizes: Vec<String>,
    #[serde(default = "default_paths")]
    paths: Vec<String>,
    #[serde(default = "default_thumbnails")]
    thumbnails: String,
    #[serde(default)]
    alpha: WrittenAlpha,
    origin: Option<SocketAddr>,
    origin_ca: Option<String>,
    #[serde(default = "default_memory")]
    memory_mib: usize,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WrittenAlpha {
    #[default]
    Png,
    Webp,
}

fn default_paths() -> Vec<String> {
    vec!["/upload".to_owned()]
}

fn default_thumbnails() -> String {
    "/thumbnails".to_owned()
}

fn default_memory() -> usize {
    64
}

/// As they are meant.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) uploader: Endpoint,
    pub(crate) sizes: Vec<Size>,
    pub(crate) paths: Vec<String>,
    pub(crate) thumbnails: String,
    pub(crate) alpha: Alpha,
    pub(crate) origin: Option<SocketAddr>,
    pub(crate) origin_roots: RootCertStore,
    /// In bytes.
    pub(crate) memory: usize,
}

/// Which setting is wrong, why, and what would be right.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("sizes: {0}")]
    Size(#[from] SizeError),
    #[error("sizes has {0} of them; give 1 to {SIZES_MAX}")]
    Sizes(usize),
    #[error("uploader = {0:?} is no endpoint; write http://HOST:PORT/PATH")]
    Uploader(String),
    #[error("{key} has {value:?}, which is no path; begin it with a slash, without spaces or ?")]
    Path { key: &'static str, value: String },
    #[error("paths has none, or more than {PATHS_MAX}; nothing would be taken")]
    Paths,
    #[error("origin-ca holds no certificate in PEM; it begins with -----BEGIN CERTIFICATE")]
    Roots,
    #[error(
        "memory-mib = {0} is too little or too much; a photograph takes up to 32, so give at least 64"
    )]
    Memory(usize),
}

impl TryFrom<Written> for Settings {
    type Error = SettingsError;

    fn try_from(written: Written) -> Result<Settings, SettingsError> {
        let sizes: Vec<Size> = written
            .sizes
            .iter()
            .map(|text| text.parse())
            .collect::<Result<_, _>>()?;
        if !(1..=SIZES_MAX).contains(&sizes.len()) {
            return Err(SettingsError::Sizes(sizes.len()));
        }
        if !(1..=PATHS_MAX).contains(&written.paths.len()) {
            return Err(SettingsError::Paths);
        }
        for path in &written.paths {
            check_path("paths", path)?;
        }
        check_path("thumbnails", &written.thumbnails)?;
        if !(64..=MEMORY_MIB_MAX).contains(&written.memory_mib) {
            return Err(SettingsError::Memory(written.memory_mib));
        }
        Ok(Settings {
            uploader: Endpoint::parse(&written.uploader)
                .ok_or(SettingsError::Uploader(written.uploader))?,
            sizes,
            paths: written.paths,
            thumbnails: written.thumbnails,
            alpha: match written.alpha {
                WrittenAlpha::Png => Alpha::Png,
                WrittenAlpha::Webp => Alpha::WebP,
            },
            origin: written.origin,
            origin_roots: roots(written.origin_ca.as_deref())?,
            memory: written.memory_mib << 20,
        })
    }
}

fn check_path(key: &'static str, path: &str) -> Result<(), SettingsError> {
    let good = path.starts_with('/')
        && path
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'?' && byte != b'#');
    match good {
        true => Ok(()),
        false => Err(SettingsError::Path {
            key,
            value: path.to_owned(),
        }),
    }
}

fn roots(pem: Option<&str>) -> Result<RootCertStore, SettingsError> {
    let Some(pem) = pem else {
        return Ok(RootCertStore::from_iter(
            webpki_roots::TLS_SERVER_ROOTS.iter().cloned(),
        ));
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
        written
            .try_into()
            .map_err(|error: SettingsError| error.to_string())
    }

    #[test]
    fn two_keys_are_enough() {
        let settings =
            read("uploader = 'http://10.0.0.3:80/files'\nsizes = ['small=256x256:crop']")
                .expect("good");
        assert_eq!(settings.paths, ["/upload"]);
        assert_eq!(settings.memory, 64 << 20);
        assert!(settings.origin_roots.len() > 50);
    }

    #[test]
    fn what_makes_no_sense_is_explained() {
        let check = |toml: &str, part: &str| {
            let error = read(toml).expect_err("refused");
            assert!(error.contains(part), "{error}");
        };
        check("sizes = []", "missing field `uploader`");
        let uploader = "uploader = 'http://u/'\n";
        let sizes = "sizes = ['a=9x9']\n";
        check(&format!("{uploader}sizes = []"), "give 1 to 8");
        check(
            &format!("{uploader}sizes = ['a']"),
            "write NAME=WIDTHxHEIGHT",
        );
        check(
            &format!("uploader = 'ftp://x'\n{sizes}"),
            "http://HOST:PORT/PATH",
        );
        check(
            &format!("{uploader}{sizes}paths = ['upload']"),
            "begin it with a slash",
        );
        check(
            &format!("{uploader}{sizes}paths = []"),
            "nothing would be taken",
        );
        check(&format!("{uploader}{sizes}memory-mib = 1"), "at least 64");
        check(
            &format!("{uploader}{sizes}origin-ca = 'x'"),
            "BEGIN CERTIFICATE",
        );
        check(&format!("{uploader}{sizes}colour = 1"), "unknown field");
    }
}
