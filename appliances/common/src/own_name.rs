//! Whom TLS is spoken with, where connections arrive that were meant for others.
//!
//! An appliance that takes all HTTPS of clients, and may answer none of it, has one name of its own.
//! Who asks for another (SNI, RFC 6066, section 3) is reset before a byte is answered: a client learns
//! at once that it does not get through, and nobody has pretended to be whom it meant.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::server::Acceptor;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};

/// The one name that TLS is spoken for; while it is not set, every client is served.
#[derive(Clone, Debug, Default)]
pub struct OwnName(Arc<OnceLock<Own>>);

/// The name, and who looks for it: a pointer, so that the images of appliances that set no name are not
/// larger for it.
#[derive(Debug)]
struct Own {
    name: String,
    accept: Accept,
}

type Accept = fn(String, TlsAcceptor, TcpStream) -> Accepting;
type Accepting = Pin<Box<dyn Future<Output = io::Result<Option<TlsStream<TcpStream>>>> + Send>>;

impl OwnName {
    /// Sets it, in small letters. The first that is set stays.
    pub fn set(&self, name: &str) {
        let own = Own {
            name: name.to_owned(),
            accept: |own, acceptor, stream| Box::pin(accept_own(own, acceptor, stream)),
        };
        // An appliance has one `make`, which is called once.
        let _ = self.0.set(own);
    }

    /// Shakes hands with who asks for the name; nobody, if the client asked for another.
    ///
    /// # Errors
    /// The handshake's.
    pub(crate) async fn accept(
        &self,
        acceptor: &TlsAcceptor,
        stream: TcpStream,
    ) -> io::Result<Option<TlsStream<TcpStream>>> {
        match self.0.get() {
            Some(own) => (own.accept)(own.name.clone(), acceptor.clone(), stream).await,
            None => acceptor.accept(stream).await.map(Some),
        }
    }
}

async fn accept_own(
    own: String,
    acceptor: TlsAcceptor,
    stream: TcpStream,
) -> io::Result<Option<TlsStream<TcpStream>>> {
    let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let asked = hello.client_hello();
    if asked
        .server_name()
        .is_some_and(|name| name.eq_ignore_ascii_case(&own))
    {
        let config = Arc::clone(acceptor.config());
        return hello.into_stream(config).await.map(Some);
    }
    // Closed with zero seconds to linger, a connection is reset (socket(7)).
    SockRef::from(&hello.io).set_linger(Some(Duration::ZERO))?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::certificate::Certificate;
    use crate::settings::Identity;

    /// A ClientHello of rustls for a name.
    fn hello(name: &'static str) -> Vec<u8> {
        let roots = rustls::RootCertStore::empty();
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(
            rustls::crypto::ring::default_provider(),
        ));
        let config = config.with_safe_default_protocol_versions().expect("some");
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let name = name.try_into().expect("a name");
        let mut client = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).expect("memory");
        bytes
    }

    /// What a client that says this reads first, as the kind of its error or the first byte.
    async fn answered(own: &OwnName, says: &[u8]) -> Result<u8, io::ErrorKind> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut client = TcpStream::connect(listener.local_addr().expect("bound"))
            .await
            .expect("it listens");
        client.write_all(says).await.expect("it is sent");
        let (stream, _) = listener.accept().await.expect("a client");
        let names = vec!["portal.example".to_owned()];
        let certificate = Certificate::of(Identity::SelfSigned { names }).expect("one of its own");
        let acceptor = TlsAcceptor::from(certificate.config);
        let own = own.clone();
        let serving = tokio::spawn(async move { own.accept(&acceptor, stream).await.map(drop) });
        let read = client.read_u8().await.map_err(|error| error.kind());
        serving.abort();
        read
    }

    #[tokio::test]
    async fn who_asks_for_another_name_is_reset_before_a_byte_is_answered() {
        let own = OwnName::default();
        // 22 is a handshake's record, 21 an alert's.
        assert_eq!(answered(&own, &hello("www.example")).await, Ok(22));
        own.set("portal.example");
        assert_eq!(answered(&own, &hello("portal.example")).await, Ok(22));
        assert_eq!(answered(&own, &hello("Portal.Example")).await, Ok(22));
        let reset = Err(io::ErrorKind::ConnectionReset);
        assert_eq!(answered(&own, &hello("www.example")).await, reset);
        // An address is no name.
        assert_eq!(answered(&own, &hello("192.0.2.7")).await, reset);
        assert_eq!(answered(&own, b"GET / HTTP/1.1\r\n\r\n").await, Ok(21));
    }
}
