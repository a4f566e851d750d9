//! What a host does with a token before it believes it.

use super::{Serial, Token};
use crate::key::PublicKey;
use crate::name::Name;
use crate::revocation::RevocationList;
use crate::signed::{OpenError, Signed};
use crate::time::Timestamp;

/// Authorities' keys that a host may hold: the one in use, and the next or the last one.
pub const AUTHORITY_KEYS_MAX: usize = 4;

/// How far the clocks of an authority and a host may be apart when a token starts to hold. At its
/// end there is no such grace: a permission ends when it says.
pub const CLOCK_SKEW_SECONDS_MAX: u64 = 60;

/// A host's readiness to believe tokens: whom, and as whom.
#[derive(Clone, Debug)]
pub struct Verifier {
    issuer: Name,
    keys: Vec<PublicKey>,
    host: Name,
}

/// Why a host does not act on a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenRefusal {
    /// Not a token, or one that was changed.
    #[error("not a token: {0}")]
    Malformed(OpenError),
    /// Not signed by an authority that this host believes.
    #[error(
        "the token is forged, or by an authority that this host does not know: submit the manifest to {issuer}"
    )]
    Forged {
        /// Whom it believes.
        issuer: Name,
    },
    /// Another authority speaks than the one whose key signed.
    #[error("the token is issued by {found}, and this host believes {expected} only")]
    OtherIssuer {
        /// Who speaks.
        found: Name,
        /// Whom the host believes.
        expected: Name,
    },
    /// For other hosts.
    #[error("the token is not for this host, {host}: submit the manifest for it")]
    OtherAudience {
        /// Which host this is.
        host: Name,
    },
    /// It does not hold yet.
    #[error("the token holds from {0}: wait, or set this host's clock")]
    NotYetValid(Timestamp),
    /// It holds no more.
    #[error("the token expired at {0}: submit the manifest again")]
    Expired(Timestamp),
    /// The operator took it back.
    #[error("token {0} was revoked: ask the operator")]
    Revoked(Serial),
}

impl TokenRefusal {
    /// One word for logs, metrics and interfaces.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Forged { .. } => "forged",
            Self::OtherIssuer { .. } => "other-issuer",
            Self::OtherAudience { .. } => "other-audience",
            Self::NotYetValid(_) => "not-yet-valid",
            Self::Expired(_) => "expired",
            Self::Revoked(_) => "revoked",
        }
    }
}

impl Verifier {
    /// For a host that believes an issuer by these keys; nothing without a key, or with more than
    /// [`AUTHORITY_KEYS_MAX`].
    pub fn new(issuer: Name, keys: Vec<PublicKey>, host: Name) -> Option<Self> {
        let fits = (1..=AUTHORITY_KEYS_MAX).contains(&keys.len());
        fits.then_some(Self { issuer, keys, host })
    }

    /// Reads a token that this host may act on now.
    ///
    /// # Errors
    /// Whatever speaks against it; the signature is checked before anything it says.
    pub fn verify(
        &self,
        bytes: &[u8],
        now: Timestamp,
        revocations: &RevocationList,
    ) -> Result<Token, TokenRefusal> {
        let signed = Signed::<Token>::open(bytes, &self.keys).map_err(|error| match error {
            OpenError::Forged => TokenRefusal::Forged {
                issuer: self.issuer.clone(),
            },
            other => TokenRefusal::Malformed(other),
        })?;
        let token = signed.into_document();
        self.check(&token, now, revocations)?;
        Ok(token)
    }

    /// Whether a token that was verified once still holds: what changes are time and revocations.
    ///
    /// # Errors
    /// Whatever speaks against it.
    pub fn check(
        &self,
        token: &Token,
        now: Timestamp,
        revocations: &RevocationList,
    ) -> Result<(), TokenRefusal> {
        if *token.issuer() != self.issuer {
            return Err(TokenRefusal::OtherIssuer {
                found: token.issuer().clone(),
                expected: self.issuer.clone(),
            });
        }
        if !token.hosts().contains(&self.host) {
            return Err(TokenRefusal::OtherAudience {
                host: self.host.clone(),
            });
        }
        if now.after(CLOCK_SKEW_SECONDS_MAX) < token.claims().not_before {
            return Err(TokenRefusal::NotYetValid(token.claims().not_before));
        }
        if token.expires() <= now {
            return Err(TokenRefusal::Expired(token.expires()));
        }
        if revocations.contains(token.serial()) {
            return Err(TokenRefusal::Revoked(token.serial()));
        }
        Ok(())
    }
}
