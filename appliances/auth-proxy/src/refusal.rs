//! Why a client is not let in, or an operator not answered: one list, which status, page, log and
//! counter come from.

use axum::http::StatusCode;
use edgecloud_appliance::Refusal;

use crate::token::BadToken;

/// Every reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No voucher has this code.
    WrongVoucher,
    /// The voucher was not used in time.
    TooOld,
    /// Name or password are wrong.
    WrongAccount,
    /// Nothing is left of the pass.
    UsedUp,
    /// Too many attempts failed.
    TooOften,
    /// The form was not made by our page, or too long ago.
    StaleForm,
    /// The form is none.
    Malformed,
    /// The token is not good.
    Token(BadToken),
    /// The token was used by somebody else.
    Replayed,
    /// No room for another session, or for another token to remember.
    Full,
    /// More passwords wait than can be worked on.
    Busy,
    /// No RADIUS server answers.
    Radius,
    /// The controller refuses to let the client through.
    ControllerRefuses,
    /// The controller does not answer.
    ControllerAway,
    /// What must be remembered cannot be.
    Store,
    /// The page is none of the portal's.
    NoPage,
    /// The operator's port wants the operator.
    Unauthorized,
    /// No such session or voucher.
    NotFound,
    /// More connections are carried to free services than may be.
    FreeFull,
    /// The client has too many of them.
    FreeTooMany,
    /// The host has not said for a while what is free.
    FreeUnknown,
    /// The free service takes no connection.
    FreeUnreachable,
}

use BadToken as Bad;

impl Refused {
    /// The name of the text that the page says.
    pub fn text(self) -> &'static str {
        match self {
            Self::WrongVoucher => "wrong-voucher",
            Self::TooOld => "too-old",
            Self::WrongAccount => "wrong-account",
            Self::UsedUp => "used-up",
            Self::TooOften => "too-often",
            Self::StaleForm | Self::Malformed => "stale-form",
            Self::Token(_) | Self::Replayed => "bad-token",
            _ => "busy",
        }
    }
}

impl Refusal for Refused {
    const ALL: &'static [Self] = &[
        Self::WrongVoucher,
        Self::TooOld,
        Self::WrongAccount,
        Self::UsedUp,
        Self::TooOften,
        Self::StaleForm,
        Self::Malformed,
        Self::Token(Bad::Malformed),
        Self::Token(Bad::Algorithm),
        Self::Token(Bad::Key),
        Self::Token(Bad::Audience),
        Self::Token(Bad::Expired),
        Self::Token(Bad::Early),
        Self::Token(Bad::TooLong),
        Self::Token(Bad::Client),
        Self::Token(Bad::Signature),
        Self::Replayed,
        Self::Full,
        Self::Busy,
        Self::Radius,
        Self::ControllerRefuses,
        Self::ControllerAway,
        Self::Store,
        Self::NoPage,
        Self::Unauthorized,
        Self::NotFound,
        Self::FreeFull,
        Self::FreeTooMany,
        Self::FreeUnknown,
        Self::FreeUnreachable,
    ];

    fn reason(self) -> &'static str {
        match self {
            Self::WrongVoucher => "wrong-voucher",
            Self::TooOld => "voucher-too-old",
            Self::WrongAccount => "wrong-account",
            Self::UsedUp => "used-up",
            Self::TooOften => "too-often",
            Self::StaleForm => "stale-form",
            Self::Malformed => "malformed",
            Self::Token(Bad::Malformed) => "token-malformed",
            Self::Token(Bad::Algorithm) => "token-algorithm",
            Self::Token(Bad::Key) => "token-key",
            Self::Token(Bad::Audience) => "token-audience",
            Self::Token(Bad::Expired) => "token-expired",
            Self::Token(Bad::Early) => "token-early",
            Self::Token(Bad::TooLong) => "token-too-long",
            Self::Token(Bad::Client) => "token-client",
            Self::Token(Bad::Signature) => "token-signature",
            Self::Replayed => "token-replayed",
            Self::Full => "full",
            Self::Busy => "busy",
            Self::Radius => "radius-away",
            Self::ControllerRefuses => "controller-refuses",
            Self::ControllerAway => "controller-away",
            Self::Store => "store",
            Self::NoPage => "no-page",
            Self::Unauthorized => "unauthorized",
            Self::NotFound => "not-found",
            Self::FreeFull => "free-full",
            Self::FreeTooMany => "free-too-many",
            Self::FreeUnknown => "free-unknown",
            Self::FreeUnreachable => "free-unreachable",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::WrongVoucher | Self::WrongAccount | Self::UsedUp | Self::TooOld => {
                StatusCode::FORBIDDEN
            }
            Self::StaleForm | Self::Token(_) | Self::Replayed => StatusCode::FORBIDDEN,
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::TooOften | Self::FreeTooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::NoPage | Self::NotFound => StatusCode::NOT_FOUND,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn explanation(self) -> &'static str {
        match self {
            Self::WrongVoucher => "no voucher has this code; check it letter by letter",
            Self::TooOld => "this voucher was to be used earlier; ask for another",
            Self::WrongAccount => "user name or password are wrong",
            Self::UsedUp => "nothing is left of this pass; ask for another",
            Self::TooOften => "too many attempts failed; wait a minute",
            Self::StaleForm => "this form was not made by our page, or too long ago; load it again",
            Self::Malformed => "send the form of our page",
            Self::Token(Bad::Malformed) => "send a JSON Web Token with aud, nbf, exp and jti",
            Self::Token(Bad::Algorithm) => "sign tokens with EdDSA, without `crit`",
            Self::Token(Bad::Key) => "the token's kid names no key; ask the operator to add it",
            Self::Token(Bad::Audience) => "the token's aud is another hotspot",
            Self::Token(Bad::Expired) => "the token expired; ask for another",
            Self::Token(Bad::Early) => "the token's nbf is in the future; check the clocks",
            Self::Token(Bad::TooLong) => "tokens are good for an hour at most",
            Self::Token(Bad::Client) => "the token is for another client",
            Self::Token(Bad::Signature) => "the token's signature does not hold",
            Self::Replayed => "the token was used by another client; ask for one of your own",
            Self::Full => "no more clients can be let in now",
            Self::Busy => "many log in at the moment",
            Self::Radius => "no RADIUS server answers; see the log",
            Self::ControllerRefuses => "the host refuses to let clients through; see the log",
            Self::ControllerAway => "the host does not answer",
            Self::Store => "what must be remembered cannot be; see the log",
            Self::NoPage => "the portal has no such page",
            Self::Unauthorized => "send the operator's token",
            Self::NotFound => "there is no such session or voucher",
            Self::FreeFull => "many use free services at the moment",
            Self::FreeTooMany => "too many connections to free services; close some",
            Self::FreeUnknown => "the host does not say what is free; see the log",
            Self::FreeUnreachable => "the free service does not answer",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = Refused::ALL.iter().map(|r| r.reason()).collect();
        assert_eq!(names.len(), Refused::ALL.len());
    }
}
