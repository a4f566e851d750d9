//! xenstore: the hierarchy of small strings in which a domain and its toolstack find each other.
//!
//! [`wire`] is the format of a message (`io/xs_wire.h`, `docs/misc/xenstore.txt`), [`client`] a
//! conversation over the shared page.

pub mod client;
pub mod wire;

pub use client::{Answer, Client, Request, StoreError, WatchEvent, XenstorePage, children};
