//! The origin: what is not taken goes there as it came, and thumbnails are posted there.

use std::net::SocketAddr;

use axum::body::Body;
use axum::http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header, request,
};
use bytes::Bytes;
use edgecloud_appliance::{Ends, Progress};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::http::{Connection, HttpError, Tls, forwarded};
use crate::limits::{ANSWER_BYTES_MAX, ORIGIN_TIME_MAX, THUMBNAIL_TIME_MAX};
use crate::picture::Thumbnail;
use crate::reason::Refused;
use crate::uploader::{Metadata, metadata};

/// By which a request that comes back is known (RFC 8586).
const CDN_LOOP: &str = "cdn-loop";
const OUR_NAME: HeaderValue = HeaderValue::from_static("edgecloud-thumbnail");

/// The origin that a request was meant for.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    /// As the client wrote it.
    pub(crate) host: HeaderValue,
    pub(crate) is_tls: bool,
}

/// What of an upload's request its thumbnails and its original need.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    pub(crate) origin: Origin,
    method: Method,
    path: String,
    content_type: Option<HeaderValue>,
    authorization: Option<HeaderValue>,
    cookie: Option<HeaderValue>,
}

/// What the origin said of a thumbnail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It has it.
    Taken,
    /// It does not want it: not from this client, not here, or not at all.
    Refused(StatusCode),
    /// It says nothing, or something that may change.
    Later,
}

impl Origin {
    /// Out of a request's head.
    pub(crate) fn of(
        parts: &request::Parts,
        ends: &Ends,
        fixed: Option<SocketAddr>,
    ) -> Result<Origin, Refused> {
        let host = match parts.headers.get(header::HOST) {
            Some(host) => host.clone(),
            None => parts
                .uri
                .authority()
                .and_then(|authority| HeaderValue::from_str(authority.as_str()).ok())
                .ok_or(Refused::NoHost)?,
        };
        if parts
            .headers
            .get_all(CDN_LOOP)
            .iter()
            .any(|value| *value == OUR_NAME)
        {
            return Err(Refused::Loop);
        }
        Ok(Origin {
            address: fixed.or(ends.intended()).ok_or(Refused::OriginAway)?,
            host,
            is_tls: ends.tls,
        })
    }

    /// The host without its port, which its certificate must be for.
    fn name(&self) -> String {
        let host = self.host.to_str().unwrap_or_default();
        match host.parse::<axum::http::uri::Authority>() {
            Ok(authority) => authority.host().trim_matches(['[', ']']).to_owned(),
            Err(_) => host.to_owned(),
        }
    }

    async fn connect(&self, tls: &Tls) -> Result<Connection, HttpError> {
        let name = self.name();
        Connection::to_origin(self.address, self.is_tls.then_some((tls, name.as_str()))).await
    }

    /// Sends a request on as it came, and its answer back.
    pub(crate) async fn pass(
        &self,
        tls: &Tls,
        parts: request::Parts,
        body: Body,
    ) -> Result<Response<Body>, Refused> {
        let mut connection = self.connect(tls).await.map_err(away)?;
        let mut request = Request::new(body);
        *request.method_mut() = parts.method;
        *request.uri_mut() = path_of(&parts.uri);
        *request.headers_mut() = forwarded(&parts.headers);
        let headers = request.headers_mut();
        headers.insert(header::HOST, self.host.clone());
        headers.append(CDN_LOOP, OUR_NAME);
        // However long the body takes: without us nobody would count.
        let progress = Progress::begin();
        let sending = connection.send(request.map(|body| progress.watch(body)));
        let answer = progress.wait(ORIGIN_TIME_MAX, sending).await;
        let response = answer.unwrap_or(Err(HttpError::Slow)).map_err(away)?;
        let headers = forwarded(response.headers());
        let (mut head, body) = response.into_parts();
        head.headers = headers;
        head.version = axum::http::Version::default();
        Ok(Response::from_parts(head, Body::new(body)))
    }
}

fn away(error: HttpError) -> Refused {
    match error {
        HttpError::Slow => Refused::OriginSlow,
        _ => Refused::OriginAway,
    }
}

/// In origin form, whatever form it came in.
fn path_of(uri: &Uri) -> Uri {
    let path = uri.path_and_query().cloned();
    path.map_or_else(Uri::default, Uri::from)
}

impl Sender {
    pub(crate) fn of(parts: &request::Parts, origin: Origin) -> Sender {
        let field = |name| parts.headers.get(name).cloned();
        Sender {
            origin,
            method: parts.method.clone(),
            path: path_of(&parts.uri).to_string(),
            content_type: field(header::CONTENT_TYPE),
            authorization: field(header::AUTHORIZATION),
            cookie: field(header::COOKIE),
        }
    }

    /// The URL of a path at this origin.
    fn url(&self, path: &str) -> String {
        let scheme = if self.origin.is_tls { "https" } else { "http" };
        format!(
            "{scheme}://{}{path}",
            self.origin.host.to_str().unwrap_or_default()
        )
    }

    fn common(&self) -> Metadata {
        let field = |value: &Option<HeaderValue>| {
            value
                .as_ref()
                .map(|value| value.as_bytes().to_vec())
                .unwrap_or_default()
        };
        vec![
            (
                metadata::ADDRESS,
                self.origin.address.to_string().into_bytes(),
            ),
            (metadata::AUTHORIZATION, field(&self.authorization)),
            (metadata::COOKIE, field(&self.cookie)),
        ]
    }

    /// What the uploader needs to repeat the request.
    pub(crate) fn original(&self) -> Metadata {
        let mut all = self.common();
        let content_type = self.content_type.as_ref();
        all.extend([
            (metadata::URL, self.url(&self.path).into_bytes()),
            (metadata::METHOD, self.method.as_str().as_bytes().to_vec()),
            (
                metadata::CONTENT_TYPE,
                content_type
                    .map(|value| value.as_bytes().to_vec())
                    .unwrap_or_default(),
            ),
            (metadata::PRIORITY, b"original".to_vec()),
        ]);
        all
    }

    /// What the uploader needs to post a thumbnail in our place.
    pub(crate) fn thumbnail(&self, path: &str, thumbnail: &Thumbnail, identity: &str) -> Metadata {
        let mut all = self.common();
        all.extend([
            (
                metadata::URL,
                self.url(&query(path, thumbnail)).into_bytes(),
            ),
            (metadata::METHOD, b"POST".to_vec()),
            (
                metadata::CONTENT_TYPE,
                thumbnail.media_type.as_bytes().to_vec(),
            ),
            (metadata::PRIORITY, b"thumbnail".to_vec()),
            (
                metadata::IDEMPOTENCY_KEY,
                key(identity, thumbnail).into_bytes(),
            ),
            (metadata::LINK, link(identity).into_bytes()),
        ]);
        all
    }

    /// Opens a connection for thumbnails, which takes some round trips of a poor backhaul: while the
    /// first is made.
    pub(crate) async fn open(&self, tls: &Tls) -> Option<Connection> {
        // Whoever has none opens another and hears why that fails.
        self.origin.connect(tls).await.ok()
    }

    /// Posts a thumbnail, on a connection that is open or on a new one, which then is kept.
    pub(crate) async fn post(
        &self,
        tls: &Tls,
        open: &mut Option<Connection>,
        path: &str,
        thumbnail: &Thumbnail,
        identity: &str,
    ) -> Verdict {
        let posting = timeout(
            THUMBNAIL_TIME_MAX,
            self.try_post(tls, open, path, thumbnail, identity),
        );
        match posting.await {
            Ok(Ok(status)) if status.is_success() => Verdict::Taken,
            Ok(Ok(status)) if is_final(status) => Verdict::Refused(status),
            _ => Verdict::Later,
        }
    }

    async fn try_post(
        &self,
        tls: &Tls,
        open: &mut Option<Connection>,
        path: &str,
        thumbnail: &Thumbnail,
        identity: &str,
    ) -> Result<StatusCode, HttpError> {
        if let Some(mut connection) = open.take() {
            let request = self.request(path, thumbnail, identity);
            if let Ok(response) = connection.send(request).await {
                return Ok(answered(connection, response, open).await);
            }
            // An origin may close what waits at any time; it takes a thumbnail that comes again once.
        }
        let mut connection = self.origin.connect(tls).await?;
        let request = self.request(path, thumbnail, identity);
        let response = connection.send(request).await?;
        Ok(answered(connection, response, open).await)
    }

    fn request(&self, path: &str, thumbnail: &Thumbnail, identity: &str) -> Request<Body> {
        let mut headers = HeaderMap::new();
        let own = [
            (
                header::CONTENT_TYPE,
                Some(HeaderValue::from_static(thumbnail.media_type)),
            ),
            (header::HOST, Some(self.origin.host.clone())),
            (header::AUTHORIZATION, self.authorization.clone()),
            (header::COOKIE, self.cookie.clone()),
            (header::LINK, HeaderValue::from_str(&link(identity)).ok()),
        ];
        headers.extend(
            own.into_iter()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        if let Ok(key) = HeaderValue::from_str(&format!("\"{}\"", key(identity, thumbnail))) {
            headers.insert("idempotency-key", key);
        }
        headers.insert(CDN_LOOP, OUR_NAME);
        let mut request = Request::new(Body::from(Bytes::from(thumbnail.bytes.clone())));
        *request.method_mut() = Method::POST;
        // Settings have checked the path, and a size's name needs no escapes.
        *request.uri_mut() = query(path, thumbnail).parse().unwrap_or_default();
        *request.headers_mut() = headers;
        request
    }
}

/// The status of an answer. Its connection is kept if the rest of the answer is short.
async fn answered(
    connection: Connection,
    response: Response<Incoming>,
    open: &mut Option<Connection>,
) -> StatusCode {
    let (head, body) = response.into_parts();
    if Limited::new(body, ANSWER_BYTES_MAX).collect().await.is_ok() {
        *open = Some(connection);
    }
    head.status
}

/// The origin finds by these which thumbnail it is.
fn query(path: &str, thumbnail: &Thumbnail) -> String {
    let Thumbnail {
        name,
        width,
        height,
        ..
    } = thumbnail;
    format!("{path}?size={name}&width={width}&height={height}")
}

/// One for each thumbnail of a picture: the origin takes it once.
fn key(identity: &str, thumbnail: &Thumbnail) -> String {
    format!("sha256-{identity}-{}", thumbnail.name)
}

/// The original, by the digest of its bytes (RFC 6920).
fn link(identity: &str) -> String {
    format!("<urn:sha256:{identity}>; rel=\"original\"")
}

/// Whether a status says that coming again is of no use.
fn is_final(status: StatusCode) -> bool {
    status.is_client_error()
        && ![
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::CONFLICT,
            StatusCode::TOO_EARLY,
            StatusCode::TOO_MANY_REQUESTS,
        ]
        .contains(&status)
}
