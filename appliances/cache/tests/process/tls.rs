//! Origins with TLS, clients with TLS and HTTP/2, and IPv6.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};

use super::world::{FRESH, World, all, head};

/// A certificate that is its own authority's, for a name: its PEM, and what a server needs.
pub(super) fn certificate(name: &str) -> (String, Arc<ServerConfig>) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    let der = PrivatePkcs8KeyDer::from(key.serialize_der());
    let config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], der.into())
            .expect("a certificate");
    (certificate.pem(), Arc::new(config))
}

type Server = StreamOwned<ServerConnection, TcpStream>;

/// The origin's next connection, once hands are shaken; an error where the cache does not believe it.
fn accepted(origin: &TcpListener, config: &Arc<ServerConfig>) -> std::io::Result<Server> {
    let stream = super::world::accepted(origin);
    let connection = ServerConnection::new(Arc::clone(config)).expect("a connection");
    let mut server = StreamOwned::new(connection, stream);
    while server.conn.is_handshaking() {
        server.conn.complete_io(&mut server.sock)?;
    }
    Ok(server)
}

fn answer(mut server: Server, answer: &str) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        server.read_exact(&mut byte).expect("a request");
        request.push(byte[0]);
    }
    server.write_all(answer.as_bytes()).expect("it is sent");
    server.conn.send_close_notify();
    server.flush().expect("it is sent");
    String::from_utf8(request)
        .expect("text")
        .to_ascii_lowercase()
}

#[test]
fn an_origin_is_believed_by_its_certificate_alone() {
    let (ca, config) = certificate("origin.example");
    let (other_ca, _) = certificate("origin.example");
    for (settings, is_believed) in [
        (
            format!("origin-name = 'origin.example'\norigin-ca = '''{ca}'''"),
            true,
        ),
        (
            format!("origin-name = 'other.example'\norigin-ca = '''{ca}'''"),
            false,
        ),
        (
            format!("origin-name = 'origin.example'\norigin-ca = '''{other_ca}'''"),
            false,
        ),
        ("origin-name = 'origin.example'".to_owned(), false),
    ] {
        let origin = TcpListener::bind("127.0.0.1:0").expect("a port");
        let service = format!(
            "origin = 'https://{}'\n{settings}",
            origin.local_addr().expect("an address")
        );
        let world = World::run(origin, "http = '127.0.0.1:0'\nhttps = 'off'", &service);
        let client = world.ask("/", "");
        let server = accepted(&world.origin, &config);
        match server {
            Ok(server) if is_believed => {
                assert!(answer(server, FRESH).contains("host: a.example"));
                assert!(all(client).ends_with("0123456789"));
                assert!(all(world.ask("/", "")).contains("edgecloud; hit"));
            }
            // In TLS 1.3 the server hears of it after it has done its part.
            server => {
                assert!(!is_believed, "{settings}: {:?}", server.err());
                assert!(all(client).starts_with("HTTP/1.1 502"), "{settings}");
            }
        }
    }
}

/// Who came with TLS to an address is answered by who is there with TLS, and has the name that was said.
#[test]
fn an_interception_with_tls_goes_on_with_tls() {
    let (ca, _) = certificate("a.example");
    let origin = TcpListener::bind("127.0.0.1:0").expect("a port");
    // Nobody is captured here, so the client means the cache's own address: there is somebody with TLS, whose
    // certificate is none of that authority.
    let service = format!("origin-ca = '''{ca}'''");
    let world = World::run(origin, "http = 'off'\nhttps = '127.0.0.1:0'", &service);
    let mut client = secure(&world.https);
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
        .expect("sent");
    let mut said = String::new();
    client.read_to_string(&mut said).expect("an answer");
    assert!(
        said.starts_with("HTTP/1.1 502"),
        "its own certificate is not of that authority: {said}"
    );
}

/// A connection with TLS to a cache, whatever its certificate: that is another test's.
pub(super) fn secure(address: &str) -> StreamOwned<ClientConnection, TcpStream> {
    secure_for(address, "a.example")
}

/// The same, of a client who asks for a name.
pub(super) fn secure_for(
    address: &str,
    name: &'static str,
) -> StreamOwned<ClientConnection, TcpStream> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    let name = name.try_into().expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a connection");
    let stream = TcpStream::connect(address).expect("a connection");
    StreamOwned::new(connection, stream)
}

#[derive(Debug)]
struct Anybody(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &rustls::pki_types::CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &rustls::pki_types::CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[test]
fn both_sides_may_be_on_ipv6() {
    let origin = TcpListener::bind("[::1]:0").expect("a port");
    let service = format!("origin = '{}'", origin.local_addr().expect("an address"));
    let world = World::run(origin, "http = '[::1]:0'\nhttps = 'off'", &service);
    let request = "GET / HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\nConnection: close\r\n\r\n";
    let client = world.send(request);
    assert!(world.answer(FRESH).contains("host: [2001:db8::1]:8080"));
    assert!(all(client).ends_with("0123456789"));
    let mut again = world.send(request);
    assert!(head(&mut again).contains("edgecloud; hit"));
}
