//! The operator's authority: it checks manifests against policy, makes offers, and signs tokens.
//!
//! ```text
//! publisher ── HTTPS ── api/ ── authority.rs ── policy/ (Cedar, for each rule)
//!                                    └───────── store/  (redb: decisions, serials, audit log)
//! ```
//!
//! It may run anywhere, one per operator. Its key is what hosts believe, so it is the only program
//! that has it; hosts get its public half. Threats: a publisher that wants more than its contract
//! (Cedar, accounts, hosts), that copies another's manifest (submissions are signed whole), that
//! floods (bounds by publisher, by connection, by size and by time); a crash between decision and
//! answer (one durable transaction); an operator who denies a decision (chained audit log).

pub mod api;
pub mod authority;
pub mod config;
pub mod policy;
pub mod refusal;
pub mod store;
