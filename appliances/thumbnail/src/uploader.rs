//! The uploader, as its client: tus 1.0 with creation, deferred length and termination.
//!
//! What it shall do with an upload, it is told by `Upload-Metadata`: [`metadata`] has the keys.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::http::{Connection, Endpoint, HttpError};
use crate::limits::UPLOADER_TIME_MAX;

/// Keys of `Upload-Metadata`.
pub(crate) mod metadata {
    /// Where the original belongs: a whole URL.
    pub(crate) const URL: &str = "url";
    /// The origin's address and port, where the client meant one.
    pub(crate) const ADDRESS: &str = "address";
    /// The method of the request that is repeated.
    pub(crate) const METHOD: &str = "method";
    /// Its `Content-Type`.
    pub(crate) const CONTENT_TYPE: &str = "content-type";
    /// Its `Authorization`.
    pub(crate) const AUTHORIZATION: &str = "authorization";
    /// Its `Cookie`.
    pub(crate) const COOKIE: &str = "cookie";
    /// `thumbnail` goes before `original`.
    pub(crate) const PRIORITY: &str = "priority";
    /// The identity of what is uploaded; the origin takes it once.
    pub(crate) const IDEMPOTENCY_KEY: &str = "idempotency-key";
    /// What a thumbnail's original is.
    pub(crate) const LINK: &str = "link";
}

/// The version of tus that is spoken.
pub(crate) const TUS_VERSION: HeaderValue = HeaderValue::from_static("1.0.0");
/// The body of a PATCH.
pub(crate) const TUS_BODY: HeaderValue =
    HeaderValue::from_static("application/offset+octet-stream");
/// Answers of the uploader have nothing in their bodies but explanations.
const ANSWER_BYTES_MAX: usize = 4096;

/// Where uploads are made.
pub(crate) struct Uploader(pub(crate) Endpoint);

/// An upload that was made.
pub(crate) struct Upload {
    connection: Connection,
    authority: HeaderValue,
    /// Its resource there.
    path: String,
}

/// Why the uploader has not what it was given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploaderError {
    #[error("{0}")]
    Http(#[from] HttpError),
    #[error("it answers {0}")]
    Status(StatusCode),
    #[error("it answers what no tus server says")]
    Answer,
    #[error("it has {has} bytes of {given}")]
    Offset { has: u64, given: u64 },
}

/// Key and value, of which the empty ones are left out.
pub(crate) type Metadata = Vec<(&'static str, Vec<u8>)>;

/// As tus writes it: keys, and values in base64.
pub(crate) fn written(metadata: &Metadata) -> String {
    let pairs = metadata.iter().filter(|(_, value)| !value.is_empty());
    let pairs: Vec<_> = pairs
        .map(|(key, value)| format!("{key} {}", STANDARD.encode(value)))
        .collect();
    pairs.join(",")
}

impl Uploader {
    /// Makes an upload. `more` are metadata as a client wrote them.
    pub(crate) async fn create(
        &self,
        length: Option<u64>,
        metadata: &Metadata,
        more: Option<&str>,
    ) -> Result<Upload, UploaderError> {
        let mut written = written(metadata);
        if let Some(more) = more {
            written = format!("{written},{more}");
        }
        let mut connection = Connection::to(&self.0.authority).await?;
        let authority =
            HeaderValue::from_str(&self.0.authority).map_err(|_| UploaderError::Answer)?;
        let length = match length {
            Some(length) => ("upload-length", HeaderValue::from(length)),
            None => ("upload-defer-length", HeaderValue::from(1)),
        };
        let request = Request::post(format!("{}/", self.0.path))
            .header(header::HOST, &authority)
            .header("tus-resumable", TUS_VERSION)
            .header(length.0, length.1)
            .header("upload-metadata", written)
            .header(header::CONTENT_LENGTH, 0)
            .body(Body::empty())
            .map_err(|_| UploaderError::Answer)?;
        let response = answer(connection.send(request)).await?;
        if response.status() != StatusCode::CREATED {
            return Err(UploaderError::Status(response.status()));
        }
        let location = text(response.headers(), &header::LOCATION).ok_or(UploaderError::Answer)?;
        let path = self.resource(location).ok_or(UploaderError::Answer)?;
        finish(response).await?;
        Ok(Upload {
            connection,
            authority,
            path,
        })
    }

    /// The path of what a `Location` names.
    fn resource(&self, location: &str) -> Option<String> {
        match location.starts_with('/') {
            true => Some(location.to_owned()),
            false => match location.parse::<axum::http::Uri>().ok()? {
                uri if uri.scheme().is_some() => Some(uri.path().to_owned()),
                _ => Some(format!("{}/{location}", self.0.path)),
            },
        }
    }

    /// Asks something without a body of a resource that was made before.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
    ) -> Result<Response<Incoming>, UploaderError> {
        let asking = self.request(method, path, headers, Body::empty());
        timeout(UPLOADER_TIME_MAX, asking)
            .await
            .map_err(HttpError::from)?
    }

    /// Gives more to a resource that was made before. `over` says when its body is fed no longer.
    pub(crate) async fn patch(
        &self,
        path: &str,
        headers: HeaderMap,
        body: Body,
        over: oneshot::Receiver<()>,
    ) -> Result<Response<Incoming>, UploaderError> {
        answer_after(over, self.request(Method::PATCH, path, headers, body)).await
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        mut headers: HeaderMap,
        body: Body,
    ) -> Result<Response<Incoming>, UploaderError> {
        let mut connection = Connection::to(&self.0.authority).await?;
        let authority =
            HeaderValue::from_str(&self.0.authority).map_err(|_| UploaderError::Answer)?;
        headers.insert(header::HOST, authority);
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(|_| UploaderError::Answer)?;
        *request.headers_mut() = headers;
        Ok(connection.send(request).await?)
    }
}

impl Upload {
    /// Where it is at the uploader.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Gives it its whole body; it is durable when this returns. The length is told at the end if it was
    /// not known at the beginning.
    pub(crate) async fn fill(
        &mut self,
        length: Option<u64>,
        body: Body,
    ) -> Result<u64, UploaderError> {
        let mut headers = HeaderMap::new();
        if let Some(length) = length {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        let has = self.patch(0, headers, body).await?;
        if length.is_none() {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
            headers.insert("upload-length", HeaderValue::from(has));
            self.patch(has, headers, Body::empty()).await?;
        }
        Ok(has)
    }

    async fn patch(
        &mut self,
        offset: u64,
        mut headers: HeaderMap,
        body: Body,
    ) -> Result<u64, UploaderError> {
        headers.insert(header::HOST, self.authority.clone());
        headers.insert("tus-resumable", TUS_VERSION);
        headers.insert("upload-offset", HeaderValue::from(offset));
        headers.insert(header::CONTENT_TYPE, TUS_BODY);
        let mut request = Request::new(body);
        *request.method_mut() = Method::PATCH;
        *request.uri_mut() = self.path.parse().map_err(|_| UploaderError::Answer)?;
        *request.headers_mut() = headers;
        // The body takes as long as the client does; whoever feeds it bounds that.
        let response = self.connection.send(request).await?;
        if response.status() != StatusCode::NO_CONTENT {
            return Err(UploaderError::Status(response.status()));
        }
        let has = offset_of(response.headers()).ok_or(UploaderError::Answer)?;
        finish(response).await?;
        Ok(has)
    }

    /// Takes it back, so that its body goes to the origin once.
    pub(crate) async fn abandon(
        uploader: &Uploader,
        path: &str,
    ) -> Result<TakenBack, UploaderError> {
        let mut headers = HeaderMap::new();
        headers.insert("tus-resumable", TUS_VERSION);
        let response = uploader.ask(Method::DELETE, path, headers).await?;
        match response.status() {
            StatusCode::NO_CONTENT | StatusCode::GONE | StatusCode::NOT_FOUND => Ok(TakenBack::Yes),
            // What the uploader says of one that cannot be taken back any more.
            StatusCode::FORBIDDEN => Ok(TakenBack::HasGone),
            status => Err(UploaderError::Status(status)),
        }
    }
}

/// What became of an upload that was to be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TakenBack {
    /// The uploader does not have it.
    Yes,
    /// It is at its origin, or on its way there.
    HasGone,
}

/// Waits for an answer: as long as whoever feeds the body goes on, who bounds each piece, and some time
/// after, whether the body became whole or not.
pub(crate) async fn answer_after<T>(
    over: oneshot::Receiver<()>,
    asking: impl Future<Output = Result<T, UploaderError>>,
) -> Result<T, UploaderError> {
    let mut asking = std::pin::pin!(asking);
    tokio::select! {
        answer = &mut asking => return answer,
        // Also if the feeder has gone.
        _ = over => {}
    }
    timeout(UPLOADER_TIME_MAX, asking)
        .await
        .map_err(HttpError::from)?
}

async fn answer(
    sending: impl Future<Output = Result<Response<Incoming>, HttpError>>,
) -> Result<Response<Incoming>, HttpError> {
    timeout(UPLOADER_TIME_MAX, sending).await?
}

/// Reads an answer to its end, so that the connection serves again.
async fn finish(response: Response<Incoming>) -> Result<(), UploaderError> {
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
    match timeout(UPLOADER_TIME_MAX, body.collect()).await {
        Ok(Ok(_)) => Ok(()),
        _ => Err(UploaderError::Answer),
    }
}

/// `Upload-Offset`, digits only.
pub(crate) fn offset_of(headers: &HeaderMap) -> Option<u64> {
    number(headers, "upload-offset")
}

/// A field that is a number, digits only.
pub(crate) fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    let mut values = headers.get_all(name).iter();
    let text = values.next()?.to_str().ok()?;
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let only = values.next().is_none();
    text.parse().ok().filter(|_| digits && only)
}

fn text<'h>(headers: &'h HeaderMap, name: &header::HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_are_written_as_tus_writes_them() {
        let metadata = vec![
            (metadata::URL, b"http://a/".to_vec()),
            (metadata::COOKIE, Vec::new()),
            (metadata::METHOD, b"POST".to_vec()),
        ];
        assert_eq!(written(&metadata), "url aHR0cDovL2Ev,method UE9TVA==");
    }

    #[test]
    fn a_location_is_a_path_at_the_uploader() {
        let uploader = Uploader(Endpoint::parse("http://u:1/files").expect("an endpoint"));
        for location in ["/files/x", "http://elsewhere:9/files/x", "x"] {
            assert_eq!(uploader.resource(location).as_deref(), Some("/files/x"));
        }
    }

    #[test]
    fn numbers_are_digits() {
        for (value, wanted) in [
            ("0", Some(0)),
            ("12", Some(12)),
            ("+1", None),
            ("", None),
            ("0x1", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("upload-offset", value.parse().expect("a value"));
            assert_eq!(offset_of(&headers), wanted, "{value}");
        }
    }
}
