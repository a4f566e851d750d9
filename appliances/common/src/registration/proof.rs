//! The proof that a domain has the key that its token names.
//!
//! It is a COSE_Sign1 (RFC 9052) over a nonce and the token's digest, with Ed25519, in deterministic
//! CBOR. All of its parts have a fixed length, so it is written here byte by byte;
//! `controller/edgecloudd/src/api/mod.rs` promises the form, and its test compares it with the
//! controller's own encoder.

use std::fmt;

use ring::digest::{SHA256, digest};
use ring::signature::Ed25519KeyPair;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;

/// What a host draws at random for one proof.
pub(crate) type Nonce = [u8; 32];

/// `{1: EdDSA, 3: "application/vnd.edgecloud.proof+cbor"}`.
const PROTECTED: &[u8; 42] = b"\xa2\x01\x27\x03\x78\x24application/vnd.edgecloud.proof+cbor";

/// The key that the token names. It is never shown.
pub(crate) struct HolderKey(Ed25519KeyPair);

impl fmt::Debug for HolderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HolderKey")
    }
}

impl HolderKey {
    /// The key of a PKCS#8 document in PEM, if it is one of Ed25519.
    pub(crate) fn from_pem(pem: &str) -> Option<Self> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).ok()?;
        // The public half is in documents of some programs and not of others.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der());
        pair.ok().map(Self)
    }

    /// The proof for a nonce and a token's bytes.
    pub(crate) fn prove(&self, nonce: &Nonce, token: &[u8]) -> Vec<u8> {
        let token = digest(&SHA256, token);
        let payload = [
            b"\xa2\x01\x58\x20",
            &nonce[..],
            b"\x02\x58\x20",
            token.as_ref(),
        ]
        .concat();
        let to_sign = [
            &b"\x84\x6aSignature1\x58\x2a"[..],
            PROTECTED,
            b"\x40\x58\x47",
            &payload,
        ];
        let signature = self.0.sign(&to_sign.concat());
        [
            &b"\xd2\x84\x58\x2a"[..],
            PROTECTED,
            b"\xa0\x58\x47",
            &payload,
            b"\x58\x40",
            signature.as_ref(),
        ]
        .concat()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use data_encoding::HEXLOWER;

    /// The seed `[7; 32]`, as `openssl pkey` writes it.
    pub(crate) const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH\n\
        -----END PRIVATE KEY-----\n";

    /// What `edgecloud-manifest` made of the same key, nonce and token.
    const PROOF: &str = include_str!("proof.hex");

    #[test]
    fn a_proof_is_the_controllers_to_the_byte() {
        let key = HolderKey::from_pem(KEY).expect("a key");
        let proof = key.prove(&[1; 32], b"token");
        assert_eq!(HEXLOWER.encode(&proof), PROOF.trim_end());
    }

    #[test]
    fn what_is_no_key_is_refused_and_a_key_is_not_shown() {
        assert!(HolderKey::from_pem("").is_none());
        assert!(
            HolderKey::from_pem(&KEY.replace("MC4CAQAwBQYDK2Vw", "MC4CAQAwBQYDK2Vx")).is_none()
        );
        let key = HolderKey::from_pem(KEY).expect("a key");
        assert_eq!(format!("{key:?}"), "HolderKey");
    }
}
