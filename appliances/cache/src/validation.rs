//! Validation: answering a client's conditions from the store, asking the origin with conditions,
//! and bringing a stored response up to date (RFC 9111, sections 3.2, 4.3; RFC 9110, section 13).

use http::{HeaderMap, HeaderName, header};

use crate::freshness::{Timestamp, date};
use crate::storable::own;

/// Fields of a 304 that describe something else than the stored content (section 3.2).
const NOT_UPDATED: [HeaderName; 7] = [
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::ETAG,
    header::VARY,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("content-digest"),
];

/// Whether the client, by its conditions, has what is stored (section 4.3.2): answer 304.
pub fn client_has_it(request: &HeaderMap, stored: &HeaderMap, received: Timestamp) -> bool {
    if request.contains_key(header::IF_NONE_MATCH) {
        // RFC 9110, section 13.1.3: it comes before If-Modified-Since.
        return stored
            .get(header::ETAG)
            .is_some_and(|tag| names(request, tag.as_bytes()))
            || request
                .get_all(header::IF_NONE_MATCH)
                .iter()
                .any(|value| value == "*");
    }
    let Some(since) = date(request, &header::IF_MODIFIED_SINCE) else {
        return false;
    };
    let changed = date(stored, &header::LAST_MODIFIED).or_else(|| date(stored, &header::DATE));
    changed.unwrap_or(received) <= since
}

/// Whether If-None-Match names the tag, by weak comparison (RFC 9110, section 8.8.3.2).
fn names(request: &HeaderMap, tag: &[u8]) -> bool {
    let all = request.get_all(header::IF_NONE_MATCH).iter();
    all.flat_map(|value| tags(value.as_bytes()))
        .any(|named| opaque(named) == opaque(tag))
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// The members of a list of tags; a comma inside of quotes belongs to its tag.
fn tags(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let comma = move |byte: &u8| {
        quoted ^= *byte == b'"';
        *byte == b',' && !quoted
    };
    value
        .split(comma)
        .map(<[u8]>::trim_ascii)
        .filter(|tag| !tag.is_empty())
}

/// Whether there is something to ask the origin with.
pub fn has_validator(stored: &HeaderMap) -> bool {
    stored.contains_key(header::ETAG) || stored.contains_key(header::LAST_MODIFIED)
}

/// Its strong validator, if it has one (RFC 9110, section 8.8.1): with this alone parts are joined.
pub fn strong_tag(stored: &HeaderMap) -> Option<&[u8]> {
    let tag = stored.get(header::ETAG)?.as_bytes();
    (!tag.starts_with(b"W/") && tag.len() >= 2 && tag.starts_with(b"\"")).then_some(tag)
}

/// Makes a request ask whether what is stored still holds (section 4.3.1).
pub fn make_conditional(request: &mut HeaderMap, stored: &HeaderMap) {
    for name in [
        header::IF_MATCH,
        header::IF_UNMODIFIED_SINCE,
        header::IF_RANGE,
        header::RANGE,
    ] {
        request.remove(name);
    }
    for (asks, validator) in [
        (header::IF_NONE_MATCH, header::ETAG),
        (header::IF_MODIFIED_SINCE, header::LAST_MODIFIED),
    ] {
        request.remove(&asks);
        if let Some(value) = stored.get(validator) {
            request.insert(asks, value.clone());
        }
    }
}

/// Whether a 304 speaks of this stored response (section 4.3.4).
pub fn confirms(not_modified: &HeaderMap, stored: &HeaderMap) -> bool {
    match (not_modified.get(header::ETAG), stored.get(header::ETAG)) {
        (Some(new), Some(old)) => opaque(new.as_bytes()) == opaque(old.as_bytes()),
        _ => true,
    }
}

/// The stored fields with what is newer (section 3.2); `newer` is without the connection's fields.
pub fn updated(stored: &HeaderMap, newer: &HeaderMap) -> HeaderMap {
    let mut headers = stored.clone();
    for name in newer.keys().filter(|name| !NOT_UPDATED.contains(name)) {
        headers.remove(name);
        for value in newer.get_all(name) {
            headers.append(name.clone(), own(value));
        }
    }
    headers.remove(header::AGE);
    headers
}

/// Whether the answer to HEAD is of the same representation (section 4.3.5).
pub fn head_agrees(head: &HeaderMap, stored: &HeaderMap) -> bool {
    let same = |name: HeaderName| match (head.get(&name), stored.get(&name)) {
        (Some(new), Some(old)) => new == old,
        _ => true,
    };
    same(header::ETAG) && same(header::LAST_MODIFIED) && same(header::CONTENT_LENGTH)
}

/// Fields of a 304 to a client (RFC 9110, section 15.4.5): nothing that speaks of content.
pub fn not_modified(stored: &HeaderMap) -> HeaderMap {
    let mut headers = stored.clone();
    for name in [
        header::CONTENT_LENGTH,
        header::CONTENT_ENCODING,
        header::CONTENT_TYPE,
        header::CONTENT_RANGE,
    ] {
        headers.remove(name);
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().expect("a value"));
        }
        headers
    }

    #[track_caller]
    fn check_has(request: &[(&'static str, &str)], stored: &[(&'static str, &str)], has: bool) {
        assert_eq!(
            client_has_it(&headers(request), &headers(stored), 0),
            has,
            "{request:?} {stored:?}"
        );
    }

    #[test]
    fn tags_come_before_dates_and_compare_weakly() {
        const EARLY: &str = "Sun, 09 Sep 2001 01:46:40 GMT";
        const LATE: &str = "Sun, 09 Sep 2001 01:46:41 GMT";
        check_has(&[("if-none-match", "\"a\"")], &[("etag", "\"a\"")], true);
        check_has(&[("if-none-match", "W/\"a\"")], &[("etag", "\"a\"")], true);
        check_has(
            &[("if-none-match", "\"b\", \"a\"")],
            &[("etag", "W/\"a\"")],
            true,
        );
        check_has(&[("if-none-match", "\"a,b\"")], &[("etag", "\"b\"")], false);
        check_has(&[("if-none-match", "*")], &[], true);
        check_has(
            &[("if-modified-since", EARLY)],
            &[("last-modified", EARLY)],
            true,
        );
        check_has(
            &[("if-modified-since", EARLY)],
            &[("last-modified", LATE)],
            false,
        );
        let both = [("if-none-match", "\"b\""), ("if-modified-since", LATE)];
        check_has(&both, &[("etag", "\"a\""), ("last-modified", EARLY)], false);
    }

    #[test]
    fn a_304_changes_what_is_not_of_the_content() {
        let stored = headers(&[
            ("a", "1"),
            ("b", "1"),
            ("etag", "\"x\""),
            ("content-length", "5"),
        ]);
        let newer = headers(&[
            ("a", "2"),
            ("a", "3"),
            ("content-length", "0"),
            ("etag", "W/\"x\""),
        ]);
        assert!(confirms(&newer, &stored));
        let updated = updated(&stored, &newer);
        assert_eq!(updated.get_all("a").iter().collect::<Vec<_>>(), ["2", "3"]);
        assert_eq!(
            (&updated["b"], &updated["content-length"]),
            (&stored["b"], &stored["content-length"])
        );
        assert!(!confirms(&headers(&[("etag", "\"y\"")]), &stored));
    }
}
