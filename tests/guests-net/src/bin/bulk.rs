//! Bulk TCP, both ends in one program, so that two kernels can be compared under the same source.
//!
//! `bulk PORT` serves: a connection begins with one byte, [`DOWN`] or [`UP`]. Down sends for as long as
//! the client listens; up takes bytes until the client has sent all, and then tells how many came (eight
//! bytes, big-endian). `bulk ADDRESS:PORT down|up SECONDS` is the client: it prints the bytes that were
//! moved and the nanoseconds that took, `BYTES NANOSECONDS`.

use std::io::{self, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Requests data from the server.
const DOWN: u8 = b'd';
/// Announces data for the server.
const UP: u8 = b'u';
/// What one call reads or writes: what one segment that the device cuts can carry.
const PIECE: usize = 64 << 10;
/// A client that waits longer for the other end has lost it.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words[..] {
        [port] => port.parse().map_err(io::Error::other).and_then(serve),
        [server, direction @ ("down" | "up"), seconds] => client(server, direction, seconds),
        _ => Err(io::Error::other(
            "usage: bulk PORT | bulk ADDRESS:PORT down|up SECONDS",
        )),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bulk: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves one connection after another: what is measured is one stream.
fn serve(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))?;
    println!("bulk: listening on {}", listener.local_addr()?);
    for connection in listener.incoming() {
        // A client that has enough resets its connection.
        if let Err(error) = answer(connection?) {
            println!("bulk: a connection ended: {error}");
        }
    }
    Ok(())
}

fn answer(mut connection: TcpStream) -> io::Result<()> {
    let mut request = [0];
    connection.read_exact(&mut request)?;
    let mut piece = vec![0; PIECE];
    match request[0] {
        DOWN => loop {
            connection.write_all(&piece)?;
        },
        UP => {
            let count = drain(&mut connection, &mut piece)?;
            connection.write_all(&count.to_be_bytes())
        }
        other => Err(io::Error::other(format!("unknown request {other}"))),
    }
}

/// Reads to the end; gives the number of bytes.
fn drain(connection: &mut TcpStream, piece: &mut [u8]) -> io::Result<u64> {
    let mut count = 0;
    loop {
        match connection.read(piece)? {
            0 => return Ok(count),
            size => count += size as u64,
        }
    }
}

fn client(server: &str, direction: &str, seconds: &str) -> io::Result<()> {
    let server: SocketAddr = server.parse().map_err(io::Error::other)?;
    let limit = Duration::from_secs(seconds.parse().map_err(io::Error::other)?);
    let mut connection = TcpStream::connect_timeout(&server, SILENCE_LIMIT)?;
    connection.set_read_timeout(Some(SILENCE_LIMIT))?;
    connection.set_write_timeout(Some(SILENCE_LIMIT))?;
    let start = Instant::now();
    let moved = match direction {
        "down" => download(&mut connection, start, limit)?,
        _ => upload(&mut connection, start, limit)?,
    };
    println!("{moved} {}", start.elapsed().as_nanos());
    Ok(())
}

fn download(connection: &mut TcpStream, start: Instant, limit: Duration) -> io::Result<u64> {
    let mut piece = vec![0; PIECE];
    connection.write_all(&[DOWN])?;
    let mut count = 0;
    while start.elapsed() < limit {
        match connection.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            size => count += size as u64,
        }
    }
    Ok(count)
}

/// What counts is what has arrived, so the clock runs until the server has told.
fn upload(connection: &mut TcpStream, start: Instant, limit: Duration) -> io::Result<u64> {
    let piece = vec![0; PIECE];
    connection.write_all(&[UP])?;
    while start.elapsed() < limit {
        connection.write_all(&piece)?;
    }
    connection.shutdown(std::net::Shutdown::Write)?;
    let mut count = [0; 8];
    connection.read_exact(&mut count)?;
    Ok(u64::from_be_bytes(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_move_bytes() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let server = listener.local_addr()?;
        let limit = Duration::from_millis(10);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for connection in listener.incoming().take(2) {
                    // The first client goes while it is being sent to.
                    let _ = answer(connection.expect("a connection"));
                }
            });
            let start = Instant::now();
            assert!(download(&mut TcpStream::connect(server)?, start, limit)? > 0);
            let mut connection = TcpStream::connect(server)?;
            let moved = upload(&mut connection, Instant::now(), limit)?;
            assert!(moved >= PIECE as u64 && moved.is_multiple_of(PIECE as u64));
            Ok(())
        })
    }
}
