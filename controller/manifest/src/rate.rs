//! Bit rates, as manifests write them: `50Mbit`.

use std::fmt;
use std::str::FromStr;

/// The least rate: the switch's meters count in kilobits per second.
pub const RATE_MIN_BIT: u64 = 1_000;
/// The greatest rate: what fits a meter's 32 bits of kilobits with a margin.
pub const RATE_MAX_BIT: u64 = 1_000_000_000_000;

const _: () = assert!(RATE_MAX_BIT / RATE_MIN_BIT <= u32::MAX as u64);

/// Suffixes by their factor, greatest first, so that text is the shortest exact form.
const UNITS: [(&str, u64); 3] = [
    ("Gbit", 1_000_000_000),
    ("Mbit", 1_000_000),
    ("kbit", 1_000),
];

/// A rate in whole kilobits per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rate(u32);

/// A text or number is no rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no rate: write a whole number and kbit, Mbit or Gbit, from 1kbit to 1000Gbit, such as \"50Mbit\""
)]
pub struct RateError(String);

impl Rate {
    /// A rate of so many kilobits per second; nothing outside of the bounds.
    pub fn from_kbit(kbit: u32) -> Option<Self> {
        let bit = u64::from(kbit) * RATE_MIN_BIT;
        (RATE_MIN_BIT..=RATE_MAX_BIT)
            .contains(&bit)
            .then_some(Self(kbit))
    }

    /// Kilobits per second: what a meter band takes.
    pub fn kbit(self) -> u32 {
        self.0
    }

    /// Bits per second.
    pub fn bit(self) -> u64 {
        u64::from(self.0) * RATE_MIN_BIT
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let parse = || {
            let (digits, factor) = UNITS
                .iter()
                .find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, factor)))?;
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            let number: u64 = digits.parse().ok().filter(|_| plain)?;
            let kbit = number.checked_mul(*factor)? / RATE_MIN_BIT;
            Self::from_kbit(u32::try_from(kbit).ok()?)
        };
        parse().ok_or_else(|| RateError(text.to_owned()))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = UNITS
            .iter()
            .find(|(_, factor)| self.bit().is_multiple_of(*factor));
        let (suffix, factor) = exact.unwrap_or(&UNITS[UNITS.len() - 1]);
        write!(f, "{}{suffix}", self.bit() / factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_written() {
        let check = |text: &str, kbit: u32, again: &str| {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.kbit(), rate.to_string().as_str()), (kbit, again));
        };
        check("50Mbit", 50_000, "50Mbit");
        check("1000kbit", 1_000, "1Mbit");
        check("1500kbit", 1_500, "1500kbit");
        check("1000Gbit", 1_000_000_000, "1000Gbit");
        let wrong = "|50|Mbit|50mbit|0kbit|1001Gbit|-1kbit|+1kbit|1.5Mbit|99999999999999999999Gbit";
        for text in wrong.split('|') {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
