//! Which services are free for whom, as the host's controller says it. Pure.
//!
//! The controller (`controller/edgecloudd/src/api/mod.rs`, `/v1/free-services`) tells names without
//! wildcards, ports, the range of clients, and the addresses where the switch lets this appliance go. What
//! it has not said anew for [`FREE_KNOWN_TIME_MAX`] is not believed.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use serde::{Deserialize, Deserializer, de::Error};

use crate::limits::{FREE_KNOWN_TIME_MAX, SERVICE_ADDRESSES_TRIED_MAX};

/// The controller's answer.
#[derive(Debug, Default, Deserialize)]
pub struct Services {
    /// What the next question says that is known.
    pub version: String,
    services: Vec<Service>,
    payers: Vec<String>,
}

/// One service under one name.
#[derive(Clone, Debug, Deserialize)]
pub struct Service {
    name: String,
    /// As the manifest has it: what figures are kept by.
    pub service: String,
    /// Who pays.
    pub payer: String,
    clients: Option<Range>,
    tcp: Vec<(u16, u16)>,
    addresses: Vec<IpAddr>,
}

/// Addresses that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    address: IpAddr,
    prefix: u32,
}

impl<'de> Deserialize<'de> for Range {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parse = || {
            let (address, prefix) = text.split_once('/')?;
            let (address, prefix): (IpAddr, u32) = (address.parse().ok()?, prefix.parse().ok()?);
            let bits = if address.is_ipv4() { 32 } else { 128 };
            (prefix <= bits).then_some(Self { address, prefix })
        };
        parse().ok_or_else(|| D::Error::custom("a range is like 10.0.0.0/24"))
    }
}

impl Range {
    fn contains(self, address: IpAddr) -> bool {
        let differs = match (self.address, address) {
            (IpAddr::V4(mine), IpAddr::V4(other)) => {
                u128::from(mine.to_bits() ^ other.to_bits()) << 96
            }
            (IpAddr::V6(mine), IpAddr::V6(other)) => mine.to_bits() ^ other.to_bits(),
            _ => return false,
        };
        differs.leading_zeros() >= self.prefix
    }
}

/// What is known, and since when.
#[derive(Debug, Default)]
pub struct Known {
    /// What the controller said last.
    pub services: Services,
    heard: Option<Instant>,
}

impl Known {
    /// The controller says this.
    pub fn hear(&mut self, services: Services, now: Instant) {
        self.services = services;
        self.heard = Some(now);
    }

    /// The controller says what it said before.
    pub fn hear_again(&mut self, now: Instant) {
        self.heard = Some(now);
    }

    /// Whether it can be believed.
    pub fn is_fresh(&self, now: Instant) -> bool {
        self.heard
            .is_some_and(|heard| now.saturating_duration_since(heard) <= FREE_KNOWN_TIME_MAX)
    }
}

impl Services {
    /// The service that a client means by a name, at a port.
    pub fn find(&self, name: &str, port: u16, client: IpAddr) -> Option<&Service> {
        self.services.iter().find(|service| {
            let at = |(first, last): &(u16, u16)| (*first..=*last).contains(&port);
            let is_for = |range: Range| range.contains(client);
            service.name.eq_ignore_ascii_case(name)
                && service.tcp.iter().any(at)
                && service.clients.is_none_or(is_for)
                && !service.addresses.is_empty()
        })
    }

    /// Whether somebody still pays.
    pub fn has_payer(&self, payer: &str) -> bool {
        self.payers.iter().any(|one| one == payer)
    }
}

impl Service {
    /// Where to go, in the order in which it is tried: in the client's family first, beginning at another
    /// address each time.
    pub fn targets(&self, port: u16, client: IpAddr, turn: usize) -> Vec<SocketAddr> {
        let (alike, others): (Vec<IpAddr>, Vec<IpAddr>) = self
            .addresses
            .iter()
            .partition(|address| address.is_ipv4() == client.is_ipv4());
        let turned = |mut addresses: Vec<IpAddr>| {
            let count = addresses.len().max(1);
            addresses.rotate_left(turn % count);
            addresses
        };
        let all = turned(alike).into_iter().chain(turned(others));
        all.map(|address| SocketAddr::new(address, port))
            .take(SERVICE_ADDRESSES_TRIED_MAX)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn services() -> Services {
        let text = r#"{"version": "1", "payers": ["8.0", "8.1", "9.0"], "services": [
            {"name": "chat.example", "service": "chat.example", "payer": "8.0", "clients": null,
             "tcp": [[80, 80], [443, 443]], "addresses": ["192.0.2.1", "192.0.2.2", "2001:db8::1"]},
            {"name": "a.news.example", "service": "*.news.example", "payer": "8.1",
             "clients": "10.0.0.0/28", "tcp": [[443, 443]], "addresses": ["192.0.2.3"]},
            {"name": "six.example", "service": "six.example", "payer": "9.0",
             "clients": "2001:db8:c::/64", "tcp": [[8000, 8100]], "addresses": ["192.0.2.4"]},
            {"name": "gone.example", "service": "gone.example", "payer": "9.0", "clients": null,
             "tcp": [[443, 443]], "addresses": []}
        ]}"#;
        serde_json::from_str(text).expect("services")
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_service_is_free_by_its_name_at_its_ports_for_its_clients() {
        let services = services();
        let check = |name: &str, port: u16, client: &str, payer: Option<&str>| {
            let found = services.find(name, port, ip(client));
            let found = found.map(|service| service.payer.as_str());
            assert_eq!(found, payer, "{name} {port} {client}");
        };
        check("chat.example", 443, "10.0.0.5", Some("8.0"));
        check("Chat.Example", 80, "2001:db8:c::5", Some("8.0"));
        check("chat.example", 81, "10.0.0.5", None);
        check("x.chat.example", 443, "10.0.0.5", None);
        check("a.news.example", 443, "10.0.0.15", Some("8.1"));
        check("a.news.example", 443, "10.0.0.16", None);
        // Of a wildcard only names are free that have an address.
        check("b.news.example", 443, "10.0.0.15", None);
        check("*.news.example", 443, "10.0.0.15", None);
        check("six.example", 8100, "2001:db8:c::5", Some("9.0"));
        check("six.example", 8100, "2001:db8:d::5", None);
        check("six.example", 8100, "10.0.0.5", None);
        check("gone.example", 443, "10.0.0.5", None);
        assert!(services.has_payer("8.1") && !services.has_payer("8.2"));
    }

    #[test]
    fn a_service_is_sought_where_its_name_is_and_nowhere_else() {
        let services = services();
        let chat = services.find("chat.example", 443, ip("10.0.0.5"));
        let chat = chat.expect("it is free");
        let targets = |client: &str, turn: usize| -> Vec<String> {
            let all = chat.targets(443, ip(client), turn);
            all.iter().map(SocketAddr::to_string).collect()
        };
        let [one, two, six] = ["192.0.2.1:443", "192.0.2.2:443", "[2001:db8::1]:443"];
        assert_eq!(targets("10.0.0.5", 0), [one, two, six]);
        assert_eq!(targets("10.0.0.5", 1), [two, one, six]);
        assert_eq!(targets("10.0.0.5", 2), [one, two, six]);
        assert_eq!(targets("2001:db8:c::5", 1), [six, two, one]);
    }

    #[test]
    fn what_was_said_long_ago_is_not_believed() {
        let (mut known, now) = (Known::default(), Instant::now());
        assert!(!known.is_fresh(now));
        known.hear(services(), now);
        assert!(known.is_fresh(now + FREE_KNOWN_TIME_MAX));
        let late = now + FREE_KNOWN_TIME_MAX + Duration::from_millis(1);
        assert!(!known.is_fresh(late));
        known.hear_again(late);
        assert!(known.is_fresh(late));
    }

    #[test]
    fn nonsense_is_no_list() {
        for text in [
            "{}",
            "[]",
            r#"{"version": 1, "payers": [], "services": []}"#,
        ] {
            assert!(serde_json::from_str::<Services>(text).is_err(), "{text}");
        }
        for range in ["10.0.0.0/33", "10.0.0.0", "x/1", "::/129"] {
            let text = format!("\"{range}\"");
            assert!(serde_json::from_str::<Range>(&text).is_err(), "{range}");
        }
    }
}
