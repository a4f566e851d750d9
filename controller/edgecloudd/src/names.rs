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
    /// Names whose addresses have to be known before anybody asks for them: what is intercepted by
    /// name is intercepted from clients who ask other resolvers, too, and what is free is free for them.
    pub ahead: BTreeSet<Name>,
    /// The addresses of the host's domains, which may ask.
    pub domains: BTreeSet<IpAddr>,
}

impl Interest {
    /// Whether a rule speaks of a name.
    pub fn wants(&self, name: &Name) -> bool {
        self.patterns.contains(&NamePattern::Exactly(name.clone()))
            || parents(name).any(|parent| self.patterns.contains(&NamePattern::Below(parent)))
    }

    /// The wildcards that a name is wanted for; none if it is wanted as itself, too.
    pub fn wildcards(&self, name: &Name) -> Vec<NamePattern> {
        if self.patterns.contains(&NamePattern::Exactly(name.clone())) {
            return vec![];
        }
        let all = parents(name).map(NamePattern::Below);
        all.filter(|pattern| self.patterns.contains(pattern))
            .collect()
    }
}

/// The names that a name lies below, the nearest first.
fn parents(name: &Name) -> impl Iterator<Item = Name> {
    let dots = name.as_str().match_indices('.');
    dots.filter_map(|(at, _)| name.as_str()[at + 1..].parse().ok())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_wanted_as_patterns_say() {
        let patterns = ["www.photos.example", "*.cdn.example"];
        let interest = Interest {
            patterns: patterns.map(|text| text.parse().unwrap()).into(),
            ..Interest::default()
        };
        let wants = |name: &str| interest.wants(&name.parse().unwrap());
        assert!(wants("www.photos.example") && wants("a.b.cdn.example"));
        assert!(
            !wants("photos.example") && !wants("cdn.example") && !wants("x.www.photos.example")
        );
        let wildcards = |name: &str| interest.wildcards(&name.parse().unwrap()).len();
        assert_eq!(
            (wildcards("a.cdn.example"), wildcards("www.photos.example")),
            (1, 0)
        );
    }
}
