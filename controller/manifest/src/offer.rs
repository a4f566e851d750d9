//! The offer: what an operator answers to a submission that it does not grant as it is. Each rule
//! is granted, narrowed, priced or refused, by a policy that is named. A publisher accepts by
//! signing the offer's digest.

use std::fmt;
use std::str::FromStr;

use crate::document::{Limit, RULES_MAX};
use crate::encoding::rules::MANIFEST_BYTES_MAX;
use crate::encoding::{DecodeError, Encoding, Fields, Value, list, map, parsed, text, wrong};
use crate::key::PublicKey;
use crate::rule::Rule;
use crate::signed::{Document, SelfSigned, Signed};
use crate::time::Timestamp;
use crate::token::{Digest, Grant};

/// Longest name of a policy, in bytes; longer ones are cut.
pub const POLICY_LENGTH_MAX: usize = 64;
/// Longest reason, in bytes; longer ones are cut. It is a sentence for a person.
pub const REASON_LENGTH_MAX: usize = 256;

/// What an operator offers for one submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Which submission it answers, by [`crate::Submission::digest`].
    pub submission: Digest,
    /// Until when it can be accepted.
    pub valid_until: Timestamp,
    /// One answer for each rule of the manifest, in its order.
    pub answers: Vec<Answer>,
    /// What all rules together would get.
    pub limit: Limit,
    /// When the token would expire.
    pub expires: Timestamp,
}

/// An offer under the authority's signature.
pub type SignedOffer = Signed<Offer>;

/// What becomes of one rule, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What becomes of it.
    pub outcome: Outcome,
    /// The policy that decided it.
    pub policy: String,
    /// What that policy says to the publisher.
    pub reason: String,
}

/// What becomes of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It is permitted as it is.
    Granted(Rule),
    /// Less is permitted.
    Narrowed {
        /// What is.
        to: Rule,
    },
    /// It is permitted for money.
    Priced {
        /// What is, which may be less than was asked for.
        rule: Rule,
        /// For how much.
        price: Price,
    },
    /// Nothing of it is permitted.
    Refused,
}

impl Outcome {
    /// What is permitted, if anything is.
    pub fn rule(&self) -> Option<&Rule> {
        match self {
            Self::Granted(rule) | Self::Narrowed { to: rule } | Self::Priced { rule, .. } => {
                Some(rule)
            }
            Self::Refused => None,
        }
    }

    /// For how much it is permitted, if it costs anything.
    pub fn price(&self) -> Option<&Price> {
        match self {
            Self::Priced { price, .. } => Some(price),
            _ => None,
        }
    }

    /// `granted`, `narrowed`, `priced` or `refused`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Granted(_) => "granted",
            Self::Narrowed { .. } => "narrowed",
            Self::Priced { .. } => "priced",
            Self::Refused => "refused",
        }
    }
}

impl Answer {
    /// An answer whose texts are cut to their bounds.
    pub fn new(outcome: Outcome, policy: &str, reason: &str) -> Self {
        Self {
            outcome,
            policy: cut(policy, POLICY_LENGTH_MAX),
            reason: cut(reason, REASON_LENGTH_MAX),
        }
    }
}

fn cut(text: &str, max: usize) -> String {
    let end = text.floor_char_boundary(max);
    text[..end].to_owned()
}

impl Offer {
    /// What a token would grant: nothing if every rule is refused.
    pub fn grants(&self) -> Vec<Grant> {
        let granted = self.answers.iter().zip(0u16..);
        let grants = granted.filter_map(|(answer, index)| {
            let rule = answer.outcome.rule()?.clone();
            Some(Grant { index, rule })
        });
        grants.collect()
    }

    /// Whether every rule is granted as it is: then there is nothing to accept.
    pub fn is_grant(&self) -> bool {
        let granted = |answer: &Answer| matches!(answer.outcome, Outcome::Granted(_));
        self.answers.iter().all(granted)
    }

    /// What a publisher signs to accept it.
    pub fn digest(&self) -> Digest {
        Digest::of(&crate::encoding::to_bytes(self))
    }
}

/// An amount of money for a quantity: `0.05 EUR per GB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Price {
    micro: u64,
    currency: [u8; 3],
    per: Per,
}

/// What a [`Price`] is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Per {
    /// 10⁹ bytes, of both directions.
    Gigabyte,
    /// An hour of permission.
    Hour,
    /// A day of permission.
    Day,
    /// 30 days of permission.
    Month,
}

const PER: [(Per, &str); 4] = [
    (Per::Gigabyte, "GB"),
    (Per::Hour, "hour"),
    (Per::Day, "day"),
    (Per::Month, "month"),
];

/// Decimals of an amount: millionths.
const DECIMALS: usize = 6;
const MICRO: u64 = 1_000_000;

/// A text is no [`Price`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no price: write an amount with up to {DECIMALS} decimals, a currency, and per GB, hour, day or month, such as \"0.05 EUR per GB\""
)]
pub struct PriceError;

impl Price {
    /// The amount in millionths of the currency.
    pub fn micro(&self) -> u64 {
        self.micro
    }

    /// The currency by its ISO 4217 code.
    pub fn currency(&self) -> &str {
        std::str::from_utf8(&self.currency).unwrap_or_default()
    }

    /// What it is for.
    pub fn per(&self) -> Per {
        self.per
    }
}

impl FromStr for Price {
    type Err = PriceError;

    fn from_str(text: &str) -> Result<Self, PriceError> {
        let words: Vec<&str> = text.split(' ').collect();
        let [amount, currency, "per", per] = words[..] else {
            return Err(PriceError);
        };
        let per = PER.iter().find(|(_, word)| *word == per);
        let currency: Option<[u8; 3]> = currency.as_bytes().try_into().ok();
        let currency = currency.filter(|code| code.iter().all(u8::is_ascii_uppercase));
        Ok(Self {
            micro: parse_micro(amount).ok_or(PriceError)?,
            currency: currency.ok_or(PriceError)?,
            per: per.ok_or(PriceError)?.0,
        })
    }
}

fn parse_micro(amount: &str) -> Option<u64> {
    let (whole, decimals) = match amount.split_once('.') {
        Some((whole, decimals)) => (whole, Some(decimals)),
        None => (amount, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let decimals = decimals.unwrap_or("0");
    if !digits(whole) || !digits(decimals) || decimals.len() > DECIMALS {
        return None;
    }
    let fraction: u64 = format!("{decimals:0<DECIMALS$}").parse().ok()?;
    let whole: u64 = whole.parse().ok()?;
    whole.checked_mul(MICRO)?.checked_add(fraction)
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.micro / MICRO, self.micro % MICRO);
        let decimals = format!("{fraction:06}");
        let decimals = decimals.trim_end_matches('0');
        let point = if decimals.is_empty() { "" } else { "." };
        let per = PER.iter().find(|(per, _)| *per == self.per);
        let per = per.map_or("", |(_, word)| *word);
        write!(f, "{whole}{point}{decimals} {} per {per}", self.currency())
    }
}

impl Encoding for Offer {
    fn to_value(&self) -> Value {
        map([
            (1, Some(self.submission.to_value())),
            (2, Some(self.valid_until.to_value())),
            (3, Some(list(&self.answers))),
            (4, Some(self.limit.to_value())),
            (5, Some(self.expires.to_value())),
        ])
    }

    fn from_value(value: Value) -> Result<Self, DecodeError> {
        let mut fields = Fields::of("offer", value)?;
        let offer = Self {
            submission: fields.decoded(1, "submission")?,
            valid_until: fields.decoded(2, "valid-until")?,
            answers: fields.items(3, "answers")?,
            limit: fields.decoded(4, "limit")?,
            expires: fields.decoded(5, "expires")?,
        };
        fields.end()?;
        if offer.answers.len() > RULES_MAX {
            return Err(wrong("answers", "too many"));
        }
        Ok(offer)
    }
}

impl Encoding for Answer {
    fn to_value(&self) -> Value {
        let (outcome, price) = match &self.outcome {
            Outcome::Granted(_) => (1, None),
            Outcome::Narrowed { .. } => (2, None),
            Outcome::Priced { price, .. } => (3, Some(text(price))),
            Outcome::Refused => (4, None),
        };
        map([
            (1, Some(Value::from(outcome))),
            (2, Some(text(&self.policy))),
            (3, Some(text(&self.reason))),
            (4, self.outcome.rule().map(Encoding::to_value)),
            (5, price),
        ])
    }

    fn from_value(value: Value) -> Result<Self, DecodeError> {
        let mut fields = Fields::of("answer", value)?;
        let kind: u8 = fields.integer(1, "outcome")?;
        let policy: String = fields.parsed(2, "policy")?;
        let reason: String = fields.parsed(3, "reason")?;
        let rule = fields.take(4).map(Rule::from_value).transpose()?;
        let price = fields.take(5).map(|price| parsed(price, "price"));
        let price: Option<Price> = price.transpose()?;
        fields.end()?;
        let outcome = match (kind, rule, price) {
            (1, Some(rule), None) => Outcome::Granted(rule),
            (2, Some(to), None) => Outcome::Narrowed { to },
            (3, Some(rule), Some(price)) => Outcome::Priced { rule, price },
            (4, None, None) => Outcome::Refused,
            _ => return Err(wrong("outcome", "does not fit its rule and price")),
        };
        if policy.len() > POLICY_LENGTH_MAX || reason.len() > REASON_LENGTH_MAX {
            return Err(wrong("reason", "too long"));
        }
        Ok(Self {
            outcome,
            policy,
            reason,
        })
    }
}

impl Document for Offer {
    const CONTENT_TYPE: &'static str = "application/vnd.edgecloud.offer+cbor";
    const BYTES_MAX: usize =
        MANIFEST_BYTES_MAX + RULES_MAX * (POLICY_LENGTH_MAX + REASON_LENGTH_MAX + 64);
}

/// A publisher's yes to one offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acceptance {
    /// Which offer, by [`Offer::digest`].
    pub offer: Digest,
    /// Who accepts.
    pub publisher: PublicKey,
}

/// An acceptance under the publisher's signature.
pub type SignedAcceptance = Signed<Acceptance>;

impl Encoding for Acceptance {
    fn to_value(&self) -> Value {
        map([
            (1, Some(self.offer.to_value())),
            (2, Some(self.publisher.to_value())),
        ])
    }

    fn from_value(value: Value) -> Result<Self, DecodeError> {
        let mut fields = Fields::of("acceptance", value)?;
        let acceptance = Self {
            offer: fields.decoded(1, "offer")?,
            publisher: fields.decoded(2, "publisher")?,
        };
        fields.end()?;
        Ok(acceptance)
    }
}

impl Document for Acceptance {
    const CONTENT_TYPE: &'static str = "application/vnd.edgecloud.acceptance+cbor";
    const BYTES_MAX: usize = 256;
}

impl SelfSigned for Acceptance {
    fn signer(&self) -> &PublicKey {
        &self.publisher
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_read_and_written() {
        let check = |text: &str, micro: u64, again: &str| {
            let price: Price = text.parse().unwrap();
            assert_eq!((price.micro(), price.to_string().as_str()), (micro, again));
        };
        check("0.05 EUR per GB", 50_000, "0.05 EUR per GB");
        check("12.50 USD per month", 12_500_000, "12.5 USD per month");
        check("3 CHF per day", 3_000_000, "3 CHF per day");
        for text in [
            "",
            "1 EUR",
            "1 eur per GB",
            "-1 EUR per GB",
            "1. EUR per GB",
            ".5 EUR per GB",
            "0.0000001 EUR per GB",
            "1 EUR per byte",
            "99999999999999999999 EUR per GB",
        ] {
            assert_eq!(text.parse::<Price>(), Err(PriceError), "{text}");
        }
    }

    #[test]
    fn texts_are_cut_between_characters() {
        let answer = Answer::new(Outcome::Refused, "é", &"é".repeat(200));
        assert_eq!(answer.reason.len(), 256);
        let answer = Answer::new(Outcome::Refused, &format!("x{}", "é".repeat(40)), "");
        assert_eq!(answer.policy.len(), 63);
    }
}
