//! Why a request is refused.

use axum::http::StatusCode;
use edgecloud_appliance::Refusal;

use crate::store::StoreError;

/// The reasons; status, text, log and metric come from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Unknown,
    Method,
    Version,
    MediaType,
    Number,
    Length,
    Offset,
    TooLong,
    TooLarge,
    Metadata,
    Destination,
    Origin,
    Concatenation,
    Parts,
    Algorithm,
    Checksum,
    Digest,
    Mismatch,
    TakenOver,
    IsWhole,
    Gone,
    Stopped,
    Busy,
    TooMany,
    Full,
    Damaged,
    Failed,
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Refused {
        match error {
            StoreError::Unknown => Refused::Unknown,
            StoreError::TakenOver => Refused::TakenOver,
            StoreError::TooLong => Refused::TooLong,
            StoreError::Length => Refused::Length,
            StoreError::Full => Refused::Full,
            StoreError::TooMany => Refused::TooMany,
            StoreError::Mismatch => Refused::Mismatch,
            StoreError::IsWhole => Refused::IsWhole,
            StoreError::Parts => Refused::Parts,
            StoreError::Damaged => Refused::Damaged,
            StoreError::Failed => Refused::Failed,
        }
    }
}

impl Refused {
    /// Reason, status and explanation.
    fn facts(self) -> (&'static str, u16, &'static str) {
        match self {
            Refused::Unknown => ("unknown", 404, "there is no such upload; make it again"),
            Refused::Method => (
                "method",
                405,
                "make uploads by POST, and go on with them by HEAD, PATCH and DELETE",
            ),
            Refused::Version => ("version", 412, "send Tus-Resumable: 1.0.0"),
            Refused::MediaType => (
                "media-type",
                415,
                "send the bytes as Content-Type: application/offset+octet-stream",
            ),
            Refused::Number => (
                "number",
                400,
                "Upload-Length and Upload-Offset are digits, each there once",
            ),
            Refused::Length => (
                "length",
                400,
                "say Upload-Length, or Upload-Defer-Length: 1 and the length later, once",
            ),
            Refused::Offset => ("offset", 409, "go on at the offset that HEAD tells"),
            Refused::TooLong => ("too-long", 413, "send as many bytes as Upload-Length says"),
            Refused::TooLarge => ("too-large", 413, "send no more than Tus-Max-Size says"),
            Refused::Metadata => (
                "metadata",
                400,
                "write Upload-Metadata as keys with values in base64, each key once",
            ),
            Refused::Destination => (
                "destination",
                400,
                "say in the metadata where it must go: url, method, address as documented",
            ),
            Refused::Origin => ("origin", 403, "nothing goes from here to that origin"),
            Refused::Concatenation => (
                "concatenation",
                400,
                "write Upload-Concat: partial, or final; and the parts",
            ),
            Refused::Parts => (
                "parts",
                409,
                "name partial uploads that are whole, each once",
            ),
            Refused::Algorithm => ("algorithm", 400, "use sha1 or sha256, in base64"),
            Refused::Checksum => ("checksum", 460, "the bytes came damaged; send them again"),
            Refused::Digest => (
                "digest",
                400,
                "write Content-Digest and Repr-Digest as RFC 9530 does: sha-256=:…:",
            ),
            Refused::Mismatch => (
                "mismatch",
                460,
                "the upload is not what Repr-Digest says, and is forgotten; make it again",
            ),
            Refused::TakenOver => (
                "taken-over",
                423,
                "a newer request goes on with this upload",
            ),
            Refused::IsWhole => ("is-whole", 403, "the upload is whole, and cannot change"),
            Refused::Gone => (
                "has-gone",
                403,
                "the upload is at its origin, or on its way there, and cannot be taken back",
            ),
            Refused::Stopped => (
                "stopped",
                408,
                "the body stopped; ask for the offset and go on from there",
            ),
            Refused::Busy => ("busy", 503, "too many uploads are on their way; come again"),
            Refused::TooMany => (
                "too-many",
                503,
                "too many uploads wait for their origins; come again later",
            ),
            Refused::Full => ("full", 507, "the disk is full; come again later"),
            Refused::Damaged => (
                "damaged",
                500,
                "the disk has damaged this upload; delete it and send it again",
            ),
            Refused::Failed => (
                "disk-failed",
                503,
                "the disk fails, so nothing is taken; the operator must look at it",
            ),
        }
    }
}

impl Refusal for Refused {
    const ALL: &'static [Refused] = &[
        Refused::Unknown,
        Refused::Method,
        Refused::Version,
        Refused::MediaType,
        Refused::Number,
        Refused::Length,
        Refused::Offset,
        Refused::TooLong,
        Refused::TooLarge,
        Refused::Metadata,
        Refused::Destination,
        Refused::Origin,
        Refused::Concatenation,
        Refused::Parts,
        Refused::Algorithm,
        Refused::Checksum,
        Refused::Digest,
        Refused::Mismatch,
        Refused::TakenOver,
        Refused::IsWhole,
        Refused::Gone,
        Refused::Stopped,
        Refused::Busy,
        Refused::TooMany,
        Refused::Full,
        Refused::Damaged,
        Refused::Failed,
    ];

    fn reason(self) -> &'static str {
        self.facts().0
    }

    fn status(self) -> StatusCode {
        StatusCode::from_u16(self.facts().1).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn explanation(self) -> &'static str {
        self.facts().2
    }
}
