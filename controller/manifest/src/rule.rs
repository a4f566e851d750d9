//! The rules of a manifest: each is one thing that the appliance wants of the network, or, in a
//! token, one thing that it got.
//!
//! | rule | the appliance |
//! |---|---|
//! | [`Speak`] | takes part in well-known protocols |
//! | [`Intercept`] | receives flows that clients open to somebody else |
//! | [`Call`] | opens connections |
//! | [`Serve`] | is opened connections to, by its own name |
//! | [`Admit`] | decides which clients pass the switch, or lets all of them reach somebody |

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::name::{Name, NamePattern};
use crate::net::Cidr;
use crate::path::PathPattern;
use crate::ports::{Ports, Services};

/// One line of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// Well-known protocols with the network itself.
    Speak(Speak),
    /// Flows of clients, redirected to the appliance.
    Intercept(Intercept),
    /// Connections that the appliance opens.
    Call(Call),
    /// A service that clients open by name.
    Serve(Serve),
    /// Clients that pass the switch only if the appliance lets them, or that may all reach somebody.
    Admit(Admit),
}

impl Rule {
    /// The word that the manifest uses for it: `speak`, `intercept`, `call`, `serve` or
    /// `admit`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Speak(_) => "speak",
            Self::Intercept(_) => "intercept",
            Self::Call(_) => "call",
            Self::Serve(_) => "serve",
            Self::Admit(_) => "admit",
        }
    }

    /// TCP and UDP ports that it is about; nothing for `speak`, and for `admit` without `to`.
    pub fn services(&self) -> Option<&Services> {
        match self {
            Self::Speak(_) => None,
            Self::Intercept(rule) => Some(&rule.services),
            Self::Call(rule) => Some(&rule.services),
            Self::Serve(rule) => Some(&rule.services),
            Self::Admit(rule) => rule.to.as_ref().map(|(_, services)| services),
        }
    }

    /// Whether this rule permits all that another one asks for. An answer to a rule must be
    /// covered by the rule: an authority may give less, never something else.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Speak(mine), Self::Speak(theirs)) => mine.0.is_superset(&theirs.0),
            (Self::Intercept(mine), Self::Intercept(theirs)) => mine.covers(theirs),
            (Self::Call(mine), Self::Call(theirs)) => {
                mine.to.covers(&theirs.to) && mine.services.covers(&theirs.services)
            }
            (Self::Serve(mine), Self::Serve(theirs)) => {
                mine.name == theirs.name
                    && mine.from.covers(&theirs.from)
                    && mine.services.covers(&theirs.services)
            }
            (Self::Admit(mine), Self::Admit(theirs)) => mine.covers(theirs),
            _ => false,
        }
    }

    /// The same rule within other ports, where those are given; nothing if nothing remains of it
    /// or if it has no ports.
    pub fn within(&self, tcp: Option<&Ports>, udp: Option<&Ports>) -> Option<Self> {
        let mut rule = self.clone();
        let services = match &mut rule {
            Self::Speak(_) => return None,
            Self::Intercept(rule) => &mut rule.services,
            Self::Call(rule) => &mut rule.services,
            Self::Serve(rule) => &mut rule.services,
            Self::Admit(rule) => &mut rule.to.as_mut()?.1,
        };
        *services = services.within(tcp, udp)?;
        // What has a condition on HTTP needs TCP, which may be what did not remain.
        let lost_http = matches!(&rule, Self::Intercept(rule)
            if rule.condition.is_some() && rule.services.tcp().is_empty());
        (!lost_http).then_some(rule)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Speak(rule) => write!(f, "speak {rule}"),
            Self::Intercept(rule) => write!(f, "intercept {rule}"),
            Self::Call(rule) => write!(f, "call {} {}", rule.to, rule.services),
            Self::Serve(rule) => {
                write!(f, "serve {} {} to {}", rule.name, rule.services, rule.from)
            }
            Self::Admit(rule) => match &rule.to {
                None => write!(f, "admit {}", rule.from),
                Some((to, services)) => write!(f, "admit {} to {to} {services}", rule.from),
            },
        }
    }
}

/// A protocol with the network itself, both directions of which the switch knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Protocol {
    /// Address resolution for IPv4 (RFC 826), for own addresses.
    Arp,
    /// Neighbour and router discovery for IPv6 (RFC 4861), for own addresses.
    Nd,
    /// Address configuration, of both versions (RFC 2131, RFC 9915).
    Dhcp,
    /// Names, asked of the operator's resolver (RFC 1035).
    Dns,
    /// Names on the link (RFC 6762).
    Mdns,
    /// Time, asked of the operator's servers (RFC 5905).
    Ntp,
    /// Echo, and the errors that concern own flows (RFC 792, RFC 4443).
    Icmp,
}

impl Protocol {
    /// All of them with the words that manifests use.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Arp, "arp"),
        (Self::Nd, "nd"),
        (Self::Dhcp, "dhcp"),
        (Self::Dns, "dns"),
        (Self::Mdns, "mdns"),
        (Self::Ntp, "ntp"),
        (Self::Icmp, "icmp"),
    ];

    /// The word that manifests use.
    pub fn as_str(self) -> &'static str {
        let found = Self::ALL.iter().find(|(protocol, _)| *protocol == self);
        found.map_or("", |(_, word)| word)
    }
}

/// A text is no [`Protocol`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no protocol that appliances speak: write arp, nd, dhcp, dns, mdns, ntp or icmp, and use call, serve or intercept for TCP and UDP"
)]
pub struct ProtocolError;

impl FromStr for Protocol {
    type Err = ProtocolError;

    fn from_str(text: &str) -> Result<Self, ProtocolError> {
        let found = Self::ALL.iter().find(|(_, word)| *word == text);
        found.map(|(protocol, _)| *protocol).ok_or(ProtocolError)
    }
}

/// Well-known protocols, at least one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Speak(BTreeSet<Protocol>);

impl Speak {
    /// These protocols; nothing if there are none.
    pub fn new(protocols: impl IntoIterator<Item = Protocol>) -> Option<Self> {
        let protocols: BTreeSet<Protocol> = protocols.into_iter().collect();
        (!protocols.is_empty()).then_some(Self(protocols))
    }

    /// The protocols, in their order.
    pub fn protocols(&self) -> impl Iterator<Item = Protocol> {
        self.0.iter().copied()
    }
}

impl fmt::Display for Speak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.protocols().map(Protocol::as_str).collect();
        f.write_str(&words.join(","))
    }
}

/// Whose flows a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Source {
    /// All of the operator's clients: whatever is on the access side.
    Clients,
    /// Those with an address in this range.
    Net(Cidr),
}

impl Source {
    /// Whether all that another one means is meant by this one, too.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Clients, _) => true,
            (Self::Net(_), Self::Clients) => false,
            (Self::Net(mine), Self::Net(theirs)) => mine.covers(theirs),
        }
    }
}

impl FromStr for Source {
    type Err = crate::net::CidrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "clients" => Ok(Self::Clients),
            other => other.parse().map(Self::Net),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clients => f.write_str("clients"),
            Self::Net(range) => write!(f, "{range}"),
        }
    }
}

/// Where flows go to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Peer {
    /// The addresses that DNS gives for these names.
    Name(NamePattern),
    /// These addresses.
    Net(Cidr),
}

impl Peer {
    /// Whether all that another one means is meant by this one, too.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Name(mine), Self::Name(theirs)) => mine.covers(theirs),
            (Self::Net(mine), Self::Net(theirs)) => mine.covers(theirs),
            _ => false,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(pattern) => write!(f, "{pattern}"),
            Self::Net(range) => write!(f, "{range}"),
        }
    }
}

/// What becomes of a rule's traffic while no replica of the appliance can take it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnFail {
    /// It goes to where it was meant to go.
    #[default]
    Pass,
    /// It is dropped.
    Block,
}

impl OnFail {
    /// The word that manifests use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Block => "block",
        }
    }
}

/// A text is no [`OnFail`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write \"pass\" (traffic goes to the origin) or \"block\"")]
pub struct OnFailError;

impl FromStr for OnFail {
    type Err = OnFailError;

    fn from_str(text: &str) -> Result<Self, OnFailError> {
        match text {
            "pass" => Ok(Self::Pass),
            "block" => Ok(Self::Block),
            _ => Err(OnFailError),
        }
    }
}

/// Which requests of an intercepted flow the appliance is meant for. The switch sees no requests:
/// the appliance passes on what does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Condition {
    host: Option<NamePattern>,
    path: Option<PathPattern>,
}

impl Condition {
    /// Requests to these hosts and paths; nothing if neither is given.
    pub fn new(host: Option<NamePattern>, path: Option<PathPattern>) -> Option<Self> {
        (host.is_some() || path.is_some()).then_some(Self { host, path })
    }

    /// The hosts, by the request's Host or the handshake's SNI; all if nothing.
    pub fn host(&self) -> Option<&NamePattern> {
        self.host.as_ref()
    }

    /// The paths; all if nothing.
    pub fn path(&self) -> Option<&PathPattern> {
        self.path.as_ref()
    }

    fn covers(&self, other: &Self) -> bool {
        let host = match (&self.host, &other.host) {
            (None, _) => true,
            (Some(mine), Some(theirs)) => mine.covers(theirs),
            (Some(_), None) => false,
        };
        let path = match (&self.path, &other.path) {
            (None, _) => true,
            (Some(mine), Some(theirs)) => mine.covers(theirs),
            (Some(_), None) => false,
        };
        host && path
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.host.as_ref().map(|host| format!("host={host}"));
        let path = self.path.as_ref().map(|path| format!("path={path}"));
        let parts: Vec<String> = [host, path].into_iter().flatten().collect();
        f.write_str(&parts.join(" "))
    }
}

/// Flows of clients to somebody else, redirected to the appliance.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Intercept {
    from: Source,
    to: Peer,
    services: Services,
    condition: Option<Condition>,
    on_fail: Option<OnFail>,
}

impl Intercept {
    /// Such flows; nothing if there is a condition on requests and no TCP port to see them at.
    pub fn new(
        from: Source,
        to: Peer,
        services: Services,
        condition: Option<Condition>,
        on_fail: Option<OnFail>,
    ) -> Option<Self> {
        let fits = condition.is_none() || !services.tcp().is_empty();
        fits.then_some(Self {
            from,
            to,
            services,
            condition,
            on_fail,
        })
    }

    /// Whose flows.
    pub fn from(&self) -> Source {
        self.from
    }

    /// To where the clients meant them to go.
    pub fn to(&self) -> &Peer {
        &self.to
    }

    /// The ports that the clients open.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// Which of their requests (`where` in the manifest); all if nothing.
    pub fn condition(&self) -> Option<&Condition> {
        self.condition.as_ref()
    }

    /// What becomes of them without a replica; the manifest's default if nothing.
    pub fn on_fail(&self) -> Option<OnFail> {
        self.on_fail
    }

    fn covers(&self, other: &Self) -> bool {
        let condition = match (&self.condition, &other.condition) {
            (None, _) => true,
            (Some(mine), Some(theirs)) => mine.covers(theirs),
            (Some(_), None) => false,
        };
        condition
            && self.from.covers(&other.from)
            && self.to.covers(&other.to)
            && self.services.covers(&other.services)
            && self.on_fail == other.on_fail
    }
}

impl fmt::Display for Intercept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {} to {} {}", self.from, self.to, self.services)?;
        if let Some(condition) = &self.condition {
            write!(f, " where {condition}")?;
        }
        match self.on_fail {
            Some(on_fail) => write!(f, " on-fail={}", on_fail.as_str()),
            None => Ok(()),
        }
    }
}

/// Connections that the appliance opens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    /// To whom.
    pub to: Peer,
    /// At which ports.
    pub services: Services,
}

/// A service of the appliance that clients open by its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Serve {
    /// The name, which the operator's resolver then answers (`as` in the manifest).
    pub name: Name,
    /// At which ports.
    pub services: Services,
    /// For whom; all clients unless the manifest says otherwise. A range with none of the operator's
    /// clients in it is behind the backhaul.
    pub from: Source,
}

/// Clients that pass the switch only if somebody lets them.
///
/// Without `to`, the appliance keeps the gate: those of `from` pass only while it admits them, but for
/// names, addresses and what such an appliance serves or intercepts. With `to`, all of `from` may reach
/// that, admitted or not, and this application pays for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Admit {
    /// Whose flows.
    pub from: Source,
    /// What everybody may reach; nothing if the appliance keeps the gate.
    pub to: Option<(Peer, Services)>,
}

impl Admit {
    fn covers(&self, other: &Self) -> bool {
        let to = match (&self.to, &other.to) {
            (None, None) => true,
            (Some((mine, my_ports)), Some((theirs, their_ports))) => {
                mine.covers(theirs) && my_ports.covers(their_ports)
            }
            _ => false,
        };
        to && self.from.covers(&other.from)
    }
}
