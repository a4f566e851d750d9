//! Whom a connection is spoken with, where those arrive that were meant for others.
//!
//! An appliance that takes all that clients send, and may answer as nobody but itself, has one name of its
//! own. Who asks for another is offered to [`Others`], who may carry the connection on, byte for byte. If
//! they do not, one with TLS is reset before a byte is answered: a client learns at once that it does not
//! get through, and nobody has pretended to be whom it meant. One without TLS is served here, for a request
//! can be sent elsewhere by its answer.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::connection::Ends;
use crate::meant::{Hello, Meant, Opened, Others, Taken};

/// The one name that is spoken for; while it is not set, every client is served.
#[derive(Clone, Debug, Default)]
pub struct OwnName(Arc<OnceLock<Own>>);

/// The name, and who looks for it: a pointer, so that the images of appliances that set no name are not
/// larger for it.
#[derive(Clone)]
pub(crate) struct Own {
    name: String,
    others: Arc<dyn Others>,
    look: Look,
}

type Look = fn(Own, Opened, Ends, Option<TlsAcceptor>) -> Looking;
type Looking = Pin<Box<dyn Future<Output = io::Result<Whose>> + Send>>;

/// Whose a connection is.
pub(crate) enum Whose {
    /// Ours, with TLS.
    Secure(Box<TlsStream<Opened>>),
    /// Ours, or for us to send elsewhere.
    Plain(Opened),
    /// Somebody else's, who has it.
    Taken(Taken),
    /// Nobody's: it is reset.
    Nobody,
}

/// The name alone: what others hold is theirs to show, and much code.
impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Own")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl OwnName {
    /// Sets it, in small letters, and who may take what is not for it. The first that is set stays.
    pub fn set(&self, name: &str, others: Arc<dyn Others>) {
        let own = Own {
            name: name.to_owned(),
            others,
            look: |own, stream, ends, acceptor| Box::pin(look(own, stream, ends, acceptor)),
        };
        // An appliance has one `make`, which is called once.
        let _ = self.0.set(own);
    }

    /// The name, if one was set.
    pub(crate) fn get(&self) -> Option<Own> {
        self.0.get().cloned()
    }
}

impl Own {
    /// Finds out whom a connection asks for, and shakes hands if it is us.
    ///
    /// # Errors
    /// The connection's, or the handshake's.
    pub(crate) async fn whose(
        self,
        stream: Opened,
        ends: Ends,
        acceptor: Option<TlsAcceptor>,
    ) -> io::Result<Whose> {
        (self.look)(self, stream, ends, acceptor).await
    }
}

async fn look(
    own: Own,
    mut stream: Opened,
    ends: Ends,
    acceptor: Option<TlsAcceptor>,
) -> io::Result<Whose> {
    let Some(acceptor) = acceptor else {
        let port = ends.intended().map(|intended| intended.port());
        let name = stream.host(port.unwrap_or_default()).await?;
        let name = name.filter(|name| *name != own.name);
        return Ok(match offer(&own, name, ends, stream) {
            Ok(taken) => Whose::Taken(taken),
            Err(stream) => Whose::Plain(stream),
        });
    };
    let name = match stream.hello().await? {
        Hello::For(name) if name != own.name => Some(name),
        Hello::Nameless => None,
        // Of what is malformed, too: who shakes hands says in an alert what was wrong.
        Hello::For(_) | Hello::Malformed => {
            let secure = acceptor.accept(stream).await?;
            return Ok(Whose::Secure(Box::new(secure)));
        }
    };
    match offer(&own, name, ends, stream) {
        Ok(taken) => Ok(Whose::Taken(taken)),
        Err(stream) => {
            // Closed with zero seconds to linger, a connection is reset (socket(7)).
            stream.stream().set_zero_linger()?;
            Ok(Whose::Nobody)
        }
    }
}

fn offer(own: &Own, name: Option<String>, ends: Ends, stream: Opened) -> Result<Taken, Opened> {
    match name {
        Some(name) => {
            let meant = Meant { name, ends, stream };
            own.others.take(meant).map_err(|meant| meant.stream)
        }
        None => Err(stream),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::certificate::{Certificate, Certificates};
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

    /// Takes what is for one name, and says it back.
    struct Echo;

    impl Others for Echo {
        fn take(&self, meant: Meant) -> Result<Taken, Box<Meant>> {
            if meant.name != "chat.example" {
                return Err(Box::new(meant));
            }
            let (mut stream, read) = meant.into_parts();
            Ok(Box::pin(async move {
                stream.write_all(b"echo").await.expect("it is open");
                stream.write_all(&read).await.expect("it is open");
            }))
        }
    }

    /// Two ends of a connection, and what the second one knows of it.
    async fn pair() -> (TcpStream, Opened, Ends) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let local: SocketAddr = listener.local_addr().expect("bound");
        let client = TcpStream::connect(local).await.expect("it listens");
        let (stream, peer) = listener.accept().await.expect("a client");
        let local = Some((local.ip(), 80).into());
        let (tls, stream) = (true, stream.into());
        (client, stream, Ends { peer, local, tls })
    }

    fn acceptor() -> TlsAcceptor {
        let names = vec!["portal.example".to_owned()];
        let identity = Identity::SelfSigned { names };
        let certificate = Certificate::of(identity, Certificates::default());
        TlsAcceptor::from(certificate.expect("one of its own").config)
    }

    fn portal() -> Own {
        let own = OwnName::default();
        own.set("portal.example", Arc::new(Echo));
        own.get().expect("it is set")
    }

    /// What a client that says this reads first, as the kind of its error or the first byte.
    async fn answered(says: &[u8]) -> Result<u8, io::ErrorKind> {
        let (mut client, stream, ends) = pair().await;
        client.write_all(says).await.expect("it is sent");
        let serving = async move {
            let whose = portal().whose(stream, ends, Some(acceptor())).await;
            if let Ok(Whose::Taken(taken)) = whose {
                taken.await;
            }
        };
        let serving = tokio::spawn(serving);
        let read = client.read_u8().await.map_err(|error| error.kind());
        serving.abort();
        read
    }

    #[tokio::test]
    async fn who_asks_for_another_name_is_reset_before_a_byte_is_answered() {
        // 22 is a handshake's record, 21 an alert's.
        assert_eq!(answered(&hello("portal.example")).await, Ok(22));
        assert_eq!(answered(&hello("Portal.Example")).await, Ok(22));
        let reset = Err(io::ErrorKind::ConnectionReset);
        assert_eq!(answered(&hello("www.example")).await, reset);
        // An address is no name.
        assert_eq!(answered(&hello("192.0.2.7")).await, reset);
        assert_eq!(answered(b"GET / HTTP/1.1\r\n\r\n").await, Ok(21));
        assert_eq!(answered(&hello("chat.example")).await, Ok(b'e'));
    }

    /// What is said back of bytes that come one by one; nothing if nobody takes them.
    async fn taken(says: &[u8], acceptor: Option<TlsAcceptor>) -> Option<Vec<u8>> {
        let (mut client, stream, ends) = pair().await;
        client.set_nodelay(true).expect("a socket");
        let said = says.to_vec();
        let speaking = tokio::spawn(async move {
            for byte in said {
                client.write_u8(byte).await.expect("it is open");
                tokio::task::yield_now().await;
            }
            let mut told = Vec::new();
            client.read_to_end(&mut told).await.expect("it ends");
            told
        });
        let whose = portal().whose(stream, ends, acceptor).await;
        match whose.expect("it is read") {
            Whose::Taken(taken) => {
                taken.await;
                Some(speaking.await.expect("it ends"))
            }
            _ => None,
        }
    }

    #[tokio::test]
    async fn who_takes_a_connection_has_all_that_was_said_before() {
        let secure = hello("chat.example");
        let told = taken(&secure, Some(acceptor())).await;
        assert_eq!(told, Some([b"echo".as_slice(), &secure].concat()));
        let plain = b"GET / HTTP/1.1\r\nHost: chat.example\r\n\r\n";
        let told = taken(plain, None).await;
        assert_eq!(told, Some([b"echo".as_slice(), plain].concat()));
        let other = b"GET / HTTP/1.1\r\nHost: bank.example\r\n\r\n";
        assert_eq!(taken(other, None).await, None);
        let own = b"GET / HTTP/1.1\r\nHost: portal.example\r\n\r\n";
        assert_eq!(taken(own, None).await, None);
    }

    #[tokio::test]
    async fn who_serves_a_connection_reads_it_from_its_first_byte() {
        let (mut client, stream, ends) = pair().await;
        let request = b"GET / HTTP/1.1\r\nHost: portal.example\r\n\r\nmore";
        client.write_all(request).await.expect("it is sent");
        let whose = portal().whose(stream, ends, None).await;
        let Ok(Whose::Plain(mut stream)) = whose else {
            panic!("it is ours");
        };
        client.write_all(b" and more").await.expect("it is sent");
        client.shutdown().await.expect("it is open");
        let mut read = Vec::new();
        stream.read_to_end(&mut read).await.expect("it ends");
        assert_eq!(read, [request.as_slice(), b" and more"].concat());
    }

    #[tokio::test]
    async fn a_hello_that_does_not_end_is_bounded() {
        let (mut client, stream, ends) = pair().await;
        // A handshake of 60,000 bytes, in records of 1,000.
        let speaking = tokio::spawn(async move {
            let head = [22, 3, 1, 3, 0xe8];
            let first = [head.as_slice(), &[1, 0, 0xea, 0x60], &[0; 996]].concat();
            let next = [head.as_slice(), &[0; 1000]].concat();
            let records = std::iter::once(first).chain(std::iter::repeat_n(next, 59));
            for record in records {
                // It is cut in the middle.
                if client.write_all(&record).await.is_err() {
                    return;
                }
            }
        });
        let whose = portal().whose(stream, ends, Some(acceptor())).await;
        assert!(whose.is_err());
        speaking.await.expect("it ends");
    }
}
