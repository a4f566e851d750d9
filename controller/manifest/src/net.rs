//! Ranges of addresses in CIDR notation.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A range of addresses: an address whose bits after the prefix are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is no [`Cidr`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CidrError {
    /// Not an address and a prefix.
    #[error("{0:?} is no range of addresses: write one such as 192.0.2.0/24 or 2001:db8::/32")]
    NotARange(String),
    /// Bits after the prefix are set.
    #[error("{0} has bits after its prefix: write {1}")]
    HostBits(String, Cidr),
}

impl Cidr {
    /// The range of all addresses that share the first `prefix` bits; nothing if there are not so
    /// many. Further bits are cleared.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let address = match address {
            IpAddr::V4(v4) => {
                let host = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
                (prefix <= 32).then(|| IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & !host)))
            }
            IpAddr::V6(v6) => {
                let host = u128::MAX.checked_shr(prefix.into()).unwrap_or(0);
                (prefix <= 128).then(|| IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !host)))
            }
        };
        address.map(|address| Self { address, prefix })
    }

    /// The first address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The length of the prefix in bits: 0 to 32 or 0 to 128.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether an address is in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4()
            && Self::new(address, self.prefix).as_ref() == Some(self)
    }

    /// Whether another range lies in this one.
    pub fn covers(&self, other: &Self) -> bool {
        self.prefix <= other.prefix && self.contains(other.address)
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let parse = || {
            let (address, prefix) = text.split_once('/')?;
            let plain = prefix.bytes().all(|byte| byte.is_ascii_digit());
            let prefix: u8 = prefix.parse().ok().filter(|_| plain)?;
            let address: IpAddr = address.parse().ok()?;
            Some((address, Self::new(address, prefix)?))
        };
        let (address, range) = parse().ok_or_else(|| CidrError::NotARange(text.to_owned()))?;
        if address != range.address {
            return Err(CidrError::HostBits(text.to_owned(), range));
        }
        Ok(range)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_contain() {
        for text in [
            "192.0.2.0/24",
            "0.0.0.0/0",
            "2001:db8::/32",
            "::/0",
            "::1/128",
        ] {
            assert_eq!(text.parse::<Cidr>().unwrap().to_string(), text);
        }
        for text in [
            "192.0.2.0",
            "192.0.2.0/33",
            "192.0.2.0/+4",
            "::/129",
            "/0",
            "a/0",
            "192.0.2.0/",
        ] {
            assert!(
                matches!(text.parse::<Cidr>(), Err(CidrError::NotARange(_))),
                "{text}"
            );
        }
        let error = "192.0.2.7/24".parse::<Cidr>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "192.0.2.7/24 has bits after its prefix: write 192.0.2.0/24"
        );
        let range: Cidr = "192.0.2.0/24".parse().unwrap();
        assert!(range.contains("192.0.2.255".parse().unwrap()));
        assert!(!range.contains("192.0.3.0".parse().unwrap()));
        assert!(!range.contains("::1".parse().unwrap()));
        assert!(range.covers(&"192.0.2.128/25".parse().unwrap()));
        assert!(!range.covers(&"192.0.0.0/16".parse().unwrap()));
        assert!(
            !"0.0.0.0/0"
                .parse::<Cidr>()
                .unwrap()
                .covers(&"::/0".parse().unwrap())
        );
    }
}
