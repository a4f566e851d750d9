//! The switch: a session of OpenFlow 1.5 with Open vSwitch, and [`reconcile`], which makes it hold
//! what is desired.
//!
//! [`Connection`] is the protocol without I/O: bytes in, messages out, echoes answered by itself.
//! [`Session`] moves its bytes through a socket, and bounds every wait. [`Owner`] is the task that
//! keeps one for the life of the daemon, behind a [`Handle`]; [`Database`] asks OVSDB.
//!
//! **States.** HELLO sent → HELLO of the peer with 1.5 → anything. An error ends the session, except
//! a refusal of a bundle ([`SessionError::Refused`]), after which the switch is as it was.
//!
//! **Threats.** The peer is whoever owns the socket. It may say nothing, too much, or nonsense:
//! waits end at [`ANSWER_WITHIN`], dumps at [`DUMP_MAX`] and events at [`EVENTS_MAX`], each with an
//! error of that name.

mod connection;
mod counters;
mod database;
mod json;
mod opener;
mod owner;
mod reconcile;
mod session;
mod settle;
mod trace;

pub use connection::{Connection, EVENTS_MAX};
pub use counters::{Counted, Counters};
pub use database::{Bridge, Database, DatabaseError, PORT_WITHIN};
pub use json::{Framer, JsonError, MESSAGE_MAX};
pub use opener::{Opener, openers};
pub use owner::{
    AUDIT_EVERY, Applied, Event, Handle, KEEP_ALIVE, Owner, OwnerError, PAUSE_MAX, Settings,
};
pub use reconcile::{Report, change, dump, reconcile};
pub use session::{ANSWER_WITHIN, DUMP_MAX, Session, SessionError, UNASKED_MAX};
pub use settle::settled;
pub use trace::{Carried, Fate, Probe, TraceError, Traced, trace};
