//! Whether a response may be stored in a shared cache (RFC 9111, sections 3, 3.1 and 3.5).

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::directives::Directives;
use crate::freshness::is_heuristically_cacheable;

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStored {
    /// Only answers to GET are.
    Method,
    /// A status that this cache does not know under `must-understand`, that is none of its own, or that
    /// answers the conditions or the range of one request.
    Status,
    /// `no-store`, of the request.
    RequestNoStore,
    /// `no-store`, of the response.
    NoStore,
    /// It is for one user.
    Private,
    /// The request had `Authorization`, and nothing in the response allows to share the answer.
    Authorized,
    /// `Vary: *`: no later request can match.
    VaryStar,
    /// Nothing in it allows it.
    Unspoken,
    /// It is larger than an object may be.
    TooLarge,
    /// Clients that are slow hold as much as may be held beside what is stored.
    Crowded,
    /// Its `Content-Range` makes no sense.
    BadRange,
    /// Something was purged while it was under way.
    Purged,
    /// Nobody could use it without asking, and there is no validator to ask with.
    Useless,
}

impl NotStored {
    /// Its name in `Cache-Status` and in metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Status => "status",
            Self::RequestNoStore => "request-no-store",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::Authorized => "authorized",
            Self::VaryStar => "vary-star",
            Self::Unspoken => "unspoken",
            Self::TooLarge => "too-large",
            Self::Crowded => "crowded",
            Self::BadRange => "bad-range",
            Self::Purged => "purged",
            Self::Useless => "useless",
        }
    }
}

/// A request as this decision sees it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its fields.
    pub headers: &'a HeaderMap,
    /// Its directives.
    pub directives: &'a Directives,
}

/// Whether the answer may be stored; section 3, line by line.
pub fn check(
    asked: Asked<'_>,
    status: StatusCode,
    headers: &HeaderMap,
    directives: &Directives,
) -> Result<(), NotStored> {
    if asked.method != Method::GET {
        return Err(NotStored::Method);
    }
    let understood = is_understood(status);
    if status.is_informational()
        || is_of_one_request(status)
        || directives.must_understand && !understood
    {
        return Err(NotStored::Status);
    }
    if asked.directives.no_store {
        return Err(NotStored::RequestNoStore);
    }
    forbidden(directives)?;
    let shared = directives.public || directives.must_revalidate || directives.s_maxage.is_some();
    if asked.headers.contains_key(header::AUTHORIZATION) && !shared {
        return Err(NotStored::Authorized);
    }
    if headers
        .get_all(header::VARY)
        .iter()
        .any(|value| value.as_bytes().contains(&b'*'))
    {
        return Err(NotStored::VaryStar);
    }
    let explicit = directives.public
        || directives.max_age.is_some()
        || directives.s_maxage.is_some()
        || headers.contains_key(header::EXPIRES);
    match explicit || is_heuristically_cacheable(status) {
        true => Ok(()),
        false => Err(NotStored::Unspoken),
    }
}

/// Whether the directives of a response forbid a shared cache to keep it, whoever asked.
pub fn forbidden(directives: &Directives) -> Result<(), NotStored> {
    if directives.no_store && !directives.must_understand {
        return Err(NotStored::NoStore);
    }
    match directives.private {
        true => Err(NotStored::Private),
        false => Ok(()),
    }
}

/// What a request gets by its own conditions (RFC 9110, section 13) or range (section 14), none of which is
/// in the key: others asked for something else.
fn is_of_one_request(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::NOT_MODIFIED
            | StatusCode::PRECONDITION_FAILED
            | StatusCode::RANGE_NOT_SATISFIABLE
    )
}

/// The statuses whose caching requirements this cache knows (RFC 9110, section 15; RFC 6585, 7725).
fn is_understood(status: StatusCode) -> bool {
    let code = status.as_u16();
    matches!(code, 200..=206 | 300..=303 | 307 | 308 | 400..=418 | 421..=426 | 428 | 429 | 431 | 451)
        || matches!(code, 500..=505)
}

/// The headers that are stored: not those of the connection (section 3.1), nor what `no-cache="…"`
/// names, nor the age, which is told anew each time.
pub fn stored_headers(headers: &HeaderMap, directives: &Directives) -> HeaderMap {
    let mut stored = crate::hops::end_to_end(headers);
    stored.remove(header::AGE);
    for name in &directives.no_cache_fields {
        if let Ok(name) = name.parse::<HeaderName>() {
            stored.remove(name);
        }
    }
    for value in stored.values_mut() {
        *value = own(value);
    }
    stored
}

/// A value with memory of its own: one that was received is a piece of all that was read with it, which it
/// would keep uncounted.
pub(crate) fn own(value: &HeaderValue) -> HeaderValue {
    let Ok(mut own) = HeaderValue::from_bytes(value.as_bytes()) else {
        return value.clone();
    };
    own.set_sensitive(value.is_sensitive());
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_stored(
        request: &str,
        status: u16,
        cache_control: &str,
        wanted: Result<(), NotStored>,
    ) {
        let mut asked_headers = HeaderMap::new();
        if let Some((name, value)) = request.split_once(": ") {
            let name: HeaderName = name.parse().expect("a name");
            asked_headers.insert(name, value.parse().expect("a value"));
        }
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CACHE_CONTROL,
            cache_control.parse().expect("a value"),
        );
        let asked = Asked {
            method: &Method::GET,
            headers: &asked_headers,
            directives: &Directives::of_request(&asked_headers),
        };
        let status = StatusCode::from_u16(status).expect("a status");
        let stored = check(asked, status, &headers, &Directives::of_response(&headers));
        assert_eq!(stored, wanted, "{request} {status} {cache_control}");
    }

    #[test]
    fn section_3_is_obeyed() {
        check_stored("", 200, "", Ok(()));
        check_stored("", 200, "no-store, max-age=9", Err(NotStored::NoStore));
        check_stored("", 200, "private", Err(NotStored::Private));
        check_stored("", 200, "private=\"a\", max-age=9", Err(NotStored::Private));
        check_stored("", 201, "", Err(NotStored::Unspoken));
        check_stored("", 201, "max-age=9", Ok(()));
        check_stored("", 599, "max-age=9", Ok(()));
        check_stored(
            "",
            599,
            "max-age=9, must-understand",
            Err(NotStored::Status),
        );
        check_stored("", 200, "no-store, must-understand, max-age=9", Ok(()));
        for of_one_request in [304, 412, 416] {
            check_stored("", of_one_request, "max-age=9", Err(NotStored::Status));
        }
        check_stored(
            "cache-control: no-store",
            200,
            "max-age=9",
            Err(NotStored::RequestNoStore),
        );
    }

    #[test]
    fn what_is_stored_keeps_nothing_of_what_was_read_with_it() {
        let read = bytes::Bytes::from(vec![b'a'; 8192]);
        let piece = || HeaderValue::from_maybe_shared(read.slice(5..9)).expect("a value");
        let within = |value: &HeaderValue| read.as_ptr_range().contains(&value.as_bytes().as_ptr());
        let mut headers = HeaderMap::new();
        headers.append("x-a", piece());
        headers.append("x-a", piece());
        headers.get_mut("x-a").expect("a value").set_sensitive(true);
        let stored = stored_headers(&headers, &Directives::default());
        let updated = crate::validation::updated(&stored, &headers);
        for kept in [&stored, &updated] {
            let sensitive: Vec<_> = kept.values().map(HeaderValue::is_sensitive).collect();
            assert_eq!((kept, sensitive), (&headers, vec![true, false]));
            assert!(!kept.values().any(within));
        }
    }

    #[test]
    fn authorised_answers_are_shared_only_where_told() {
        let check = |value, wanted| check_stored("authorization: Basic x", 200, value, wanted);
        check("max-age=9", Err(NotStored::Authorized));
        for allowed in ["public", "s-maxage=9", "must-revalidate"] {
            check(allowed, Ok(()));
        }
    }
}
