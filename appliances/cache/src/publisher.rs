//! Purges by publishers themselves, at a well-known address of their own sites.
//!
//! `POST https://SITE/.well-known/edgecloud/purge` with `Authorization: Bearer TOKEN` and the lines that
//! operators use (`purge.rs`). The cache knows the token's SHA-256 alone. What is purged is the publisher's
//! own part of the cache, whatever the lines say; those that name another's site are refused, so that a
//! mistake is heard of.
//!
//! *Threats.* Who guesses tokens: they are compared by their digests, in constant time, and refusals are
//! counted and logged. Who listens: a token that comes without TLS is refused (and should be made anew).

use std::sync::Arc;

use axum::body::Body as Outgoing;
use axum::response::{IntoResponse, Response};
use edgecloud_appliance::Ends;
use http::request::Parts;
use http::uri::Uri;
use http::{Method, header};
use http_body_util::{BodyExt, Limited};

use crate::limits::ORDERS_BYTES_MAX;
use crate::purge::{self, Ban};
use crate::refusal::Refused;
use crate::share::Share;

/// Where publishers purge.
pub(crate) const PURGE_TARGET: &str = "/.well-known/edgecloud/purge";

/// Answers a publisher's request to purge.
pub(crate) async fn purge(
    share: &Arc<Share>,
    ends: &Ends,
    request: &Parts,
    body: Outgoing,
) -> Result<Response, Refused> {
    // Read before anything is refused: who is answered while he sends may see a broken connection only.
    let body = Limited::new(body, ORDERS_BYTES_MAX).collect().await;
    if !ends.tls {
        return Err(Refused::PurgeWithoutTls);
    }
    let token = bearer(request).ok_or(Refused::Token)?;
    if !share.admits(token) {
        return Err(Refused::Token);
    }
    if request.method != Method::POST {
        return Err(Refused::Orders);
    }
    let body = body.map_err(|_| Refused::Orders)?.to_bytes();
    let bans = purge::orders(&body).ok_or(Refused::Orders)?;
    if !bans.iter().all(|ban| is_own(share, ban)) {
        return Err(Refused::Foreign);
    }
    let (count, kept) = share.purge_all(bans).await;
    Ok(purge::told(count, kept).into_response())
}

fn bearer(request: &Parts) -> Option<&[u8]> {
    let mut values = request.headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, token) = value.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}

/// Whether a ban speaks of the publisher's sites alone. Tags are looked for in its part only.
fn is_own(share: &Share, ban: &Ban) -> bool {
    let url = match ban {
        Ban::Tag(_) => return true,
        Ban::Url(url) | Ban::Prefix(url) => url,
    };
    // The name must be there to its end.
    let name_ends = url
        .split_once("://")
        .is_some_and(|(_, rest)| rest.contains('/'));
    let host = url.parse::<Uri>().ok();
    let host = host.as_ref().and_then(Uri::host);
    name_ends && host.is_some_and(|host| share.has_site(host))
}
