//! What a publisher, an operator and a host tell each other: manifests, offers, tokens, descriptors
//! of images, and the lists of what was revoked.
//!
//! There is no I/O here, no clock and no randomness: `now` is a parameter, and keys are made from
//! bytes that the caller drew. Text and bytes become types that cannot be wrong, once, where they
//! come in; nothing checks them again.

pub mod document;
pub mod key;
pub mod label;
pub mod name;
pub mod net;
pub mod path;
pub mod ports;
pub mod rate;
pub mod rule;
pub mod time;
pub mod token;

pub use document::{Bill, Limit, Manifest, ManifestError, ManifestParts};
pub use key::{PublicKey, PublisherKey, SigningKey};
pub use label::{Account, ApplicationName};
pub use name::{Name, NamePattern};
pub use net::Cidr;
pub use path::PathPattern;
pub use ports::{Ports, Services};
pub use rate::Rate;
pub use rule::{Call, Condition, Intercept, OnFail, Peer, Protocol, Rule, Serve, Source, Speak};
pub use time::Timestamp;
pub use token::{ApplicationNumber, Claims, Digest, Grant, Serial, Token};
