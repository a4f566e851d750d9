//! Which addresses a name of the world may not have.
//!
//! Who owns a name decides to what it points. If he points it to what only this network reaches, a
//! program that trusts the name speaks for him to hosts that he cannot reach himself (DNS
//! rebinding), and a `call` by name would be a permission to speak to dom0 or to the neighbours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use manifest::Cidr;

/// What is refused.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Refused whatever is permitted: dom0's addresses, and those that domains get.
    pub own: Vec<Cidr>,
    /// Refused unless permitted: the operator's clients.
    pub clients: Vec<Cidr>,
    /// What names may have although it is private.
    pub permitted: Vec<Cidr>,
}

impl Filter {
    /// Whether an answer may not have an address.
    pub fn refuses(&self, address: IpAddr) -> bool {
        let address = embedded(address);
        let within = |ranges: &[Cidr]| ranges.iter().any(|range| range.contains(address));
        let refused = !is_public(address) || within(&self.clients);
        within(&self.own) || refused && !within(&self.permitted)
    }
}

/// The address of IPv4 that an address of IPv6 stands for: mapped (RFC 4291, 2.5.5.2), translated
/// (RFC 6052, 2.1) or 6to4 (RFC 3056, 2).
fn embedded(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    let v4 = match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => (high, low),
        [0x2002, high, low, ..] => (high, low),
        _ => return address,
    };
    IpAddr::V4(Ipv4Addr::from_bits(u32::from(v4.0) << 16 | u32::from(v4.1)))
}

/// Whether everybody may have it. Ranges for documentation are nobody's, and so do no harm.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let is_shared = a == 100 && (64..128).contains(&b);
            let is_protocols = (a, b, c) == (192, 0, 0);
            let is_benchmark = a == 198 && (18..20).contains(&b);
            let is_local = v4.is_private() || v4.is_loopback() || v4.is_link_local();
            let is_nobody = a == 0 || a >= 224;
            !(is_local || is_nobody || is_shared || is_protocols || is_benchmark)
        }
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

/// Global unicast is 2000::/3 (RFC 4291, 2.4); Teredo (RFC 4380) hides an address of IPv4.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    first & 0xe000 == 0x2000 && (first, second) != (0x2001, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_this_network_reaches_is_refused() {
        let ranges = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let filter = Filter {
            own: ranges(&["203.0.113.1/32", "10.0.1.0/24"]),
            clients: ranges(&["198.51.100.0/24"]),
            permitted: ranges(&["10.0.0.0/8", "fd00:9::/32"]),
        };
        let refused = [
            "203.0.113.1",
            "10.0.1.7",
            "198.51.100.9",
            "192.168.1.1",
            "127.0.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.0.8",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:192.168.1.1",
            "64:ff9b::7f00:1",
            "2002:a9fe:a9fe::1",
            "2001::1",
            "::ffff:10.0.1.7",
            "::10.0.0.1",
        ];
        for text in refused {
            assert!(filter.refuses(text.parse().unwrap()), "{text}");
        }
        for text in [
            "203.0.113.7",
            "8.8.8.8",
            "10.0.2.1",
            "2001:db8::7",
            "fd00:9::1",
            "64:ff9b::808:808",
        ] {
            assert!(!filter.refuses(text.parse().unwrap()), "{text}");
        }
    }
}
