//! The token: an operator's signed permission for one application on certain hosts.
//!
//! A CBOR Web Token (RFC 8392) in a COSE_Sign1 by the authority. Hosts verify it offline. It is
//! of no use to who steals it: the key that it names must answer a challenge.

mod claims;
mod verifier;

use std::fmt;

use crate::document::{Bill, Limit, RULES_MAX};
use crate::key::PublicKey;
use crate::label::ApplicationName;
use crate::name::Name;
use crate::rule::{OnFail, Rule};
use crate::time::Timestamp;

pub use verifier::{AUTHORITY_KEYS_MAX, CLOCK_SKEW_SECONDS_MAX, TokenRefusal, Verifier};

/// Hosts that one token may name: it is read by each of them, and by nobody else.
pub const HOSTS_MAX: usize = 64;

/// The number of an application at its operator: 24 bits, as many as the flows' cookies have room
/// for. 0 is the operator's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApplicationNumber(u32);

impl ApplicationNumber {
    /// The greatest number.
    pub const MAX: u32 = (1 << 24) - 1;

    /// An application's number; nothing for 0 or beyond 24 bits.
    pub fn new(number: u32) -> Option<Self> {
        (1..=Self::MAX).contains(&number).then_some(Self(number))
    }

    /// The number, 1 to [`Self::MAX`].
    pub fn get(self) -> u32 {
        self.0
    }
}

/// A token's serial number, given once by an authority, also across its crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Serial(pub u64);

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A SHA-256 digest: of a manifest's CBOR, of an image's ELF, of an offer, of a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of bytes.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// The digest by its 64 hexadecimal digits, in lower case.
    pub fn from_hex(text: &str) -> Option<Self> {
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A rule that was granted, perhaps narrower than it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Grant {
    /// Which rule of the manifest it answers, from 0: the number that flows carry.
    pub index: u16,
    /// What is permitted.
    pub rule: Rule,
}

/// What a token says, each part valid alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The authority that speaks (`iss`).
    pub issuer: Name,
    /// The hosts that may act on it (`aud`), 1 to [`HOSTS_MAX`].
    pub hosts: Vec<Name>,
    /// Not from this moment on (`exp`).
    pub expires: Timestamp,
    /// Not before this moment (`nbf`).
    pub not_before: Timestamp,
    /// Which token this is (`cti`).
    pub serial: Serial,
    /// The publisher of the application.
    pub publisher: PublicKey,
    /// What the publisher calls the application.
    pub application: ApplicationName,
    /// What the operator calls it.
    pub number: ApplicationNumber,
    /// The manifest that this answers, by the digest of its CBOR.
    pub manifest: Digest,
    /// The image that may use it, by the digest of its ELF.
    pub image: Digest,
    /// The key that the application proves to have (`cnf`, RFC 8747).
    pub holder: PublicKey,
    /// What was granted, by ascending index, each index once; 1 to [`RULES_MAX`].
    pub grants: Vec<Grant>,
    /// What holds for granted rules that do not say it themselves.
    pub on_fail: OnFail,
    /// What all granted rules together may use.
    pub limit: Limit,
    /// Who pays.
    pub bill: Bill,
}

/// Why claims make no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimsError {
    /// No host, too many, or one twice.
    #[error("a token is for 1 to {HOSTS_MAX} different hosts")]
    Hosts,
    /// No grant, too many, or not by ascending index.
    #[error("a token grants 1 to {RULES_MAX} rules, by ascending index")]
    Grants,
    /// It expires before it starts to hold.
    #[error("the token expires at {expires}, and holds only from {not_before}")]
    NeverValid {
        /// When it ends.
        expires: Timestamp,
        /// When it starts.
        not_before: Timestamp,
    },
}

/// A permission whose parts fit together. One that came from outside was made by a verifier, which
/// checked signature, audience, time and revocation first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token(Claims);

impl Token {
    /// The token with these claims.
    ///
    /// # Errors
    /// Claims that do not fit together.
    pub fn new(claims: Claims) -> Result<Self, ClaimsError> {
        let mut hosts: Vec<&Name> = claims.hosts.iter().collect();
        hosts.sort_unstable();
        hosts.dedup();
        if hosts.len() != claims.hosts.len() || !(1..=HOSTS_MAX).contains(&hosts.len()) {
            return Err(ClaimsError::Hosts);
        }
        let ascending = claims
            .grants
            .windows(2)
            .all(|pair| pair[0].index < pair[1].index);
        let within = claims
            .grants
            .iter()
            .all(|grant| usize::from(grant.index) < RULES_MAX);
        if claims.grants.is_empty() || !ascending || !within {
            return Err(ClaimsError::Grants);
        }
        let (expires, not_before) = (claims.expires, claims.not_before);
        if expires <= not_before {
            return Err(ClaimsError::NeverValid {
                expires,
                not_before,
            });
        }
        Ok(Self(claims))
    }

    /// All that it says.
    pub fn claims(&self) -> &Claims {
        &self.0
    }

    /// The authority that speaks.
    pub fn issuer(&self) -> &Name {
        &self.0.issuer
    }

    /// The hosts that may act on it.
    pub fn hosts(&self) -> &[Name] {
        &self.0.hosts
    }

    /// The moment from which on it holds no more.
    pub fn expires(&self) -> Timestamp {
        self.0.expires
    }

    /// Which token this is.
    pub fn serial(&self) -> Serial {
        self.0.serial
    }

    /// What the publisher calls the application.
    pub fn application(&self) -> &ApplicationName {
        &self.0.application
    }

    /// The application's number in the flows' cookies.
    pub fn number(&self) -> ApplicationNumber {
        self.0.number
    }

    /// The publisher of the application.
    pub fn publisher(&self) -> &PublicKey {
        &self.0.publisher
    }

    /// The digest of the ELF that may use it.
    pub fn image(&self) -> Digest {
        self.0.image
    }

    /// The key that the application proves to have.
    pub fn holder(&self) -> &PublicKey {
        &self.0.holder
    }

    /// What was granted, by ascending index.
    pub fn grants(&self) -> &[Grant] {
        &self.0.grants
    }

    /// What becomes of a granted rule's traffic without a replica.
    pub fn on_fail(&self, rule: &Rule) -> OnFail {
        match rule {
            Rule::Intercept(intercept) => intercept.on_fail().unwrap_or(self.0.on_fail),
            _ => self.0.on_fail,
        }
    }

    /// What all granted rules together may use.
    pub fn limit(&self) -> Limit {
        self.0.limit
    }

    /// Who pays.
    pub fn bill(&self) -> &Bill {
        &self.0.bill
    }
}
