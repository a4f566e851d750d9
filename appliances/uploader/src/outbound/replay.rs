//! The phone's own request, repeated.

use std::time::SystemTime;

use axum::http::{HeaderMap, HeaderValue, Request, header};

use crate::destination::Destination;
use crate::digests;
use crate::outbound::http::{Connection, HttpError, Tls, finish};
use crate::outbound::idempotency_key;
use crate::outbound::outgoing::Outgoing;
use crate::outbound::verdict::{Verdict, verdict};

/// By which a request that comes back is known (RFC 8586).
pub(crate) const CDN_LOOP: &str = "cdn-loop";
pub(crate) const OUR_NAME: HeaderValue = HeaderValue::from_static("edgecloud-uploader");

/// Sends it once. The key is the same each time, so that an origin takes it once, also when the power went
/// between its taking it and our hearing so.
pub(crate) async fn replay(
    outgoing: &Outgoing,
    destination: &Destination,
    tls: &Tls,
) -> Result<Verdict, HttpError> {
    let place = &destination.place;
    let mut connection = Connection::to(place, destination.address, tls).await?;
    let mut request = Request::new(outgoing.body(0));
    *request.method_mut() = destination.method.clone();
    // The destination's place was parsed before.
    *request.uri_mut() = place.path.parse().unwrap_or_default();
    *request.headers_mut() = fields(outgoing, destination);
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(outgoing.length));
    if let Ok(digest) = HeaderValue::from_str(&digests::written(outgoing.digest)) {
        headers.insert(digests::CONTENT, digest.clone());
        headers.insert(digests::REPRESENTATION, digest);
    }
    let response = outgoing.watched(connection.send(request)).await?;
    let response = finish(response).await;
    Ok(verdict(
        response.status(),
        response.headers(),
        SystemTime::now(),
    ))
}

/// The fields that all requests for an upload have.
pub(crate) fn fields(outgoing: &Outgoing, destination: &Destination) -> HeaderMap {
    let mut headers = destination.fields.clone();
    if let Ok(host) = HeaderValue::from_str(&destination.place.authority) {
        headers.insert(header::HOST, host);
    }
    let key = destination.idempotency_key.clone();
    let key = key.unwrap_or_else(|| idempotency_key(outgoing.id));
    // A string of structured fields, as draft-ietf-httpapi-idempotency-key-header has it.
    if let Ok(key) = HeaderValue::from_str(&format!("\"{key}\"")) {
        headers.insert("idempotency-key", key);
    }
    headers.insert(CDN_LOOP, OUR_NAME);
    headers
}
