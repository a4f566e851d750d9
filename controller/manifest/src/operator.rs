//! What an operator asks its authority for under its own signature.

use crate::encoding::{DecodeError, Encoding, Fields, Value, map};
use crate::key::PublicKey;
use crate::signed::{Document, SelfSigned};
use crate::time::Timestamp;

/// How old a request may be: longer than clocks differ, too short to be of use to who finds it.
pub const REQUEST_SECONDS_MAX: u64 = 60;

/// A request to read the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditRequest {
    /// Who asks.
    pub operator: PublicKey,
    /// When it was signed.
    pub at: Timestamp,
}

impl AuditRequest {
    /// Whether it was signed within [`REQUEST_SECONDS_MAX`] of now, before or after.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        self.at.seconds().abs_diff(now.seconds()) <= REQUEST_SECONDS_MAX
    }
}

impl Encoding for AuditRequest {
    fn to_value(&self) -> Value {
        map([
            (1, Some(self.operator.to_value())),
            (2, Some(self.at.to_value())),
        ])
    }

    fn from_value(value: Value) -> Result<Self, DecodeError> {
        let mut fields = Fields::of("audit request", value)?;
        let request = Self {
            operator: fields.decoded(1, "operator")?,
            at: fields.decoded(2, "at")?,
        };
        fields.end()?;
        Ok(request)
    }
}

impl Document for AuditRequest {
    const CONTENT_TYPE: &'static str = "application/vnd.edgecloud.audit-request+cbor";
    const BYTES_MAX: usize = 128;
}

impl SelfSigned for AuditRequest {
    fn signer(&self) -> &PublicKey {
        &self.operator
    }
}
