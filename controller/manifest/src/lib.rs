//! What a publisher, an operator and a host tell each other: manifests, offers, tokens, descriptors
//! of images, and the lists of what was revoked.
//!
//! | document | signed by | for |
//! |---|---|---|
//! | [`Manifest`], [`Submission`], [`Acceptance`] | the publisher | the authority |
//! | [`ImageDescriptor`] | the publisher | the host |
//! | [`Offer`] | the authority | the publisher |
//! | [`Token`], [`RevocationList`] | the authority | the host |
//! | [`RevocationOrder`], [`AuditRequest`] | the operator | the authority |
//! | [`Proof`] | the domain | the host |
//!
//! There is no I/O here, no clock and no randomness: `now` is a parameter, and keys are made from
//! bytes that the caller drew. Text and bytes become types that cannot be wrong, once, where they
//! come in; nothing checks them again. Whatever comes in may be hostile: it is bounded before it is
//! read, and no bytes make this crate panic.

pub mod document;
pub mod encoding;
pub mod image;
pub mod key;
pub mod label;
pub mod name;
pub mod net;
pub mod offer;
pub mod operator;
pub mod path;
pub mod ports;
pub mod proof;
pub mod rate;
pub mod revocation;
pub mod rule;
pub mod signed;
pub mod submission;
pub mod text;
pub mod time;
pub mod token;

pub use document::{Bill, Limit, Manifest, ManifestError, ManifestParts};
pub use image::{Device, ImageDescriptor, SignedImageDescriptor};
pub use key::{PublicKey, PublisherKey, SigningKey};
pub use label::{Account, ApplicationName};
pub use name::{Name, NamePattern};
pub use net::Cidr;
pub use offer::{Acceptance, Answer, Offer, Outcome, Price, SignedAcceptance, SignedOffer};
pub use operator::AuditRequest;
pub use path::PathPattern;
pub use ports::{Ports, Services};
pub use proof::{Proof, ProofRefusal, ReplayWindow};
pub use rate::Rate;
pub use revocation::{RevocationList, RevocationOrder, SignedRevocationList};
pub use rule::{
    Admit, Call, Condition, Intercept, OnFail, Peer, Protocol, Rule, Serve, Source, Speak,
};
pub use signed::{OpenError, Signed};
pub use submission::{SignedManifest, SignedSubmission, Submission};
pub use text::TextError;
pub use time::Timestamp;
pub use token::{ApplicationNumber, Claims, Digest, Grant, Serial, Token, TokenRefusal, Verifier};
