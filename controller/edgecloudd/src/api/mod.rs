//! The daemon's two interfaces, both HTTP/1.1 with JSON.
//!
//! | interface | where | for | file |
//! |---|---|---|---|
//! | operator | unix socket `/run/edgecloud/edgecloudd.sock`, mode 0600 | `edgecloud`, the command line | `operator.rs` |
//! | metadata | `http://169.254.169.254/v1/`, on the bridge | a host's own domains | `metadata.rs` |
//!
//! What is sent and answered is in [`documents`], bytes in it as base64 of RFC 4648, section 4, with
//! padding. Errors are problem documents (RFC 9457) with `type` `urn:edgecloud:problem:NAME` and a
//! `detail` that names cause and cure.
//!
//! # Operator
//! | request | answer |
//! |---|---|
//! | `POST /v1/launch` [`documents::Launch`] | 201 [`documents::Domain`], once the domain runs |
//! | `GET /v1/domains` | [`documents::Domains`] |
//! | `GET /v1/domains/NAME` | [`documents::Domain`] |
//! | `GET /v1/domains/NAME/log` | the console's end as text, at most [`LOG_BYTES_MAX`] |
//! | `POST /v1/domains/NAME/stop` [`documents::Stop`] | 204 once it has drained and is gone |
//! | `GET /v1/applications` | [`documents::Applications`] |
//! | `POST /v1/applications/NUMBER/revoke` | [`documents::Revoked`]; its connections are cut |
//! | `POST /v1/revocations` [`documents::Revocations`] | [`documents::Revoked`] |
//! | `GET /v1/flows` | [`documents::Flows`] |
//! | `POST /v1/trace` [`documents::Trace`] | [`documents::Traced`]: what would become of a packet that begins a connection |
//! | `GET /v1/accounts` | [`documents::Accounts`] |
//! | `GET /v1/names` | [`documents::Names`] |
//! | `GET /metrics` | Prometheus' text |
//! | `GET /health`, `GET /ready` | 200 while it lives; 200 once the switch holds what is desired |
//!
//! # Metadata
//! Who asks is who has the source address: the switch lets a domain speak from its own addresses
//! only, so a neighbour reads nothing of another's. Whoever else asks gets 404.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/nonce` | [`documents::Challenge`]: a nonce, and the token to prove |
//! | `POST /v1/register` [`documents::Registration`] | 204; 403 if the proof does not hold |
//! | `GET /v1/configuration` | the appliance's TOML as it was given at launch, perhaps empty |
//! | `POST /v1/ready` | 204: from now on it gets new connections; 403 before it registered |
//! | `POST /v1/drain` | 204: it gets no new connections, and keeps those it has |
//! | `GET /v1/state?known=STATE` | [`documents::DomainState`]; with `known`, as soon as the state is another, or after [`POLL_SECONDS_MAX`] |
//! | `POST /v1/admissions` [`documents::Admit`] | 201 [`documents::Admission`] once the switch lets the client through; wants a granted `admit` |
//! | `DELETE /v1/admissions/ADDRESS` | [`documents::Admission`] with the last figures, once the switch does not |
//! | `GET /v1/admissions` | [`documents::Admissions`] of the application |
//! | `GET /v1/free-services?known=VERSION` | [`documents::FreeServices`] that the switch lets the application reach for its visitors; with `known`, as soon as they are others than those of that version, or after [`FREE_POLL_SECONDS_MAX`]; wants a granted `admit` |
//!
//! # What a domain is given
//! Variables of its environment (in Xen through xenstore, where only dom0 and the domain can read
//! them, at `/local/domain/ID/edgecloud/environment/NAME`; never a command line):
//!
//! | variable | meaning |
//! |---|---|
//! | `EDGECLOUD_METADATA` | `http://169.254.169.254/v1/`: it is there only for a launched domain |
//! | `EDGECLOUD_KEY` | the private key that its token names, PKCS#8 in PEM: it signs the [`manifest::Proof`] |
//! | `NET` | in Xen only: addresses, gateway and resolver, as README's table says |
//! | others | what the launch asked for |
//!
//! The proof is a COSE_Sign1 of [`manifest::Proof`]: the bytes are
//! `d2 84 58 2a PROTECTED a0 58 47 PAYLOAD 58 40 SIGNATURE`, where PROTECTED (42 bytes) is
//! `a2 01 27 03 78 24 "application/vnd.edgecloud.proof+cbor"`, PAYLOAD (71 bytes) is
//! `a2 01 58 20 NONCE 02 58 20 DIGEST` with DIGEST the SHA-256 of the token's bytes, and SIGNATURE is
//! Ed25519 over `84 6a "Signature1" 58 2a PROTECTED 40 58 47 PAYLOAD`.
//!
//! **Threats.** A domain that floods (bounded by its meter in the switch, and by
//! [`server::CONNECTIONS_PER_DOMAIN_MAX`] connections), one that asks as another (the switch), a stolen token (needs
//! the key), a proof that was overheard (each nonce is taken once).

pub mod documents;
pub mod metadata;
pub mod operator;
mod problem;
pub mod server;

/// How much of a console is told: what a person looks at, not an archive.
pub const LOG_BYTES_MAX: usize = 262_144;
/// How long a domain's question for its state waits; clients use a longer limit of their own.
pub const POLL_SECONDS_MAX: u64 = 30;
/// How long a question for the free services waits: who hears nothing for longer knows nothing of them.
pub const FREE_POLL_SECONDS_MAX: u64 = 2;

#[cfg(test)]
mod tests {
    use manifest::{Digest, Proof, Signed, SigningKey};

    /// The bytes that the head of this file promises to those who write proofs by hand.
    #[test]
    fn a_proof_has_the_bytes_that_are_documented() {
        let key = SigningKey::from_seed(&[7; 32]);
        let (nonce, token) = ([1; 32], Digest([2; 32]));
        let mut protected = vec![0xa2, 0x01, 0x27, 0x03, 0x78, 0x24];
        protected.extend(b"application/vnd.edgecloud.proof+cbor");
        let payload = [
            &[0xa2, 0x01, 0x58, 0x20][..],
            &nonce,
            &[0x02, 0x58, 0x20],
            &token.0,
        ];
        let payload = payload.concat();
        let signed = [
            &[0x84, 0x6a][..],
            b"Signature1",
            &[0x58, 0x2a],
            &protected,
            &[0x40, 0x58, 0x47],
            &payload,
        ];
        let signature = key.sign(&signed.concat());
        let proof = [
            &[0xd2, 0x84, 0x58, 0x2a][..],
            &protected,
            &[0xa0, 0x58, 0x47],
            &payload,
            &[0x58, 0x40],
            &signature,
        ];
        let by_library = Signed::sign(Proof { nonce, token }, &key);
        assert_eq!(by_library.bytes(), proof.concat());
    }
}
