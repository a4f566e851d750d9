//! Tokens that an operator took back before they expired.

use std::collections::BTreeSet;

use crate::encoding::{DecodeError, Encoding, Fields, Value, array, integer, map, wrong};
use crate::key::PublicKey;
use crate::signed::{Document, SelfSigned, Signed};
use crate::time::Timestamp;
use crate::token::Serial;

/// Tokens that a list may name. Those that expired need not be on it.
pub const REVOKED_MAX: usize = 65_536;
/// Longest reason of an order, in bytes.
pub const REVOCATION_REASON_LENGTH_MAX: usize = 256;

/// All tokens that are revoked and not yet expired, as a host gets it from the authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationList {
    number: u64,
    issued: Timestamp,
    serials: BTreeSet<Serial>,
}

/// A list under the authority's signature.
pub type SignedRevocationList = Signed<RevocationList>;

impl RevocationList {
    /// A list; nothing if it would have more than [`REVOKED_MAX`] entries. Each list of an authority
    /// has a greater number than the one before.
    pub fn new(number: u64, issued: Timestamp, serials: BTreeSet<Serial>) -> Option<Self> {
        (serials.len() <= REVOKED_MAX).then_some(Self {
            number,
            issued,
            serials,
        })
    }

    /// What a host starts with: nothing is revoked, and every list supersedes it.
    pub fn empty() -> Self {
        Self {
            number: 0,
            issued: Timestamp::from_seconds(0).expect("1970 is a moment"),
            serials: BTreeSet::new(),
        }
    }

    /// Which list this is.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// When it was made.
    pub fn issued(&self) -> Timestamp {
        self.issued
    }

    /// Whether a token is revoked.
    pub fn contains(&self, serial: Serial) -> bool {
        self.serials.contains(&serial)
    }

    /// The revoked tokens, in order.
    pub fn serials(&self) -> impl Iterator<Item = Serial> {
        self.serials.iter().copied()
    }

    /// Whether this list takes another's place. An older one never does: somebody between
    /// authority and host could otherwise bring a revoked token back.
    pub fn supersedes(&self, other: &Self) -> bool {
        self.number > other.number
    }
}

impl Encoding for RevocationList {
    fn to_value(&self) -> Value {
        let serials = self.serials().map(|serial| Value::from(serial.0));
        map([
            (1, Some(Value::from(self.number))),
            (2, Some(self.issued.to_value())),
            (3, Some(Value::Array(serials.collect()))),
        ])
    }

    fn from_value(value: Value) -> Result<Self, DecodeError> {
        let mut fields = Fields::of("revocation list", value)?;
        let number = fields.integer(1, "number")?;
        let issued = fields.decoded(2, "issued")?;
        let serials: Result<BTreeSet<Serial>, _> = array(fields.need(3, "serials")?, "serials")?
            .into_iter()
            .map(|serial| integer(serial, "serials").map(Serial))
            .collect();
        fields.end()?;
        Self::new(number, issued, serials?).ok_or_else(|| wrong("serials", "too many"))
    }
}

impl Document for RevocationList {
    const CONTENT_TYPE: &'static str = "application/vnd.edgecloud.revocations+cbor";
    const BYTES_MAX: usize = REVOKED_MAX * 9 + 64;
}

/// An operator's order to its authority to revoke a token. Orders are idempotent, so one that is
/// replayed does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationOrder {
    /// Which token.
    pub serial: Serial,
    /// Why, for the audit log; at most [`REVOCATION_REASON_LENGTH_MAX`] bytes.
    pub reason: String,
    /// Who orders it.
    pub operator: PublicKey,
}

impl Encoding for RevocationOrder {
    fn to_value(&self) -> Value {
        map([
            (1, Some(Value::from(self.serial.0))),
            (2, Some(Value::Text(self.reason.clone()))),
            (3, Some(self.operator.to_value())),
        ])
    }

    fn from_value(value: Value) -> Result<Self, DecodeError> {
        let mut fields = Fields::of("revocation", value)?;
        let order = Self {
            serial: Serial(fields.integer(1, "serial")?),
            reason: fields.parsed(2, "reason")?,
            operator: fields.decoded(3, "operator")?,
        };
        fields.end()?;
        if order.reason.len() > REVOCATION_REASON_LENGTH_MAX {
            return Err(wrong("reason", "too long"));
        }
        Ok(order)
    }
}

impl Document for RevocationOrder {
    const CONTENT_TYPE: &'static str = "application/vnd.edgecloud.revocation-order+cbor";
    const BYTES_MAX: usize = REVOCATION_REASON_LENGTH_MAX + 128;
}

impl SelfSigned for RevocationOrder {
    fn signer(&self) -> &PublicKey {
        &self.operator
    }
}
