//! Questions over HTTP/1.1: to the authority with TLS, and to the daemon on its unix socket. Each
//! is bounded in time and size.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::arguments;
use crate::failure::Failure;
use crate::files;

/// Longest answer: the flows of a host with tens of thousands of them.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// For an answer of the authority, which itself allows half a minute.
const AUTHORITY_TIME_MAX: Duration = Duration::from_secs(40);
/// For an answer of the daemon, beside what the command itself may take: a launch boots a domain.
const DAEMON_TIME_MAX: Duration = Duration::from_secs(120);

/// What was answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
    whom: &'static str,
}

impl Answer {
    /// What was asked for.
    pub(crate) fn accepted(self) -> Result<Self, Failure> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let problem = serde_json::from_slice(&self.body).unwrap_or(Value::Null);
        let detail = problem["detail"].as_str().map(str::to_owned);
        Err(Failure::Refused {
            whom: self.whom,
            status: self.status,
            detail: detail.unwrap_or_else(|| String::from_utf8_lossy(&self.body).into_owned()),
            problem,
        })
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Result<Value, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| Failure::Nonsense {
            whom: self.whom,
            cause: error.to_string(),
        })
    }
}

/// Who is asked, and what helps where he cannot be reached.
struct Asked {
    whom: &'static str,
    cure: &'static str,
}

const AUTHORITY: Asked = Asked {
    whom: "the authority",
    cure: "see that edgecloud-authority runs, and give its URL with --authority and its certificate \
           with --ca",
};
const DAEMON: Asked = Asked {
    whom: "the daemon",
    cure: "see that edgecloudd runs on this host, give its socket with --socket, and run this as root",
};

/// Asks the authority.
pub(crate) async fn ask_authority(
    at: &arguments::Authority,
    path: &str,
    body: &Value,
) -> Result<Answer, Failure> {
    let wrong = || {
        let url = &at.authority;
        Failure::Wrong(format!(
            "{url} is no authority's URL; write https://NAME:PORT"
        ))
    };
    let uri: Uri = at.authority.parse().map_err(|_| wrong())?;
    let host = uri
        .host()
        .filter(|_| uri.scheme_str() == Some("https"))
        .ok_or_else(wrong)?;
    let port = uri.port_u16().unwrap_or(443);
    let path = format!("{}{path}", uri.path().trim_end_matches('/'));
    let host = host.trim_matches(['[', ']']);
    let name = ServerName::try_from(host.to_owned()).map_err(|_| wrong())?;
    let connector = TlsConnector::from(believing(at.ca.as_deref())?);
    let asked = async {
        let stream = TcpStream::connect((host, port)).await?;
        let stream = connector.connect(name, stream).await?;
        exchange(stream, Method::POST, host, &path, body.to_string()).await
    };
    answer(AUTHORITY, at.authority.clone(), AUTHORITY_TIME_MAX, asked).await
}

/// Asks the daemon. `patience` is what the command itself may take.
pub(crate) async fn ask_daemon(
    at: &arguments::Daemon,
    method: Method,
    path: &str,
    body: Option<&Value>,
    patience: Duration,
) -> Result<Answer, Failure> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let asked = async {
        let stream = UnixStream::connect(&at.socket).await?;
        exchange(stream, method, "edgecloudd", path, body).await
    };
    let place = at.socket.display().to_string();
    answer(DAEMON, place, DAEMON_TIME_MAX + patience, asked).await
}

type Broken = Box<dyn std::error::Error + Send + Sync>;

async fn answer(
    Asked { whom, cure }: Asked,
    place: String,
    time_max: Duration,
    asked: impl Future<Output = Result<(u16, Bytes), Broken>>,
) -> Result<Answer, Failure> {
    let unreachable = |cause| Failure::Unreachable {
        whom,
        place,
        cause,
        cure,
    };
    match timeout(time_max, asked).await {
        Ok(Ok((status, body))) => Ok(Answer { status, body, whom }),
        Ok(Err(cause)) => Err(unreachable(cause.to_string())),
        Err(_) => Err(unreachable(format!(
            "no answer within {} s",
            time_max.as_secs()
        ))),
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    method: Method,
    host: &str,
    path: &str,
    body: String,
) -> Result<(u16, Bytes), Broken> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the process, and its errors come to whom waits for the answer.
    let driver = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, host)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))?;
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
        .collect()
        .await?;
    driver.abort();
    Ok((status, body.to_bytes()))
}

/// TLS that believes the given certificates, or those of this system.
fn believing(ca: Option<&Path>) -> Result<Arc<ClientConfig>, Failure> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            let pem = files::read_document(path)?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let wrong =
                    |error: &dyn std::fmt::Display| files::document(path, error.to_string());
                let certificate = certificate.map_err(|error| wrong(&error))?;
                roots.add(certificate).map_err(|error| wrong(&error))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        let cause = "no certificate to believe; give the authority's with --ca FILE";
        return Err(Failure::Wrong(cause.to_owned()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| Failure::Wrong(error.to_string()))?;
    Ok(Arc::new(
        config.with_root_certificates(roots).with_no_client_auth(),
    ))
}
