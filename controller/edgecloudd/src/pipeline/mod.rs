//! What the switch holds, as a function of what is desired: [`compile`] is pure and deterministic,
//! and [`difference`] says which messages lead from what is installed to it. A restart is therefore
//! the ordinary case: dump, compile, send the difference, which is nothing if nothing changed.
//!
//! | table | asks | file |
//! |---|---|---|
//! | admission | who sends it, and is that true? | `admission.rs` |
//! | control | is it a protocol with the network itself? | `control.rs` |
//! | track | whose application is it? Its conntrack zone | `track.rs` |
//! | established | does it belong to a connection with a verdict? | `established.rs` |
//! | rules | which rule permits a new connection? | `rules.rs` |
//! | replica | which replica gets it? Commit to `ct_mark` | `replica.rs` |
//! | gate | was this client let through? | `gate.rs` |
//! | rewrite | out of which port, with which MAC addresses? | `rewrite.rs` |
//! | summon | is the appliance asleep? | `replica.rs` |
//!
//! **States of a connection.** Unknown → (a rule permits its first packet) → committed with
//! `ct_mark` = the replica, and in `ct_label` the two MAC addresses that its first packet had and
//! where it came from → every further packet follows the mark, whatever the rules say by then →
//! flushed with the application's zone when the token is revoked.
//!
//! A connection that somebody else pays for (`onward.rs`) has a mark that names him instead of a replica.
//!
//! **Between domains** a packet leaves one application's connection (zone of the sender) and
//! arrives at another's (zone of the receiver) in one pass: `rewrite` sends it back to `track` as
//! one that arrives. Each crossing costs one of [`HOPS_MAX`].
//!
//! **Threats.** A domain that lies about its addresses, speaks for another, reaches a neighbour, dom0
//! or a client without a rule, or sends as "reply" what answers nothing; a client that forges a
//! replica's or dom0's address. What is not spoken of is dropped by a flow whose cookie names the
//! reason, so that the switch counts it.

mod admission;
mod compile;
mod control;
mod cookie;
mod desired;
mod difference;
mod established;
mod gate;
mod installed;
mod onward;
mod registers;
mod replica;
mod rewrite;
mod rules;
mod spread;
mod table;
mod track;

pub use compile::compile;
pub use cookie::{Class, Cookie, Deny, GENERATION};
pub use desired::{
    ADDRESSES_PER_NAME_MAX, ADDRESSES_PER_REPLICA_MAX, ADMITTED_MAX, Addresses, Admitted,
    Application, DesiredState, Host, METADATA, NAMES_MAX, RANGES_PER_RULE_MAX, REPLICAS_MAX,
    Replica, ReplicaState, Side, StateError, ZONE_MAX,
};
pub use difference::{Changes, difference, side_by_side};
pub use installed::Installed;
pub use onward::{FreeService, Payer, free_services, payers};
pub use registers::{Exit, From, HOPS_MAX, Label, Register, Towards};
pub use table::Table;
