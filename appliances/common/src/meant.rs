//! Connections that were meant for others, told apart by the name that they begin with: in a ClientHello
//! (RFC 6066, section 3), or as the `Host` of the first request (RFC 9110, section 7.2).
//!
//! *Threats.* What is read is a client's: bounded in bytes and, by who calls, in time. A request whose
//! host is ambiguous has none. Nothing is answered before somebody has decided.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use rustls::server::Acceptor;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::connection::Ends;
use crate::limits::{HEAD_BYTES_MAX, HEAD_FIELDS_MAX, HELLO_BYTES_MAX};

/// A connection that was meant for somebody else.
#[derive(Debug)]
pub struct Meant {
    /// Whom it asks for: in small letters, without a final dot.
    pub name: String,
    /// Where it comes from, and the address and port that it was sent to.
    pub ends: Ends,
    pub(crate) stream: Opened,
}

impl Meant {
    /// Bounds what the client may leave unread, and what of its own may wait here.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn bound_buffers(&self, bytes: usize) -> io::Result<()> {
        let socket = SockRef::from(self.stream.stream());
        socket.set_send_buffer_size(bytes)?;
        socket.set_recv_buffer_size(bytes)
    }

    /// The connection, and what was read of it.
    pub fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream.stream, self.stream.read)
    }
}

/// Who may take on what was meant for others.
pub trait Others: Send + Sync {
    /// Takes a connection, to carry it to its end; or gives it back, and it is treated as nobody's.
    ///
    /// # Errors
    /// The connection, which is not taken.
    fn take(&self, meant: Meant) -> Result<Taken, Box<Meant>>;
}

/// Bytes that are looked at, at once.
const READ_BYTES: usize = 2048;

/// A connection that somebody has taken, on its way to its end.
pub type Taken = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection of which something may have been read: it is read again first.
#[derive(Debug)]
pub(crate) struct Opened {
    stream: TcpStream,
    read: Vec<u8>,
    again: usize,
}

/// Whom a client says hello to.
#[derive(Debug)]
pub(crate) enum Hello {
    /// This name, in small letters.
    For(String),
    /// Nobody in particular.
    Nameless,
    /// It is no hello, or not a whole one.
    Malformed,
}

impl From<TcpStream> for Opened {
    fn from(stream: TcpStream) -> Self {
        let read = Vec::new();
        Self {
            stream,
            read,
            again: 0,
        }
    }
}

impl Opened {
    /// The connection itself.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Reads more, to look at it; whether there was any.
    async fn more(&mut self, bytes_max: usize) -> io::Result<bool> {
        if self.read.len() >= bytes_max {
            return Err(io::ErrorKind::InvalidData.into());
        }
        loop {
            self.stream.readable().await?;
            let before = self.read.len();
            self.read.resize((before + READ_BYTES).min(bytes_max), 0);
            let got = self.stream.try_read(&mut self.read[before..]);
            let count = got.as_ref().map_or(0, |count| *count);
            self.read.truncate(before + count);
            match got {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other.map(|count| count > 0),
            }
        }
    }

    /// Whom a client says hello to.
    ///
    /// # Errors
    /// The connection's, or more bytes than a hello has.
    pub(crate) async fn hello(&mut self) -> io::Result<Hello> {
        let mut acceptor = Acceptor::default();
        let mut seen = 0;
        while self.more(HELLO_BYTES_MAX).await? {
            if let Some(hello) = heard(&mut acceptor, &self.read[seen..]) {
                return Ok(hello);
            }
            seen = self.read.len();
        }
        Ok(Hello::Malformed)
    }

    /// The host of the first request; none where it is not plain, or there is no request.
    ///
    /// # Errors
    /// The connection's. A head that is too long is none: who serves it says so.
    pub(crate) async fn host(&mut self, port: u16) -> io::Result<Option<String>> {
        while self.read.len() < HEAD_BYTES_MAX {
            if !self.more(HEAD_BYTES_MAX).await? {
                return Ok(None);
            }
            if let Some(host) = host(&self.read, port) {
                return Ok(host);
            }
        }
        Ok(None)
    }
}

/// Whom a hello is for, once it is whole.
fn heard(acceptor: &mut Acceptor, mut new: &[u8]) -> Option<Hello> {
    while !new.is_empty() {
        if !matches!(acceptor.read_tls(&mut new), Ok(1..)) {
            return Some(Hello::Malformed);
        }
    }
    match acceptor.accept() {
        Ok(None) => None,
        Ok(Some(accepted)) => {
            let name = accepted.client_hello().server_name().map(plain);
            Some(name.map_or(Hello::Nameless, Hello::For))
        }
        Err(_) => Some(Hello::Malformed),
    }
}

/// Reads what clients may begin with, as a fuzzer calls it: as it is whole, and in pieces.
///
/// # Panics
/// If it names somebody else in pieces, or nobody who could have a certificate or be a host.
pub fn beginning(bytes: &[u8], piece_bytes: usize) {
    let named = |piece_bytes: usize| {
        let mut acceptor = Acceptor::default();
        let mut pieces = bytes.chunks(piece_bytes.max(1));
        match pieces.find_map(|piece| heard(&mut acceptor, piece)) {
            Some(Hello::For(name)) => Some(name),
            _ => None,
        }
    };
    let whole = named(bytes.len());
    let pieces = named(piece_bytes);
    if let (Some(one), Some(other)) = (&whole, &pieces) {
        assert_eq!(one, other, "whole and in pieces");
    }
    let host = host(bytes, 80).flatten();
    for name in whole.iter().chain(&pieces).chain(&host) {
        let is_letter = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase();
        assert!(name.bytes().all(is_letter), "{name:?}");
        assert!(!name.contains(['/', '@', ',', ':']), "{name:?}");
    }
}

fn plain(name: &str) -> String {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.to_ascii_lowercase()
}

/// The host of the request that some bytes begin with, where it is beyond doubt: one `Host`, which an
/// absolute target repeats, with this port or none. None while the head has not ended.
fn host(bytes: &[u8], port: u16) -> Option<Option<String>> {
    let mut fields = [httparse::EMPTY_HEADER; HEAD_FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(bytes) {
        Ok(httparse::Status::Partial) => return None,
        Ok(httparse::Status::Complete(_)) => {}
        Err(_) => return Some(None),
    }
    let fields = request.headers.iter();
    let mut hosts = fields.filter(|field| field.name.eq_ignore_ascii_case("host"));
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Some(None);
    };
    let host = std::str::from_utf8(host.value).unwrap_or_default();
    let target = request.path.unwrap_or_default();
    let repeats = |target: &str| {
        let rest = target.get("http://".len()..);
        let (rest, scheme) = (rest?, target.get(.."http://".len())?);
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        Some(scheme.eq_ignore_ascii_case("http://") && rest[..end].eq_ignore_ascii_case(host))
    };
    let is_plain = target.starts_with('/') || repeats(target) == Some(true);
    Some(named(host, port).filter(|_| is_plain))
}

/// The name of `NAME` or `NAME:PORT`.
fn named(host: &str, port: u16) -> Option<String> {
    let (name, its_port) = match host.split_once(':') {
        Some((name, text)) => (name, text.parse().ok()?),
        None => (host, port),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || ['-', '.'].contains(&c);
    let fits = its_port == port && !name.is_empty() && name.chars().all(is_name);
    fits.then(|| plain(name))
}

impl AsyncRead for Opened {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let me = &mut *self;
        if me.again == me.read.len() {
            return pin!(&mut me.stream).poll_read(context, buffer);
        }
        let left = &me.read[me.again..];
        let count = left.len().min(buffer.remaining());
        buffer.put_slice(&left[..count]);
        me.again += count;
        if me.again == me.read.len() {
            (me.read, me.again) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Opened {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        pin!(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        pin!(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_told_where_it_is_beyond_doubt() {
        let check = |head: &str, expected: Option<&str>| {
            let told = host(format!("{head}\r\n\r\n").as_bytes(), 80);
            assert_eq!(told, Some(expected.map(str::to_owned)), "{head:?}");
        };
        check("GET / HTTP/1.1\r\nHost: chat.example", Some("chat.example"));
        check(
            "POST /a HTTP/1.0\r\nHOST:Chat.Example.:80",
            Some("chat.example"),
        );
        check(
            "GET HTTP://Chat.example/a HTTP/1.1\r\nA: b\r\nHost: chat.example",
            Some("chat.example"),
        );
        for doubtful in [
            "GET / HTTP/1.1\r\nA: b",
            "GET / HTTP/1.1\r\nHost: chat.example\r\nHost: chat.example",
            "GET / HTTP/1.1\r\nHost: chat.example\r\nhost: bank.example",
            "GET http://bank.example/ HTTP/1.1\r\nHost: chat.example",
            "GET http://chat.example:81/ HTTP/1.1\r\nHost: chat.example",
            "GET http://chat.example@bank.example/ HTTP/1.1\r\nHost: chat.example",
            "GET https://chat.example/ HTTP/1.1\r\nHost: chat.example",
            "GET é HTTP/1.1\r\nHost: chat.example",
            "CONNECT chat.example:80 HTTP/1.1\r\nHost: chat.example:80",
            "OPTIONS * HTTP/1.1\r\nHost: chat.example",
            "GET / HTTP/1.1\r\nHost: chat.example:81",
            "GET / HTTP/1.1\r\nHost: chat.example:",
            "GET / HTTP/1.1\r\nHost: chat.example, bank.example",
            "GET / HTTP/1.1\r\nHost: a@chat.example",
            "GET / HTTP/1.1\r\nHost: [::1]",
            "GET / HTTP/1.1\r\nHost:",
            "GET / HTTP/1.1\r\nHost: chat.example\r\n Host: bank.example",
            "PRI * HTTP/2.0",
            "\x16\x03\x01",
        ] {
            check(doubtful, None);
        }
        assert_eq!(host(b"GET / HTTP/1.1\r\nHost: chat.example\r\n", 80), None);
        let many = "A: b\r\n".repeat(HEAD_FIELDS_MAX);
        check(
            &format!("GET / HTTP/1.1\r\nHost: chat.example\r\n{many}C: d"),
            None,
        );
    }
}
