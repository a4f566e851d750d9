//! What is desired of a host's switch: facts, applications with what was granted to them, their
//! replicas, and the addresses of names. Checked once, in [`DesiredState::new`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use manifest::rule::{OnFail, Protocol};
use manifest::token::ApplicationNumber;
use manifest::{Admit, Cidr, Grant, Name, NamePattern, Peer, Rate, Rule, Source, Token};
use openflow::PortNumber;

/// Where domains reach the metadata service.
pub const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// Zones of the connection tracker that applications have: a host runs some hundred domains, and a
/// zone's number is part of the numbers of conjunctions, meters and priorities.
pub const ZONE_MAX: u16 = 4095;
/// Replicas on one host: far more domains than a Xen host has memory for.
pub const REPLICAS_MAX: usize = 4096;
/// Addresses of one replica: one of IPv4, and of IPv6 a link-local and some of changing prefixes.
pub const ADDRESSES_PER_REPLICA_MAX: usize = 16;
/// Addresses of one name: a DNS answer over UDP has no room for as many, and each costs a flow.
pub const ADDRESSES_PER_NAME_MAX: usize = 64;
/// Names whose addresses are known: what all manifests of a host together may speak of.
pub const NAMES_MAX: usize = 65_536;
/// Addresses that one rule takes of a wildcard's names, lowest first: each costs a flow, and who
/// owns a domain can answer for names without end. What is beyond has no rule.
pub const RANGES_PER_RULE_MAX: usize = 1024;

/// Clients that one application lets through: two numbers for each are left in a cookie's rule.
pub const ADMITTED_MAX: u16 = 20_000;

const _: () = assert!(
    manifest::document::RULES_MAX + 2 * (ADMITTED_MAX as usize) < u16::MAX as usize,
    "the cookie's rule has 16 bits, and its last value means none"
);

/// What is desired of a host's switch; valid by construction.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredState {
    host: Host,
    applications: Vec<Application>,
    names: BTreeMap<Name, Addresses>,
}

/// Facts of the host.
#[derive(Debug, Clone, PartialEq)]
pub struct Host {
    /// The port of the access side, where the clients are.
    pub access: PortNumber,
    /// The port of the backhaul side.
    pub backhaul: PortNumber,
    /// Dom0's own MAC address, on [`PortNumber::LOCAL`].
    pub mac: [u8; 6],
    /// Dom0's own addresses.
    pub addresses: Vec<IpAddr>,
    /// The MAC address of the router on the backhaul side.
    pub gateway: [u8; 6],
    /// The addresses of the operator's clients; what lies in none is on the backhaul side.
    pub clients: Vec<Cidr>,
    /// The operator's resolvers, dom0's among them.
    pub resolvers: Vec<IpAddr>,
    /// The operator's time servers.
    pub time_servers: Vec<IpAddr>,
    /// Who gives domains their addresses.
    pub dhcp: Side,
}

impl Host {
    /// Whether a range has none of the operator's clients in it: it is behind the backhaul, or domains'.
    pub fn is_behind(&self, range: &Cidr) -> bool {
        let overlaps = |clients: &Cidr| clients.covers(range) || range.covers(clients);
        !self.clients.iter().any(overlaps)
    }
}

/// Who serves the domains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Dom0.
    Host,
    /// Somebody on the backhaul side.
    Backhaul,
}

/// An application on this host, by its verified token.
#[derive(Debug, Clone, PartialEq)]
pub struct Application {
    /// Its number at the operator.
    pub number: ApplicationNumber,
    /// Its zone in the connection tracker, 1 to [`ZONE_MAX`]: given once per host and kept. Where
    /// two applications intercept the same flow the lower zone has it: who came later takes nothing.
    pub zone: u16,
    /// What was granted, by ascending index.
    pub grants: Vec<Grant>,
    /// For rules that do not say it themselves.
    pub on_fail: OnFail,
    /// What all rules together may use.
    pub rate: Option<Rate>,
    /// Whether it is to be woken when something comes for it and no replica lives.
    pub sleeping: bool,
    /// Its domains on this host.
    pub replicas: Vec<Replica>,
    /// Whether the account of its rules pays also for clients that no gate has let through.
    pub free_to_client: bool,
    /// The clients that it lets through, if it keeps the gate; by their places.
    pub admitted: Vec<Admitted>,
}

/// A client that is let through a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted {
    /// Its number among the application's, below [`ADMITTED_MAX`]: it names counters and meter.
    pub place: u16,
    /// Its address.
    pub address: IpAddr,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// What it may use, both directions together.
    pub rate: Option<Rate>,
}

impl Admitted {
    /// What its flow's cookie has as a rule: behind those of all manifests.
    pub fn cookie_rule(&self, is_received: bool) -> u16 {
        RULE_OF_ADMITTED + 2 * self.place + u16::from(is_received)
    }

    /// The place, and whether it is what the client receives, of a cookie's rule.
    pub fn of_cookie_rule(rule: u16) -> Option<(u16, bool)> {
        let number = rule.checked_sub(RULE_OF_ADMITTED)?;
        (number / 2 < ADMITTED_MAX).then_some((number / 2, number % 2 == 1))
    }
}

const RULE_OF_ADMITTED: u16 = manifest::document::RULES_MAX as u16;

impl Application {
    /// What a verified token permits, in a zone, with these replicas.
    pub fn of(token: &Token, zone: u16, sleeping: bool, replicas: Vec<Replica>) -> Application {
        Application {
            number: token.number(),
            zone,
            grants: token.grants().to_vec(),
            on_fail: token.claims().on_fail,
            rate: token.limit().rate,
            sleeping,
            replicas,
            free_to_client: token.bill().free_to_client,
            admitted: Vec::new(),
        }
    }

    /// Whose gate it keeps.
    pub fn keeps_gate(&self) -> Option<Source> {
        self.grants.iter().find_map(|grant| match &grant.rule {
            Rule::Admit(Admit { from, to: None }) => Some(*from),
            _ => None,
        })
    }

    /// Whether a protocol with the network is granted.
    pub fn speaks(&self, protocol: Protocol) -> bool {
        self.grants.iter().any(|grant| match &grant.rule {
            Rule::Speak(speak) => speak.protocols().any(|spoken| spoken == protocol),
            _ => false,
        })
    }

    /// Whether connections are opened to it that it answers from another address than its own:
    /// intercepted ones, and those that it serves in another replica's place.
    pub(super) fn attracts(&self) -> bool {
        let attracts = |grant: &Grant| matches!(grant.rule, Rule::Intercept(_) | Rule::Serve(_));
        self.grants.iter().any(attracts)
    }

    /// The replicas that get new connections.
    pub fn live(&self) -> impl Iterator<Item = &Replica> {
        let live = |replica: &&Replica| replica.state == ReplicaState::Live;
        self.replicas.iter().filter(live)
    }
}

/// A running domain of an application.
#[derive(Debug, Clone, PartialEq)]
pub struct Replica {
    /// Its number on this host, not 0: what `ct_mark` holds.
    pub number: u32,
    /// The port of its vif.
    pub port: PortNumber,
    /// The MAC address that it was given.
    pub mac: [u8; 6],
    /// The addresses that it was given, link-local ones among them.
    pub addresses: Vec<IpAddr>,
    /// What it can take.
    pub state: ReplicaState,
}

/// What a replica can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicaState {
    /// It runs and has not said that it is ready: it may speak and call, and gets nothing.
    Starting,
    /// It gets new connections.
    Live,
    /// It keeps its connections and gets no new ones.
    Draining,
    /// It is not to be reached: what its clients send goes by the rules' `on-fail`.
    Failed,
}

/// The addresses of a name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Addresses {
    /// What DNS says now.
    pub current: BTreeSet<IpAddr>,
    /// What it said before, while connections to it may live: they keep their verdict, and no new
    /// ones begin.
    pub retired: BTreeSet<IpAddr>,
}

/// Why a state cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// A zone out of range, or of two applications.
    #[error("zone {0} is not 1 to {ZONE_MAX}, or of two applications: give each its own")]
    Zone(u16),
    /// Two applications with one number.
    #[error("application {0} stands twice: join its replicas")]
    Application(u32),
    /// Grants that are too many or not by ascending index.
    #[error("the grants of application {0} are not by ascending index: take them from a token")]
    Grants(u32),
    /// A replica's number is 0, another's, or too large.
    #[error("replica {0} is 0, too large, or stands twice: count on")]
    Replica(u32),
    /// More than [`REPLICAS_MAX`].
    #[error("{0} replicas are more than {REPLICAS_MAX}: launch them on another host")]
    Replicas(usize),
    /// A port that is reserved or another's.
    #[error("port {0} is reserved, or given twice: ask the switch for the vif's number")]
    Port(u32),
    /// A MAC address that is a group's or another's.
    #[error("MAC address {0:02x?} is a group's, or given twice: draw another")]
    Mac([u8; 6]),
    /// An address that a domain cannot have, or another has.
    #[error("address {0} is no domain's, or given twice: give another")]
    Address(IpAddr),
    /// A replica or name with too many addresses.
    #[error("{0} has too many addresses: keep fewer")]
    Addresses(String),
    /// A client that is let through twice, or by an application that keeps no gate.
    #[error("client {0} is let through twice, beyond a gate, or at a place that is taken")]
    Admitted(IpAddr),
    /// More than [`NAMES_MAX`].
    #[error("{0} names are more than {NAMES_MAX}: forget those that no rule speaks of")]
    Names(usize),
}

impl DesiredState {
    /// The state with these parts.
    ///
    /// # Errors
    /// Numbers or addresses given twice, out of range, or too many.
    pub fn new(
        host: Host,
        mut applications: Vec<Application>,
        names: BTreeMap<Name, Addresses>,
    ) -> Result<DesiredState, StateError> {
        applications.sort_by_key(|application| application.zone);
        check_applications(&applications)?;
        check_replicas(&host, &applications)?;
        check_names(&names)?;
        check_admitted(&applications)?;
        Ok(DesiredState {
            host,
            applications,
            names,
        })
    }

    /// Facts of the host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The applications, by ascending zone.
    pub fn applications(&self) -> &[Application] {
        &self.applications
    }

    /// The addresses of names.
    pub fn names(&self) -> &BTreeMap<Name, Addresses> {
        &self.names
    }

    /// All replicas with their applications.
    pub fn replicas(&self) -> impl Iterator<Item = (&Application, &Replica)> {
        let of = |application| move |replica| (application, replica);
        let all = self.applications.iter();
        all.flat_map(move |application| application.replicas.iter().map(of(application)))
    }

    /// Where a rule's flows go to now.
    pub(super) fn current(&self, peer: &Peer) -> Vec<Cidr> {
        self.ranges(peer, |addresses| {
            addresses.current.iter().copied().collect()
        })
    }

    /// Where they go to now or went to before.
    pub(super) fn current_and_retired(&self, peer: &Peer) -> Vec<Cidr> {
        self.ranges(peer, |addresses| {
            let all = addresses.current.union(&addresses.retired);
            all.copied().collect()
        })
    }

    fn ranges(&self, peer: &Peer, of: impl Fn(&Addresses) -> Vec<IpAddr>) -> Vec<Cidr> {
        let mut ranges: BTreeSet<Cidr> = BTreeSet::new();
        let mut take = |addresses: &Addresses| ranges.extend(of(addresses).iter().map(host_range));
        match peer {
            Peer::Net(range) => return vec![*range],
            Peer::Name(NamePattern::Exactly(name)) => {
                self.names.get(name).into_iter().for_each(&mut take);
            }
            Peer::Name(pattern) => self
                .names
                .iter()
                .filter(|(name, _)| pattern.matches(name))
                .for_each(|(_, addresses)| take(addresses)),
            // A kind of peer that this version does not know has no addresses.
            _ => {}
        }
        ranges.into_iter().take(RANGES_PER_RULE_MAX).collect()
    }
}

/// The range of one address.
pub(super) fn host_range(address: &IpAddr) -> Cidr {
    let prefix = if address.is_ipv4() { 32 } else { 128 };
    Cidr::new(*address, prefix).expect("a prefix as long as the address")
}

fn check_applications(applications: &[Application]) -> Result<(), StateError> {
    let (mut zones, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for application in applications {
        let (zone, number) = (application.zone, application.number.get());
        if !(1..=ZONE_MAX).contains(&zone) || !zones.insert(zone) {
            return Err(StateError::Zone(zone));
        }
        if !numbers.insert(number) {
            return Err(StateError::Application(number));
        }
        let grants = &application.grants;
        let ascending = grants.windows(2).all(|pair| pair[0].index < pair[1].index);
        let in_range = |grant: &Grant| usize::from(grant.index) < manifest::document::RULES_MAX;
        if !ascending || !grants.iter().all(in_range) {
            return Err(StateError::Grants(number));
        }
    }
    Ok(())
}

fn check_replicas(host: &Host, applications: &[Application]) -> Result<(), StateError> {
    let mut numbers = BTreeSet::from([0]);
    let mut ports = BTreeSet::from([host.access, host.backhaul]);
    let mut macs = BTreeSet::from([host.mac, host.gateway]);
    let mut addresses: BTreeSet<IpAddr> = host.addresses.iter().copied().collect();
    let replicas: Vec<&Replica> = applications.iter().flat_map(|a| &a.replicas).collect();
    if replicas.len() > REPLICAS_MAX {
        return Err(StateError::Replicas(replicas.len()));
    }
    for replica in replicas {
        let is_mark = replica.number & super::onward::ONWARD == 0;
        if !is_mark || !numbers.insert(replica.number) {
            return Err(StateError::Replica(replica.number));
        }
        let is_port = replica.port.0 != 0 && replica.port <= PortNumber::MAX;
        if !is_port || !ports.insert(replica.port) {
            return Err(StateError::Port(replica.port.0));
        }
        let is_group = replica.mac[0] & 1 != 0;
        if is_group || !macs.insert(replica.mac) {
            return Err(StateError::Mac(replica.mac));
        }
        if replica.addresses.len() > ADDRESSES_PER_REPLICA_MAX {
            let name = format!("replica {}", replica.number);
            return Err(StateError::Addresses(name));
        }
        for address in &replica.addresses {
            if !is_a_domains(address) || !addresses.insert(*address) {
                return Err(StateError::Address(*address));
            }
        }
    }
    Ok(())
}

fn check_admitted(applications: &[Application]) -> Result<(), StateError> {
    let mut addresses = BTreeSet::new();
    for application in applications {
        let mut places = BTreeSet::new();
        for admitted in &application.admitted {
            let is_placed = admitted.place < ADMITTED_MAX && places.insert(admitted.place);
            let is_group = admitted.mac[0] & 1 != 0;
            let fits = is_placed && !is_group && addresses.insert(admitted.address);
            if !fits || application.keeps_gate().is_none() {
                return Err(StateError::Admitted(admitted.address));
            }
        }
    }
    Ok(())
}

fn is_a_domains(address: &IpAddr) -> bool {
    let common = address.is_multicast() || address.is_unspecified() || address.is_loopback();
    let broadcast = *address == IpAddr::V4(Ipv4Addr::BROADCAST);
    !common && !broadcast && *address != IpAddr::V4(METADATA)
}

fn check_names(names: &BTreeMap<Name, Addresses>) -> Result<(), StateError> {
    if names.len() > NAMES_MAX {
        return Err(StateError::Names(names.len()));
    }
    let many = |a: &Addresses| a.current.len() + a.retired.len() > ADDRESSES_PER_NAME_MAX;
    match names.iter().find(|(_, addresses)| many(addresses)) {
        Some((name, _)) => Err(StateError::Addresses(name.to_string())),
        None => Ok(()),
    }
}
