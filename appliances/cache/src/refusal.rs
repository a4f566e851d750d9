//! Why a request is refused.

use edgecloud_appliance::Refusal;
use http::StatusCode;

use crate::purge;

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
    Busy,
    Token,
    PurgeWithoutTls,
    Foreign,
    Orders,
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
        Self::Busy,
        Self::Token,
        Self::PurgeWithoutTls,
        Self::Foreign,
        Self::Orders,
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
            Self::Busy => "busy",
            Self::Token => "purge-token",
            Self::PurgeWithoutTls => "purge-without-tls",
            Self::Foreign => "purge-foreign",
            Self::Orders => "purge-orders",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Host | Self::Target => StatusCode::BAD_REQUEST,
            Self::Method => StatusCode::NOT_IMPLEMENTED,
            Self::Unmeant => StatusCode::MISDIRECTED_REQUEST,
            Self::OnlyIfCached | Self::OriginSlow => StatusCode::GATEWAY_TIMEOUT,
            Self::OriginFailed => StatusCode::BAD_GATEWAY,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Token => StatusCode::UNAUTHORIZED,
            Self::PurgeWithoutTls | Self::Foreign => StatusCode::FORBIDDEN,
            Self::Orders => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }

    fn explanation(self) -> &'static str {
        match self {
            Self::Host => "send one Host field, a name or an address that agrees with the target",
            Self::Target => {
                "ask for a path that begins with a slash and is no longer than 8192 bytes"
            }
            Self::Method => "this method is for proxies, and this is none to its clients",
            Self::Unmeant => {
                "this was meant for nobody beyond this cache, or for a site that it has not"
            }
            Self::OnlyIfCached => "it is not stored, and only-if-cached forbids to ask the origin",
            Self::OriginFailed => {
                "the origin cannot be reached or broke off, and nothing stored may be served"
            }
            Self::OriginSlow => {
                "the origin did not answer in time, and nothing stored may be served"
            }
            Self::Busy => "too many requests wait for this site's origin already; come again",
            Self::Token => "send the publisher's token as `Authorization: Bearer TOKEN`",
            Self::PurgeWithoutTls => {
                "send it by https; a token that came without TLS is worth a new one"
            }
            Self::Foreign => {
                "name only URLs of the publisher's own sites, with the site's whole name"
            }
            Self::Orders => purge::FORM,
        }
    }
}
