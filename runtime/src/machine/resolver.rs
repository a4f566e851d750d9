//! Looking up names: the questions and answers are `net::dns`'s, this asks the configured servers.
//!
//! Each server is asked in turn over UDP, twice; an answer that does not fit is asked for again over TCP.

use super::net::{Socket, with_stack};
use super::{threads, time};
use crate::Errno;
use crate::descriptors::Object;
use crate::net::Family;
use crate::net::dns::{self, Answer, RecordType};
use crate::random;
use crate::threads as all_threads;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

/// How long a server has to answer (resolv.conf's default is 5 s, and two rounds).
const PATIENCE_NS: u64 = 5_000_000_000;
/// How often the servers are asked.
const ROUNDS: usize = 2;
/// Aliases that are followed when the server does not: longer chains are mistakes.
const ALIASES_MAX: usize = 8;
/// The longest answer over UDP without EDNS, and the longest of all.
const DATAGRAM: usize = 512;

/// Why a name has no addresses, as `getaddrinfo` says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LookUpError {
    /// There is no such name, or it has no address of that kind.
    NoName,
    /// No server answered, or none could.
    TryAgain,
    /// There is no server to ask.
    NoServer,
}

/// The addresses of a name, of the kinds wanted, IPv4 first.
pub fn look_up(name: &str, v4: bool, v6: bool) -> Result<Vec<IpAddr>, LookUpError> {
    let (local, servers) = with_stack(|stack, _| {
        (
            dns::local_addresses(name, stack.config()),
            stack.config().dns.clone(),
        )
    });
    let wanted = |address: &IpAddr| if address.is_ipv4() { v4 } else { v6 };
    if let Some(addresses) = local {
        let found: Vec<_> = addresses.into_iter().filter(wanted).collect();
        return if found.is_empty() {
            Err(LookUpError::NoName)
        } else {
            Ok(found)
        };
    }
    if servers.is_empty() {
        return Err(LookUpError::NoServer);
    }
    let kinds = [(v4, RecordType::A), (v6, RecordType::Aaaa)];
    let mut addresses = Vec::new();
    let mut failure = LookUpError::NoName;
    for (_, kind) in kinds.into_iter().filter(|(wanted, _)| *wanted) {
        match resolve(name.to_string(), kind, &servers) {
            Ok(found) => addresses.extend(found),
            Err(error) => failure = error,
        }
    }
    if addresses.is_empty() {
        Err(failure)
    } else {
        Ok(addresses)
    }
}

fn resolve(
    mut name: String,
    kind: RecordType,
    servers: &[IpAddr],
) -> Result<Vec<IpAddr>, LookUpError> {
    for _ in 0..ALIASES_MAX {
        match ask_all(&name, kind, servers)? {
            Answer::Addresses(addresses, _) => return Ok(addresses),
            Answer::Alias(other) => name = other,
            Answer::NoData | Answer::NoSuchName => return Err(LookUpError::NoName),
            Answer::Truncated | Answer::Failure(_) => return Err(LookUpError::TryAgain),
        }
    }
    Err(LookUpError::TryAgain)
}

fn ask_all(name: &str, kind: RecordType, servers: &[IpAddr]) -> Result<Answer, LookUpError> {
    for _ in 0..ROUNDS {
        for &server in servers {
            let mut id = [0; 2];
            random::fill(&mut id);
            let id = u16::from_be_bytes(id);
            let question = dns::query(name, kind, id).map_err(|_| LookUpError::NoName)?;
            let server = SocketAddr::new(server, 53);
            let answer = match ask(server, &question, name, kind, id) {
                Ok(Answer::Truncated) => ask_stream(server, &question, name, kind, id),
                answer => answer,
            };
            match answer {
                Ok(Answer::Failure(_)) | Err(_) => {}
                Ok(answer) => return Ok(answer),
            }
        }
    }
    Err(LookUpError::TryAgain)
}

fn family(server: SocketAddr) -> Family {
    if server.is_ipv4() {
        Family::V4
    } else {
        Family::V6
    }
}

fn ask(
    server: SocketAddr,
    question: &[u8],
    name: &str,
    kind: RecordType,
    id: u16,
) -> Result<Answer, Errno> {
    let socket = Socket::open(family(server), true)?;
    with_stack(|stack, _| stack.udp_connect(socket.id(), server))?;
    socket.write(question)?;
    let deadline = time::now() + PATIENCE_NS;
    let mut bytes = [0; DATAGRAM];
    loop {
        let count = until(&socket, deadline, || socket.read(&mut bytes))?;
        // What is not an answer to this question may be forged: the right one may still come.
        if let Ok(answer) = dns::parse(&bytes[..count], name, kind, id) {
            return Ok(answer);
        }
    }
}

fn ask_stream(
    server: SocketAddr,
    question: &[u8],
    name: &str,
    kind: RecordType,
    id: u16,
) -> Result<Answer, Errno> {
    let socket = Socket::open(family(server), false)?;
    let deadline = time::now() + PATIENCE_NS;
    match with_stack(|stack, now| stack.tcp_connect(now, socket.id(), server)) {
        Ok(()) | Err(Errno::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    let framed = dns::frame(question);
    let mut sent = 0;
    while sent < framed.len() {
        sent += until(&socket, deadline, || match socket.write(&framed[sent..]) {
            // Not connected yet.
            Err(Errno::ENOTCONN) => Err(Errno::EAGAIN),
            result => result,
        })?;
    }
    let mut stream = Vec::new();
    let mut bytes = [0; DATAGRAM];
    loop {
        if let Some(message) = dns::unframe(&stream) {
            return dns::parse(message, name, kind, id).map_err(|_| Errno::EIO);
        }
        match until(&socket, deadline, || socket.read(&mut bytes))? {
            0 => return Err(Errno::EIO),
            count => stream.extend_from_slice(&bytes[..count]),
        }
    }
}

/// Tries until it does not answer EAGAIN, at most until `deadline`.
fn until(
    socket: &Rc<Socket>,
    deadline: u64,
    mut attempt: impl FnMut() -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    loop {
        match attempt() {
            Err(Errno::EAGAIN) if time::now() < deadline => {}
            Err(Errno::EAGAIN) => return Err(Errno::ETIMEDOUT),
            result => return result,
        }
        let Some(watchers) = socket.watchers() else {
            return Err(Errno::EIO);
        };
        let current = all_threads::current();
        watchers.add_thread(current);
        threads::wait(Some(deadline));
        watchers.remove_thread(current);
    }
}
