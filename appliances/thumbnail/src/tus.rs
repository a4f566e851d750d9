//! tus 1.0 from a phone: what it makes is made at the uploader, and its pieces go there and into memory.
//!
//! The `Location` that the phone gets is below the path that it posted to, and names the uploader's
//! resource. So an upload goes on when the thumbnailer has been restarted meanwhile; only what came of it
//! before is then forgotten, and with it its thumbnail.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, request,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::arriving::piece;
use crate::budget::Reservation;
use crate::http::{empty, fed, forwarded};
use crate::limits::{METADATA_BYTES_MAX, PIECES_WAITING_MAX, SESSION_TIME_MAX, SESSIONS_MAX};
use crate::origin::Sender;
use crate::reason::{Pass, Refused};
use crate::service::Thumbnailer;
use crate::uploader::{TUS_VERSION, UploaderError, offset_of};

/// Begins the last segment of the paths of uploads that were made here.
const MARK: &str = "edgecloud-";
/// In a name of the uploader's, which is written in base64 for URLs.
const ID_BYTES: usize = 16;
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

/// The name at the uploader, if a request speaks tus of an upload that was made here.
pub(crate) fn id<'p>(path: &'p str, headers: &HeaderMap) -> Option<&'p str> {
    let (_, last) = path.rsplit_once('/')?;
    let id = last.strip_prefix(MARK).filter(|id| is_id(id));
    // Whatever else has such a path is the origin's.
    id.filter(|_| headers.contains_key("tus-resumable"))
}

impl Sessions {
    /// Lets go of what nothing was heard of for too long, and of the memory that is reserved for it.
    pub(crate) fn forget_old(&self) {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, session| session.heard.elapsed() < SESSION_TIME_MAX);
    }

    fn remember(&self, id: String, session: Session) {
        self.forget_old();
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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

/// As the uploader writes them; nothing else is safe in a path.
fn is_id(id: &str) -> bool {
    let bytes = URL_SAFE_NO_PAD.decode(id);
    bytes.is_ok_and(|bytes| bytes.len() == ID_BYTES)
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
        let response = self.uploader.ask(method, &path, headers).await;
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
        let (told, over) = oneshot::channel();
        let asking = self.uploader.patch(path, headers, Body::new(fed), over);
        let mut rest = Some(body);
        let feeding = async {
            // Gone when this is over, however that comes.
            let _told = told;
            while let Ok(Some(piece)) = piece(&mut rest).await {
                keep(&mut held.session, &piece);
                if feed.piece(piece).await.is_err() {
                    return;
                }
            }
            if rest.is_none() {
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
            let picture = session.reservation.hold(session.buffer);
            // The phone is answered at once: what the origin says concerns the uploader.
            drop(self.thumbnails(session.sender, vec![picture]));
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
    let value = |pair: &str| {
        let (key, value) = pair.split_once(' ')?;
        let value = STANDARD.decode(value).ok()?;
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
    fn only_what_tus_asks_of_names_of_the_uploader_is_ours() {
        let mut tus = HeaderMap::new();
        tus.insert("tus-resumable", TUS_VERSION);
        let ours = "/upload/edgecloud-a1_B-2AAAAAAAAAAAAAAAA";
        assert_eq!(id(ours, &tus), Some("a1_B-2AAAAAAAAAAAAAAAA"));
        assert_eq!(id(ours, &HeaderMap::new()), None);
        for path in [
            "/upload/a1_B-2AAAAAAAAAAAAAAAA",
            "/upload/edgecloud-",
            "/shop/edgecloud-shoes",
            "/upload/edgecloud-a1_B-2AAAAAAAAAAAAAAA",
            "/upload/edgecloud-a1_B-2AAAAAAAAAAAAAAAAA",
            // Bits beyond the 128.
            "/upload/edgecloud-a1_B-2AAAAAAAAAAAAAAAB",
            "/upload/edgecloud-..%2f..%2fAAAAAAAAAAAAA",
            "/upload/edgecloud-a1.B+2AAAAAAAAAAAAAAAA",
            "edgecloud-a1_B-2AAAAAAAAAAAAAAAA",
        ] {
            assert_eq!(id(path, &tus), None, "{path}");
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
