//! The network's configuration, as it is written on a command line or in xenstore:
//!
//! ```text
//! ip=10.0.0.2/24,gateway=10.0.0.1,dns=10.0.0.1,ip=2001:db8::2/64,gateway=2001:db8::1,host=origin@10.0.0.9
//! ```
//!
//! Keys repeat. `ip=dhcp` asks a DHCPv4 server, `ip=auto` listens to IPv6 router advertisements; both are
//! done when no address is given at all.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

/// Addresses, gateways and name servers of one interface.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Config {
    /// Own addresses with their prefix lengths.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Routers for everything that is not on the link: the first of each family is used.
    pub gateways: Vec<IpAddr>,
    /// Name servers, in order of preference.
    pub dns: Vec<IpAddr>,
    /// The largest IP packet; the device's own if absent.
    pub mtu: Option<u16>,
    /// Names that need no name server.
    pub hosts: Vec<(String, IpAddr)>,
    /// Ask a DHCPv4 server.
    pub dhcp: bool,
    /// Form IPv6 addresses from router advertisements.
    pub slaac: bool,
}

/// What is wrong with a configuration, with the part that is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConfigError {
    /// Not `key=value`.
    NoValue(String),
    /// A key that does not exist.
    UnknownKey(String),
    /// Not an address.
    Address(String),
    /// An own address without its prefix length, or with one that is too long.
    Prefix(String),
    /// An address that no single interface can have.
    NotUnicast(IpAddr),
    /// A gateway that no own address reaches directly.
    Unreachable(IpAddr),
    /// An MTU below 1280 or above 65535.
    Mtu(String),
    /// Not `host=NAME@ADDRESS`.
    Host(String),
    /// More of something than fits.
    TooMany(&'static str),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::NoValue(part) => write!(
                f,
                "`{part}` has no value; write KEY=VALUE, parted by commas"
            ),
            ConfigError::UnknownKey(key) => {
                write!(
                    f,
                    "`{key}` is not a setting of the network; there are ip, gateway, dns, mtu and host"
                )
            }
            ConfigError::Address(text) => {
                write!(
                    f,
                    "`{text}` is not an IP address; write four numbers as 10.0.0.1, or IPv6 as 2001:db8::1"
                )
            }
            ConfigError::Prefix(text) => {
                write!(
                    f,
                    "`{text}` needs a prefix length up to 32 (IPv4) or 128 (IPv6), as in 10.0.0.2/24"
                )
            }
            ConfigError::NotUnicast(address) => {
                write!(
                    f,
                    "{address} is not the address of one interface; give a unicast address"
                )
            }
            ConfigError::Unreachable(gateway) => {
                write!(
                    f,
                    "the gateway {gateway} is on no network of this interface; correct it or the ip= before it"
                )
            }
            ConfigError::Mtu(text) => write!(
                f,
                "`{text}` is not an MTU; give a number from 1280 to 65535"
            ),
            ConfigError::Host(text) => write!(f, "`{text}` is not a host; write host=NAME@ADDRESS"),
            ConfigError::TooMany(what) => write!(f, "more than {LIST_MAX} {what}; leave some out"),
        }
    }
}

/// Most entries of one kind.
const LIST_MAX: usize = 16;
/// RFC 8200 §5: the least that IPv6 needs.
const MTU_MIN: u16 = 1280;

impl FromStr for Config {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Config, ConfigError> {
        let mut config = Config::default();
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let (key, value) = part
                .split_once('=')
                .ok_or_else(|| ConfigError::NoValue(part.to_string()))?;
            config.set(key.trim(), value.trim())?;
        }
        if config.addresses.is_empty() && !config.dhcp && !config.slaac {
            config.dhcp = true;
            config.slaac = true;
        }
        for &gateway in &config.gateways {
            let link_local = matches!(gateway, IpAddr::V6(v6) if v6.is_unicast_link_local());
            if !link_local
                && !config
                    .addresses
                    .iter()
                    .any(|&(own, len)| same_network(own, gateway, len))
            {
                return Err(ConfigError::Unreachable(gateway));
            }
        }
        Ok(config)
    }
}

impl Config {
    fn set(&mut self, key: &str, value: &str) -> Result<(), ConfigError> {
        match key {
            "ip" if value == "dhcp" => self.dhcp = true,
            "ip" if value == "auto" => self.slaac = true,
            "ip" => push(&mut self.addresses, own_address(value)?, "addresses")?,
            "gateway" => push(&mut self.gateways, unicast(address(value)?)?, "gateways")?,
            "dns" => push(&mut self.dns, address(value)?, "name servers")?,
            "mtu" => {
                let mtu = value.parse().ok().filter(|&mtu| mtu >= MTU_MIN);
                self.mtu = Some(mtu.ok_or_else(|| ConfigError::Mtu(value.to_string()))?);
            }
            "host" => {
                let (name, at) = value
                    .split_once('@')
                    .ok_or_else(|| ConfigError::Host(value.to_string()))?;
                push(&mut self.hosts, (name.to_string(), address(at)?), "hosts")?;
            }
            _ => return Err(ConfigError::UnknownKey(key.to_string())),
        }
        Ok(())
    }
}

fn push<T>(list: &mut Vec<T>, item: T, what: &'static str) -> Result<(), ConfigError> {
    if list.len() >= LIST_MAX {
        return Err(ConfigError::TooMany(what));
    }
    list.push(item);
    Ok(())
}

fn address(text: &str) -> Result<IpAddr, ConfigError> {
    text.parse()
        .map_err(|_| ConfigError::Address(text.to_string()))
}

fn own_address(text: &str) -> Result<(IpAddr, u8), ConfigError> {
    let wrong = || ConfigError::Prefix(text.to_string());
    let (ip, len) = text.split_once('/').ok_or_else(wrong)?;
    let ip = unicast(address(ip)?)?;
    let len: u8 = len.parse().map_err(|_| wrong())?;
    let longest = if ip.is_ipv4() { 32 } else { 128 };
    if len > longest {
        Err(wrong())
    } else {
        Ok((ip, len))
    }
}

fn unicast(ip: IpAddr) -> Result<IpAddr, ConfigError> {
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    if ip.is_multicast() || ip.is_unspecified() || ip.is_loopback() || broadcast {
        return Err(ConfigError::NotUnicast(ip));
    }
    Ok(ip)
}

/// Whether the first `len` bits agree.
pub(crate) fn same_network(a: IpAddr, b: IpAddr, len: u8) -> bool {
    let shift = |width: u32| width.saturating_sub(u32::from(len));
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            (a.to_bits() ^ b.to_bits())
                .checked_shr(shift(32))
                .unwrap_or(0)
                == 0
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            (a.to_bits() ^ b.to_bits())
                .checked_shr(shift(128))
                .unwrap_or(0)
                == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, complaint: &str) {
        let error = text.parse::<Config>().unwrap_err().to_string();
        assert!(error.contains(complaint), "{text}: {error}");
    }

    #[test]
    fn reads_what_the_module_shows() {
        let text = "ip=10.0.0.2/24,gateway=10.0.0.1,dns=10.0.0.1, ip=2001:db8::2/64,gateway=2001:db8::1,\
                    host=origin@10.0.0.9,mtu=9000";
        let config: Config = text.parse().unwrap();
        assert_eq!(
            config.addresses,
            [
                ([10, 0, 0, 2].into(), 24),
                ("2001:db8::2".parse().unwrap(), 64)
            ]
        );
        assert_eq!(config.gateways.len(), 2);
        assert_eq!(
            (config.mtu, config.dhcp, config.slaac),
            (Some(9000), false, false)
        );
        assert_eq!(config.hosts, [("origin".to_string(), [10, 0, 0, 9].into())]);
    }

    #[test]
    fn nothing_means_ask_the_network() {
        let config: Config = "dns=9.9.9.9".parse().unwrap();
        assert!(config.dhcp && config.slaac);
        assert!(!"ip=dhcp".parse::<Config>().unwrap().slaac);
    }

    #[test]
    fn errors_name_the_cause_and_the_cure() {
        check("ip", "write KEY=VALUE");
        check("ipp=1.2.3.4/8", "there are ip, gateway");
        check("ip=10.0.0.2", "10.0.0.2/24");
        check("ip=10.0.0.2/33", "prefix length");
        check("ip=10.0.0/24", "not an IP address");
        check("ip=224.0.0.1/24", "unicast");
        check(
            "ip=10.0.0.2/24,gateway=10.0.1.1",
            "no network of this interface",
        );
        check("ip=10.0.0.2/24,mtu=100", "1280");
        check("host=a", "NAME@ADDRESS");
        check(&"dns=1.1.1.1,".repeat(17), "leave some out");
    }
}
