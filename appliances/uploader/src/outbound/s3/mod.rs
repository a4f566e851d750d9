//! An origin that speaks S3: uploads become objects of a bucket, named by their SHA-256.
//!
//! ```text
//! HEAD object ── is there, of this length → delivered
//!   └─ not ── short: PUT, with the digest signed
//!       └─ long: POST ?uploads, written down → GET ?uploadId: what parts are there → PUT each other part,
//!          with its CRC32C → POST ?uploadId, with all of them → delivered
//! ```
//!
//! Parts are made of whole extents, so they are the same in each attempt, and their checksums are known without
//! reading anything. The name makes it once at the origin: whatever is sent twice is the same object. A phone
//! chooses nothing of a request that is signed with the operator's keys but the type of its content.
//!
//! *Refusals.* Nothing in S3 says that an origin does not want an upload, but its size. Everything else is the
//! operator's to set right (keys, rights, clock), so the upload waits.

mod answers;
mod signing;

use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::destination::Destination;
use crate::limits::{S3_ANSWER_BYTES_MAX, S3_PART_BYTES, S3_PARTS_MAX};
use crate::outbound::http::{Connection, HttpError, Tls, read};
use crate::outbound::outgoing::Outgoing;
use crate::outbound::verdict::{Verdict, verdict};
use crate::store::{Extent, Note};
use answers::Part;
pub(crate) use signing::Keys;
use signing::{Signed, UNSIGNED, encoded, hex};

/// What `region` is if nobody says so: stores that have none do not mind.
const REGION: &str = "us-east-1";

/// A part as it will be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Planned {
    number: u32,
    from: u64,
    to: u64,
    checksum: u32,
}

/// One upload's object, and the connection to its store.
struct Object<'o> {
    outgoing: &'o Outgoing,
    destination: &'o Destination,
    keys: &'o Keys,
    path: String,
    connection: Connection,
}

/// What was answered.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// Sends what the store has not.
pub(crate) async fn upload(
    outgoing: &Outgoing,
    destination: &Destination,
    tls: &Tls,
    keys: &Keys,
) -> Result<Verdict, HttpError> {
    let prefix = destination.endpoint.as_deref().unwrap_or_default();
    let mut object = Object {
        outgoing,
        destination,
        keys,
        path: encoded(&format!(
            "{}/{}",
            prefix.trim_end_matches('/'),
            outgoing.digest
        )),
        connection: Connection::to(&destination.place, destination.address, tls).await?,
    };
    if object.is_there().await? {
        return Ok(Verdict::Delivered(200));
    }
    let extents = outgoing.body.iter().flat_map(|body| &body.extents);
    let parts = plan(extents, outgoing.length);
    if parts.len() < 2 {
        return object.put().await;
    }
    let verdict = object.in_parts(&parts).await?;
    if let Verdict::Refused(_) = verdict {
        object.abort().await;
    }
    Ok(verdict)
}

/// Parts of whole extents, each but the last of at least [`S3_PART_BYTES`].
fn plan<'e>(extents: impl Iterator<Item = &'e Extent>, length: u64) -> Vec<Planned> {
    let least = S3_PART_BYTES.max(length.div_ceil(S3_PARTS_MAX));
    let mut parts: Vec<Planned> = Vec::new();
    for extent in extents {
        match parts.last_mut().filter(|part| part.to - part.from < least) {
            Some(part) => {
                let bytes = extent.bytes as usize;
                part.checksum = crc32c::crc32c_combine(part.checksum, extent.checksum, bytes);
                part.to = extent.end();
            }
            None => parts.push(Planned {
                number: parts.len() as u32 + 1,
                from: extent.offset,
                to: extent.end(),
                checksum: extent.checksum,
            }),
        }
    }
    parts
}

impl Object<'_> {
    /// Whether an attempt before was successful, or another upload had the same bytes.
    async fn is_there(&mut self) -> Result<bool, HttpError> {
        let answer = self.ask(Method::HEAD, "", String::new()).await?;
        let length = answer.headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        Ok(answer.status == StatusCode::OK && length == Some(self.outgoing.length))
    }

    async fn put(&mut self) -> Result<Verdict, HttpError> {
        let digest = hex(&self.outgoing.digest.0);
        let mut headers = self.described();
        let sum = STANDARD.encode(self.outgoing.digest.0);
        insert(&mut headers, "x-amz-checksum-sha256", &sum);
        let length = self.outgoing.length;
        let request = self.request(Method::PUT, "", headers, &digest, 0, length);
        let answer = self.outgoing.watched(self.connection.send(request)).await?;
        Ok(self.verdict(&answered(answer).await))
    }

    async fn in_parts(&mut self, parts: &[Planned]) -> Result<Verdict, HttpError> {
        let (id, known) = match self.begun_before().await? {
            Ok(Some(begun)) => begun,
            Ok(None) => match self.begin().await? {
                Ok(id) => (id, Vec::new()),
                Err(verdict) => return Ok(verdict),
            },
            Err(verdict) => return Ok(verdict),
        };
        let mut sent = Vec::new();
        for part in parts {
            let is_it = |has: &&Part| has.number == part.number && has.bytes == part.to - part.from;
            if let Some(has) = known.iter().find(is_it) {
                sent.push(has.clone());
                continue;
            }
            match self.send(&id, part).await? {
                Ok(has) => sent.push(has),
                Err(verdict) => return Ok(verdict),
            }
        }
        let query = format!("uploadId={}", query(&id));
        let body = answers::complete(&sent);
        let answer = self.ask(Method::POST, &query, body).await?;
        Ok(match self.verdict(&answer) {
            Verdict::Delivered(_) if !answers::completed(&answer.body) => {
                self.later(&answer, "it does not complete the upload")
            }
            verdict => verdict,
        })
    }

    /// What of an attempt before is there, if anything.
    async fn begun_before(
        &mut self,
    ) -> Result<Result<Option<(String, Vec<Part>)>, Verdict>, HttpError> {
        let Some(id) = self.outgoing.record.remote.clone() else {
            return Ok(Ok(None));
        };
        let mut known = Vec::new();
        let mut marker = 0;
        loop {
            let id = query(&id);
            let question = format!("part-number-marker={marker}&uploadId={id}");
            let answer = self.ask(Method::GET, &question, String::new()).await?;
            // Stores that cannot tell what they have get all of it again.
            let cannot = [
                StatusCode::NOT_FOUND,
                StatusCode::METHOD_NOT_ALLOWED,
                StatusCode::NOT_IMPLEMENTED,
            ];
            if cannot.contains(&answer.status) {
                self.abort().await;
                self.note(None).await;
                return Ok(Ok(None));
            }
            let listed = match answer.status {
                StatusCode::OK => answers::parts(&answer.body),
                _ => None,
            };
            let Some(listed) = listed else {
                return Ok(Err(self.later(&answer, "it does not tell its parts")));
            };
            known.extend(listed.parts);
            // Markers that do not rise would never end.
            match listed.next.filter(|next| *next > marker) {
                Some(next) => marker = next,
                None => break,
            }
        }
        Ok(Ok(Some((id, known))))
    }

    /// Begins an upload in parts, which is written down before a byte goes.
    async fn begin(&mut self) -> Result<Result<String, Verdict>, HttpError> {
        let mut headers = self.described();
        insert(&mut headers, "x-amz-checksum-algorithm", "CRC32C");
        let nothing = hex(ring::digest::digest(&ring::digest::SHA256, b"").as_ref());
        let request = self.request(Method::POST, "uploads=", headers, &nothing, 0, 0);
        let answer = self.outgoing.watched(self.connection.send(request)).await?;
        let answer = answered(answer).await;
        if !answer.status.is_success() {
            return Ok(Err(self.verdict(&answer)));
        }
        let Some(id) = answers::begun(&answer.body) else {
            return Ok(Err(self.later(&answer, "it names no upload")));
        };
        match self.note(Some(id.clone())).await {
            true => Ok(Ok(id)),
            false => Ok(Err(self.later(&answer, "it cannot be written down"))),
        }
    }

    async fn send(&mut self, id: &str, part: &Planned) -> Result<Result<Part, Verdict>, HttpError> {
        let mut headers = HeaderMap::new();
        let sum = STANDARD.encode(part.checksum.to_be_bytes());
        insert(&mut headers, "x-amz-checksum-crc32c", &sum);
        let question = format!("partNumber={}&uploadId={}", part.number, query(id));
        let request = self.request(
            Method::PUT,
            &question,
            headers,
            UNSIGNED,
            part.from,
            part.to,
        );
        let answer = self.outgoing.watched(self.connection.send(request)).await?;
        let answer = answered(answer).await;
        if answer.status == StatusCode::NOT_FOUND {
            // It was given up there, so it is begun anew the next time.
            self.note(None).await;
        }
        if !answer.status.is_success() {
            return Ok(Err(self.verdict(&answer)));
        }
        let etag = answer.headers.get(header::ETAG);
        let etag = etag.and_then(|etag| etag.to_str().ok());
        Ok(match etag.filter(|etag| answers::is_etag(etag)) {
            Some(etag) => Ok(Part {
                number: part.number,
                bytes: part.to - part.from,
                etag: etag.to_owned(),
            }),
            None => Err(self.later(&answer, "it says nothing of a part")),
        })
    }

    /// Gives up what was begun, so that nobody pays for parts that will never be an object. Stores give up
    /// by themselves as well what nobody goes on with.
    async fn abort(&mut self) {
        let Outgoing { store, id, .. } = self.outgoing;
        // What was begun in this attempt is written down as well.
        let known = store.ledger().get(*id).cloned();
        if let Some(remote) = known.and_then(|entry| entry.record.remote) {
            let question = format!("uploadId={}", query(&remote));
            let _ = self.ask(Method::DELETE, &question, String::new()).await;
        }
    }

    async fn note(&self, remote: Option<String>) -> bool {
        let Outgoing { store, id, .. } = self.outgoing;
        store.note(*id, Note::Remote(remote)).await.is_ok()
    }

    /// Asks something short.
    async fn ask(
        &mut self,
        method: Method,
        query: &str,
        body: String,
    ) -> Result<Answer, HttpError> {
        let payload = hex(ring::digest::digest(&ring::digest::SHA256, body.as_bytes()).as_ref());
        let mut request = self.request(method, query, HeaderMap::new(), &payload, 0, 0);
        let length = HeaderValue::from(body.len());
        request.headers_mut().insert(header::CONTENT_LENGTH, length);
        *request.body_mut() = Body::from(body);
        let answer = self.outgoing.watched(self.connection.send(request)).await?;
        Ok(answered(answer).await)
    }

    /// A signed request with bytes of the upload.
    fn request(
        &self,
        method: Method,
        query: &str,
        mut headers: HeaderMap,
        payload: &str,
        from: u64,
        to: u64,
    ) -> Request<Body> {
        insert(&mut headers, "host", &self.destination.place.authority);
        let signed = Signed {
            method: &method,
            path: &self.path,
            query,
            payload,
        };
        let region = self.destination.region.as_deref().unwrap_or(REGION);
        signed.sign(&mut headers, self.keys, region, SystemTime::now());
        // Not signed: proxies between may write it otherwise.
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(to - from));
        let body = match from == to {
            true => Body::empty(),
            false => self.outgoing.part(from, to),
        };
        let mut request = Request::new(body);
        *request.method_mut() = method;
        let uri = match query {
            "" => self.path.clone(),
            query => format!("{}?{query}", self.path),
        };
        *request.uri_mut() = uri.parse().unwrap_or_default();
        *request.headers_mut() = headers;
        request
    }

    /// What an object is.
    fn described(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(kind) = self.destination.fields.get(header::CONTENT_TYPE) {
            headers.insert(header::CONTENT_TYPE, kind.clone());
        }
        headers
    }

    fn verdict(&self, answer: &Answer) -> Verdict {
        match verdict(answer.status, &answer.headers, SystemTime::now()) {
            Verdict::Refused(413) => Verdict::Refused(413),
            Verdict::Refused(_) => match answers::reason(&answer.body).as_deref() {
                Some("EntityTooLarge") => Verdict::Refused(answer.status.as_u16()),
                _ => self.later(answer, "it refuses"),
            },
            verdict => verdict,
        }
    }

    fn later(&self, answer: &Answer, why: &str) -> Verdict {
        let reason = answers::reason(&answer.body).unwrap_or_default();
        Verdict::Later {
            retry_after: None::<Duration>,
            is_origin: !answer.status.is_success(),
            why: format!("{why}: {} {reason}", answer.status.as_u16()),
        }
    }
}

/// Reads an answer in each way, for a fuzzer.
pub(crate) fn read_answer(xml: &[u8]) {
    let id = answers::begun(xml);
    assert!(id.is_none() || !answers::completed(xml));
    let asked = |id: String| format!("/bucket/key?uploadId={}", query(&id));
    assert!(id.is_none_or(|id| asked(id).parse::<axum::http::Uri>().is_ok()));
    let parts = answers::parts(xml).map_or_else(Vec::new, |listed| listed.parts);
    let written = answers::complete(&parts);
    assert_eq!(written.matches("<Part>").count(), parts.len());
    let _ = answers::reason(xml);
}

fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// A value in a query, as it is signed.
fn query(value: &str) -> String {
    encoded(value).replace('/', "%2F")
}

async fn answered(response: Response<hyper::body::Incoming>) -> Answer {
    let (head, body) = read(response, S3_ANSWER_BYTES_MAX).await.into_parts();
    Answer {
        status: head.status,
        headers: head.headers,
        body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_whole_extents_and_their_checksums_those_of_their_bytes() {
        let bytes: Vec<u8> = (0..20_000_000_u32).map(|at| (at % 251) as u8).collect();
        let mut extents: Vec<Extent> = Vec::new();
        let sizes = [262_144, 262_144, 100_000, 262_144].iter().cycle();
        for size in sizes {
            let offset = extents.last().map_or(0, Extent::end);
            let end = (offset as usize + size).min(bytes.len());
            extents.push(Extent {
                offset,
                block: 0,
                bytes: (end - offset as usize) as u32,
                checksum: crc32c::crc32c(&bytes[offset as usize..end]),
            });
            if end == bytes.len() {
                break;
            }
        }
        let parts = plan(extents.iter(), bytes.len() as u64);
        assert_eq!(parts.len(), 3);
        let mut at = 0;
        for part in &parts {
            assert_eq!(part.from, at);
            let its = &bytes[part.from as usize..part.to as usize];
            assert_eq!(part.checksum, crc32c::crc32c(its));
            assert!(part.number == 3 || its.len() as u64 >= S3_PART_BYTES);
            at = part.to;
        }
        assert_eq!(at, 20_000_000);
        assert_eq!(plan(extents[..3].iter(), 624_288).len(), 1);
    }
}
