//! Every reason for which the daemon does not do what it is asked: one list, from which status,
//! problem document and log come.

use std::net::IpAddr;

use manifest::image::DescriptorError;
use manifest::{Name, OpenError, ProofRefusal, TokenRefusal};

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The request is not what the interface takes.
    #[error("the request cannot be read: {0}")]
    Malformed(String),
    /// The token does not hold here and now.
    #[error("{0}")]
    Token(#[from] TokenRefusal),
    /// The image's descriptor is not signed as it must be.
    #[error("the image's descriptor: {0}")]
    Descriptor(#[from] OpenError),
    /// The descriptor says what cannot be.
    #[error("the image's descriptor: {0}")]
    DescriptorContent(#[from] DescriptorError),
    /// The descriptor is another publisher's.
    #[error("the image is another publisher's than the token: sign it with the publisher's key")]
    OtherPublisher,
    /// The image is not the one of the token or of the descriptor.
    #[error("the image has the digest {found}, and the {whose} names {named}: give the right file")]
    OtherImage {
        /// Of the file.
        found: String,
        /// Which document.
        whose: &'static str,
        /// What it names.
        named: String,
    },
    /// The image cannot be read.
    #[error("the image {path} cannot be read: {cause}")]
    Image {
        /// Which file.
        path: String,
        /// Why.
        cause: String,
    },
    /// The key is not the token's.
    #[error("the key is not the one that the token names: give the one that was submitted")]
    OtherKey,
    /// An older token for the application than the one that is here.
    #[error("the application has token {0}, which is newer: launch with that one")]
    OlderToken(u64),
    /// The application's token was taken back.
    #[error("the application was revoked on this host: submit the manifest again")]
    Withdrawn,
    /// The name is another domain's.
    #[error("there is a domain {0} already: give another name")]
    NameTaken(String),
    /// Another application that is here serves a name of the token's.
    #[error("the name {0} is served by application {1} here: stop its domains, or leave it out")]
    NameServed(Name, u32),
    /// No such thing.
    #[error("there is no {0}: `edgecloud ps` lists what runs")]
    NotFound(String),
    /// No more domains, zones or addresses.
    #[error("this host has no {0} left: stop a domain")]
    Full(&'static str),
    /// A proof that does not hold.
    #[error("{0}")]
    Proof(#[from] ProofRefusal),
    /// Readiness before registration.
    #[error("the domain has not registered: send its proof to /v1/register first")]
    NotRegistered,
    /// Letting clients through, without a rule for it.
    #[error(
        "the token grants no `admit` for {0}: submit a manifest with it, or ask for its clients"
    )]
    NotGranted(IpAddr),
    /// Another application lets the client through.
    #[error("another application lets {0} through already")]
    OthersClient(IpAddr),
    /// Nobody knows the client's MAC address.
    #[error("no connection of {0} to the appliance is known: give its `mac`, or have it connect")]
    UnknownClient(IpAddr),
    /// Who asks is no domain of this host.
    #[error("there is nothing here for this address")]
    NotADomain,
    /// The list of revocations is not newer than the one that is here.
    #[error("revocation list {found} is not newer than {held}: fetch it again")]
    OldRevocations {
        /// The list's number.
        found: u64,
        /// The number of the list that is here.
        held: u64,
    },
    /// The toolstack could not.
    #[error("the domain could not be started: {0}")]
    Toolstack(String),
    /// The switch could not.
    #[error("the switch does not hold what it should: {0}")]
    Switch(String),
    /// The database does not work.
    #[error("the daemon cannot write down what it does: {0}; see that the disk is not full")]
    Storage(#[from] crate::store::StoreError),
    /// Something was taken away, but the database does not work.
    #[error(
        "it is done, but the daemon could not write that down: {0}; make room on the disk: it is \
         tried again each second, and a daemon that starts before would undo it"
    )]
    Unwritten(#[source] crate::store::StoreError),
    /// What was there is going away.
    #[error("the domain ended before it ran: see its log")]
    Ended,
}

impl Refusal {
    /// One word, and the HTTP status.
    pub fn name_and_status(&self) -> (&'static str, u16) {
        match self {
            Self::Malformed(_) => ("malformed", 400),
            Self::Token(refusal) => (refusal.as_str(), 403),
            Self::Descriptor(_) | Self::DescriptorContent(_) => ("descriptor", 403),
            Self::OtherPublisher => ("other-publisher", 403),
            Self::OtherImage { .. } => ("other-image", 403),
            Self::Image { .. } => ("image", 422),
            Self::OtherKey => ("other-key", 403),
            Self::OlderToken(_) => ("older-token", 409),
            Self::Withdrawn => ("withdrawn", 403),
            Self::NameTaken(_) => ("name-taken", 409),
            Self::NameServed(..) => ("name-served", 409),
            Self::NotFound(_) => ("not-found", 404),
            Self::Full(_) => ("full", 507),
            Self::Proof(_) => ("proof", 403),
            Self::NotRegistered => ("not-registered", 403),
            Self::NotGranted(_) => ("not-granted", 403),
            Self::OthersClient(_) => ("others-client", 409),
            Self::UnknownClient(_) => ("unknown-client", 409),
            Self::NotADomain => ("not-a-domain", 404),
            Self::OldRevocations { .. } => ("old-revocations", 409),
            Self::Toolstack(_) => ("toolstack", 502),
            Self::Switch(_) => ("switch", 503),
            Self::Storage(_) => ("storage", 507),
            Self::Unwritten(_) => ("unwritten", 507),
            Self::Ended => ("ended", 502),
        }
    }
}
