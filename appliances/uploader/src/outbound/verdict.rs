//! What an origin's answer means: pure functions.

use std::time::{Duration, SystemTime};

use axum::http::{HeaderMap, StatusCode, header};

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The origin has it.
    Delivered(u16),
    /// The origin does not want it, now or ever.
    Refused(u16),
    /// It may be tried again.
    Later {
        /// What the origin asks for.
        retry_after: Option<Duration>,
        /// Whether all that goes there must wait.
        is_origin: bool,
        /// For the log.
        why: String,
    },
}

/// Reads a status. 303 is how sites answer forms; other redirections would need somebody who follows.
pub(crate) fn verdict(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Verdict {
    let code = status.as_u16();
    match code {
        200..=299 | 303 => Verdict::Delivered(code),
        // 409 is what an origin says of an Idempotency-Key that it is still at work on.
        408 | 409 | 423 | 425 | 429 | 500..=599 => Verdict::Later {
            retry_after: retry_after(headers, now),
            is_origin: matches!(code, 429 | 502..=504),
            why: format!("it answers {code}"),
        },
        _ => Verdict::Refused(code),
    }
}

/// Seconds, or a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse().ok().map(Duration::from_secs),
        false => {
            let date = httpdate::parse_http_date(text).ok()?;
            Some(date.duration_since(now).unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, retry: Option<&str>) -> Verdict {
        let mut headers = HeaderMap::new();
        if let Some(retry) = retry {
            headers.insert(header::RETRY_AFTER, retry.parse().expect("a value"));
        }
        let status = StatusCode::from_u16(status).expect("a status");
        verdict(status, &headers, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn statuses_are_final_or_not() {
        for status in [200, 201, 204, 303] {
            assert_eq!(check(status, None), Verdict::Delivered(status));
        }
        for status in [301, 302, 307, 400, 401, 403, 404, 413, 415] {
            assert_eq!(check(status, None), Verdict::Refused(status));
        }
        for status in [408, 409, 425, 429, 500, 502, 503, 507] {
            assert!(
                matches!(check(status, None), Verdict::Later { .. }),
                "{status}"
            );
        }
    }

    #[test]
    fn an_origin_says_when_to_come_again() {
        for (text, wanted) in [
            ("120", Some(120)),
            ("Thu, 01 Jan 1970 00:01:00 GMT", Some(60)),
            ("soon", None),
            ("-1", None),
            ("99999999999999999999", None),
        ] {
            let Verdict::Later {
                retry_after,
                is_origin,
                ..
            } = check(503, Some(text))
            else {
                panic!("final");
            };
            assert_eq!(retry_after.map(|time| time.as_secs()), wanted, "{text}");
            assert!(is_origin);
        }
    }
}
