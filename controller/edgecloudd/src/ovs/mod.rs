//! The switch: a session of OpenFlow 1.5 with Open vSwitch, and [`reconcile`], which makes it hold
//! what is desired.
//!
//! [`Connection`] is the protocol without I/O: bytes in, messages out, echoes answered by itself.
//! [`Session`] moves its bytes through a socket, and bounds every wait.
//!
//! **States.** HELLO sent → HELLO of the peer with 1.5 → anything. An error ends the session, except
//! a refusal of a bundle ([`SessionError::Refused`]), after which the switch is as it was.
//!
//! **Threats.** The peer is whoever owns the socket. It may say nothing, too much, or nonsense:
//! waits end at [`ANSWER_WITHIN`], dumps at [`DUMP_MAX`] and events at [`EVENTS_MAX`], each with an
//! error of that name.

mod connection;
mod reconcile;
mod session;

pub use connection::{Connection, EVENTS_MAX};
pub use reconcile::{ReconcileError, Report, reconcile};
pub use session::{ANSWER_WITHIN, DUMP_MAX, Session, SessionError};
