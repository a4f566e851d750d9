//! Parts of one representation become one part, and then the whole (RFC 9111, section 3.4).
//!
//! Only a strong validator says that two parts are of the same bytes (RFC 9110, section 8.8.1), and only
//! bytes that came count, not those that the origin spoke of.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::body::{Body, End};
use crate::ranges::{Part, content_range};
use crate::store::Entry;
use crate::validation::{self, strong_tag};

/// The part that an entry holds, if it can be joined with others: it has arrived, and has a strong tag.
fn joinable(entry: &Entry) -> Option<(Part, &[u8])> {
    let part = entry
        .real_part()
        .filter(|_| entry.body.end() == Some(End::Whole))?;
    Some((part, strong_tag(&entry.headers)?))
}

/// Whether an entry is the beginning of a representation whose rest can be joined to it.
pub(crate) fn is_beginning(entry: &Entry) -> bool {
    joinable(entry).is_some_and(|(part, _)| part.first == 0 && part.last + 1 < part.total)
}

/// Makes a request ask for what is behind a beginning, or for all if that is of something else by now.
pub(crate) fn ask_for_rest(request: &mut HeaderMap, begun: &Entry) {
    let Some((part, tag)) = joinable(begun) else {
        return;
    };
    ask_for(request, &format!("bytes={}-", part.last + 1), tag);
}

/// Makes a request ask for a range of the representation with this tag, and for nothing else.
pub(crate) fn ask_for(request: &mut HeaderMap, range: &str, tag: &[u8]) {
    for name in [
        header::IF_MATCH,
        header::IF_UNMODIFIED_SINCE,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
    ] {
        request.remove(name);
    }
    let values = HeaderValue::try_from(range).and_then(|range| {
        let tag = HeaderValue::from_bytes(tag)?;
        Ok((range, tag))
    });
    if let Ok((range, tag)) = values {
        request.insert(header::RANGE, range);
        request.insert(header::IF_RANGE, tag);
    }
}

/// Whether an answer is what is behind a beginning, to its end.
pub(crate) fn is_rest(status: StatusCode, answer: &HeaderMap, begun: &Entry) -> bool {
    let Some((before, tag)) = joinable(begun) else {
        return false;
    };
    let behind = Part {
        first: before.last + 1,
        last: before.total - 1,
        total: before.total,
    };
    status == StatusCode::PARTIAL_CONTENT
        && strong_tag(answer) == Some(tag)
        && Part::of(answer) == Some(behind)
}

/// What broke off, as the part that it is: of what was to be whole, with a length and a strong tag.
pub(crate) fn broken_off(entry: &Entry) -> Option<Entry> {
    let arrived = entry.body.arrived();
    let total = entry
        .length
        .filter(|total| (1..*total).contains(&arrived))?;
    strong_tag(&entry.headers)?;
    if entry.status != StatusCode::OK || entry.part.is_some() || entry.is_sliced {
        return None;
    }
    let body = Body::counted(entry.body.live());
    let pieces = entry.body.pieces_from(0);
    pieces.into_iter().for_each(|piece| body.append(piece));
    body.finish(End::Whole);
    Some(Entry {
        status: StatusCode::PARTIAL_CONTENT,
        body: Arc::new(body),
        length: Some(arrived),
        part: Some(Part {
            first: 0,
            last: arrived - 1,
            total,
        }),
        ..entry.clone()
    })
}

/// Two parts as one, with the fields of the newer; None: they are of different things, or do not touch.
pub(crate) fn joined(newer: &Entry, older: &Entry) -> Option<Entry> {
    let ((new, new_tag), (old, old_tag)) = (joinable(newer)?, joinable(older)?);
    let same = new_tag == old_tag && new.total == old.total && newer.selecting == older.selecting;
    let (low, high, front, back) = match new.first <= old.first {
        true => (new, old, newer, older),
        false => (old, new, older, newer),
    };
    if !same || high.first > low.last + 1 {
        return None;
    }
    let body = Body::counted(newer.body.live());
    let pieces = front.body.pieces_from(0);
    pieces.into_iter().for_each(|piece| body.append(piece));
    if high.last > low.last {
        let pieces = back.body.pieces_from(low.last + 1 - high.first);
        pieces.into_iter().for_each(|piece| body.append(piece));
    }
    body.finish(End::Whole);
    let part = Part {
        first: low.first,
        last: low.last.max(high.last),
        total: low.total,
    };
    let is_whole = part.first == 0 && part.last + 1 == part.total;
    let mut headers = newer.headers.clone();
    headers.remove(header::CONTENT_RANGE);
    if !is_whole {
        let range = content_range(part.first, part.last, part.total);
        let range = HeaderValue::try_from(range).expect("digits are ASCII");
        headers.insert(header::CONTENT_RANGE, range);
    }
    Some(Entry {
        status: if is_whole {
            StatusCode::OK
        } else {
            StatusCode::PARTIAL_CONTENT
        },
        headers,
        length: Some(body.arrived()),
        body: Arc::new(body),
        part: (!is_whole).then_some(part),
        ..newer.clone()
    })
}

/// Whether an answer is exactly this part of the representation with this tag.
pub(crate) fn is_part(status: StatusCode, answer: &HeaderMap, part: Part, tag: &[u8]) -> bool {
    status == StatusCode::PARTIAL_CONTENT
        && validation::strong_tag(answer) == Some(tag)
        && Part::of(answer) == Some(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Live;
    use bytes::Bytes;
    use proptest::prelude::*;

    use crate::directives::Directives;
    use crate::freshness::Freshness;
    use crate::variance::Selecting;

    const ALL: &[u8] = b"0123456789abcdef";

    /// The bytes from `first` to `last` of [`ALL`], in pieces.
    fn part(first: u64, last: u64, tag: &str) -> Entry {
        let body = Body::counted(&Live::default());
        for piece in ALL[first as usize..=last as usize].chunks(3) {
            body.append(Bytes::from_static(piece));
        }
        body.finish(End::Whole);
        let mut headers = HeaderMap::new();
        headers.insert(header::ETAG, tag.parse().expect("a tag"));
        let total = ALL.len() as u64;
        Entry {
            status: StatusCode::PARTIAL_CONTENT,
            freshness: Freshness::of(StatusCode::OK, &headers, &Directives::default(), 0, 0),
            headers,
            selecting: Selecting::default(),
            received: 0,
            length: Some(last - first + 1),
            body: Arc::new(body),
            part: Some(Part { first, last, total }),
            is_sliced: false,
        }
    }

    #[test]
    fn only_what_is_surely_of_the_same_is_joined() {
        let with = |tag: &str| joined(&part(0, 4, "\"a\""), &part(5, 9, tag)).is_some();
        assert!(with("\"a\"") && !with("\"b\"") && !with("W/\"a\""));
        assert!(joined(&part(0, 4, "W/\"a\""), &part(5, 9, "W/\"a\"")).is_none());
        assert!(
            joined(&part(0, 4, "\"a\""), &part(6, 9, "\"a\"")).is_none(),
            "a gap"
        );
        let mut arriving = part(5, 9, "\"a\"");
        arriving.body = Arc::new(Body::default());
        assert!(joined(&part(0, 4, "\"a\""), &arriving).is_none());
    }

    #[test]
    fn the_rest_is_asked_for_and_known() {
        let begun = part(0, 9, "\"a\"");
        assert!(is_beginning(&begun) && !is_beginning(&part(1, 9, "\"a\"")));
        let mut request = HeaderMap::new();
        request.insert(header::IF_NONE_MATCH, "\"x\"".parse().expect("a tag"));
        ask_for_rest(&mut request, &begun);
        assert_eq!(
            (&request[header::RANGE], &request[header::IF_RANGE]),
            (
                &HeaderValue::from_static("bytes=10-"),
                &HeaderValue::from_static("\"a\"")
            )
        );
        assert_eq!(request.len(), 2);
        let answer = |range: &str, tag: &str| {
            let mut answer = HeaderMap::new();
            answer.insert(header::CONTENT_RANGE, range.parse().expect("a range"));
            answer.insert(header::ETAG, tag.parse().expect("a tag"));
            is_rest(StatusCode::PARTIAL_CONTENT, &answer, &begun)
        };
        assert!(answer("bytes 10-15/16", "\"a\""));
        for (range, tag) in [
            ("bytes 10-15/16", "\"b\""),
            ("bytes 9-15/16", "\"a\""),
            ("bytes 10-14/16", "\"a\""),
            ("bytes 10-16/17", "\"a\""),
        ] {
            assert!(!answer(range, tag), "{range} {tag}");
        }
    }

    #[test]
    fn what_broke_off_is_a_beginning() {
        let mut whole = part(0, 4, "\"a\"");
        whole.status = StatusCode::OK;
        (whole.part, whole.length) = (None, Some(16));
        let begun = broken_off(&whole).expect("a part");
        assert!(is_beginning(&begun));
        assert_eq!(begun.body.bytes(), &ALL[..5]);
        whole.length = None;
        assert!(broken_off(&whole).is_none(), "of an unknown whole");
    }

    proptest! {
        #[test]
        fn joined_parts_are_the_bytes_they_say(a in 0u64..16, b in 0u64..16, c in 0u64..16, d in 0u64..16) {
            let one = part(a.min(b), a.max(b), "\"a\"");
            let two = part(c.min(d), c.max(d), "\"a\"");
            if let Some(joined) = joined(&one, &two) {
                let first = a.min(b).min(c.min(d));
                let last = a.max(b).max(c.max(d));
                prop_assert_eq!(joined.body.bytes(), &ALL[first as usize..=last as usize]);
                prop_assert_eq!(joined.part.is_none(), first == 0 && last == 15);
                prop_assert_eq!(joined.length, Some(last - first + 1));
                prop_assert_eq!(Part::of(&joined.headers), joined.part);
            }
        }
    }
}
