//! Publishers' tokens: a publisher lets its user in, by a JSON Web Token with an Ed25519 signature
//! (RFC 7519, RFC 8037), which any backend can make.
//!
//! Header: `alg` is `EdDSA`, `kid` names the key. Claims: `aud` is this hotspot, `exp`, `nbf` and `jti`
//! are needed; `seconds`, `bytes` and `kbit` ask for less than the publisher's quota; `ip` binds the
//! token to a client. A token is good for one session.
//!
//! *Threats.* A token of another kind or algorithm (one is accepted), of another hotspot (`aud`), used
//! twice or by two (`jti`, remembered until `exp`, which is soon), with a signature that is another's in
//! disguise (`verify_strict`), and floods of forged ones: what costs nothing is looked at first.

use std::collections::HashMap;
use std::net::IpAddr;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use ed25519_dalek::{Signature, VerifyingKey};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::limits::{CLOCK_SKEW_SECONDS, REPLAYS_MAX, TOKEN_BYTES_MAX, TOKEN_LIFE_SECONDS_MAX};
use crate::session::{Login, Quota};

/// A publisher's key.
#[derive(Clone, Debug)]
pub struct Publisher {
    /// The publisher, in names of passes.
    pub name: String,
    /// The key.
    pub key: VerifyingKey,
    /// The most that a token may ask for.
    pub quota: Quota,
}

/// The keys by `kid`, and whom tokens are for.
#[derive(Clone, Debug, Default)]
pub struct Publishers {
    /// `aud` of good tokens.
    pub audience: String,
    /// By `kid`.
    pub keys: HashMap<String, Publisher>,
}

/// Why a token is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadToken {
    /// It is none, or of another kind.
    Malformed,
    /// Another algorithm than EdDSA.
    Algorithm,
    /// No key of that name.
    Key,
    /// For somebody else.
    Audience,
    /// Not good any more.
    Expired,
    /// Not good yet.
    Early,
    /// Good for longer than tokens may be.
    TooLong,
    /// For another client.
    Client,
    /// The signature does not hold.
    Signature,
}

/// A token that is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What it is remembered by: publisher and `jti`.
    pub id: String,
    /// When it may be forgotten.
    pub expires: u64,
    /// The login that it is good for.
    pub login: Login,
}

#[derive(Deserialize)]
struct Header<'t> {
    alg: &'t str,
    kid: String,
    /// Extensions that must be understood (RFC 7515, section 4.1.11): none is.
    crit: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Claims {
    aud: String,
    exp: u64,
    nbf: u64,
    jti: String,
    seconds: Option<u64>,
    bytes: Option<u64>,
    kbit: Option<u32>,
    ip: Option<IpAddr>,
}

impl Publishers {
    /// Checks a token, but for whether it was used before.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn check(&self, token: &str, client: IpAddr, now: u64) -> Result<Verified, BadToken> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(BadToken::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(BadToken::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(BadToken::Malformed)?;
        let header = decoded(header)?;
        let header: Header<'_> = json(&header)?;
        if header.alg != "EdDSA" || header.crit.is_some() {
            return Err(BadToken::Algorithm);
        }
        let publisher = self.keys.get(&header.kid).ok_or(BadToken::Key)?;
        let claims: Claims = json(&decoded(claims)?)?;
        self.check_claims(&claims, client, now)?;
        let signature = decoded(signature)?;
        let signature = Signature::from_slice(&signature).map_err(|_| BadToken::Malformed)?;
        let holds = publisher.key.verify_strict(signed.as_bytes(), &signature);
        holds.map_err(|_| BadToken::Signature)?;
        let id = format!("{}:{}", publisher.name, short(&claims.jti));
        Ok(Verified {
            expires: claims.exp.saturating_add(CLOCK_SKEW_SECONDS),
            login: Login {
                key: format!("token:{id}"),
                quota: least(publisher.quota, &claims),
                renews: false,
                class: None,
            },
            id,
        })
    }

    fn check_claims(&self, claims: &Claims, client: IpAddr, now: u64) -> Result<(), BadToken> {
        let refused = [
            (claims.aud != self.audience, BadToken::Audience),
            (
                claims.exp.saturating_add(CLOCK_SKEW_SECONDS) <= now,
                BadToken::Expired,
            ),
            (
                claims.nbf > now.saturating_add(CLOCK_SKEW_SECONDS),
                BadToken::Early,
            ),
            (
                claims.exp.saturating_sub(claims.nbf) > TOKEN_LIFE_SECONDS_MAX,
                BadToken::TooLong,
            ),
            (claims.jti.is_empty(), BadToken::Malformed),
            (
                claims.ip.is_some_and(|ip| ip.to_canonical() != client),
                BadToken::Client,
            ),
        ];
        match refused.iter().find(|(is, _)| *is) {
            Some((_, why)) => Err(*why),
            None => Ok(()),
        }
    }
}

fn decoded(part: &str) -> Result<Vec<u8>, BadToken> {
    let bytes = BASE64URL_NOPAD.decode(part.as_bytes());
    bytes.map_err(|_| BadToken::Malformed)
}

fn json<'b, T: Deserialize<'b>>(bytes: &'b [u8]) -> Result<T, BadToken> {
    serde_json::from_slice(bytes).map_err(|_| BadToken::Malformed)
}

/// A `jti` may be of any length and kind; what is remembered is not.
fn short(jti: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(jti.as_bytes())[..16])
}

/// What a token asks for, within what its publisher may give.
fn least(quota: Quota, claims: &Claims) -> Quota {
    let least = |mine: Option<u64>, theirs: Option<u64>| match (mine, theirs) {
        (Some(mine), Some(theirs)) => Some(mine.min(theirs)),
        (mine, theirs) => mine.or(theirs),
    };
    let kbit = least(quota.kbit.map(u64::from), claims.kbit.map(u64::from));
    Quota {
        seconds: claims.seconds.unwrap_or(u64::MAX).min(quota.seconds),
        bytes: least(quota.bytes, claims.bytes),
        kbit: kbit.and_then(|kbit| u32::try_from(kbit).ok()),
        devices: 1,
    }
}

/// Tokens that were used, until they have expired and are forgotten.
#[derive(Debug, Default)]
pub struct Replays(HashMap<String, (u64, IpAddr)>);

/// Why a good token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// Another client used it.
    Used,
    /// More tokens are remembered than there is room for.
    Full,
    /// It was good when it was verified, and is not any more.
    Expired,
}

impl Replays {
    /// Whether a client may use a token now. The same client may use it again.
    ///
    /// # Errors
    /// It was used, cannot be remembered, or has expired since it was verified.
    pub fn check(&self, token: &Verified, client: IpAddr, now: u64) -> Result<(), Replayed> {
        if token.expires <= now {
            return Err(Replayed::Expired);
        }
        match self.0.get(&token.id) {
            Some((_, by)) if *by != client => Err(Replayed::Used),
            None if self.0.len() >= REPLAYS_MAX => Err(Replayed::Full),
            _ => Ok(()),
        }
    }

    /// Remembers that a client used a token.
    pub fn take(&mut self, id: String, expires: u64, client: IpAddr) {
        self.0.insert(id, (expires, client));
    }

    /// Whether a token was used that is still good: its client may show it again.
    pub fn is_good(&self, id: &str, now: u64) -> bool {
        self.0.get(id).is_some_and(|(expires, _)| *expires > now)
    }

    /// Those that have expired: nobody needs to remember them.
    pub fn expired(&self, now: u64) -> impl Iterator<Item = &String> {
        let all = self.0.iter();
        all.filter(move |(_, (expires, _))| *expires <= now)
            .map(|(id, _)| id)
    }

    /// Forgets a token.
    pub fn forget(&mut self, id: &str) {
        self.0.remove(id);
    }
}

#[cfg(test)]
mod tests;
