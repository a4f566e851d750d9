//! Every reason for which the authority does not do what it is asked: one list, from which status,
//! problem document, log and tests come.

use manifest::{Account, Name, OpenError, Serial, Timestamp};

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The body is not what the interface takes.
    #[error("the request cannot be read: {0}")]
    Malformed(String),
    /// What is signed is not what it must be.
    #[error("{0}")]
    NotSigned(#[from] OpenError),
    /// No contract with this publisher.
    #[error("the operator does not know this publisher: have your key entered first")]
    UnknownPublisher,
    /// A publisher wants another's account to pay.
    #[error("account {0} is not yours to bill: name one that the operator gave you")]
    ForeignAccount(Account),
    /// A host that is not the operator's.
    #[error("the operator has no host {0}: name another")]
    UnknownHost(Name),
    /// The manifest is over.
    #[error("the manifest expired at {0}: give it a later date and sign it again")]
    ManifestExpired(Timestamp),
    /// More than a publisher may ask for in a minute.
    #[error("too many requests of this publisher: try again in a minute")]
    TooFast,
    /// The token for this submission was revoked: the same submission brings no other.
    #[error("token {0}, which answered this submission, was revoked: ask the operator")]
    Revoked(Serial),
    /// No such offer, or no more.
    #[error("there is no such offer: submit the manifest again")]
    UnknownOffer,
    /// The offer was for another publisher.
    #[error("the offer was made to another publisher")]
    ForeignOffer,
    /// The offer is over.
    #[error("the offer expired at {0}: submit the manifest again")]
    OfferExpired(Timestamp),
    /// All rules are refused, so there is nothing to accept.
    #[error("every rule is refused, so there is nothing to accept: change the manifest")]
    NothingGranted,
    /// More applications than the numbers in flows' cookies.
    #[error("the operator has as many applications as can be numbered")]
    TooManyApplications,
    /// No such token, or it expired.
    #[error("there is no token {0} that still holds")]
    UnknownToken(Serial),
    /// More revocations than a list holds.
    #[error("the revocation list is full until tokens on it expire")]
    RevocationsFull,
    /// Not an operator's key.
    #[error("not signed by an operator of this authority")]
    NotAnOperator,
    /// An operator's request that is old, or from the future.
    #[error(
        "the request was not signed within the last minute: sign it again, and check the clock"
    )]
    Stale,
    /// The body took too long, or everything did.
    #[error("the request took too long")]
    TooSlow,
    /// No such thing.
    #[error("there is nothing here: see the documentation of the interface")]
    NotFound,
    /// The database does not work.
    #[error("the authority cannot write down its decision: try again later")]
    Storage(#[from] crate::store::StoreError),
}

impl Refusal {
    /// One word, and the HTTP status.
    pub fn name_and_status(&self) -> (&'static str, u16) {
        match self {
            Self::Malformed(_) => ("malformed", 400),
            Self::NotSigned(_) => ("not-signed", 403),
            Self::UnknownPublisher => ("unknown-publisher", 403),
            Self::ForeignAccount(_) => ("foreign-account", 403),
            Self::UnknownHost(_) => ("unknown-host", 422),
            Self::ManifestExpired(_) => ("manifest-expired", 422),
            Self::TooFast => ("too-fast", 429),
            Self::Revoked(_) => ("revoked", 403),
            Self::UnknownOffer => ("unknown-offer", 404),
            Self::ForeignOffer => ("foreign-offer", 403),
            Self::OfferExpired(_) => ("offer-expired", 410),
            Self::NothingGranted => ("nothing-granted", 409),
            Self::TooManyApplications => ("too-many-applications", 507),
            Self::UnknownToken(_) => ("unknown-token", 404),
            Self::RevocationsFull => ("revocations-full", 507),
            Self::NotAnOperator => ("not-an-operator", 403),
            Self::Stale => ("stale", 403),
            Self::TooSlow => ("too-slow", 408),
            Self::NotFound => ("not-found", 404),
            Self::Storage(_) => ("storage", 503),
        }
    }
}
