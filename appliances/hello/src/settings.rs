//! The settings, from text to types that cannot be wrong.

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

/// What the service is told.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) addresses: Addresses,
    pub(crate) identity: Identity,
}

/// Where is listened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
}

/// Who the service is to clients of HTTPS.
pub(crate) enum Identity {
    /// The certificate comes first, then those that link it to its authority.
    Given {
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    },
    /// A certificate is made for these names and addresses.
    SelfSigned { names: Vec<String> },
}

/// Without the key.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identity::Given { chain, .. } => write!(f, "Given({} certificates)", chain.len()),
            Identity::SelfSigned { names } => f.debug_tuple("SelfSigned").field(names).finish(),
        }
    }
}

/// Which setting is wrong, why, and what would be right. No value of a secret is in it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("{0} is not UTF-8; write it again")]
    NotText(&'static str),
    #[error(
        "{variable}={value} is no address with a port; write it like {example}, or leave it out"
    )]
    NoAddress {
        variable: &'static str,
        value: String,
        example: &'static str,
    },
    #[error("{present} is set and {absent} is not; a certificate and its key come together")]
    Half {
        present: &'static str,
        absent: &'static str,
    },
    #[error(
        "TLS_NAMES is for the certificate that is made here, and TLS_CERTIFICATE is set; leave one of them out"
    )]
    NamesAndCertificate,
    #[error(
        "TLS_NAMES has {0:?}, which is neither a host's name nor an address; write names with commas between them"
    )]
    NoName(String),
    #[error(
        "{0} holds no PEM of the right kind; it begins with -----BEGIN and keeps its line ends"
    )]
    NoPem(&'static str),
}

const HTTP_ADDRESS: &str = "[::]:80";
const HTTPS_ADDRESS: &str = "[::]:443";
const NAMES: &str = "hello.edge.example";

impl Settings {
    /// Reads the settings with a function like [`std::env::var_os`].
    pub(crate) fn from_lookup(
        lookup: impl Fn(&'static str) -> Option<OsString>,
    ) -> Result<Settings, SettingsError> {
        let text = |variable| match lookup(variable).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text)),
            Some(Err(_)) => Err(SettingsError::NotText(variable)),
        };
        Ok(Settings {
            addresses: Addresses {
                http: address("HTTP_ADDRESS", text("HTTP_ADDRESS")?, HTTP_ADDRESS)?,
                https: address("HTTPS_ADDRESS", text("HTTPS_ADDRESS")?, HTTPS_ADDRESS)?,
            },
            identity: identity(
                text("TLS_CERTIFICATE")?,
                text("TLS_KEY")?,
                text("TLS_NAMES")?,
            )?,
        })
    }
}

fn address(
    variable: &'static str,
    value: Option<String>,
    default: &'static str,
) -> Result<SocketAddr, SettingsError> {
    let value = value.unwrap_or_else(|| default.to_owned());
    value.parse().map_err(|_| SettingsError::NoAddress {
        variable,
        value,
        example: default,
    })
}

fn identity(
    certificate: Option<String>,
    key: Option<String>,
    names: Option<String>,
) -> Result<Identity, SettingsError> {
    let half = |present, absent| Err(SettingsError::Half { present, absent });
    match (certificate, key, names) {
        (Some(_), None, _) => half("TLS_CERTIFICATE", "TLS_KEY"),
        (None, Some(_), _) => half("TLS_KEY", "TLS_CERTIFICATE"),
        (Some(_), Some(_), Some(_)) => Err(SettingsError::NamesAndCertificate),
        (Some(certificate), Some(key), None) => Ok(Identity::Given {
            chain: chain(&certificate)?,
            key: PrivateKeyDer::from_pem_slice(key.as_bytes())
                .map_err(|_| SettingsError::NoPem("TLS_KEY"))?,
        }),
        (None, None, names) => Ok(Identity::SelfSigned {
            names: checked_names(names.as_deref().unwrap_or(NAMES))?,
        }),
    }
}

fn chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, SettingsError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| SettingsError::NoPem("TLS_CERTIFICATE"))?;
    match chain.is_empty() {
        true => Err(SettingsError::NoPem("TLS_CERTIFICATE")),
        false => Ok(chain),
    }
}

fn checked_names(text: &str) -> Result<Vec<String>, SettingsError> {
    let names = text.split(',').map(|name| {
        let name = name.trim();
        match ServerName::try_from(name) {
            Ok(_) => Ok(name.to_owned()),
            Err(_) => Err(SettingsError::NoName(name.to_owned())),
        }
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(environment: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        Settings::from_lookup(|variable| {
            let (_, value) = environment.iter().find(|(name, _)| *name == variable)?;
            Some(OsString::from(value))
        })
    }

    #[track_caller]
    fn check_refused(environment: &[(&str, &str)], parts: &[&str]) {
        let error = read(environment).expect_err("refused").to_string();
        for part in parts {
            assert!(error.contains(part), "no {part:?} in {error}");
        }
    }

    #[test]
    fn nothing_need_be_set() {
        let settings = read(&[]).expect("the defaults");
        assert_eq!(settings.addresses.http.to_string(), "[::]:80");
        assert_eq!(settings.addresses.https.to_string(), "[::]:443");
        assert!(matches!(settings.identity, Identity::SelfSigned { names } if names == [NAMES]));
    }

    #[test]
    fn names_and_addresses_are_taken() {
        let settings = read(&[
            ("HTTP_ADDRESS", "127.0.0.1:8080"),
            ("TLS_NAMES", "a.example, 10.0.0.2,fd00::2"),
        ])
        .expect("good settings");
        assert_eq!(settings.addresses.http.to_string(), "127.0.0.1:8080");
        let Identity::SelfSigned { names } = settings.identity else {
            panic!("no certificate was given");
        };
        assert_eq!(names, ["a.example", "10.0.0.2", "fd00::2"]);
    }

    #[test]
    fn what_makes_no_sense_is_explained() {
        check_refused(
            &[("HTTP_ADDRESS", "80")],
            &["HTTP_ADDRESS=80 is no address", "like [::]:80"],
        );
        check_refused(&[("HTTPS_ADDRESS", "")], &["HTTPS_ADDRESS="]);
        check_refused(&[("TLS_NAMES", "a..b")], &["\"a..b\"", "neither"]);
        check_refused(&[("TLS_NAMES", "a,")], &["\"\""]);
        check_refused(&[("TLS_CERTIFICATE", "x")], &["TLS_KEY is not"]);
        check_refused(&[("TLS_KEY", "x")], &["TLS_CERTIFICATE is not"]);
        check_refused(
            &[
                ("TLS_KEY", "x"),
                ("TLS_CERTIFICATE", "y"),
                ("TLS_NAMES", "z"),
            ],
            &["leave one of them out"],
        );
    }

    #[test]
    fn a_secret_is_in_no_message() {
        let certified =
            rcgen::generate_simple_self_signed([NAMES.to_owned()]).expect("a certificate");
        let certificate = certified.cert.pem();
        for key in ["SECRET", "-----BEGIN PRIVATE KEY-----\nSECRET\n"] {
            let environment = [("TLS_CERTIFICATE", &*certificate), ("TLS_KEY", key)];
            check_refused(&environment, &["TLS_KEY holds no PEM"]);
            let error = read(&environment).expect_err("refused");
            assert!(!format!("{error} {error:?}").contains("SECRET"));
        }
        let key = certified.signing_key.serialize_pem();
        let settings = read(&[("TLS_CERTIFICATE", &certificate), ("TLS_KEY", &key)]);
        let shown = format!("{:?}", settings.expect("good settings"));
        assert!(shown.contains("Given(1 certificates)"), "{shown}");
    }

    #[test]
    fn a_certificate_is_pem() {
        check_refused(
            &[("TLS_KEY", "x"), ("TLS_CERTIFICATE", "not PEM")],
            &["TLS_CERTIFICATE holds no PEM"],
        );
    }
}
