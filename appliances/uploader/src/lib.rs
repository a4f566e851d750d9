//! The uploader: it keeps what phones upload, durably, and sends it on when the link is cheap.
//!
//! Clients upload by tus 1.0 (`tus.rs`, `service.rs`, `intake.rs`); a phone is answered when its bytes are on
//! the disk ([`store`]) and would survive a power cut. Then the upload waits for its turn ([`schedule`],
//! [`timetable`]), and goes to its origin (`outbound/`) by the protocol that the origin speaks, as often as
//! it takes, with one `Idempotency-Key`.
//!
//! [`settings`] lists what it is told, [`metadata`] what a client says of an upload.
//!
//! *Specification.* tus 1.0 with creation, creation-with-upload, creation-defer-length, expiration, checksum,
//! termination and concatenation; RFC 9110, 9112, 9530 (digests), draft-ietf-httpapi-idempotency-key-header.
//!
//! *Threats.* Clients and origins are hostile: `limits.rs` bounds them. An upload's name is 128 random bits,
//! and whoever does not know it cannot change or read anything of the upload; nobody reads bodies back at all.
//! What an upload is sent with (cookies, tokens) lies in clear text on the disk until it is delivered, and is
//! never in a log or in a status. Where uploads may go is bounded by `[[service.origin]]`, and by what the
//! operator lets the domain call.

mod destination;
mod digests;
mod expiry;
mod figures;
#[doc(hidden)]
pub mod hostile;
mod id;
mod intake;
mod limits;
pub mod metadata;
mod outbound;
mod refusal;
pub mod schedule;
mod service;
pub mod settings;
mod status;
pub mod store;
pub mod timetable;
mod tus;

pub use id::{Id, NoId};
pub use service::make;
