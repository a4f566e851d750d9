//! How old a stored response is, how long it is fresh, and what may be done with it
//! (RFC 9111, sections 4.2 and 5.2; RFC 5861). Times are whole seconds since 1970, given by the caller.

use http::{HeaderMap, HeaderName, StatusCode, header};

use crate::directives::{Directives, SECONDS_MAX};

/// Seconds since 1970.
pub type Timestamp = u64;

/// A guess is a tenth of the time since the last change (section 4.2.2), but at most a day.
const HEURISTIC_SECONDS_MAX: u64 = 24 * 3600;
/// Staleness that is served while the origin cannot be reached at all, where the response does not
/// speak of it (section 4.2.4 leaves it to the cache): a night's outage.
pub const DISCONNECTED_SECONDS_MAX: u64 = 12 * 3600;

/// Ages and lifetimes of one response, settled when it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freshness {
    pub(crate) received: Timestamp,
    /// `corrected_initial_age` of section 4.2.3.
    pub(crate) initial_age: u64,
    pub(crate) lifetime: u64,
    /// None: never stale, whatever happens.
    pub(crate) staleness: Option<Staleness>,
    pub(crate) no_cache: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Staleness {
    pub(crate) while_revalidate: u64,
    pub(crate) if_error: u64,
}

/// What a request gets of a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is served.
    Fresh,
    /// It is served, and fetched anew beside that.
    WhileRevalidating,
    /// The origin is asked first.
    Stale,
}

/// How the origin failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It could not be reached, or broke off.
    Disconnected,
    /// It answered 500, 502, 503 or 504.
    Answered,
}

impl Freshness {
    /// Settles it for a response that was asked for and received at these times.
    pub fn of(
        status: StatusCode,
        headers: &HeaderMap,
        directives: &Directives,
        requested: Timestamp,
        received: Timestamp,
    ) -> Self {
        let date = date(headers, &header::DATE).unwrap_or(received);
        let lasting = directives.must_revalidate
            || directives.proxy_revalidate
            || directives.s_maxage.is_some()
            || directives.no_cache;
        Self {
            received,
            initial_age: initial_age(headers, date, requested, received),
            lifetime: lifetime(status, headers, directives, date),
            staleness: (!lasting).then(|| Staleness {
                while_revalidate: directives.stale_while_revalidate.unwrap_or(0),
                if_error: directives.stale_if_error.unwrap_or(0),
            }),
            no_cache: directives.no_cache,
        }
    }

    /// `current_age` of section 4.2.3.
    pub fn age(&self, now: Timestamp) -> u64 {
        let resident = now.saturating_sub(self.received);
        self.initial_age.saturating_add(resident).min(SECONDS_MAX)
    }

    /// Seconds of freshness that are left; negative: of staleness.
    pub fn left(&self, now: Timestamp) -> i64 {
        self.lifetime
            .cast_signed()
            .saturating_sub(self.age(now).cast_signed())
    }

    /// Whether it is worth a place without a validator.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        !self.no_cache && self.left(now) > 0
    }

    /// What a request with these directives gets.
    pub fn decide(&self, request: &Directives, now: Timestamp) -> Verdict {
        let (age, left) = (self.age(now), self.left(now));
        let too_old = request.max_age.is_some_and(|most| age > most || most == 0);
        let too_stale_soon = request
            .min_fresh
            .is_some_and(|least| left < least.cast_signed());
        if self.no_cache || request.no_cache || too_old || too_stale_soon {
            return Verdict::Stale;
        }
        if left > 0 {
            return Verdict::Fresh;
        }
        let stale_for = left.unsigned_abs();
        match self.staleness {
            Some(_) if request.max_stale.is_some_and(|most| stale_for <= most) => Verdict::Fresh,
            Some(staleness) if stale_for < staleness.while_revalidate => Verdict::WhileRevalidating,
            _ => Verdict::Stale,
        }
    }

    /// Whether it may be served in place of a failure.
    pub fn outlives(&self, failure: Failure, request: &Directives, now: Timestamp) -> bool {
        let Some(staleness) = self.staleness else {
            return false;
        };
        let most = match failure {
            Failure::Disconnected => staleness.if_error.max(DISCONNECTED_SECONDS_MAX),
            Failure::Answered => staleness.if_error.max(request.stale_if_error.unwrap_or(0)),
        };
        let left = self.left(now);
        left > 0 || left.unsigned_abs() < most
    }

    /// The same, but stale from now on (sections 4.3.5 and 4.4).
    pub fn spent(mut self) -> Self {
        self.lifetime = 0;
        self
    }
}

/// Whether a status may be kept without words about it (RFC 9110, section 15.1).
pub fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

/// A field's HTTP-date, if it is there once and can be read.
pub fn date(headers: &HeaderMap, name: &HeaderName) -> Option<Timestamp> {
    let mut values = headers.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let time = httpdate::parse_http_date(value.to_str().ok()?).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(since.as_secs())
}

/// Section 4.2.1: for a shared cache.
fn lifetime(
    status: StatusCode,
    headers: &HeaderMap,
    directives: &Directives,
    date_value: Timestamp,
) -> u64 {
    if let Some(seconds) = directives.s_maxage.or(directives.max_age) {
        return seconds;
    }
    if headers.contains_key(header::EXPIRES) {
        // Section 5.3: what is no date, "0" first of all, has expired.
        let expires = date(headers, &header::EXPIRES).unwrap_or(0);
        return expires.saturating_sub(date_value).min(SECONDS_MAX);
    }
    let guessed = is_heuristically_cacheable(status) || directives.public;
    match date(headers, &header::LAST_MODIFIED) {
        Some(changed) if guessed => {
            (date_value.saturating_sub(changed) / 10).min(HEURISTIC_SECONDS_MAX)
        }
        _ => 0,
    }
}

/// Section 4.2.3.
fn initial_age(
    headers: &HeaderMap,
    date: Timestamp,
    requested: Timestamp,
    received: Timestamp,
) -> u64 {
    let apparent = received.saturating_sub(date);
    let delay = received.saturating_sub(requested);
    apparent.max(age_field(headers).saturating_add(delay))
}

/// Section 5.1 lets the first of several count; who sends several, or no number, is not believed to
/// have sent anything fresh.
fn age_field(headers: &HeaderMap) -> u64 {
    let mut values = headers.get_all(header::AGE).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return 0,
        (Some(value), None) => value.as_bytes(),
        _ => return SECONDS_MAX,
    };
    let digits = std::str::from_utf8(value)
        .ok()
        .filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
    let age = digits.and_then(|digits| digits.parse().ok());
    age.unwrap_or(SECONDS_MAX).min(SECONDS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = 1_000_000_000; // Sun, 09 Sep 2001 01:46:40 GMT

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().expect("a value"));
        }
        headers
    }

    fn freshness(fields: &[(&'static str, &str)]) -> Freshness {
        let headers = headers(fields);
        let directives = Directives::of_response(&headers);
        Freshness::of(StatusCode::OK, &headers, &directives, NOW, NOW)
    }

    #[track_caller]
    fn check(fields: &[(&'static str, &str)], after: u64, request: &str, verdict: Verdict) {
        let request = Directives::of_request(&headers(&[("cache-control", request)]));
        assert_eq!(
            freshness(fields).decide(&request, NOW + after),
            verdict,
            "{fields:?}"
        );
    }

    #[test]
    fn lifetimes_come_from_the_most_specific_field() {
        let lifetime = |fields: &[(&'static str, &str)]| freshness(fields).lifetime;
        let expires = ("expires", "Sun, 09 Sep 2001 02:46:40 GMT");
        let changed = ("last-modified", "Sun, 09 Sep 2001 01:30:00 GMT");
        assert_eq!(
            lifetime(&[("cache-control", "max-age=5, s-maxage=9"), expires]),
            9
        );
        assert_eq!(lifetime(&[("cache-control", "max-age=5"), expires]), 5);
        assert_eq!(lifetime(&[expires, changed]), 3600);
        assert_eq!(lifetime(&[("expires", "0"), changed]), 0);
        assert_eq!(lifetime(&[expires, expires]), 0);
        assert_eq!(lifetime(&[changed]), 100);
        assert_eq!(lifetime(&[]), 0);
    }

    #[test]
    fn requests_narrow_and_widen() {
        let minute = &[("cache-control", "max-age=60")];
        check(minute, 59, "", Verdict::Fresh);
        check(minute, 60, "", Verdict::Stale);
        check(minute, 1, "no-cache", Verdict::Stale);
        check(minute, 20, "max-age=10", Verdict::Stale);
        check(minute, 20, "min-fresh=50", Verdict::Stale);
        check(minute, 90, "max-stale=30", Verdict::Fresh);
        check(minute, 91, "max-stale=30", Verdict::Stale);
        check(
            &[("cache-control", "max-age=60, must-revalidate")],
            61,
            "max-stale",
            Verdict::Stale,
        );
        let during = &[("cache-control", "max-age=60, stale-while-revalidate=10")];
        check(during, 65, "", Verdict::WhileRevalidating);
        check(during, 70, "", Verdict::Stale);
    }

    #[test]
    fn failures_are_outlived_where_allowed() {
        let none = Directives::default();
        let check = |value: &str, failure, after: u64, allowed: bool| {
            let stored = freshness(&[("cache-control", value)]);
            assert_eq!(
                stored.outlives(failure, &none, NOW + after),
                allowed,
                "{value}"
            );
        };
        check("max-age=1", Failure::Disconnected, 100, true);
        check("max-age=1", Failure::Answered, 100, false);
        check(
            "max-age=1, stale-if-error=100",
            Failure::Answered,
            100,
            true,
        );
        check(
            "max-age=1, stale-if-error=100",
            Failure::Answered,
            101,
            false,
        );
        for strict in [
            "must-revalidate",
            "proxy-revalidate",
            "no-cache",
            "s-maxage=1",
        ] {
            check(
                &format!("max-age=1, {strict}"),
                Failure::Disconnected,
                2,
                false,
            );
        }
    }

    #[test]
    fn ages_that_cannot_be_read_are_old() {
        for bad in ["a", "-1", "1.5", "0, 0", "old, 0", "0;a=b", ""] {
            check(
                &[("cache-control", "max-age=3600"), ("age", bad)],
                0,
                "",
                Verdict::Stale,
            );
        }
        check(
            &[
                ("cache-control", "max-age=3600"),
                ("age", "0"),
                ("age", "0"),
            ],
            0,
            "",
            Verdict::Stale,
        );
        check(
            &[("cache-control", "max-age=3600"), ("age", "3599")],
            0,
            "",
            Verdict::Fresh,
        );
    }

    proptest! {
        #[test]
        fn nothing_becomes_fresher_by_waiting(max_age in 0u64..100, age in 0u64..100, after in 0u64..200) {
            let (max, age) = (format!("max-age={max_age}"), age.to_string());
            let stored = freshness(&[("cache-control", &max), ("age", &age)]);
            prop_assert!(stored.left(NOW + after) >= stored.left(NOW + after + 1));
            prop_assert!(!stored.is_fresh(NOW + max_age + after));
        }

        #[test]
        fn no_bytes_panic(cache_control in "\\PC{0,60}", age in "[ -~]{0,20}", expires in "[ -~]{0,40}") {
            let mut fields = HeaderMap::new();
            for (name, value) in [("cache-control", cache_control), ("age", age), ("expires", expires)] {
                if let Ok(value) = value.parse() {
                    fields.insert(name, value);
                }
            }
            let directives = Directives::of_response(&fields);
            let stored = Freshness::of(StatusCode::OK, &fields, &directives, NOW, NOW);
            prop_assert!(stored.age(u64::MAX) <= SECONDS_MAX);
        }
    }
}
