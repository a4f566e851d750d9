//! What the resolver and the daemon tell each other of names.
//!
//! The resolver gets an [`Interest`] in a `tokio::sync::watch` channel, whose value is replaced when
//! applications or replicas change, and sends what it learned as [`Learned`] into a bounded
//! `tokio::sync::mpsc` channel. The daemon puts that into the desired state: what is not current
//! any more is retired there, so the resolver need not remember it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use manifest::{Name, NamePattern};
use tokio::sync::oneshot;

/// Changes of names that wait for the daemon: a burst of answers; who sends waits then.
pub const LEARNED_MAX: usize = 256;

/// What names this host's applications speak of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interest {
    /// Names, and wildcards, of rules: of these alone addresses are wanted.
    pub patterns: BTreeSet<NamePattern>,
    /// Names that applications serve, with their live replicas' addresses: the resolver answers
    /// these itself. A name without a live replica is there with no address.
    pub served: BTreeMap<Name, BTreeSet<IpAddr>>,
}

/// A name's addresses as they are now: all of them, replacing what was said before. None: the name
/// has none any more.
#[derive(Debug)]
pub struct Learned {
    /// The name.
    pub name: Name,
    /// All its addresses.
    pub current: BTreeSet<IpAddr>,
    /// Told once the switch has it, if somebody waits: an answer goes to a domain only then, so
    /// that its first connection is not refused. Dropped if the daemon could not.
    pub installed: Option<oneshot::Sender<()>>,
}
