//! Moments, in whole seconds of Unix time. Nothing in this crate reads a clock: `now` is given.

use std::fmt;
use std::str::FromStr;

/// The last second that RFC 3339 can write: 9999-12-31T23:59:59Z.
const SECONDS_MAX: u64 = 253_402_300_799;

/// Seconds since 1970-01-01T00:00:00Z, without leap seconds (RFC 8392's NumericDate, as integer).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(u64);

/// A text is no moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no moment from 1970 to 9999: write it as 2027-01-01T00:00:00Z, with the offset from UTC and without quotes"
)]
pub struct TimestampError;

impl Timestamp {
    /// A moment by its Unix time; nothing after the year 9999.
    pub fn from_seconds(seconds: u64) -> Option<Self> {
        (seconds <= SECONDS_MAX).then_some(Self(seconds))
    }

    /// Unix time in seconds.
    pub fn seconds(self) -> u64 {
        self.0
    }

    /// So many seconds later, at most the end of the year 9999.
    #[must_use]
    pub fn after(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds).min(SECONDS_MAX))
    }

    /// So many seconds earlier, at least the start of 1970.
    #[must_use]
    pub fn before(self, seconds: u64) -> Self {
        Self(self.0.saturating_sub(seconds))
    }
}

/// RFC 3339; fractions of a second are cut off.
impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let moment: jiff::Timestamp = text.parse().map_err(|_| TimestampError)?;
        let seconds = u64::try_from(moment.as_second()).map_err(|_| TimestampError)?;
        Self::from_seconds(seconds).ok_or(TimestampError)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = i64::try_from(self.0).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_second(seconds) {
            Ok(moment) => write!(f, "{moment}"),
            // jiff's range ends a day before RFC 3339's, for offsets.
            Err(_) => write!(f, "@{seconds}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_and_written() {
        let check = |text: &str, seconds: u64, again: &str| {
            let moment: Timestamp = text.parse().unwrap();
            assert_eq!(
                (moment.seconds(), moment.to_string().as_str()),
                (seconds, again)
            );
        };
        check("1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00Z");
        check(
            "2027-01-01T00:00:00Z",
            1_798_761_600,
            "2027-01-01T00:00:00Z",
        );
        check(
            "2027-01-01T02:00:00+02:00",
            1_798_761_600,
            "2027-01-01T00:00:00Z",
        );
        check(
            "2027-01-01T00:00:00.9Z",
            1_798_761_600,
            "2027-01-01T00:00:00Z",
        );
        for text in [
            "",
            "2027-01-01",
            "2027-01-01T00:00:00",
            "1969-12-31T23:59:59Z",
            "2027-13-01T00:00:00Z",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(TimestampError), "{text}");
        }
        let end = Timestamp::from_seconds(SECONDS_MAX).unwrap();
        assert_eq!(end.after(1), end);
        assert!(!end.to_string().is_empty());
        assert_eq!(Timestamp::from_seconds(SECONDS_MAX + 1), None);
    }
}
