//! Signed documents as JSON: their meaning for people, and their bytes for programs.

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use data_encoding::BASE64URL_NOPAD;
use manifest::{Answer, Name, Offer, Outcome, RevocationList, Serial, Signed, Token};
use serde_json::{Value, json};

use super::problem;
use crate::authority::Reply;

pub(super) fn reply(reply: &Reply) -> Response {
    match reply {
        Reply::Token(signed) => {
            let body = json!({ "tokens": [token(signed)] });
            (StatusCode::CREATED, axum::Json(body)).into_response()
        }
        Reply::Offer(signed) => {
            let acceptable = !signed.document().grants().is_empty();
            let detail = if acceptable {
                "Not everything is granted as it is: accept the offer, or change the manifest."
            } else {
                "Every rule is refused: change the manifest."
            };
            let members = json!({ "offer": offer(signed) });
            problem::respond(StatusCode::CONFLICT, "offer", detail, members)
        }
    }
}

fn token(signed: &Signed<Token>) -> Value {
    let token = signed.document();
    let grants = token
        .grants()
        .iter()
        .map(|grant| json!({ "index": grant.index, "rule": grant.rule.to_string() }));
    json!({
        "token": BASE64URL_NOPAD.encode(signed.bytes()),
        "serial": token.serial().0,
        "application": token.application().as_str(),
        "number": token.number().get(),
        "hosts": token.hosts().iter().map(Name::as_str).collect::<Vec<_>>(),
        "expires": token.expires().to_string(),
        "rate": token.limit().rate.map(|rate| rate.to_string()),
        "grants": grants.collect::<Vec<_>>(),
    })
}

pub(super) fn offer(signed: &Signed<Offer>) -> Value {
    let offer = signed.document();
    json!({
        "digest": offer.digest().to_string(),
        "signed": BASE64URL_NOPAD.encode(signed.bytes()),
        "valid_until": offer.valid_until.to_string(),
        "expires": offer.expires.to_string(),
        "rate": offer.limit.rate.map(|rate| rate.to_string()),
        "answers": offer.answers.iter().map(answer).collect::<Vec<_>>(),
    })
}

fn answer(answer: &Answer) -> Value {
    let price = match &answer.outcome {
        Outcome::Priced { price, .. } => Some(price.to_string()),
        _ => None,
    };
    json!({
        "outcome": answer.outcome.as_str(),
        "rule": answer.outcome.rule().map(ToString::to_string),
        "price": price,
        "policy": answer.policy,
        "reason": answer.reason,
    })
}

pub(super) fn revocations(signed: &Signed<RevocationList>) -> Value {
    let list = signed.document();
    json!({
        "signed": BASE64URL_NOPAD.encode(signed.bytes()),
        "number": list.number(),
        "issued": list.issued().to_string(),
        "serials": list.serials().map(|Serial(serial)| serial).collect::<Vec<_>>(),
    })
}
