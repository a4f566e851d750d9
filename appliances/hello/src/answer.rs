//! What is answered to a request: a function of the request alone.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use axum::http::{Method, StatusCode, Version};

/// What of a request decides its answer.
pub(crate) struct Question<'q> {
    pub(crate) method: &'q Method,
    pub(crate) path: &'q str,
    pub(crate) version: Version,
    pub(crate) ends: Ends,
    pub(crate) draining: bool,
}

/// A connection as its requests see it.
#[derive(Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) client: SocketAddr,
    /// The address that the client meant; unknown if it is gone already.
    pub(crate) local: Option<SocketAddr>,
    pub(crate) tls: bool,
}

/// An answer, which its status and its text follow from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Who asks, and how.
    Greeting(String),
    /// The process lives.
    Alive,
    /// More requests are welcome.
    Ready,
    /// Why the request is refused.
    Refused(Refusal),
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The process ends: somebody else should be asked.
    Draining,
    /// There is nothing at this path.
    NoSuchPath,
    /// Everything here is read only.
    NoSuchMethod,
    /// The body has more than `limits::BODY_BYTES_MAX`, or broke off.
    BadBody,
    /// The body took longer than `limits::BODY_TIME_MAX`.
    SlowBody,
}

/// Decides.
pub(crate) fn answer(question: &Question<'_>) -> Answer {
    let known = matches!(question.path, "/" | "/health" | "/ready");
    if !known {
        return Answer::Refused(Refusal::NoSuchPath);
    }
    if !matches!(*question.method, Method::GET | Method::HEAD) {
        return Answer::Refused(Refusal::NoSuchMethod);
    }
    match question.path {
        "/health" => Answer::Alive,
        "/ready" if question.draining => Answer::Refused(Refusal::Draining),
        "/ready" => Answer::Ready,
        _ => Answer::Greeting(greeting(question)),
    }
}

fn greeting(question: &Question<'_>) -> String {
    let Ends { client, local, tls } = question.ends;
    let mut text = format!(
        "Hello from {}, over {:?}{}!\nYou are {}",
        std::env::consts::ARCH,
        question.version,
        if tls { " and TLS" } else { "" },
        plain(client),
    );
    if let Some(local) = local {
        // Writing to a string cannot fail.
        let _ = write!(text, ", and you asked {}", plain(local));
    }
    text + ".\n"
}

/// An address as people write it: one of IPv4 that came to a socket of IPv6 is written as IPv4.
fn plain(address: SocketAddr) -> IpAddr {
    address.ip().to_canonical()
}

impl Answer {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Answer::Greeting(_) | Answer::Alive | Answer::Ready => StatusCode::OK,
            Answer::Refused(refusal) => refusal.status(),
        }
    }

    pub(crate) fn text(self) -> String {
        match self {
            Answer::Greeting(text) => text,
            Answer::Alive => "alive\n".to_owned(),
            Answer::Ready => "ready\n".to_owned(),
            Answer::Refused(refusal) => format!("{}\n", refusal.reason()),
        }
    }
}

impl Refusal {
    fn status(self) -> StatusCode {
        match self {
            Refusal::Draining => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::NoSuchPath => StatusCode::NOT_FOUND,
            Refusal::NoSuchMethod => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::BadBody => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::SlowBody => StatusCode::REQUEST_TIMEOUT,
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Refusal::Draining => "draining",
            Refusal::NoSuchPath => "there is nothing here but /, /health and /ready",
            Refusal::NoSuchMethod => "only GET and HEAD make sense here",
            Refusal::BadBody => "the body is too large, or broke off",
            Refusal::SlowBody => "the body took too long",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks over HTTP/2 and TLS, and checks status and text.
    #[track_caller]
    fn check(method: Method, path: &str, draining: bool, status: u16, text: &str) {
        let ends = Ends {
            client: "[::ffff:10.0.0.1]:5000".parse().expect("an address"),
            local: "[fd00::2]:443".parse().ok(),
            tls: true,
        };
        let answer = answer(&Question {
            method: &method,
            path,
            version: Version::HTTP_2,
            ends,
            draining,
        });
        assert_eq!(answer.status().as_u16(), status);
        let said = answer.text();
        assert!(said.contains(text) && said.ends_with('\n'), "{said:?}");
    }

    #[test]
    fn the_greeting_tells_who_asks_whom_and_how() {
        let text = "over HTTP/2.0 and TLS!\nYou are 10.0.0.1, and you asked fd00::2.";
        check(Method::GET, "/", false, 200, text);
        check(Method::HEAD, "/", true, 200, text);
    }

    #[test]
    fn a_service_that_drains_is_alive_but_not_ready() {
        check(Method::GET, "/health", false, 200, "alive");
        check(Method::GET, "/ready", false, 200, "ready");
        check(Method::GET, "/health", true, 200, "alive");
        check(Method::GET, "/ready", true, 503, "draining");
    }

    #[test]
    fn what_is_not_there_is_refused() {
        check(Method::GET, "/healthy", false, 404, "nothing here");
        check(Method::POST, "/nowhere", false, 404, "nothing here");
        check(Method::POST, "/", false, 405, "only GET and HEAD");
        check(Method::OPTIONS, "/ready", true, 405, "only GET and HEAD");
    }
}
