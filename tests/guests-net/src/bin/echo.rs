//! An echo on TCP and UDP, on the port that is its argument, with nothing but `std::net`.
//!
//! A TCP connection gets a first line that tells both ends of it: `local` is the address that the
//! client meant, also where packets for somebody else were led here. It ends when SIGTERM ends it.

use std::io::{self, Read, Write};
use std::net::{Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::thread;

use guests_net::plain;

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1);
    let port = port.and_then(|word| word.parse::<u16>().ok());
    let port = port.expect("the argument is a port, as in `echo 7`");
    let datagrams = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port))?;
    thread::Builder::new()
        .name("datagrams".into())
        .spawn(move || echo_datagrams(&datagrams).expect("the UDP socket works"))?;
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))?;
    println!("echo: listening on {}", listener.local_addr()?);
    for connection in listener.incoming() {
        let connection = connection?;
        thread::Builder::new().spawn(move || {
            // A peer that resets its connection ends this thread only.
            if let Err(error) = echo(connection) {
                println!("echo: a connection ended: {error}");
            }
        })?;
    }
    Ok(())
}

/// Tells the ends, and then gives everything back until the peer has said all.
fn echo(mut connection: TcpStream) -> io::Result<()> {
    let (local, peer) = (connection.local_addr()?, connection.peer_addr()?);
    writeln!(connection, "local {} peer {}", plain(local), plain(peer))?;
    let mut buffer = [0; 16 << 10];
    loop {
        match connection.read(&mut buffer)? {
            0 => return Ok(()),
            size => connection.write_all(&buffer[..size])?,
        }
    }
}

fn echo_datagrams(socket: &UdpSocket) -> io::Result<()> {
    let mut buffer = [0; 2048];
    loop {
        let (size, peer) = socket.recv_from(&mut buffer)?;
        socket.send_to(&buffer[..size], peer)?;
    }
}
