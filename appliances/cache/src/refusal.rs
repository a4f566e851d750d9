//! Why a request is refused.

use edgecloud_appliance::Refusal;
use http::StatusCode;

/// Every reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Host,
    Target,
    Method,
    Unmeant,
    OnlyIfCached,
    OriginFailed,
    OriginSlow,
}

impl Refusal for Refused {
    const ALL: &'static [Self] = &[
        Self::Host,
        Self::Target,
        Self::Method,
        Self::Unmeant,
        Self::OnlyIfCached,
        Self::OriginFailed,
        Self::OriginSlow,
    ];

    fn reason(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Target => "target",
            Self::Method => "method",
            Self::Unmeant => "unmeant",
            Self::OnlyIfCached => "only-if-cached",
            Self::OriginFailed => "origin-failed",
            Self::OriginSlow => "origin-slow",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Host | Self::Target => StatusCode::BAD_REQUEST,
            Self::Method => StatusCode::NOT_IMPLEMENTED,
            Self::Unmeant => StatusCode::MISDIRECTED_REQUEST,
            Self::OnlyIfCached | Self::OriginSlow => StatusCode::GATEWAY_TIMEOUT,
            Self::OriginFailed => StatusCode::BAD_GATEWAY,
        }
    }

    fn explanation(self) -> &'static str {
        match self {
            Self::Host => "send one Host field, a name or an address that agrees with the target",
            Self::Target => {
                "ask for a path that begins with a slash and is no longer than 8192 bytes"
            }
            Self::Method => "this method is for proxies, and this is none to its clients",
            Self::Unmeant => "this connection was meant for nobody beyond this cache",
            Self::OnlyIfCached => "it is not stored, and only-if-cached forbids to ask the origin",
            Self::OriginFailed => {
                "the origin cannot be reached or broke off, and nothing stored may be served"
            }
            Self::OriginSlow => {
                "the origin did not answer in time, and nothing stored may be served"
            }
        }
    }
}
