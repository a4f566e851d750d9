//! Listeners, also for connections that were meant for others.
//!
//! On Linux a connection to an address that the machine does not have reaches only a socket with
//! `IP_TRANSPARENT` (ip(7)); `local_addr` of what it accepts is then the address that the client
//! meant. In a domain a listener on the wildcard address has that meaning always.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use crate::limits::BACKLOG;

/// Why nothing listens.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error("cannot listen on {address}: {source}; choose another address with {variable}")]
    Address {
        variable: &'static str,
        address: SocketAddr,
        source: io::Error,
    },
    #[error(
        "cannot take connections meant for others on {address}: {source}; give the process CAP_NET_ADMIN, or leave TRANSPARENT out"
    )]
    Transparent {
        address: SocketAddr,
        source: io::Error,
    },
}

/// Listens. The variable is the one that says where.
pub(crate) fn listen(
    address: SocketAddr,
    transparent: bool,
    variable: &'static str,
) -> Result<TcpListener, ListenError> {
    let wrong = |source| ListenError::Address {
        variable,
        address,
        source,
    };
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )
    .map_err(wrong)?;
    if transparent {
        make_transparent(&socket, address)
            .map_err(|source| ListenError::Transparent { address, source })?;
    }
    let bound = || {
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    bound().map_err(wrong)
}

/// A socket of IPv6 hears of IPv4 as well, and the option is one for both.
fn make_transparent(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(_) => socket.set_ip_transparent_v4(true),
        SocketAddr::V6(_) => socket.set_ip_transparent_v6(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_in_use_is_explained() {
        let first = listen("127.0.0.1:0".parse().expect("an address"), false, "X").expect("free");
        let address = first.local_addr().expect("an address");
        let error = listen(address, false, "HTTP_ADDRESS").expect_err("in use");
        let text = error.to_string();
        assert!(text.contains("another address with HTTP_ADDRESS"), "{text}");
    }

    /// Linux delivers what is routed to the loopback interface, whoever it was meant for, to a
    /// transparent listener; without the option the address could not even be bound.
    #[tokio::test]
    async fn a_transparent_listener_takes_an_address_that_is_not_ours() {
        let foreign: SocketAddr = "192.0.2.7:0".parse().expect("an address");
        assert!(listen(foreign, false, "X").is_err());
        let taken = listen(foreign, true, "X");
        let taken = taken.expect("the tests run as root");
        assert_eq!(taken.local_addr().expect("an address").ip(), foreign.ip());
    }
}
