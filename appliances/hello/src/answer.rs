//! What is answered to a request: a function of the request alone.

use std::fmt::Write as _;

use axum::http::{Method, StatusCode, Version};
use edgecloud_appliance::{Ends, Refusal};

/// What of a request decides its answer.
pub(crate) struct Question<'q> {
    pub(crate) method: &'q Method,
    pub(crate) path: &'q str,
    pub(crate) version: Version,
    pub(crate) ends: Ends,
    pub(crate) draining: bool,
}

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Who asks, and how.
    Greeting(String),
    /// The process lives.
    Alive,
    /// More requests are welcome.
    Ready,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The process ends: somebody else should be asked.
    Draining,
    /// There is nothing at this path.
    NoSuchPath,
    /// Everything here is read only.
    NoSuchMethod,
    /// The body has more than there may be, or broke off.
    BadBody,
    /// The body took longer than there is time.
    SlowBody,
}

/// Decides.
pub(crate) fn answer(question: &Question<'_>) -> Result<Answer, Refused> {
    let known = matches!(question.path, "/" | "/health" | "/ready");
    if !known {
        return Err(Refused::NoSuchPath);
    }
    if !matches!(*question.method, Method::GET | Method::HEAD) {
        return Err(Refused::NoSuchMethod);
    }
    match question.path {
        "/health" => Ok(Answer::Alive),
        "/ready" if question.draining => Err(Refused::Draining),
        "/ready" => Ok(Answer::Ready),
        _ => Ok(Answer::Greeting(greeting(question))),
    }
}

fn greeting(question: &Question<'_>) -> String {
    let ends = question.ends;
    let mut text = format!(
        "Hello from {}, over {:?}{}!\nYou are {}",
        std::env::consts::ARCH,
        question.version,
        if ends.tls { " and TLS" } else { "" },
        ends.client(),
    );
    if let Some(intended) = ends.intended() {
        // Writing to a string cannot fail.
        let _ = write!(text, ", and you asked {}", intended.ip());
    }
    text + ".\n"
}

impl Answer {
    pub(crate) fn text(self) -> String {
        match self {
            Answer::Greeting(text) => text,
            Answer::Alive => "alive\n".to_owned(),
            Answer::Ready => "ready\n".to_owned(),
        }
    }
}

impl Refusal for Refused {
    const ALL: &'static [Self] = &[
        Refused::Draining,
        Refused::NoSuchPath,
        Refused::NoSuchMethod,
        Refused::BadBody,
        Refused::SlowBody,
    ];

    fn reason(self) -> &'static str {
        match self {
            Refused::Draining => "draining",
            Refused::NoSuchPath => "no-such-path",
            Refused::NoSuchMethod => "no-such-method",
            Refused::BadBody => "bad-body",
            Refused::SlowBody => "slow-body",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Refused::Draining => StatusCode::SERVICE_UNAVAILABLE,
            Refused::NoSuchPath => StatusCode::NOT_FOUND,
            Refused::NoSuchMethod => StatusCode::METHOD_NOT_ALLOWED,
            Refused::BadBody => StatusCode::PAYLOAD_TOO_LARGE,
            Refused::SlowBody => StatusCode::REQUEST_TIMEOUT,
        }
    }

    fn explanation(self) -> &'static str {
        match self {
            Refused::Draining => "draining",
            Refused::NoSuchPath => "there is nothing here but /, /health and /ready",
            Refused::NoSuchMethod => "only GET and HEAD make sense here",
            Refused::BadBody => "the body is too large, or broke off",
            Refused::SlowBody => "the body took too long",
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
            peer: "[::ffff:10.0.0.1]:5000".parse().expect("an address"),
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
        let (found, said) = match answer {
            Ok(answer) => (StatusCode::OK, answer.text()),
            Err(refused) => (refused.status(), refused.explanation().to_owned()),
        };
        assert_eq!(found.as_u16(), status);
        assert!(said.contains(text), "{said:?}");
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
