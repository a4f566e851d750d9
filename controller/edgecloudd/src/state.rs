//! What the daemon knows: applications by their tokens, replicas, names, revocations; and what
//! follows from it for the switch. No I/O and no clock: decisions become [`Change`]s, which are
//! written down first ([`crate::store`]) and taken over then ([`State::take`]).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use manifest::{Cidr, Name, NamePattern, Peer, RevocationList, Rule, Timestamp, Token};
use openflow::PortNumber;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::accounting::{Amount, Seen, advance};
use crate::admissions::{AdmissionKey, AdmissionRecord};
use crate::health::Probe;
use crate::names::Interest;
use crate::ovs::Counters;
use crate::pipeline::{
    self, ADDRESSES_PER_NAME_MAX, Addresses, DesiredState, Host, NAMES_MAX, REPLICAS_MAX,
    ReplicaState, StateError, ZONE_MAX,
};

/// How long an address that DNS does not tell any more keeps its connections: longer ones than this
/// are cut when the name moves.
pub const RETIRED_SECONDS: u64 = 3600;
/// Replicas' numbers are in their MAC addresses, which have three bytes for them.
pub const REPLICA_NUMBER_MAX: u32 = (1 << 24) - 1;
/// The first host number of a prefix that a domain gets: the ones before are routers', by custom.
const FIRST_ADDRESS: u128 = 2;

/// What is written of an application.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApplicationRecord {
    /// Its zone in the connection tracker.
    pub zone: u16,
    /// Its signed token.
    pub token: Vec<u8>,
    /// Why it is served no more.
    pub withdrawn: Option<Withdrawn>,
}

/// Why an application is served no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Withdrawn {
    /// The operator took it back.
    Revoked,
    /// Its token ended.
    Expired,
}

impl Withdrawn {
    /// One word.
    pub fn as_str(self) -> &'static str {
        match self {
            Withdrawn::Revoked => "revoked",
            Withdrawn::Expired => "expired",
        }
    }
}

/// An application.
#[derive(Debug, Clone, PartialEq)]
pub struct Application {
    /// What is written of it.
    pub record: ApplicationRecord,
    /// Its token, read.
    pub token: Token,
}

/// What is written of a replica.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplicaRecord {
    /// Its name on this host.
    pub name: String,
    /// The application's number.
    pub application: u32,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Its addresses, a link-local one of IPv6 among them.
    pub addresses: Vec<IpAddr>,
    /// The image.
    pub image: PathBuf,
    /// The image's digest, hexadecimal: it is checked before each start.
    pub digest: String,
    /// MiB.
    pub memory_mib: u32,
    /// The private key of its token.
    pub key: Zeroizing<String>,
    /// The appliance's configuration.
    pub configuration: String,
    /// Further variables of its environment.
    pub environment: BTreeMap<String, String>,
    /// How it is asked whether it lives.
    pub probe: Probe,
    /// Its disk.
    pub disk: Option<PathBuf>,
    /// It proved that it has its token's key.
    pub registered: bool,
    /// It said that it is ready.
    pub ready: bool,
    /// It gets no new connections.
    pub draining: bool,
    /// It does not answer.
    pub failed: bool,
    /// It is to be destroyed and not started again.
    pub ending: bool,
    /// How often it was started again.
    pub restarts: u32,
}

impl ReplicaRecord {
    /// What it can take.
    pub fn state(&self) -> ReplicaState {
        match (self.failed, self.draining, self.ready) {
            (true, ..) => ReplicaState::Failed,
            (_, true, _) => ReplicaState::Draining,
            (.., true) => ReplicaState::Live,
            _ => ReplicaState::Starting,
        }
    }
}

/// A state's word in the interfaces.
pub fn word(state: ReplicaState) -> &'static str {
    match state {
        ReplicaState::Starting => "starting",
        ReplicaState::Live => "live",
        ReplicaState::Draining => "draining",
        ReplicaState::Failed => "failed",
    }
}

/// A replica.
#[derive(Debug, Clone, PartialEq)]
pub struct Replica {
    /// What is written of it.
    pub record: ReplicaRecord,
    /// Where it runs, if it does.
    pub running: Option<Running>,
}

/// Where a replica runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// Its port in the switch.
    pub port: PortNumber,
    /// Xen's number of the domain, or the process's; none while it is being made.
    pub id: Option<u32>,
}

/// What is written of a name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NameRecord {
    /// What DNS says.
    pub current: BTreeSet<IpAddr>,
    /// What it said before, and until when connections to it are kept, in Unix time.
    pub retired: BTreeMap<IpAddr, u64>,
}

impl NameRecord {
    /// The name after DNS said something else.
    #[must_use]
    pub fn learned(&self, current: BTreeSet<IpAddr>, now: Timestamp) -> NameRecord {
        let current: BTreeSet<IpAddr> = current.into_iter().take(ADDRESSES_PER_NAME_MAX).collect();
        let until = now.seconds() + RETIRED_SECONDS;
        let gone = self.current.difference(&current).map(|a| (*a, until));
        let before = self
            .retired
            .iter()
            .map(|(address, until)| (*address, *until));
        let mut retired: Vec<(IpAddr, u64)> = before.chain(gone).collect();
        retired.retain(|(address, until)| now.seconds() < *until && !current.contains(address));
        // Those that are kept longest come first; what has no room is forgotten.
        retired.sort_by_key(|(_, until)| std::cmp::Reverse(*until));
        retired.truncate(ADDRESSES_PER_NAME_MAX - current.len());
        NameRecord {
            current,
            retired: retired.into_iter().collect(),
        }
    }
}

/// One thing that becomes different.
#[derive(Debug, Clone)]
pub enum Change {
    /// An application is as given.
    Application(Box<Application>),
    /// A replica is as given.
    Replica(u32, Box<ReplicaRecord>),
    /// A replica is no more.
    NoReplica(u32),
    /// A name is as given.
    Name(Name, NameRecord),
    /// A name is no more.
    NoName(Name),
    /// The revocation list, and its bytes.
    Revocations(RevocationList, Vec<u8>),
    /// The number of the next replica.
    NextReplica(u32),
    /// What the switch counted was added to these sums, and is seen.
    Accounted(Seen, Vec<(AccountKey, Amount)>),
    /// A client that is let through is as given.
    Admission(AdmissionKey, AdmissionRecord),
    /// A client is let through no more.
    NoAdmission(AdmissionKey),
}

/// Whose sum it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AccountKey {
    /// The account that pays.
    pub account: String,
    /// The application's number.
    pub application: u32,
    /// The rule's index; [`crate::pipeline::Cookie::NO_RULE`] for what flows of all rules carried.
    pub rule: u16,
}

/// What the daemon knows.
#[derive(Debug)]
pub struct State {
    /// By number.
    pub applications: BTreeMap<u32, Application>,
    /// By number.
    pub replicas: BTreeMap<u32, Replica>,
    /// By name.
    pub names: BTreeMap<Name, NameRecord>,
    /// What the operator took back.
    pub revocations: RevocationList,
    /// The number of the next replica.
    pub next_replica: u32,
    /// What was carried, by who pays.
    pub accounts: BTreeMap<AccountKey, Amount>,
    /// What of the switch's counters is in these sums.
    pub seen: Seen,
    /// Clients that applications let through.
    pub admissions: BTreeMap<AdmissionKey, AdmissionRecord>,
}

impl Default for State {
    fn default() -> State {
        State {
            applications: BTreeMap::new(),
            replicas: BTreeMap::new(),
            names: BTreeMap::new(),
            revocations: RevocationList::empty(),
            next_replica: 1,
            accounts: BTreeMap::new(),
            seen: Seen::default(),
            admissions: BTreeMap::new(),
        }
    }
}

impl State {
    /// Takes over what was written down.
    pub fn take(&mut self, change: Change) {
        match change {
            Change::Application(application) => {
                let number = application.token.number().get();
                self.applications.insert(number, *application);
            }
            Change::Replica(number, record) => {
                let running = self.replicas.get(&number).and_then(|r| r.running);
                let record = *record;
                self.replicas.insert(number, Replica { record, running });
            }
            Change::NoReplica(number) => {
                self.replicas.remove(&number);
            }
            Change::Name(name, record) => {
                self.names.insert(name, record);
            }
            Change::NoName(name) => {
                self.names.remove(&name);
            }
            Change::Revocations(list, _) => self.revocations = list,
            Change::NextReplica(number) => self.next_replica = number,
            Change::Accounted(seen, sums) => {
                self.seen = seen;
                self.accounts.extend(sums);
            }
            Change::Admission(key, record) => {
                self.admissions.insert(key, record);
            }
            Change::NoAdmission(key) => {
                self.admissions.remove(&key);
            }
        }
    }

    /// The replica with a name.
    pub fn named(&self, name: &str) -> Option<(u32, &Replica)> {
        let mut all = self.replicas.iter();
        let found = all.find(|(_, replica)| replica.record.name == name);
        found.map(|(number, replica)| (*number, replica))
    }

    /// The replica with an address.
    pub fn addressed(&self, address: IpAddr) -> Option<(u32, &Replica)> {
        let mut all = self.replicas.iter();
        let found = all.find(|(_, replica)| replica.record.addresses.contains(&address));
        found.map(|(number, replica)| (*number, replica))
    }

    /// An application's replicas.
    pub fn replicas_of(&self, application: u32) -> impl Iterator<Item = (u32, &Replica)> {
        let all = self.replicas.iter();
        let own = all.filter(move |(_, replica)| replica.record.application == application);
        own.map(|(number, replica)| (*number, replica))
    }

    /// The zone of an application: the one it has, or the lowest that is free.
    pub fn zone_for(&self, application: u32) -> Option<u16> {
        if let Some(known) = self.applications.get(&application) {
            return Some(known.record.zone);
        }
        let used: BTreeSet<u16> = self.applications.values().map(|a| a.record.zone).collect();
        (1..=ZONE_MAX).find(|zone| !used.contains(zone))
    }

    /// A number that no replica has, from the next one on, so that a number comes back late.
    pub fn replica_number(&self) -> Option<u32> {
        if self.replicas.len() >= REPLICAS_MAX {
            return None;
        }
        let from = self.next_replica.clamp(1, REPLICA_NUMBER_MAX);
        let mut all = (from..=REPLICA_NUMBER_MAX).chain(1..from);
        all.find(|number| !self.replicas.contains_key(number))
    }

    /// An address of each prefix that nobody has.
    pub fn addresses(&self, prefixes: &[Cidr], taken: &[IpAddr]) -> Option<Vec<IpAddr>> {
        let of_replicas = self.replicas.values().flat_map(|r| &r.record.addresses);
        let used: BTreeSet<IpAddr> = of_replicas.chain(taken).copied().collect();
        let free = |range: &Cidr| {
            let candidates = (FIRST_ADDRESS..).take(used.len() + 1);
            let mut addresses = candidates.map(|number| nth(range, number));
            addresses.find(|address| address.is_none_or(|a| !used.contains(&a)))?
        };
        prefixes.iter().map(free).collect()
    }

    /// The sums after the switch counted on; nothing if it did not.
    pub fn accounted(&self, counters: &Counters) -> Vec<Change> {
        let (seen, deltas) = advance(&self.seen, counters);
        if seen == self.seen && deltas.is_empty() {
            return Vec::new();
        }
        let (deltas, mut changes) = self.accounted_admissions(deltas);
        let mut sums = BTreeMap::new();
        for delta in deltas {
            let application = self.applications.get(&delta.application);
            let account = application.map(|a| a.token.bill().account.to_string());
            let key = AccountKey {
                account: account.unwrap_or_default(),
                application: delta.application,
                rule: delta.rule,
            };
            let before = self.accounts.get(&key).copied().unwrap_or_default();
            sums.insert(key, before.plus(delta.amount));
        }
        changes.push(Change::Accounted(seen, sums.into_iter().collect()));
        changes
    }

    /// What the switch should hold. An application without replicas is not there; one whose
    /// replicas do not run is, for its rules' `on-fail`.
    ///
    /// # Errors
    /// What cannot be, by the pipeline's rules.
    pub fn desired(&self, host: &Host) -> Result<DesiredState, StateError> {
        let mut applications = Vec::new();
        for (number, application) in &self.applications {
            let mut own = self.replicas_of(*number).peekable();
            if application.record.withdrawn.is_some() || own.peek().is_none() {
                continue;
            }
            let replicas = own.filter_map(|(number, replica)| {
                Some(pipeline::Replica {
                    number,
                    port: replica.running?.port,
                    mac: replica.record.mac,
                    addresses: replica.record.addresses.clone(),
                    state: replica.record.state(),
                })
            });
            let zone = application.record.zone;
            let replicas = replicas.collect();
            let token = &application.token;
            let mut desired = pipeline::Application::of(token, zone, false, replicas);
            if desired.keeps_gate().is_some() {
                desired.admitted = self.admitted(*number);
            }
            applications.push(desired);
        }
        let names = self.names.iter().map(|(name, record)| {
            let addresses = Addresses {
                current: record.current.clone(),
                retired: record.retired.keys().copied().collect(),
            };
            (name.clone(), addresses)
        });
        DesiredState::new(host.clone(), applications, names.collect())
    }

    /// Of which names addresses are wanted, and which names are served here.
    pub fn interest(&self) -> Interest {
        let mut interest = Interest::default();
        let replicas = self.replicas.values();
        let addresses = replicas.flat_map(|replica| &replica.record.addresses);
        interest.domains.extend(addresses.copied());
        for (number, application) in &self.applications {
            let is_here = self.replicas_of(*number).next().is_some();
            if application.record.withdrawn.is_some() || !is_here {
                continue;
            }
            for grant in application.token.grants() {
                match &grant.rule {
                    Rule::Intercept(rule) => {
                        want(&mut interest, rule.to());
                        if let Peer::Name(NamePattern::Exactly(name)) = rule.to() {
                            interest.ahead.insert(name.clone());
                        }
                    }
                    Rule::Call(rule) => want(&mut interest, &rule.to),
                    Rule::Admit(manifest::Admit {
                        to: Some((to, _)), ..
                    }) => {
                        want(&mut interest, to);
                        // A client that asks nobody here may still name it, or know its address.
                        if let Peer::Name(NamePattern::Exactly(name)) = to {
                            interest.ahead.insert(name.clone());
                        }
                    }
                    Rule::Serve(rule) => {
                        let live = self.replicas_of(*number).filter(|(_, replica)| {
                            let state = replica.record.state();
                            state == ReplicaState::Live && replica.running.is_some()
                        });
                        let addresses = live.flat_map(|(_, replica)| &replica.record.addresses);
                        let public = addresses.filter(|a| !is_link_local(a)).copied();
                        let served = interest.served.entry(rule.name.clone());
                        served.or_default().extend(public);
                    }
                    _ => {}
                }
            }
        }
        interest
    }

    /// Names that nobody speaks of any more, and addresses that were kept long enough.
    pub fn stale_names(&self, now: Timestamp) -> Vec<Change> {
        let interest = self.interest();
        let changes = self.names.iter().filter_map(|(name, record)| {
            if !interest.wants(name) {
                return Some(Change::NoName(name.clone()));
            }
            let current = record.current.clone();
            let kept = record.learned(current, now);
            (kept != *record).then(|| Change::Name(name.clone(), kept))
        });
        changes.collect()
    }

    /// What DNS said of a name becomes, if it concerns anybody and is news.
    pub fn learned(
        &self,
        name: &Name,
        current: BTreeSet<IpAddr>,
        now: Timestamp,
    ) -> Option<Change> {
        if !self.interest().wants(name) {
            return None;
        }
        let before = self.names.get(name);
        if before.is_none() && self.names.len() >= NAMES_MAX {
            return None;
        }
        let record = before.cloned().unwrap_or_default();
        let after = record.learned(current, now);
        (before != Some(&after)).then(|| Change::Name(name.clone(), after))
    }
}

fn want(interest: &mut Interest, peer: &Peer) {
    if let Peer::Name(pattern) = peer {
        interest.patterns.insert(pattern.clone());
    }
}

fn is_link_local(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// The address with a number in a range; nothing beyond its end, or its broadcast address.
fn nth(range: &Cidr, number: u128) -> Option<IpAddr> {
    let address: IpAddr = match range.address() {
        IpAddr::V4(v4) => {
            let next = v4.to_bits().checked_add(u32::try_from(number).ok()?)?;
            let host_bits = u32::MAX.checked_shr(range.prefix().into()).unwrap_or(0);
            if next & host_bits == host_bits {
                return None;
            }
            std::net::Ipv4Addr::from_bits(next).into()
        }
        IpAddr::V6(v6) => {
            let next = v6.to_bits().checked_add(number)?;
            std::net::Ipv6Addr::from_bits(next).into()
        }
    };
    range.contains(address).then_some(address)
}

/// A replica's MAC address: locally administered, and by the host's name another on each host.
pub fn mac_of(host: &Name, number: u32) -> [u8; 6] {
    let digest = manifest::Digest::of(host.to_string().as_bytes());
    let [a, b, ..] = digest.0;
    let [_, c, d, e] = number.to_be_bytes();
    [0x02, a, b, c, d, e]
}

/// The link-local address that a host with a MAC address gives itself (RFC 4291, appendix A).
pub fn link_local(mac: [u8; 6]) -> IpAddr {
    let [a, b, c, d, e, f] = mac;
    let bytes = [
        0xfe,
        0x80,
        0,
        0,
        0,
        0,
        0,
        0,
        a ^ 2,
        b,
        c,
        0xff,
        0xfe,
        d,
        e,
        f,
    ];
    std::net::Ipv6Addr::from(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(seconds).unwrap()
    }

    #[test]
    fn addresses_are_given_once_and_end_with_the_prefix() {
        let state = State::default();
        let check = |prefix: &str, taken: &[&str], expected: Option<&str>| {
            let taken: Vec<IpAddr> = taken.iter().map(|text| ip(text)).collect();
            let given = state.addresses(&[prefix.parse().unwrap()], &taken);
            assert_eq!(given, expected.map(|text| vec![ip(text)]), "{prefix}");
        };
        check("10.0.1.0/24", &[], Some("10.0.1.2"));
        check("10.0.1.0/24", &["10.0.1.2", "10.0.1.3"], Some("10.0.1.4"));
        check("fd00::/64", &["fd00::2"], Some("fd00::3"));
        // 10.0.1.7 is the broadcast address.
        let all = ["10.0.1.2", "10.0.1.3", "10.0.1.4", "10.0.1.5", "10.0.1.6"];
        check("10.0.1.0/29", &all[..4], Some("10.0.1.6"));
        check("10.0.1.0/29", &all, None);
    }

    #[test]
    fn a_name_keeps_what_it_lost_for_a_while() {
        let set = |texts: &[&str]| texts.iter().map(|text| ip(text)).collect();
        let first = NameRecord::default().learned(set(&["192.0.2.1", "192.0.2.2"]), at(100));
        let second = first.learned(set(&["192.0.2.2"]), at(200));
        assert_eq!(second.retired, [(ip("192.0.2.1"), 3800)].into());
        let third = second.learned(set(&["192.0.2.2"]), at(3799));
        assert_eq!(third, second);
        let fourth = third.learned(set(&["192.0.2.2"]), at(3800));
        assert!(fourth.retired.is_empty());
        let back = second.learned(set(&["192.0.2.1"]), at(300));
        assert_eq!(back.retired, [(ip("192.0.2.2"), 3900)].into());
    }

    #[test]
    fn a_name_with_too_many_addresses_is_cut() {
        let many = (0..200u32).map(|n| IpAddr::from(std::net::Ipv4Addr::from_bits(n)));
        let record = NameRecord::default().learned(many.collect(), at(0));
        assert_eq!(record.current.len(), ADDRESSES_PER_NAME_MAX);
        let other = record.learned([ip("192.0.2.1")].into(), at(1));
        assert_eq!(other.retired.len(), ADDRESSES_PER_NAME_MAX - 1);
    }

    #[test]
    fn link_local_addresses_are_what_linux_gives() {
        let mac = [0x02, 0xaa, 0xbb, 0x00, 0x00, 0x01];
        assert_eq!(link_local(mac), ip("fe80::aa:bbff:fe00:1"));
    }
}
