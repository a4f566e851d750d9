//! Sets of TCP or UDP ports, and the services that they make together.

use std::fmt;
use std::str::FromStr;

/// Ranges of ports that one rule may name. Each costs the switch a handful of masked matches.
pub const PORT_RANGES_MAX: usize = 32;

/// A set of ports: disjoint inclusive ranges in ascending order, none adjacent to the next, so
/// that equal sets are equal values. It may be empty. Port 0 is in none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ports(Vec<(u16, u16)>);

/// Why ports are none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PortsError {
    /// Neither a number nor a range.
    #[error("{0:?} is no port: write a number from 1 to 65535, or a range such as \"8000-8100\"")]
    NotAPort(String),
    /// A range that ends before it starts.
    #[error("the range {0}-{1} ends before it starts: swap its ends")]
    Reversed(u16, u16),
    /// More ranges than [`PORT_RANGES_MAX`].
    #[error(
        "there are {0} separate ranges of ports, and a rule may have {PORT_RANGES_MAX}: join some, or write another rule"
    )]
    TooMany(usize),
}

impl Ports {
    /// The set of these inclusive ranges, in any order, overlapping or not.
    ///
    /// # Errors
    /// Port 0, a reversed range, or more separate ranges than [`PORT_RANGES_MAX`].
    pub fn new(ranges: impl IntoIterator<Item = (u16, u16)>) -> Result<Self, PortsError> {
        let mut ranges: Vec<(u16, u16)> = ranges.into_iter().collect();
        for &(first, last) in &ranges {
            if first == 0 {
                return Err(PortsError::NotAPort("0".to_owned()));
            }
            if last < first {
                return Err(PortsError::Reversed(first, last));
            }
        }
        ranges.sort_unstable();
        let ranges = merged(ranges);
        if ranges.len() > PORT_RANGES_MAX {
            return Err(PortsError::TooMany(ranges.len()));
        }
        Ok(Self(ranges))
    }

    /// The inclusive ranges, ascending and disjoint.
    pub fn ranges(&self) -> &[(u16, u16)] {
        &self.0
    }

    /// Whether the set has no port.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a port is in the set.
    pub fn contains(&self, port: u16) -> bool {
        let after = self.0.partition_point(|&(first, _)| first <= port);
        after.checked_sub(1).is_some_and(|at| port <= self.0[at].1)
    }

    /// The ports of both sets.
    ///
    /// # Errors
    /// More separate ranges than [`PORT_RANGES_MAX`].
    pub fn intersection(&self, other: &Self) -> Result<Self, PortsError> {
        let pairs = self
            .0
            .iter()
            .flat_map(|&mine| other.0.iter().map(move |&theirs| (mine, theirs)));
        let common = pairs
            .map(|(mine, theirs)| (mine.0.max(theirs.0), mine.1.min(theirs.1)))
            .filter(|(first, last)| first <= last);
        Self::new(common)
    }

    /// Whether every port of another set is in this one.
    pub fn covers(&self, other: &Self) -> bool {
        let within = |range: &(u16, u16)| {
            self.0
                .iter()
                .any(|mine| mine.0 <= range.0 && range.1 <= mine.1)
        };
        other.0.iter().all(within)
    }
}

/// Joins sorted ranges that overlap or touch.
fn merged(sorted: Vec<(u16, u16)>) -> Vec<(u16, u16)> {
    let mut joined: Vec<(u16, u16)> = Vec::new();
    for (first, last) in sorted {
        match joined.last_mut() {
            Some(previous) if first <= previous.1.saturating_add(1) => {
                previous.1 = previous.1.max(last);
            }
            _ => joined.push((first, last)),
        }
    }
    joined
}

/// One range from `443` or `8000-8100`.
///
/// # Errors
/// Neither of both.
pub fn parse_range(text: &str) -> Result<(u16, u16), PortsError> {
    let port = |digits: &str| {
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.parse().ok().filter(|&port: &u16| plain && port != 0);
        number.ok_or_else(|| PortsError::NotAPort(text.to_owned()))
    };
    match text.split_once('-') {
        Some((first, last)) => Ok((port(first)?, port(last)?)),
        None => port(text).map(|port| (port, port)),
    }
}

/// Ranges separated by commas: `80,443,8000-8100`.
impl FromStr for Ports {
    type Err = PortsError;

    fn from_str(text: &str) -> Result<Self, PortsError> {
        let ranges: Result<Vec<_>, _> = text.split(',').map(parse_range).collect();
        Self::new(ranges?)
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

/// TCP and UDP ports, at least one of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Services {
    tcp: Ports,
    udp: Ports,
}

impl Services {
    /// Services at these ports; nothing if there is none.
    pub fn new(tcp: Ports, udp: Ports) -> Option<Self> {
        let some = !tcp.is_empty() || !udp.is_empty();
        some.then_some(Self { tcp, udp })
    }

    /// TCP ports, perhaps none.
    pub fn tcp(&self) -> &Ports {
        &self.tcp
    }

    /// UDP ports, perhaps none.
    pub fn udp(&self) -> &Ports {
        &self.udp
    }

    /// Whether all services of another are among these.
    pub fn covers(&self, other: &Self) -> bool {
        self.tcp.covers(&other.tcp) && self.udp.covers(&other.udp)
    }

    /// What remains within other ports, where those are given.
    pub(crate) fn within(&self, tcp: Option<&Ports>, udp: Option<&Ports>) -> Option<Self> {
        let remaining = |mine: &Ports, limit: Option<&Ports>| match limit {
            Some(limit) => mine.intersection(limit).ok(),
            None => Some(mine.clone()),
        };
        Self::new(remaining(&self.tcp, tcp)?, remaining(&self.udp, udp)?)
    }
}

impl fmt::Display for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.tcp.is_empty(), self.udp.is_empty()) {
            (false, false) => write!(f, "tcp={} udp={}", self.tcp, self.udp),
            (false, true) => write!(f, "tcp={}", self.tcp),
            (true, _) => write!(f, "udp={}", self.udp),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_canonical() {
        let ports = |text: &str| text.parse::<Ports>().unwrap();
        assert_eq!(
            ports("443,80,8001-8002,8000").to_string(),
            "80,443,8000-8002"
        );
        assert_eq!(ports("1-65535,7"), ports("1-65535"));
        assert_eq!(ports("65535,65534"), ports("65534-65535"));
        for text in ["0", "", "65536", "a", "+5", "80,", "1-0x5", "0-5", "-"] {
            assert!(
                matches!(text.parse::<Ports>(), Err(PortsError::NotAPort(_))),
                "{text}"
            );
        }
        assert_eq!("9-5".parse::<Ports>(), Err(PortsError::Reversed(9, 5)));
        let scattered = (0..=PORT_RANGES_MAX as u16).map(|n| (2 * n + 1, 2 * n + 1));
        assert_eq!(
            Ports::new(scattered),
            Err(PortsError::TooMany(PORT_RANGES_MAX + 1))
        );
    }

    #[test]
    fn sets_answer_as_sets() {
        let a: Ports = "80,443,8000-8100".parse().unwrap();
        let b: Ports = "443-8050".parse().unwrap();
        let both = a.intersection(&b).unwrap();
        assert_eq!(both.to_string(), "443,8000-8050");
        assert!(a.covers(&both) && b.covers(&both) && !a.covers(&b));
        for port in 1..=u16::MAX {
            let expected = a.contains(port) && b.contains(port);
            assert_eq!(both.contains(port), expected, "{port}");
        }
    }
}
