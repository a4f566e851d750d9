//! Byte ranges: what a client asks for, what a response holds, and what can be served of it
//! (RFC 9110, section 14; RFC 9111, sections 3.3 and 3.4).

use http::{HeaderMap, header};

use crate::freshness::date;
use crate::validation::strong_tag;

/// The part of a representation that a response holds: bytes from `first`, as many as the body has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The first byte's place.
    pub first: u64,
    /// The last byte's place.
    pub last: u64,
    /// Bytes of the whole.
    pub total: u64,
}

/// One range, as it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// `bytes=first-last`.
    Between(u64, u64),
    /// `bytes=first-`.
    From(u64),
    /// `bytes=-count`.
    Last(u64),
}

/// No byte of the representation is in the range: 416.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotSatisfiable;

impl Wanted {
    /// The range of a request; None if there is none, or one that may be ignored (RFC 9110, section
    /// 14.2): another unit, nonsense, several ranges.
    pub fn of(request: &HeaderMap) -> Option<Self> {
        let mut values = request.get_all(header::RANGE).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return None;
        };
        let (unit, range) = value.to_str().ok()?.split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (first, last) = range.trim().split_once('-')?;
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => Some(Self::Between(first, last)),
            (Some(first), None) if last.is_empty() => Some(Self::From(first)),
            (None, Some(count)) if first.is_empty() => Some(Self::Last(count)),
            _ => None,
        }
    }

    /// The first and last byte of it in a representation of this length.
    pub fn within(self, total: u64) -> Result<(u64, u64), NotSatisfiable> {
        let (first, last) = match self {
            Self::Between(first, last) => (first, last.min(total.saturating_sub(1))),
            Self::From(first) => (first, total.saturating_sub(1)),
            Self::Last(0) => return Err(NotSatisfiable),
            Self::Last(count) => (total.saturating_sub(count), total.saturating_sub(1)),
        };
        match first < total {
            true => Ok((first, last)),
            false => Err(NotSatisfiable),
        }
    }
}

impl Part {
    /// What a 206 holds by its `Content-Range`, whose body may have ended early but not late: the
    /// bytes that came are those from `first` on. None: the field is missing or makes no sense.
    pub fn of(response: &HeaderMap) -> Option<Self> {
        let mut values = response.get_all(header::CONTENT_RANGE).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return None;
        };
        let range = value.to_str().ok()?.strip_prefix("bytes ")?;
        let (range, total) = range.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let part = Self {
            first: number(first)?,
            last: number(last)?,
            total: number(total)?,
        };
        (part.first <= part.last && part.last < part.total).then_some(part)
    }

    /// The same with the bytes that really came; None if there were more, or none at all.
    pub fn with_length(self, bytes: u64) -> Option<Self> {
        let told = self.last - self.first + 1;
        (1..=told).contains(&bytes).then(|| Self {
            last: self.first + bytes - 1,
            ..self
        })
    }

    /// Whether all of these bytes are in it.
    pub fn holds(&self, first: u64, last: u64) -> bool {
        self.first <= first && last <= self.last
    }
}

/// The value of `Content-Range`.
pub fn content_range(first: u64, last: u64, total: u64) -> String {
    format!("bytes {first}-{last}/{total}")
}

/// Whether the request's `If-Range` lets a range be served of what is stored (RFC 9110, section
/// 13.1.5): by strong comparison, or a date that is the same and surely strong.
pub fn if_range_holds(request: &HeaderMap, stored: &HeaderMap) -> bool {
    let Some(condition) = request.get(header::IF_RANGE) else {
        return true;
    };
    if condition.as_bytes().first() == Some(&b'"') {
        return strong_tag(stored) == Some(condition.as_bytes());
    }
    let same = stored.get(header::LAST_MODIFIED) == Some(condition);
    let changed = date(stored, &header::LAST_MODIFIED);
    // RFC 9110, section 8.8.2.2: a second later than the change, so nothing changed in between.
    let strong = changed
        .zip(date(stored, &header::DATE))
        .is_some_and(|(changed, date)| changed < date);
    same && strong
}

/// Digits only: `+5` and blanks are refused.
fn number(digits: &str) -> Option<u64> {
    let all = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wanted(value: &str) -> Option<Wanted> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, value.parse().expect("a value"));
        Wanted::of(&headers)
    }

    fn part(value: &str) -> Option<Part> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_RANGE, value.parse().expect("a value"));
        Part::of(&headers)
    }

    #[test]
    fn ranges_are_read_or_ignored() {
        assert_eq!(wanted("bytes=0-1"), Some(Wanted::Between(0, 1)));
        assert_eq!(wanted("Bytes=5-"), Some(Wanted::From(5)));
        assert_eq!(wanted("bytes=-5"), Some(Wanted::Last(5)));
        for ignored in [
            "bytes=1-0",
            "bytes=-",
            "bytes=+1-2",
            "bytes=0-1,3-4",
            "rows=0-1",
            "bytes 0-1",
        ] {
            assert_eq!(wanted(ignored), None, "{ignored}");
        }
        assert_eq!(wanted("bytes=99999999999999999999-"), None);
    }

    #[test]
    fn origins_that_lie_about_a_range_are_cut_or_refused() {
        let told = part("bytes 4-9/10").expect("a range");
        assert_eq!(told.with_length(5), Some(Part { last: 8, ..told }));
        assert_eq!((told.with_length(7), told.with_length(0)), (None, None));
        for bad in [
            "bytes 4-10/10",
            "bytes 5-4/10",
            "bytes */10",
            "bytes 0-4/*",
            "bytes 0-4",
        ] {
            assert_eq!(part(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_served_lies_within(first in any::<u64>(), last in any::<u64>(), total in 0u64..1000) {
            for wanted in [Wanted::Between(first.min(last), first.max(last)), Wanted::From(first), Wanted::Last(last)] {
                if let Ok((first, last)) = wanted.within(total) {
                    prop_assert!(first <= last && last < total);
                }
            }
        }

        #[test]
        fn what_is_written_is_read_back(first in 0u64..1000, more in 0u64..1000, rest in 1u64..1000) {
            let (last, total) = (first + more, first + more + rest);
            prop_assert_eq!(part(&content_range(first, last, total)), Some(Part { first, last, total }));
        }

        #[test]
        fn no_text_panics(text in "[ -~]{0,40}") {
            wanted(&text);
            part(&text);
        }
    }
}
