//! Own addresses, and the way to others.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::config::{Config, same_network};
use super::packet::Mac;

/// Addresses and routers of the interface.
pub(crate) struct Routes {
    addresses: Vec<(IpAddr, u8)>,
    gateways: Vec<IpAddr>,
}

/// What an address is to us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Destination {
    /// One of our addresses.
    Own,
    /// Everybody's: broadcast, or a multicast group.
    Group,
    /// Somebody else's.
    Foreign,
}

/// The address that every IPv6 interface has (RFC 4291 §2.5.6 and appendix A).
pub(crate) fn link_local(mac: Mac) -> Ipv6Addr {
    let m = mac.0;
    let words = [
        u16::from_be_bytes([m[0] ^ 2, m[1]]),
        u16::from_be_bytes([m[2], 0xff]),
        u16::from_be_bytes([0xfe, m[3]]),
        u16::from_be_bytes([m[4], m[5]]),
    ];
    Ipv6Addr::new(0xfe80, 0, 0, 0, words[0], words[1], words[2], words[3])
}

/// The group in which an address is asked for (RFC 4291 §2.7.1).
pub(crate) fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    let octets = target.octets();
    let low = u16::from_be_bytes([octets[14], octets[15]]);
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(octets[13]), low)
}

/// The Ethernet address of a multicast group (RFC 1112 §6.4, RFC 2464 §7), or of everybody.
pub(crate) fn group_mac(group: IpAddr) -> Mac {
    match group {
        IpAddr::V4(v4) if v4.is_multicast() => {
            let octets = v4.octets();
            Mac([0x01, 0x00, 0x5e, octets[1] & 0x7f, octets[2], octets[3]])
        }
        IpAddr::V4(_) => Mac::BROADCAST,
        IpAddr::V6(v6) => {
            let octets = v6.octets();
            Mac([0x33, 0x33, octets[12], octets[13], octets[14], octets[15]])
        }
    }
}

impl Routes {
    pub(crate) fn new(config: &Config, mac: Mac) -> Routes {
        let mut addresses = config.addresses.clone();
        addresses.push((IpAddr::V6(link_local(mac)), 64));
        Routes {
            addresses,
            gateways: config.gateways.clone(),
        }
    }

    /// Own addresses with their prefix lengths, the link-local one last.
    pub(crate) fn addresses(&self) -> &[(IpAddr, u8)] {
        &self.addresses
    }

    pub(crate) fn is_own(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.addresses.iter().any(|&(own, _)| own == address)
    }

    pub(crate) fn classify(&self, address: IpAddr) -> Destination {
        if self.is_own(address) {
            Destination::Own
        } else if address.is_multicast() || self.is_broadcast(address) {
            Destination::Group
        } else {
            Destination::Foreign
        }
    }

    fn is_broadcast(&self, address: IpAddr) -> bool {
        let IpAddr::V4(address) = address else {
            return false;
        };
        let directed = |&(own, len): &(IpAddr, u8)| match own {
            IpAddr::V4(own) if len < 31 => own.to_bits() | (u32::MAX >> len) == address.to_bits(),
            _ => false,
        };
        address.is_broadcast() || self.addresses.iter().any(directed)
    }

    fn is_on_link(&self, address: IpAddr) -> bool {
        let link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        link_local
            || self
                .addresses
                .iter()
                .any(|&(own, len)| same_network(own, address, len))
    }

    /// The neighbour to which packets for `dst` go.
    pub(crate) fn next_hop(&self, dst: IpAddr) -> Option<IpAddr> {
        if self.is_on_link(dst) {
            return Some(dst);
        }
        self.gateways
            .iter()
            .copied()
            .find(|gateway| gateway.is_ipv4() == dst.is_ipv4())
    }

    /// The own address from which to speak to `dst` (RFC 6724 in as far as few addresses need it).
    pub(crate) fn source_for(&self, dst: IpAddr) -> Option<IpAddr> {
        if dst.is_loopback() || self.is_own(dst) {
            return Some(dst);
        }
        let scope =
            |address: IpAddr| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let same_family = || {
            self.addresses
                .iter()
                .filter(|(own, _)| own.is_ipv4() == dst.is_ipv4())
        };
        let on_link = same_family()
            .find(|&&(own, len)| scope(own) == scope(dst) && same_network(own, dst, len));
        let any = || {
            same_family()
                .find(|&&(own, _)| scope(own) == scope(dst))
                .or_else(|| same_family().next())
        };
        on_link.or_else(any).map(|&(own, _)| own)
    }

    /// Takes over what DHCP or a router said.
    pub(crate) fn add(&mut self, addresses: &[(IpAddr, u8)], gateways: &[IpAddr]) {
        for &address in addresses
            .iter()
            .filter(|address| !self.addresses.contains(address))
            .collect::<Vec<_>>()
        {
            self.addresses.insert(0, address);
        }
        for &gateway in gateways {
            self.gateways.retain(|&other| other != gateway);
            self.gateways.push(gateway);
        }
    }

    /// Takes back what [`Routes::add`] added.
    pub(crate) fn remove(&mut self, addresses: &[(IpAddr, u8)], gateways: &[IpAddr]) {
        self.addresses
            .retain(|address| !addresses.contains(address));
        self.gateways.retain(|gateway| !gateways.contains(gateway));
    }
}

/// As IPv6 writes it (RFC 4291 §2.5.5.2), for sockets of the IPv6 family that speak IPv4.
pub(crate) fn map(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V6(v4.to_ipv6_mapped()),
        v6 => v6,
    }
}

/// The reverse of [`map`].
pub(crate) fn unmap(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        v4 => v4,
    }
}

/// The address that means any, of the same family.
pub(crate) fn unspecified(like: IpAddr) -> IpAddr {
    if like.is_ipv4() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    } else {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes() -> Routes {
        let config = "ip=10.0.0.2/24,ip=2001:db8::2/64,gateway=10.0.0.1,gateway=2001:db8::1"
            .parse()
            .unwrap();
        Routes::new(&config, Mac([2, 0, 0, 0, 0, 5]))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn finds_the_way_and_the_source() {
        let routes = routes();
        for (dst, hop, source) in [
            ("10.0.0.9", "10.0.0.9", "10.0.0.2"),
            ("9.9.9.9", "10.0.0.1", "10.0.0.2"),
            ("2001:db8::9", "2001:db8::9", "2001:db8::2"),
            ("2a00::1", "2001:db8::1", "2001:db8::2"),
            ("fe80::1", "fe80::1", "fe80::ff:fe00:5"),
        ] {
            assert_eq!(routes.next_hop(ip(dst)), Some(ip(hop)), "{dst}");
            assert_eq!(routes.source_for(ip(dst)), Some(ip(source)), "{dst}");
        }
    }

    #[test]
    fn knows_its_own() {
        let routes = routes();
        for (address, kind) in [
            ("10.0.0.2", Destination::Own),
            ("127.3.2.1", Destination::Own),
            ("10.0.0.255", Destination::Group),
            ("255.255.255.255", Destination::Group),
            ("ff02::1", Destination::Group),
            ("10.0.0.3", Destination::Foreign),
        ] {
            assert_eq!(routes.classify(ip(address)), kind, "{address}");
        }
        assert_eq!(
            solicited_node(link_local(Mac([2, 0, 0, 1, 2, 3]))),
            "ff02::1:ff01:203".parse::<Ipv6Addr>().unwrap()
        );
    }
}
