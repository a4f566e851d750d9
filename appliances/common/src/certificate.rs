//! The certificate and its key, as rustls serves them; and those of others whom an appliance serves.

use std::fmt::{self, Write as _};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};

use crate::settings::{Identity, given};

/// How long a certificate made here is good: longer than a domain lives before it is replaced.
const LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);
/// Clients' clocks may be behind.
const BACKDATED: Duration = Duration::from_secs(24 * 3600);

/// A certificate that is served.
pub(crate) struct Certificate {
    fingerprint: String,
    /// HTTP/2 is offered before HTTP/1.1.
    pub(crate) config: Arc<ServerConfig>,
}

/// A certificate of somebody whose site an appliance serves, with its key. In settings it is a table of
/// `certificate`, a chain in PEM, and `key`.
#[derive(Clone)]
pub struct Served(Arc<CertifiedKey>);

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Served({})", self.fingerprint())
    }
}

impl Served {
    /// As `openssl x509 -noout -fingerprint -sha256` prints it after the equals sign.
    pub fn fingerprint(&self) -> String {
        // A chain is never empty.
        fingerprint(self.0.cert.first().map_or(&[], |first| first.as_ref()))
    }
}

impl<'de> Deserialize<'de> for Served {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            certificate: String,
            key: String,
        }
        let written = Written::deserialize(deserializer)?;
        let wrong = |why: &str| serde::de::Error::custom(why);
        let Ok((chain, key)) = given(&written.certificate, &written.key) else {
            return Err(wrong("certificate and key are PEM, as openssl writes it"));
        };
        let served = CertifiedKey::from_der(chain, key, &ring::default_provider());
        let served = served.map_err(|_| wrong("the key is not that of the first certificate"))?;
        Ok(Served(Arc::new(served)))
    }
}

/// Certificates beside the appliance's own, by the name that a client asks for (SNI, RFC 6066, section 3).
#[derive(Clone, Default)]
pub struct Certificates(Arc<OnceLock<Choose>>);

type Choose = Box<dyn Fn(&str) -> Option<Served> + Send + Sync>;

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificates")
    }
}

impl Certificates {
    /// Sets who chooses; clients for whose name there is none get the appliance's own. The first that is set
    /// stays.
    pub fn choose_by(&self, choose: impl Fn(&str) -> Option<Served> + Send + Sync + 'static) {
        // An appliance has one `make`, which is called once.
        let _ = self.0.set(Box::new(choose));
    }
}

/// Serves the appliance's own, but for the names of others.
#[derive(Debug)]
struct Resolver {
    own: Arc<CertifiedKey>,
    others: Certificates,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let choose = self.others.0.get();
        let other = choose.zip(hello.server_name());
        let other = other.and_then(|(choose, name)| choose(&name.to_ascii_lowercase()));
        Some(other.map_or_else(|| Arc::clone(&self.own), |other| other.0))
    }
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    #[error("no certificate can be made for TLS_NAMES: {0}")]
    NotMade(#[from] rcgen::Error),
    #[error(
        "TLS_CERTIFICATE and TLS_KEY cannot be served: {0}; give the key of the first certificate"
    )]
    NotServed(#[from] rustls::Error),
}

impl Certificate {
    /// `others` may be set later, before the first client comes.
    pub(crate) fn of(
        identity: Identity,
        others: Certificates,
    ) -> Result<Certificate, CertificateError> {
        let (chain, key) = match identity {
            Identity::Given { chain, key } => (chain, key),
            Identity::SelfSigned { names } => {
                let (certificate, key) = self_signed(names)?;
                (vec![certificate], key)
            }
        };
        // A chain is never empty.
        let fingerprint = fingerprint(chain.first().map_or(&[], |first| first.as_ref()));
        let provider = ring::default_provider();
        let own = Arc::new(CertifiedKey::from_der(chain, key, &provider)?);
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Resolver { own, others }));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Certificate {
            fingerprint,
            config: Arc::new(config),
        })
    }

    /// As `openssl x509 -noout -fingerprint -sha256` prints it after the equals sign.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

fn self_signed(
    names: Vec<String>,
) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "EdgeCloud appliance, self-signed");
    let now = SystemTime::now();
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + LIFETIME).into();
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok((certificate.into(), key.into()))
}

fn fingerprint(der: &[u8]) -> String {
    let mut text = String::new();
    for byte in Sha256::digest(der) {
        let colon = if text.is_empty() { "" } else { ":" };
        // Writing to a string cannot fail.
        let _ = write!(text, "{colon}{byte:02X}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_written_as_openssl_does() {
        // FIPS 180-4's example "abc".
        let text = fingerprint(b"abc");
        assert!(
            text.starts_with("BA:78:16:BF:") && text.len() == 95,
            "{text}"
        );
    }

    #[test]
    fn a_certificate_is_made_for_names_and_addresses() {
        let names = ["hello.edge.example", "10.0.0.2", "fd00::2"].map(str::to_owned);
        let certificate = Certificate::of(
            Identity::SelfSigned {
                names: names.to_vec(),
            },
            Certificates::default(),
        )
        .expect("made");
        assert_eq!(certificate.config.alpn_protocols.len(), 2);
    }

    #[test]
    fn what_is_served_for_others_is_checked_and_its_key_not_shown() {
        let made = |name: &str| {
            let key = KeyPair::generate().expect("a key");
            let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
            let certificate = params.self_signed(&key).expect("a certificate");
            (certificate.pem(), key.serialize_pem())
        };
        let read = |certificate: &str, key: &str| {
            let table = format!("certificate = '''{certificate}'''\nkey = '''{key}'''");
            toml::from_str::<Served>(&table).map_err(|error| error.message().to_owned())
        };
        let ((certificate, key), (_, other)) = (made("a.example"), made("a.example"));
        let served = read(&certificate, &key).expect("they belong together");
        let shown = format!("{served:?}");
        assert_eq!(shown, format!("Served({})", served.fingerprint()));
        let error = read(&certificate, &other).expect_err("another's key");
        assert_eq!(error, "the key is not that of the first certificate");
        for (certificate, key) in [("", ""), ("no PEM", &key[..]), (&certificate, "no PEM")] {
            let error = read(certificate, key).expect_err("no PEM");
            assert!(error.starts_with("certificate and key are PEM"), "{error}");
        }
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let made = || self_signed(vec!["a.example".to_owned()]).expect("made");
        let ((certificate, _), (_, key)) = (made(), made());
        let error = Certificate::of(
            Identity::Given {
                chain: vec![certificate],
                key,
            },
            Certificates::default(),
        )
        .err()
        .expect("refused");
        assert!(matches!(error, CertificateError::NotServed(_)), "{error}");
    }
}
