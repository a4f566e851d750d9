//! Connections to origins: HTTP/1.1, with TLS where an origin has it, kept and used again.
//!
//! A connection is used again for requests with the same [`Upstream`] alone: its server, and the name that
//! the server has proved to have. hyper's pool knows connections by the authority of a URI, so an upstream
//! is written as one ([`Upstream::uri`]).
//!
//! *Threats.* Who stands between the cache and an origin could poison it for everybody: certificates are
//! checked against the web PKI's authorities, or against those of the publisher's own and no others.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use data_encoding::HEXLOWER;
use edgecloud_appliance::Progress;
use http::uri::Authority;
use http::{Request, Response, Uri, header};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream, ResolveServerName};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::limits::{
    CONNECT_TIME_MAX, HEAD_TIME_MAX, IDLE_CONNECTIONS_MAX, IDLE_TIME_MAX, ORIGIN_BUFFER_BYTES,
};
use crate::refusal::Refused;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Where to send a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// Without TLS.
    Plain(Authority),
    /// With TLS: where to connect, and the name that the certificate must have.
    Tls {
        server: Server,
        name: ServerName<'static>,
    },
}

/// Where to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Named(Authority),
    At(SocketAddr),
}

/// No URI can be made of a target, or the name is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoUri;

impl Upstream {
    /// What the pool knows this upstream by, with the target of a request.
    ///
    /// With TLS the host is the name of the certificate, and what stands before its first dot says where to
    /// connect: an address and port in hexadecimal digits, or the bytes of a name and port.
    pub(crate) fn uri(&self, target: &str) -> Result<Uri, NoUri> {
        let (scheme, authority) = match self {
            Self::Plain(server) => ("http", server.clone()),
            Self::Tls { server, name } => {
                let server = match server {
                    Server::Named(authority) => format!("n{}", hex(authority.as_str().as_bytes())),
                    Server::At(at) => match at.ip() {
                        IpAddr::V4(ip) => format!("a{}{:04x}", hex(&ip.octets()), at.port()),
                        IpAddr::V6(ip) => format!("a{}{:04x}", hex(&ip.octets()), at.port()),
                    },
                };
                let name = name.to_str().replace(':', "-");
                let authority = format!("{server}.{name}").parse().map_err(|_| NoUri)?;
                ("https", authority)
            }
        };
        let builder = Uri::builder().scheme(scheme).authority(authority);
        builder.path_and_query(target).build().map_err(|_| NoUri)
    }

    /// Reads back what [`Upstream::uri`] wrote.
    fn of(uri: &Uri) -> Option<Self> {
        let authority = uri.authority()?;
        if uri.scheme_str() != Some("https") {
            return Some(Self::Plain(authority.clone()));
        }
        let (server, name) = authority.as_str().split_once('.')?;
        let (kind, digits) = server.split_at_checked(1)?;
        let bytes = HEXLOWER.decode(digits.as_bytes()).ok()?;
        let server = match kind {
            "n" => Server::Named(Authority::try_from(bytes.as_slice()).ok()?),
            _ => {
                let (address, port) = bytes.split_last_chunk::<2>()?;
                let ip = match *address {
                    [a, b, c, d] => IpAddr::from([a, b, c, d]),
                    _ => IpAddr::from(<[u8; 16]>::try_from(address).ok()?),
                };
                Server::At(SocketAddr::new(ip, u16::from_be_bytes(*port)))
            }
        };
        let name = name.replace('-', ":").parse::<IpAddr>().map_or_else(
            |_| ServerName::try_from(name.to_owned()).ok(),
            |ip| Some(ServerName::IpAddress(ip.into())),
        )?;
        Some(Self::Tls { server, name })
    }
}

fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// Sends requests to the origins of one publisher.
#[derive(Clone, Debug)]
pub(crate) struct Origin(Client<Connector, Body>);

impl Origin {
    pub(crate) fn new(roots: RootCertStore) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .with_server_name_resolver(Names)
            .enable_http1()
            .wrap_connector(Tcp);
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME_MAX)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .http1_max_buf_size(ORIGIN_BUFFER_BYTES)
            // The client's Host goes to the origin, whatever address that has.
            .set_host(false);
        Ok(Self(builder.build(Connector(connector))))
    }

    /// Sends a request whose URI is that of an [`Upstream`], and waits for the head of the answer.
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, Refused> {
        let progress = Progress::begin();
        let request = request.map(|body| progress.watch(body));
        match progress.wait(HEAD_TIME_MAX, self.0.request(request)).await {
            Some(Ok(mut response)) => {
                // RFC 9112, section 6.3: a coding comes before a length, which is not passed on then.
                if response.headers().contains_key(header::TRANSFER_ENCODING) {
                    response.headers_mut().remove(header::CONTENT_LENGTH);
                }
                Ok(response)
            }
            Some(Err(_)) => Err(Refused::OriginFailed),
            None => Err(Refused::OriginSlow),
        }
    }
}

/// The authorities whose certificates are believed: those of this PEM, or the web PKI's.
///
/// # Errors
/// There is no certificate in the PEM that could be an authority's.
pub(crate) fn roots(pem: Option<&str>) -> Result<RootCertStore, &'static str> {
    let Some(pem) = pem else {
        return Ok(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect());
    };
    const WRONG: &str =
        "origin-ca holds no certificates in PEM; it begins with -----BEGIN CERTIFICATE-----";
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots
            .add(certificate.map_err(|_| WRONG)?)
            .map_err(|_| WRONG)?;
    }
    match roots.is_empty() {
        true => Err(WRONG),
        false => Ok(roots),
    }
}

/// The name that an upstream's certificate must have.
#[derive(Clone, Copy, Debug)]
struct Names;

impl ResolveServerName for Names {
    fn resolve(&self, uri: &Uri) -> Result<ServerName<'static>, Failure> {
        match Upstream::of(uri) {
            Some(Upstream::Tls { name, .. }) => Ok(name),
            _ => Err("no name".into()),
        }
    }
}

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;
type Connecting<S> = Pin<Box<dyn Future<Output = Result<S, Failure>> + Send>>;

/// Connects, and shakes hands where the URI wants that, within [`CONNECT_TIME_MAX`].
#[derive(Clone, Debug)]
struct Connector(HttpsConnector<Tcp>);

impl tower_service::Service<Uri> for Connector {
    type Response = Stream;
    type Error = Failure;
    type Future = Connecting<Stream>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        tower_service::Service::poll_ready(&mut self.0, context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = tower_service::Service::call(&mut self.0, uri);
        Box::pin(async move { timeout(CONNECT_TIME_MAX, connecting).await? })
    }
}

/// Connects to an upstream.
#[derive(Clone, Copy, Debug)]
struct Tcp;

impl tower_service::Service<Uri> for Tcp {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<TcpStream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(async move {
            let upstream = Upstream::of(&uri).ok_or(io::ErrorKind::InvalidInput)?;
            let stream = match upstream {
                Upstream::Plain(server) => connect(&server, 80).await?,
                Upstream::Tls { server, .. } => match server {
                    Server::Named(server) => connect(&server, 443).await?,
                    Server::At(address) => TcpStream::connect(address).await?,
                },
            };
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(stream))
        })
    }
}

async fn connect(server: &Authority, port: u16) -> io::Result<TcpStream> {
    let host = server.host().trim_matches(['[', ']']);
    TcpStream::connect((host, server.port_u16().unwrap_or(port))).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http_body::Frame;
    use http_body_util::BodyExt;
    use std::time::Duration;

    #[track_caller]
    fn check(server: &str, name: &str, host: Option<&str>) {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let upstream = Upstream::Tls {
            server: match server.parse() {
                Ok(address) => Server::At(address),
                Err(_) => Server::Named(server.parse().expect("an authority")),
            },
            name,
        };
        let uri = upstream.uri("/a?b").expect("a URI");
        assert_eq!(uri.path_and_query().expect("a target"), "/a?b");
        if let Some(host) = host {
            assert_eq!(uri.host(), Some(host));
        }
        assert_eq!(Upstream::of(&uri), Some(upstream));
    }

    #[test]
    fn upstreams_are_known_by_where_they_are_and_by_what_they_are_called() {
        check(
            "192.0.2.1:443",
            "a.example",
            Some("ac000020101bb.a.example"),
        );
        check("[2001:db8::1]:8443", "a.example", None);
        check("192.0.2.1:443", "192.0.2.1", None);
        check("[2001:db8::1]:443", "2001:db8::1", None);
        check("origin.example:8443", "tv.example", None);
        check("origin.example", "origin.example", None);
    }

    /// An answer that comes a time after the last piece of a request whose client pauses before each.
    async fn check_upload(pauses: &[u64], before_answer: u64, comes: bool) {
        let progress = Progress::begin();
        let pieces = pauses.to_vec();
        let (give, given) = tokio::sync::mpsc::channel(1);
        let mut body = progress.watch(Body::new(Given(given)));
        tokio::spawn(async move {
            for pause in pieces {
                tokio::time::sleep(Duration::from_secs(pause)).await;
                let _ = give.send(Bytes::from_static(b"a")).await;
            }
        });
        let answer = async {
            while let Some(Ok(_)) = body.frame().await {}
            tokio::time::sleep(Duration::from_secs(before_answer)).await;
        };
        let answered = progress.wait(HEAD_TIME_MAX, answer).await;
        assert_eq!(answered.is_some(), comes, "{pauses:?} {before_answer}");
    }

    struct Given(tokio::sync::mpsc::Receiver<Bytes>);

    impl http_body::Body for Given {
        type Data = Bytes;
        type Error = io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
            self.0
                .poll_recv(context)
                .map(|given| given.map(|bytes| Ok(Frame::data(bytes))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_takes_as_long_as_it_moves() {
        check_upload(&[], 59, true).await;
        check_upload(&[], 61, false).await;
        check_upload(&[50; 20], 59, true).await;
        check_upload(&[50; 20], 61, false).await;
        check_upload(&[50, 61], 0, false).await;
    }

    #[test]
    fn authorities_are_the_web_pki_s_or_those_that_are_given() {
        assert!(roots(None).expect("some").len() > 100);
        for bad in [
            "",
            "no PEM",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            assert!(roots(Some(bad)).is_err(), "{bad}");
        }
    }
}
