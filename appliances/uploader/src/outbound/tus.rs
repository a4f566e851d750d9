//! An origin that speaks tus 1.0: the upload is made there once, and goes on where it stopped.

use std::time::SystemTime;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::destination::{Destination, Place};
use crate::limits::RESOURCE_BYTES_MAX;
use crate::metadata;
use crate::outbound::http::{Connection, HttpError, Tls, finish};
use crate::outbound::outgoing::Outgoing;
use crate::outbound::replay::fields;
use crate::outbound::verdict::{Verdict, verdict};
use crate::store::Note;
use crate::tus::VERSION;

const BODY: HeaderValue = HeaderValue::from_static("application/offset+octet-stream");

/// Sends what the origin has not.
pub(crate) async fn upload(
    outgoing: &Outgoing,
    destination: &Destination,
    tls: &Tls,
) -> Result<Verdict, HttpError> {
    let mut connection = Connection::to(&destination.place, destination.address, tls).await?;
    let mut common = fields(outgoing, destination);
    common.remove(header::CONTENT_TYPE);
    common.insert("tus-resumable", HeaderValue::from_static(VERSION));
    let resource = match resume(outgoing, &common, &mut connection).await? {
        Found::At(resource, offset) if offset == outgoing.length => {
            return Ok(Verdict::Delivered(204)).inspect(|_| drop(resource));
        }
        Found::At(resource, offset) => (resource, offset),
        Found::Unlike(verdict) => return Ok(verdict),
        Found::Nothing => match create(outgoing, destination, &common, &mut connection).await? {
            Ok(resource) => (resource, 0),
            Err(verdict) => return Ok(verdict),
        },
    };
    let (resource, offset) = resource;
    let mut request = Request::new(outgoing.body(offset));
    *request.method_mut() = Method::PATCH;
    *request.uri_mut() = resource.parse().unwrap_or_default();
    *request.headers_mut() = common;
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, BODY);
    headers.insert(
        header::CONTENT_LENGTH,
        HeaderValue::from(outgoing.length - offset),
    );
    headers.insert("upload-offset", HeaderValue::from(offset));
    let response = outgoing.watched(connection.send(request)).await?;
    let response = finish(response).await;
    Ok(match verdict_of(&response) {
        // It is only believed when it has all.
        Verdict::Delivered(status) => match offset_of(response.headers()) {
            Some(has) if has == outgoing.length => Verdict::Delivered(status),
            has => strange(&format!("it has {has:?} of {} bytes", outgoing.length)),
        },
        verdict => verdict,
    })
}

/// What is at the origin of an attempt before.
enum Found {
    Nothing,
    /// A resource, and how much of the upload it has.
    At(String, u64),
    /// Something that is no part of the upload.
    Unlike(Verdict),
}

async fn resume(
    outgoing: &Outgoing,
    common: &HeaderMap,
    connection: &mut Connection,
) -> Result<Found, HttpError> {
    let Some(resource) = outgoing.record.remote.clone() else {
        return Ok(Found::Nothing);
    };
    let request = request(Method::HEAD, &resource, common);
    let response = connection.ask(request).await?;
    Ok(match (response.status(), offset_of(response.headers())) {
        (StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::FORBIDDEN, _) => {
            // It is made again. What is noted in vain is noted again the next time.
            let _ = outgoing.store.note(outgoing.id, Note::Remote(None)).await;
            Found::Nothing
        }
        (status, Some(offset)) if status.is_success() && offset <= outgoing.length => {
            Found::At(resource, offset)
        }
        (status, offset) if status.is_success() => {
            // It has more than there is, or says nothing: whatever it is, it is not this upload.
            let _ = outgoing.store.note(outgoing.id, Note::Remote(None)).await;
            Found::Unlike(strange(&format!(
                "it has {offset:?} of {} bytes",
                outgoing.length
            )))
        }
        _ => Found::Unlike(verdict_of(&response)),
    })
}

async fn create(
    outgoing: &Outgoing,
    destination: &Destination,
    common: &HeaderMap,
    connection: &mut Connection,
) -> Result<Result<String, Verdict>, HttpError> {
    let endpoint = destination
        .endpoint
        .as_ref()
        .unwrap_or(&destination.place.path);
    let mut request = request(Method::POST, endpoint, common);
    let headers = request.headers_mut();
    headers.insert("upload-length", HeaderValue::from(outgoing.length));
    if let Some(metadata) = metadata_for(outgoing) {
        headers.insert("upload-metadata", metadata);
    }
    let response = connection.ask(request).await?;
    if response.status() != StatusCode::CREATED {
        return Ok(Err(match verdict_of(&response) {
            Verdict::Delivered(status) => strange(&format!("it answers {status} to a creation")),
            verdict => verdict,
        }));
    }
    let location = response
        .headers()
        .get(header::LOCATION)
        .and_then(|location| location.to_str().ok());
    let Some(resource) =
        location.and_then(|location| resource(&destination.place, endpoint, location))
    else {
        return Ok(Err(strange("it names no resource of its own")));
    };
    // Written down before a byte goes, so that a power cut makes no second one.
    let note = Note::Remote(Some(resource.clone()));
    match outgoing.store.note(outgoing.id, note).await {
        Ok(()) => Ok(Ok(resource)),
        Err(error) => Ok(Err(strange(&error.to_string()))),
    }
}

fn request(method: Method, path: &str, common: &HeaderMap) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().unwrap_or_default();
    *request.headers_mut() = common.clone();
    request
}

/// The path of what a `Location` names, at this origin only: another host would get the phone's cookies.
fn resource(place: &Place, endpoint: &str, location: &str) -> Option<String> {
    let is_path = |path: &String| {
        path.len() <= RESOURCE_BYTES_MAX && path.starts_with('/') && path.parse::<Uri>().is_ok()
    };
    let path = match location.starts_with('/') && !location.starts_with("//") {
        true => location.to_owned(),
        false if location.starts_with("//") => return None,
        false if location.contains("://") => {
            let other = Place::parse(location)?;
            let is_ours = (other.host.as_str(), other.port) == (place.host.as_str(), place.port);
            is_ours.then_some(other.path)?
        }
        false => format!("{}/{location}", endpoint.rsplit_once('/')?.0),
    };
    Some(path).filter(is_path)
}

/// What the phone said of its file, and what it is.
fn metadata_for(outgoing: &Outgoing) -> Option<HeaderValue> {
    let mut shown = outgoing.record.metadata.shown();
    if let Some(kind) = outgoing.record.metadata.text(metadata::CONTENT_TYPE) {
        shown.default_to("filetype", kind);
    }
    shown.default_to("sha256", &STANDARD.encode(outgoing.digest.0));
    HeaderValue::from_str(&shown.written()).ok()
}

fn verdict_of(response: &Response<()>) -> Verdict {
    verdict(response.status(), response.headers(), SystemTime::now())
}

fn strange(why: &str) -> Verdict {
    Verdict::Later {
        retry_after: None,
        is_origin: false,
        why: why.to_owned(),
    }
}

/// `Upload-Offset`, digits only.
fn offset_of(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get("upload-offset")?.to_str().ok()?;
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_at_the_same_origin() {
        let place = Place::parse("http://photos.example:8080/files/").expect("a place");
        let check = |location: &str, wanted: Option<&str>| {
            assert_eq!(
                resource(&place, "/files/", location).as_deref(),
                wanted,
                "{location}"
            );
        };
        check("/files/1", Some("/files/1"));
        check("http://photos.example:8080/files/1?a", Some("/files/1?a"));
        check("1", Some("/files/1"));
        check("http://evil.example:8080/files/1", None);
        check("http://photos.example/files/1", None);
        check("//evil.example/files/1", None);
        check("/files /1", None);
    }
}
