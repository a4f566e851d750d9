//! tus 1.0 from a phone: what it makes is made at the uploader, and its pieces go there and into memory.
//!
//! The `Location` that the phone gets is below the path that it posted to, and names the uploader's
//! resource. So an upload goes on when the thumbnailer has been restarted meanwhile; only what came of it
//! before is then forgotten, and with it its thumbnail.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::body::Body;
use axum::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, request,
};
use bytes::Bytes;

use crate::arriving::Arriving;
use crate::budget::Reservation;
use crate::http::{empty, fed, forwarded};
use crate::limits::{METADATA_BYTES_MAX, PIECES_WAITING_MAX, SESSION_TIME_MAX, SESSIONS_MAX};
use crate::origin::Sender;
use crate::reason::{Pass, Refused};
use crate::service::Thumbnailer;
use crate::uploader::{TUS_VERSION, UploaderError, offset_of};

/// Begins the last segment of the paths of uploads that were made here.
const MARK: &str = "edgecloud-";
/// Names at the uploader.
const ID_BYTES_MAX: usize = 128;
/// Keys in a phone's metadata; ours are not among them, so that no phone says where its upload goes.
const KEYS: [&str; 4] = ["filename", "filetype", "name", "type"];

/// Uploads that are on their way.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<String, Session>>);

/// One of them.
struct Session {
    sender: Sender,
    length: usize,
    /// What came of it, from its beginning.
    buffer: Vec<u8>,
    heard: Instant,
    reservation: Reservation,
}

impl Sessions {
    /// The name at the uploader, if a path is that of an upload that was made here.
    pub(crate) fn id<'p>(&self, path: &'p str) -> Option<&'p str> {
        let (_, last) = path.rsplit_once('/')?;
        last.strip_prefix(MARK).filter(|id| is_id(id))
    }

    fn remember(&self, id: String, session: Session) {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, session| session.heard.elapsed() < SESSION_TIME_MAX);
        if sessions.len() < SESSIONS_MAX {
            sessions.insert(id, session);
        }
    }

    fn take(&self, id: &str) -> Option<Session> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id)
    }
}

/// What is safe in a path.
fn is_id(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+');
    (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(plain)
}

/// Puts a session back when a PATCH is over, however that came.
struct Held<'s> {
    sessions: &'s Sessions,
    id: &'s str,
    session: Option<Session>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(mut session) = self.session.take() {
            session.heard = Instant::now();
            self.sessions.remember(self.id.to_owned(), session);
        }
    }
}

impl Thumbnailer {
    /// Makes an upload.
    pub(crate) async fn create(
        &self,
        parts: &request::Parts,
        sender: Sender,
        length: usize,
        reservation: Reservation,
    ) -> Result<Response<Body>, Pass> {
        let metadata = metadata(&parts.headers).ok_or(Pass::Unusual)?;
        if !is_picture(&metadata) {
            return Err(Pass::NoPicture);
        }
        let created = self
            .uploader
            .create(Some(length as u64), &sender.original(), Some(&metadata))
            .await;
        let upload = created.map_err(|error| {
            self.tell("the uploader refuses an upload", &error);
            Pass::UploaderAway
        })?;
        let id = upload
            .path()
            .strip_prefix(&self.uploader.0.path)
            .and_then(|rest| rest.strip_prefix('/'));
        let Some(id) = id.filter(|id| is_id(id)) else {
            self.tell("the uploader's names are of no use", &UploaderError::Answer);
            return Err(Pass::UploaderAway);
        };
        let place = format!("{}/{MARK}{id}", parts.uri.path().trim_end_matches('/'));
        let location = HeaderValue::from_str(&place).map_err(|_| Pass::Unusual)?;
        self.sessions.remember(
            id.to_owned(),
            Session {
                sender,
                length,
                buffer: Vec::new(),
                heard: Instant::now(),
                reservation,
            },
        );
        let mut response = empty(StatusCode::CREATED);
        response.headers_mut().insert(header::LOCATION, location);
        response.headers_mut().insert("tus-resumable", TUS_VERSION);
        Ok(response)
    }

    /// Asks the uploader what the phone asks of an upload that was made here.
    pub(crate) async fn go_on(
        self: &Arc<Thumbnailer>,
        id: &str,
        parts: request::Parts,
        body: Body,
    ) -> Result<Response<Body>, Refused> {
        let path = format!("{}/{id}", self.uploader.0.path);
        let headers = asked(&parts.headers);
        // Browsers and strict proxies let only POST through.
        let method = match parts
            .headers
            .get("x-http-method-override")
            .map(HeaderValue::as_bytes)
        {
            Some(b"PATCH") => Method::PATCH,
            Some(b"DELETE") => Method::DELETE,
            _ => parts.method,
        };
        if method == Method::PATCH {
            return self.patch(id, &path, headers, body).await;
        }
        if method == Method::DELETE {
            drop(self.sessions.take(id));
        }
        let response = self
            .uploader
            .ask(method, &path, headers, Body::empty())
            .await;
        let response = response.map_err(|error| self.uploader_away(&error))?;
        Ok(answered(response))
    }

    async fn patch(
        self: &Arc<Thumbnailer>,
        id: &str,
        path: &str,
        headers: HeaderMap,
        body: Body,
    ) -> Result<Response<Body>, Refused> {
        let offset = offset_of(&headers).and_then(|offset| usize::try_from(offset).ok());
        let mut held = Held {
            sessions: &self.sessions,
            id,
            session: self.sessions.take(id),
        };
        // What is not known to be at this offset has no thumbnail.
        match (&mut held.session, offset) {
            (Some(session), Some(offset)) if offset <= session.buffer.len() => {
                session.buffer.truncate(offset)
            }
            (session, _) => {
                self.figures.forgotten.add(u64::from(offset != Some(0)));
                *session = None;
            }
        }
        let (feed, fed) = fed(PIECES_WAITING_MAX);
        let asking = self
            .uploader
            .ask(Method::PATCH, path, headers, Body::new(fed));
        let mut arriving = Arriving::new(body, None);
        let feeding = async {
            while let Ok(Some(piece)) = arriving.piece().await {
                arriving.buffer.clear();
                keep(&mut held.session, &piece);
                if feed.piece(piece).await.is_err() {
                    return;
                }
            }
            if arriving.is_whole() {
                // Who no longer takes it has answered already.
                let _ = feed.end().await;
            }
        };
        let (response, ()) = tokio::join!(asking, feeding);
        let response = response.map_err(|error| self.uploader_away(&error))?;
        let has = offset_of(response.headers()).and_then(|has| usize::try_from(has).ok());
        let is_done = |session: &Session| {
            response.status() == StatusCode::NO_CONTENT
                && has == Some(session.length)
                && session.buffer.len() == session.length
        };
        if let Some(session) = held.session.take_if(|session| is_done(session)) {
            self.figures.taken();
            let picture = Bytes::from(session.buffer);
            // The phone is answered at once: what the origin says concerns the uploader.
            drop(self.thumbnails(session.sender, vec![picture], session.reservation));
        }
        Ok(answered(response))
    }

    fn uploader_away(&self, error: &UploaderError) -> Refused {
        self.tell("the uploader fails", error);
        Refused::UploaderAway
    }
}

/// Adds a piece; more than was announced is none of ours.
fn keep(session: &mut Option<Session>, piece: &[u8]) {
    let Some(open) = session else {
        return;
    };
    match open.buffer.len() + piece.len() <= open.length {
        true => open.buffer.extend_from_slice(piece),
        false => *session = None,
    }
}

/// What of a head the uploader is asked with: the fields of tus, and those of the body.
fn asked(headers: &HeaderMap) -> HeaderMap {
    let goes = |name: &HeaderName| {
        let name = name.as_str();
        name.starts_with("upload-")
            || matches!(name, "tus-resumable" | "content-type" | "content-length")
    };
    let mut asked = forwarded(headers);
    let others: Vec<HeaderName> = asked.keys().filter(|name| !goes(name)).cloned().collect();
    for name in others {
        asked.remove(name);
    }
    asked
}

fn answered(response: Response<hyper::body::Incoming>) -> Response<Body> {
    let headers = forwarded(response.headers());
    let (mut head, body) = response.into_parts();
    head.headers = headers;
    // Where it is at the uploader is nobody's business.
    head.headers.remove(header::LOCATION);
    Response::from_parts(head, Body::new(body))
}

/// The phone's metadata, of the keys that are known to be harmless; `None` if they are malformed.
fn metadata(headers: &HeaderMap) -> Option<String> {
    let Some(text) = headers.get("upload-metadata") else {
        return Some(String::new());
    };
    let text = text
        .to_str()
        .ok()
        .filter(|text| text.len() <= METADATA_BYTES_MAX)?;
    let pairs = text.split(',').map(str::trim);
    let known = pairs.filter(|pair| KEYS.contains(&pair.split(' ').next().unwrap_or_default()));
    Some(known.collect::<Vec<_>>().join(","))
}

/// Whether metadata speak of a picture: by its type, or else by its name.
fn is_picture(metadata: &str) -> bool {
    use base64::Engine as _;
    let value = |pair: &str| {
        let (key, value) = pair.split_once(' ')?;
        let value = base64::engine::general_purpose::STANDARD
            .decode(value)
            .ok()?;
        Some((
            key.to_owned(),
            String::from_utf8(value).ok()?.to_ascii_lowercase(),
        ))
    };
    let pairs: Vec<(String, String)> = metadata.split(',').filter_map(value).collect();
    let types = ["image/jpeg", "image/png", "image/gif", "image/webp"];
    let names = [".jpg", ".jpeg", ".png", ".gif", ".webp"];
    pairs.iter().any(|(key, value)| match key.as_str() {
        "filetype" | "type" => types.contains(&value.as_str()),
        _ => names.iter().any(|name| value.ends_with(name)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_cannot_leave_their_place_are_ours() {
        let sessions = Sessions::default();
        assert_eq!(sessions.id("/upload/edgecloud-a1_B-2"), Some("a1_B-2"));
        for path in [
            "/upload/a1",
            "/upload/edgecloud-",
            "/upload/edgecloud-..%2f",
            "/upload/edgecloud-a.b",
            "edgecloud-a",
        ] {
            assert_eq!(sessions.id(path), None, "{path}");
        }
    }

    #[test]
    fn a_phone_does_not_say_where_its_upload_goes() {
        let mut headers = HeaderMap::new();
        let written =
            "filename YS5qcGc=,url aHR0cDovL2V2aWwv, filetype aW1hZ2UvanBlZw==,priority dA==";
        headers.insert("upload-metadata", written.parse().expect("a value"));
        let kept = metadata(&headers).expect("metadata");
        assert_eq!(kept, "filename YS5qcGc=,filetype aW1hZ2UvanBlZw==");
        assert!(is_picture(&kept) && is_picture("filename YS5qcGc="));
        assert!(!is_picture("") && !is_picture("filename YS50eHQ=") && !is_picture("filetype !"));
    }
}
