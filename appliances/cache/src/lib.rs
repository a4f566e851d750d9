//! A shared HTTP cache at the edge: RFC 9111 as pure decisions, under a shell that streams.
//!
//! | decides | by |
//! |---|---|
//! | [`directives`] | RFC 9111, section 5.2; RFC 9213 |
//! | [`freshness`] | RFC 9111, section 4.2; RFC 5861 |
//! | [`storable`] | RFC 9111, section 3 |
//! | [`variance`] | RFC 9111, section 4.1 |
//! | [`validation`] | RFC 9111, sections 3.2 and 4.3 |
//! | [`ranges`] | RFC 9110, section 14; RFC 9111, section 3.3 |
//! | `parts` | RFC 9111, section 3.4: parts become one |
//! | [`invalidation`] | RFC 9111, section 4.4 |
//! | [`status`] | RFC 9211 |
//!
//! None of these has a clock, does I/O or draws randomness. Around them [`store`] keeps, [`body`]
//! lets many read what still arrives, and [`router`] is the service.
//!
//! *Threats.* Clients that want others to get their answer (keys hold all that the origin is sent of
//! the address; identity fields of clients go nowhere), origins that lie about length or range (what
//! broke off is no answer, a range counts by the bytes that came), and both who want memory: every
//! size is bounded ([`limits`]).

mod answer;
pub mod body;
mod collapse;
mod digest;
pub mod directives;
mod disk;
mod fetch;
mod fetched;
mod figures;
mod forgotten;
pub mod freshness;
mod hops;
pub mod invalidation;
pub mod limits;
mod operator;
mod orders;
mod origin;
mod parts;
pub mod popularity;
mod publisher;
pub mod purge;
pub mod ranges;
mod refusal;
mod service;
mod settings;
mod share;
mod site;
mod slices;
pub mod status;
pub mod storable;
pub mod store;
pub mod tier;
pub mod validation;
pub mod variance;

pub use service::router;
pub use settings::Own;
