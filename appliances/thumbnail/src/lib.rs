//! The thumbnailer: it takes photographs on their way to a site, as if it were the site.
//!
//! The operator's switch sends connections for the site here. An upload is looked at ([`admission`]), goes
//! to the uploader and into memory at once ([`intake`], [`tus`]), and its thumbnails, made in slices beside
//! the event loop ([`decoding`], [`picture`]), are posted to the site. The phone is answered when the
//! original is durable. Whatever cannot be taken goes to the site byte for byte ([`origin`]), each for a
//! named reason ([`reason`]); a picture that cannot be decoded is no reason to lose it.
//!
//! *States of an upload.* looked at → made at the uploader → fed → durable → judged by the site, by its answer
//! to the first thumbnail → answered. From each of them but the last it can still pass to the site.
//!
//! *Specification.* RFC 9110 and 9112, tus 1.0, RFC 7578 (forms), RFC 8586 (CDN-Loop).
//!
//! *Threats.* Clients, pictures and forms are hostile: [`limits`] bounds them, [`budget`] gives each client a
//! share. A client cannot choose where an upload goes, nor reach anything else at the uploader.

mod admission;
mod arriving;
mod budget;
mod decoding;
mod figures;
mod http;
mod intake;
mod limits;
pub mod multipart;
mod origin;
pub mod picture;
mod reason;
mod service;
pub mod settings;
mod tus;
mod uploader;

pub use service::make;
