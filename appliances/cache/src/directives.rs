//! Cache directives: `Cache-Control` (RFC 9111, section 5.2), and for responses the targeted field
//! `CDN-Cache-Control` (RFC 9213), which takes its place where it is there and well formed.
//!
//! What cannot be read never makes a response fresher: a lifetime that is no number counts as 0.

use http::{HeaderMap, HeaderName, header};

/// The largest number of seconds that is told apart: RFC 9111, section 1.2.2, asks for it.
pub const SECONDS_MAX: u64 = 1 << 31;

const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// The directives of a message that a shared cache obeys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// Seconds of freshness; in a request, the age that is accepted.
    pub max_age: Option<u64>,
    /// Seconds of freshness in a shared cache.
    pub s_maxage: Option<u64>,
    /// Not to be stored.
    pub no_store: bool,
    /// Not to be used without asking the origin.
    pub no_cache: bool,
    /// Fields that `no-cache="…"` names: they are not stored, the rest is.
    pub no_cache_fields: Vec<String>,
    /// Not for shared caches (also with names of fields, which is the stricter reading).
    pub private: bool,
    /// Storable in spite of `Authorization` or the status.
    pub public: bool,
    /// Never stale.
    pub must_revalidate: bool,
    /// Never stale in a shared cache.
    pub proxy_revalidate: bool,
    /// Only for those who know the status; then `no-store` does not count.
    pub must_understand: bool,
    /// Seconds of staleness while it is fetched anew (RFC 5861).
    pub stale_while_revalidate: Option<u64>,
    /// Seconds of staleness when the origin fails (RFC 5861).
    pub stale_if_error: Option<u64>,
    /// Request: seconds of staleness that are accepted.
    pub max_stale: Option<u64>,
    /// Request: seconds of freshness that must be left.
    pub min_fresh: Option<u64>,
    /// Request: the origin is not to be asked.
    pub only_if_cached: bool,
}

impl Directives {
    /// Those of a request.
    pub fn of_request(headers: &HeaderMap) -> Self {
        Self::read(headers, &header::CACHE_CONTROL)
    }

    /// Those of a response.
    pub fn of_response(headers: &HeaderMap) -> Self {
        match headers.contains_key(CDN_CACHE_CONTROL) {
            true => Self::targeted(headers),
            false => Self::read(headers, &header::CACHE_CONTROL),
        }
    }

    /// RFC 9213, section 2.2: a list that is empty or no structured field is as if it were not there.
    fn targeted(headers: &HeaderMap) -> Self {
        let mut members = members(headers, &CDN_CACHE_CONTROL).peekable();
        let is_there = members.peek().is_some();
        if is_there && members.all(|member| is_structured(&member)) {
            return Self::read(headers, &CDN_CACHE_CONTROL);
        }
        Self::read(headers, &header::CACHE_CONTROL)
    }

    fn read(headers: &HeaderMap, field: &HeaderName) -> Self {
        let mut directives = Self::default();
        for member in members(headers, field) {
            let (name, argument) = match member.split_once('=') {
                Some((name, argument)) => (name.to_ascii_lowercase(), Some(unquoted(argument))),
                None => (member.to_ascii_lowercase(), None),
            };
            directives.take(&name, argument.as_deref());
        }
        directives
    }

    fn take(&mut self, name: &str, argument: Option<&str>) {
        // Section 4.2.1: of several the first counts.
        let first = |place: &mut Option<u64>| *place = Some(place.unwrap_or(seconds(argument)));
        match name {
            "max-age" => first(&mut self.max_age),
            "s-maxage" => first(&mut self.s_maxage),
            "stale-while-revalidate" => first(&mut self.stale_while_revalidate),
            "stale-if-error" => first(&mut self.stale_if_error),
            "min-fresh" => first(&mut self.min_fresh),
            "max-stale" => {
                self.max_stale = Some(argument.map_or(SECONDS_MAX, |_| seconds(argument)))
            }
            "no-store" => self.no_store = true,
            "no-cache" => match argument {
                None => self.no_cache = true,
                Some(fields) => self.no_cache_fields.extend(names(fields)),
            },
            "private" => self.private = true,
            "public" => self.public = true,
            "must-revalidate" => self.must_revalidate = true,
            "proxy-revalidate" => self.proxy_revalidate = true,
            "must-understand" => self.must_understand = true,
            "only-if-cached" => self.only_if_cached = true,
            _ => {}
        }
    }
}

/// Digits, or 0: what cannot be read is stale (section 4.2.1).
fn seconds(argument: Option<&str>) -> u64 {
    let digits = argument.unwrap_or_default();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    // Only too many digits are left to fail.
    digits.parse().unwrap_or(SECONDS_MAX).min(SECONDS_MAX)
}

fn names(fields: &str) -> impl Iterator<Item = String> {
    let name = |name: &str| name.trim().to_ascii_lowercase();
    fields.split(',').map(name).filter(|name| !name.is_empty())
}

/// The members of a list, with commas in quoted strings left alone (RFC 9110, section 5.6.1).
fn members(headers: &HeaderMap, field: &HeaderName) -> std::vec::IntoIter<String> {
    let mut all = Vec::new();
    for value in headers.get_all(field) {
        let text = String::from_utf8_lossy(value.as_bytes());
        split(&text, &mut all);
    }
    all.into_iter()
}

fn split(text: &str, members: &mut Vec<String>) {
    let (mut quoted, mut escaped) = (false, false);
    let mut rest = 0;
    let end = |from: usize, to: usize, members: &mut Vec<String>| {
        let member = text[from..to].trim();
        if !member.is_empty() {
            members.push(member.to_owned());
        }
    };
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                end(rest, place, members);
                rest = place + 1;
            }
            _ => {}
        }
    }
    end(rest, text.len(), members);
}

fn unquoted(argument: &str) -> String {
    let inner = argument
        .strip_prefix('"')
        .and_then(|argument| argument.strip_suffix('"'));
    inner.unwrap_or(argument).to_owned()
}

/// Whether it is a member of a structured dictionary (RFC 9651, section 3.2) with a bare item that a
/// directive can have.
fn is_structured(member: &str) -> bool {
    let (name, argument) = match member.split_once('=') {
        Some((name, argument)) => (name, Some(argument)),
        None => (member.split(';').next().unwrap_or_default(), None),
    };
    let starts = |byte: &u8| byte.is_ascii_lowercase() || *byte == b'*';
    let is_name = |byte: u8| starts(&byte) || byte.is_ascii_digit() || b"_-.".contains(&byte);
    let named = name.as_bytes().first().is_some_and(starts) && name.bytes().all(is_name);
    named && argument.is_none_or(is_bare_item)
}

fn is_bare_item(argument: &str) -> bool {
    let item = argument.split(';').next().unwrap_or_default().trim_end();
    let number = item.strip_prefix('-').unwrap_or(item);
    let decimal = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    let is_number = !number.is_empty() && number.len() <= 16 && number.bytes().all(decimal);
    let is_string = item.len() >= 2 && item.starts_with('"') && item.ends_with('"');
    let is_token = item.starts_with(|first: char| first.is_ascii_alphabetic() || first == '*');
    is_number || is_string || is_token || matches!(item, "?0" | "?1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(values: &[&str]) -> Directives {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::CACHE_CONTROL, value.parse().expect("a value"));
        }
        Directives::of_response(&headers)
    }

    #[track_caller]
    fn check_max_age(value: &str, seconds: Option<u64>) {
        assert_eq!(response(&[value]).max_age, seconds, "{value}");
    }

    #[test]
    fn numbers_are_digits_or_stale() {
        check_max_age("max-age=3600", Some(3600));
        check_max_age("MaX-aGe=003600", Some(3600));
        check_max_age("max-age=\"3600\"", Some(3600));
        check_max_age("max-age=99999999999999999999999", Some(SECONDS_MAX));
        for bad in [
            "max-age='3600'",
            "max-age=-1",
            "max-age=+5",
            "max-age=0x5",
            "max-age=1.5",
            "max-age=",
        ] {
            check_max_age(bad, Some(0));
        }
        check_max_age("max-age=1, max-age=3600", Some(1));
        check_max_age("max-age = 3600", None);
    }

    #[test]
    fn what_is_quoted_is_no_directive() {
        check_max_age("extension=\"max-age=3600\", max-age=1", Some(1));
        check_max_age("extension=\"a, max-age=3600\"", None);
        check_max_age("extension=\"\\\", max-age=3600\"", None);
        let fields = response(&["no-cache=\"A, b\"", "no-store"]);
        assert_eq!(fields.no_cache_fields, ["a", "b"]);
        assert!(!fields.no_cache && fields.no_store);
    }

    #[test]
    fn the_targeted_field_counts_alone_if_it_is_well_formed() {
        let check = |targeted: &str, max_age: u64| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CACHE_CONTROL, "max-age=7".parse().expect("a value"));
            headers.insert(CDN_CACHE_CONTROL, targeted.parse().expect("a value"));
            assert_eq!(
                Directives::of_response(&headers).max_age,
                Some(max_age),
                "{targeted}"
            );
        };
        check("max-age=60", 60);
        check("max-age=60, other=\"x, y\";z", 60);
        check("", 7);
        check("MAX-AGE=60", 7);
        check("max-age=60, &", 7);
        check("max-age =60", 7);
    }
}
