//! The certificate and its key, as rustls serves them.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};

use crate::settings::Identity;

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
    pub(crate) fn of(identity: Identity) -> Result<Certificate, CertificateError> {
        let (chain, key) = match identity {
            Identity::Given { chain, key } => (chain, key),
            Identity::SelfSigned { names } => {
                let (certificate, key) = self_signed(names)?;
                (vec![certificate], key)
            }
        };
        // A chain is never empty.
        let fingerprint = fingerprint(chain.first().map_or(&[], |first| first.as_ref()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
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
        let certificate = Certificate::of(Identity::SelfSigned {
            names: names.to_vec(),
        })
        .expect("made");
        assert_eq!(certificate.config.alpn_protocols.len(), 2);
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let made = || self_signed(vec!["a.example".to_owned()]).expect("made");
        let ((certificate, _), (_, key)) = (made(), made());
        let error = Certificate::of(Identity::Given {
            chain: vec![certificate],
            key,
        })
        .err()
        .expect("refused");
        assert!(matches!(error, CertificateError::NotServed(_)), "{error}");
    }
}
