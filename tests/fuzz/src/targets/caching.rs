//! A request and a response as the cache decides on them: the bytes are the fields of the one, a NUL, and the
//! fields of the other, a line each.

use cache::directives::Directives;
use cache::freshness::{Failure, Freshness, Verdict};
use cache::purge::Ban;
use cache::ranges::{Part, Wanted, if_range_holds};
use cache::storable::{self, Asked};
use cache::validation;
use cache::variance::Selecting;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::Target;

pub(super) const TARGET: Target = Target {
    name: "caching",
    run,
    seeds,
};

/// Some moment.
const NOW: u64 = 1_800_000_000;

fn run(bytes: &[u8]) {
    let mut halves = bytes.splitn(2, |byte| *byte == 0);
    let request = fields(halves.next().unwrap_or_default());
    let response = fields(halves.next().unwrap_or_default());
    let asked = Directives::of_request(&request);
    let told = Directives::of_response(&response);
    lifetimes(&asked, &told, &response);
    ranges(&request, &response);
    let stored = storable::stored_headers(&response, &told);
    let question = Asked {
        method: &Method::GET,
        headers: &request,
        directives: &asked,
    };
    let may = storable::check(question, StatusCode::OK, &response, &told);
    assert!(may.is_err() || !told.private && !asked.no_store);
    if let Some(selecting) = Selecting::of(&response, &request) {
        assert!(selecting.matches(&request), "a request chooses another");
    }
    let mut conditional = request.clone();
    validation::make_conditional(&mut conditional, &stored);
    let updated = validation::updated(&stored, &response);
    let _ = validation::client_has_it(&request, &updated, NOW);
    let _ = validation::confirms(&response, &stored);
    let _ = validation::head_agrees(&response, &stored);
    let _ = validation::not_modified(&stored);
    if let Ok(ban) = String::from_utf8_lossy(bytes).parse::<Ban>() {
        assert_eq!(ban.to_string().parse(), Ok(ban));
    }
}

fn lifetimes(asked: &Directives, told: &Directives, response: &HeaderMap) {
    let freshness = Freshness::of(StatusCode::OK, response, told, NOW - 1, NOW);
    let _ = freshness.outlives(Failure::Answered, asked, NOW + 5);
    let now = freshness.decide(asked, NOW);
    let later = freshness.decide(asked, NOW + (1 << 40));
    if told.no_cache {
        assert_eq!((now, later), (Verdict::Stale, Verdict::Stale));
    }
}

fn ranges(request: &HeaderMap, response: &HeaderMap) {
    let _ = if_range_holds(request, response);
    let Some(wanted) = Wanted::of(request) else {
        return;
    };
    for total in [0, 1, 1000, u64::MAX] {
        if let Ok((first, last)) = wanted.within(total) {
            assert!(first <= last && last < total);
        }
    }
    if let Some(part) = Part::of(response) {
        assert!(part.first <= part.last && part.last < part.total);
    }
}

fn fields(text: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in text.split(|byte| *byte == b'\n').take(64) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name),
            HeaderValue::from_bytes(value.trim_ascii()),
        ) {
            headers.append(name, value);
        }
    }
    headers
}

fn seeds() -> Vec<Vec<u8>> {
    [
        "range: bytes=0-9\nif-range: \"a\"\n\0etag: \"a\"\ncontent-range: bytes 0-9/100\n",
        "cache-control: max-age=5, max-stale=9, min-fresh=1, only-if-cached\n\0cache-control: max-age=60, \
         stale-while-revalidate=5, stale-if-error=\"9\", no-cache=\"set-cookie\"\nage: 3\n",
        "accept-language: en, de;q=0.5\n\0vary: accept-language, a\ncdn-cache-control: max-age=9;a=\"b\", public\n",
        "if-none-match: W/\"a\", \"b\"\nif-modified-since: Mon, 23 Nov 2026 07:01:49 GMT\n\0etag: W/\"a\"\n\
         last-modified: Mon, 23 Nov 2026 07:01:37 GMT\ndate: Mon, 23 Nov 2026 07:01:49 GMT\nexpires: 0\n",
    ]
    .into_iter()
    .map(|seed| seed.as_bytes().to_vec())
    .collect()
}
