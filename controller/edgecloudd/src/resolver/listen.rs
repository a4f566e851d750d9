//! Requests over UDP and TCP (RFC 7766). Who may not ask is not answered at all.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::message::{Reply, read};
use super::upstream::framed;
use super::{Asker, Resolver};
use crate::places::Places;

/// Datagrams that are being answered: each holds some kilobytes for some seconds at most.
const PENDING_MAX: usize = 2048;
/// The same of one address: what a busy program looks up at once.
const PENDING_EACH_MAX: usize = 64;
/// Connections at once, altogether and of one address.
const CONNECTIONS_MAX: usize = 256;
const CONNECTIONS_EACH_MAX: usize = 8;
/// Longest request: a name and options.
const REQUEST_BYTES_MAX: usize = 4096;
/// How long a connection may say nothing (RFC 7766, 6.2.3: some seconds).
const IDLE_TIME_MAX: Duration = Duration::from_secs(10);
/// Requests of a connection, one after the other.
const REQUESTS_MAX: usize = 1000;
/// After the system refused something: others end meanwhile.
const PAUSE: Duration = Duration::from_millis(50);

/// The sockets of an address.
pub(super) type Sockets = Vec<(UdpSocket, TcpListener)>;

pub(super) async fn bind(addresses: &[SocketAddr]) -> io::Result<Sockets> {
    let mut sockets = Vec::new();
    for address in addresses {
        let told = |error: io::Error| {
            let text = format!("cannot listen for names on {address}: {error}");
            io::Error::new(error.kind(), text)
        };
        let datagrams = UdpSocket::bind(address).await.map_err(told)?;
        // The port that was drawn, where none was given.
        let address = datagrams.local_addr()?;
        let streams = TcpListener::bind(address).await.map_err(told)?;
        sockets.push((datagrams, streams));
    }
    Ok(sockets)
}

pub(super) fn serve(resolver: &Arc<Resolver>, sockets: Sockets) {
    let pending = Arc::new(Semaphore::new(PENDING_MAX));
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let [each_pending, each_connected] = [PENDING_EACH_MAX, CONNECTIONS_EACH_MAX].map(Places::new);
    for (datagrams, streams) in sockets {
        tokio::spawn(serve_datagrams(
            Arc::clone(resolver),
            datagrams,
            Arc::clone(&pending),
            Arc::clone(&each_pending),
        ));
        tokio::spawn(serve_streams(
            Arc::clone(resolver),
            streams,
            Arc::clone(&connections),
            Arc::clone(&each_connected),
        ));
    }
}

/// What is too much is dropped: who asked asks again.
async fn serve_datagrams(
    resolver: Arc<Resolver>,
    socket: UdpSocket,
    all: Arc<Semaphore>,
    each: Arc<Places>,
) {
    let socket = Arc::new(socket);
    let mut buffer = [0; REQUEST_BYTES_MAX];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let Some(asker) = resolver.asker(from.ip().to_canonical()) else {
            continue;
        };
        let places = (Arc::clone(&all).try_acquire_owned(), each.take(from.ip()));
        let (Ok(one_of_all), Some(one_of_his)) = places else {
            continue;
        };
        let (resolver, socket) = (Arc::clone(&resolver), Arc::clone(&socket));
        let request = buffer[..length].to_vec();
        tokio::spawn(async move {
            if let Some(answer) = resolver.respond(&request, asker, true).await {
                // Who went away needs none.
                let _ = socket.send_to(&answer, from).await;
            }
            drop((one_of_all, one_of_his));
        });
    }
}

async fn serve_streams(
    resolver: Arc<Resolver>,
    listener: TcpListener,
    all: Arc<Semaphore>,
    each: Arc<Places>,
) {
    loop {
        let Ok(one_of_all) = Arc::clone(&all).acquire_owned().await else {
            return;
        };
        let Ok((stream, from)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let asker = resolver.asker(from.ip().to_canonical());
        let (Some(asker), Some(one_of_his)) = (asker, each.take(from.ip())) else {
            continue;
        };
        let resolver = Arc::clone(&resolver);
        tokio::spawn(async move {
            // Who is cut, or goes away in the middle, is no event.
            let _ = connection(stream, &resolver, asker).await;
            drop((one_of_all, one_of_his));
        });
    }
}

async fn connection(mut stream: TcpStream, resolver: &Resolver, asker: Asker) -> io::Result<()> {
    for _ in 0..REQUESTS_MAX {
        let request = timeout(IDLE_TIME_MAX, next(&mut stream)).await??;
        let Some(request) = request else {
            return Ok(());
        };
        let Some(answer) = resolver.respond(&request, asker, false).await else {
            return Ok(());
        };
        timeout(IDLE_TIME_MAX, stream.write_all(&framed(&answer))).await??;
    }
    Ok(())
}

async fn next(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let length = usize::from(stream.read_u16().await?);
    if length > REQUEST_BYTES_MAX {
        return Ok(None);
    }
    let mut request = vec![0; length];
    stream.read_exact(&mut request).await?;
    Ok(Some(request))
}

impl Resolver {
    /// The answer to a request, if it gets one.
    pub(super) async fn respond(
        &self,
        request: &[u8],
        asker: Asker,
        is_datagram: bool,
    ) -> Option<Vec<u8>> {
        let asked = match read(request)? {
            Ok(asked) => asked,
            Err(wrong) => return Some(wrong),
        };
        let reply = match asked.question() {
            Ok(question) => self.answer(&question, asker).await,
            Err(code) => Reply::code(code),
        };
        Some(asked.answer(&reply, is_datagram))
    }
}
