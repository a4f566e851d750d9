//! Proof of possession: a domain shows that it has the key that its token names (RFC 8747).
//!
//! The host gives a nonce; the domain signs it with the token's digest; the host takes each nonce
//! back once, for a short time. A proof that was overheard, or made for another token, is refused.

use std::collections::{HashMap, VecDeque};

use crate::encoding::{DecodeError, Encoding, Fields, Value, map, wrong};
use crate::signed::{Document, OpenError, Signed};
use crate::time::Timestamp;
use crate::token::{Digest, Token};

/// Nonces that a host has given to one domain and not got back. A domain needs one at a time; when
/// there are more, its oldest is forgotten, so a flood costs who floods and nobody else.
pub const CHALLENGES_MAX: usize = 16;
/// How long a nonce can be used: longer than a domain takes to sign, shorter than a restart.
pub const CHALLENGE_SECONDS_MAX: u64 = 30;

/// 32 bytes that were drawn at random by the caller and used for nothing else.
pub type Nonce = [u8; 32];

/// What a domain signs with its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The nonce that the host gave.
    pub nonce: Nonce,
    /// The token by the digest of its bytes.
    pub token: Digest,
}

impl Encoding for Proof {
    fn to_value(&self) -> Value {
        map([
            (1, Some(Value::Bytes(self.nonce.to_vec()))),
            (2, Some(self.token.to_value())),
        ])
    }

    fn from_value(value: Value) -> Result<Self, DecodeError> {
        let mut fields = Fields::of("proof", value)?;
        let nonce = fields.bytes(1, "nonce")?;
        let proof = Self {
            nonce: nonce
                .try_into()
                .map_err(|_| wrong("nonce", "not 32 bytes"))?,
            token: fields.decoded(2, "token")?,
        };
        fields.end()?;
        Ok(proof)
    }
}

impl Document for Proof {
    const CONTENT_TYPE: &'static str = "application/vnd.edgecloud.proof+cbor";
    const BYTES_MAX: usize = 128;
}

/// Why a proof is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofRefusal {
    /// Not signed by the key that the token names.
    #[error("the proof is not by the key that the token names: {0}")]
    NotTheHolder(OpenError),
    /// For another token.
    #[error("the proof is for another token")]
    OtherToken,
    /// Its nonce was not given by this host, was used before, or was forgotten.
    #[error("the proof's challenge is unknown or was used: ask for a new one")]
    Replayed,
    /// Its nonce is too old.
    #[error("the proof's challenge is older than {CHALLENGE_SECONDS_MAX} s: ask for a new one")]
    Late,
}

/// The nonces that a host has given to one domain. Nonces are random and public, so finding one by its hash
/// tells nobody anything.
#[derive(Debug, Default)]
pub struct ReplayWindow {
    issued: HashMap<Nonce, Timestamp>,
    order: VecDeque<Nonce>,
}

impl ReplayWindow {
    /// Remembers a nonce that is given out now.
    pub fn issue(&mut self, nonce: Nonce, now: Timestamp) {
        // What was used stands in the order still; it counts until it comes to the front.
        while self.order.len() >= CHALLENGES_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.issued.remove(&oldest);
            }
        }
        if self.issued.insert(nonce, now).is_none() {
            self.order.push_back(nonce);
        }
    }

    /// Checks that a signed proof is by the holder of a token, for it, and fresh; once.
    ///
    /// # Errors
    /// Whatever speaks against it. Only what the holder signed uses up a nonce.
    pub fn check(
        &mut self,
        proof: &[u8],
        token: &Token,
        token_bytes: &[u8],
        now: Timestamp,
    ) -> Result<(), ProofRefusal> {
        let signed = Signed::<Proof>::open(proof, std::slice::from_ref(token.holder()))
            .map_err(ProofRefusal::NotTheHolder)?;
        let proof = signed.document();
        if proof.token != Digest::of(token_bytes) {
            return Err(ProofRefusal::OtherToken);
        }
        let issued = self.issued.remove(&proof.nonce);
        let issued = issued.ok_or(ProofRefusal::Replayed)?;
        if issued.after(CHALLENGE_SECONDS_MAX) < now {
            return Err(ProofRefusal::Late);
        }
        Ok(())
    }
}
