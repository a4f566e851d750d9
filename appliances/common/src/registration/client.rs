//! Questions to the metadata service: HTTP/1.1, one connection for each, bounded in time and size.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::limits::ANSWER_BYTES_MAX;

/// Where the metadata service is: `http://HOST[:PORT]/PATH/`.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    host: String,
    port: u16,
    path: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// No connection.
    #[error("the metadata service at {0} cannot be reached: {1}")]
    Unreachable(String, std::io::Error),
    /// No answer in time.
    #[error("the metadata service does not answer")]
    Silent,
    /// The connection ended.
    #[error("the metadata service broke off: {0}")]
    Broken(Box<dyn std::error::Error + Send + Sync>),
    /// Another status than success, and what was said.
    #[error("the metadata service says {0}: {1}")]
    Refused(StatusCode, String),
    /// None of the answers that the interface promises.
    #[error("the metadata service's answer makes no sense: {0}")]
    Nonsense(&'static str),
}

/// Of a problem document, what a log needs.
const DETAIL_CHARACTERS_MAX: usize = 300;

impl Service {
    /// The service of a URL, if it is one of HTTP.
    pub(crate) fn at(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        if uri.scheme_str() != Some("http") || uri.query().is_some() {
            return None;
        }
        let host = uri.host()?.trim_matches(['[', ']']).to_owned();
        let path = uri.path().trim_end_matches('/').to_owned();
        let port = uri.port_u16().unwrap_or(80);
        Some(Self { host, port, path })
    }

    /// Asks, and has the body of the answer.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        time_max: Duration,
    ) -> Result<Bytes, AskError> {
        let answer = timeout(time_max, self.exchange(method, path, body));
        let (status, body) = answer.await.map_err(|_| AskError::Silent)??;
        if status.is_success() {
            return Ok(body);
        }
        let text = String::from_utf8_lossy(&body);
        let detail = text.chars().take(DETAIL_CHARACTERS_MAX).collect();
        Err(AskError::Refused(status, detail))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<(StatusCode, Bytes), AskError> {
        let unreachable =
            |error| AskError::Unreachable(format!("{}:{}", self.host, self.port), error);
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = TokioIo::new(stream.map_err(unreachable)?);
        let broken = |error: hyper::Error| AskError::Broken(error.into());
        let (mut sender, connection) = http1::handshake(stream).await.map_err(broken)?;
        // It ends with this question.
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // What goes wrong there is seen by who waits for the answer.
            let _ = connection.await;
        });
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/{path}", self.path))
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::<Bytes>::from(body))
            .map_err(|_| AskError::Nonsense("its address cannot be asked"))?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        let body = body.collect().await.map_err(AskError::Broken)?;
        Ok((status, body.to_bytes()))
    }
}
