//! A client that behaves as networks make clients behave, against the guests `echo` and `web`.
//!
//! `peer BEHAVIOUR ADDRESS:PORT [COUNT]` does one thing, checks what comes back and ends with
//! `peer BEHAVIOUR: ok`. It is a program of Linux: it runs in a namespace beside the guest.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use guests_net::pattern;
use socket2::{Domain, SockRef, Socket, Type};

/// A guest that says nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(120);
/// A connection attempt that takes longer was lost, not slow.
const CONNECT_PATIENCE: Duration = Duration::from_secs(60);
/// What goes through an echo: more than the buffers of both sides.
const ECHOED: usize = 1_000_000;
/// What a reader that stops and a reader that creeps are sent.
const SERVED: usize = 2_000_000;
/// Long enough for the sender to find the window closed and to probe it more than once.
const STALL: Duration = Duration::from_secs(4);
/// As small a receive buffer as Linux makes (it doubles the number).
const SMALL_BUFFER: usize = 2304;
/// Between the pieces that a slow reader takes.
const CREEP: Duration = Duration::from_millis(2);
/// Requests in one write.
const PIPELINED: usize = 64;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (behaviour, address, count) = match words[..] {
        [behaviour, address] => (behaviour, address, 1),
        [behaviour, address, count] => (behaviour, address, count.parse()?),
        _ => return Err("usage: peer BEHAVIOUR ADDRESS:PORT [COUNT]".into()),
    };
    let address: SocketAddr = address.parse()?;
    match behaviour {
        "half-close" => half_close(address)?,
        "reset" => reset(address, count)?,
        "zero-window" => zero_window(address)?,
        "slow-reader" => slow_reader(address)?,
        "pipelining" => pipelining(address)?,
        "idle" => idle(address, count)?,
        "storm" => storm(address, count)?,
        _ => return Err(format!("no behaviour is called {behaviour}").into()),
    }
    println!("peer {behaviour}: ok");
    Ok(())
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, CONNECT_PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Says everything, closes this direction, and still gets all of it back.
fn half_close(address: SocketAddr) -> Outcome {
    let stream = connect(address)?;
    let mut sender = stream.try_clone()?;
    let sending = thread::spawn(move || -> io::Result<()> {
        for piece in pattern(ECHOED) {
            sender.write_all(&piece)?;
        }
        sender.shutdown(Shutdown::Write)
    });
    let mut reader = BufReader::new(stream);
    reader.read_line(&mut String::new())?;
    expect_pattern(&mut reader, ECHOED)?;
    sending.join().map_err(|_| "the sender panicked")??;
    if reader.read(&mut [0])? != 0 {
        return Err("more came back than was sent".into());
    }
    Ok(())
}

/// Resets connections in the middle of an answer; the guest serves the next one all the same.
fn reset(address: SocketAddr, count: usize) -> Outcome {
    for _ in 0..count {
        let mut stream = connect(address)?;
        request(&mut stream, &format!("/bytes/{SERVED}"))?;
        stream.read_exact(&mut [0; 1000])?;
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        drop(stream);
    }
    let mut stream = connect(address)?;
    ask(&mut stream, 1000)
}

/// Reads nothing until the sender has found the window closed, then everything.
fn zero_window(address: SocketAddr) -> Outcome {
    let mut stream = connect_small(address)?;
    request(&mut stream, &format!("/bytes/{SERVED}"))?;
    thread::sleep(STALL);
    let mut reader = BufReader::new(stream);
    read_head(&mut reader)?;
    expect_pattern(&mut reader, SERVED)
}

/// Reads little at a time, through a window that is hardly ever open.
fn slow_reader(address: SocketAddr) -> Outcome {
    let length = SERVED / 20;
    let mut stream = connect_small(address)?;
    request(&mut stream, &format!("/bytes/{length}"))?;
    let mut reader = BufReader::with_capacity(512, stream);
    read_head(&mut reader)?;
    let mut expected = pattern(length).flatten();
    let mut left = length;
    while left > 0 {
        let piece = reader.fill_buf()?;
        let size = piece.len().min(left);
        if size == 0
            || !piece[..size]
                .iter()
                .copied()
                .eq(expected.by_ref().take(size))
        {
            return Err(format!("{left} bytes before the end something else came").into());
        }
        reader.consume(size);
        left -= size;
        thread::sleep(CREEP);
    }
    Ok(())
}

/// Many requests in one write; the answers come in order.
fn pipelining(address: SocketAddr) -> Outcome {
    let mut stream = connect(address)?;
    let lengths = 1000..1000 + PIPELINED;
    let requests: String = lengths
        .clone()
        .map(|length| format!("GET /bytes/{length} HTTP/1.1\r\nHost: guest\r\n\r\n"))
        .collect();
    stream.write_all(requests.as_bytes())?;
    let mut reader = BufReader::new(stream);
    for length in lengths {
        read_head(&mut reader)?;
        expect_pattern(&mut reader, length)?;
    }
    Ok(())
}

/// Keeps `count` connections at once, and every one of them is served before and after.
fn idle(address: SocketAddr, count: usize) -> Outcome {
    let mut streams = Vec::with_capacity(count);
    for number in 0..count {
        let mut stream =
            connect(address).map_err(|error| format!("connection {number}: {error}"))?;
        ask(&mut stream, 10)?;
        streams.push(stream);
    }
    println!("peer idle: {count} connections are open");
    for (number, stream) in streams.iter_mut().enumerate() {
        ask(stream, 10).map_err(|error| format!("connection {number}: {error}"))?;
    }
    Ok(())
}

/// Opens `count` connections from many threads as fast as it can; each is served.
fn storm(address: SocketAddr, count: usize) -> Outcome {
    const THREADS: usize = 64;
    let workers: Vec<_> = (0..THREADS)
        .map(|worker| {
            thread::spawn(move || {
                (worker..count).step_by(THREADS).try_for_each(|number| {
                    connect(address)
                        .map_err(Into::into)
                        .and_then(|mut stream| ask(&mut stream, 100))
                        .map_err(|error| format!("connection {number}: {error}"))
                })
            })
        })
        .collect();
    for worker in workers {
        worker.join().map_err(|_| "a client panicked")??;
    }
    Ok(())
}

/// A connection with a small window from its SYN on.
fn connect_small(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_recv_buffer_size(SMALL_BUFFER)?;
    socket.connect_timeout(&address.into(), CONNECT_PATIENCE)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn request(stream: &mut TcpStream, path: &str) -> io::Result<()> {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: guest\r\n\r\n").as_bytes())
}

/// Asks for some bytes of the pattern and checks them.
fn ask(stream: &mut TcpStream, length: usize) -> Outcome {
    request(stream, &format!("/bytes/{length}"))?;
    let mut reader = BufReader::new(stream);
    read_head(&mut reader)?;
    expect_pattern(&mut reader, length)
}

/// Reads the head of a response, which must be 200.
fn read_head(reader: &mut impl io::BufRead) -> Outcome {
    let mut status = String::new();
    reader.read_line(&mut status)?;
    if status != "HTTP/1.1 200 OK\r\n" {
        return Err(format!("the status is {status:?}").into());
    }
    let mut line = String::new();
    while reader.read_line(&mut line)? > "\r\n".len() {
        line.clear();
    }
    Ok(())
}

fn expect_pattern(reader: &mut impl io::Read, length: usize) -> Outcome {
    let mut at = 0;
    for expected in pattern(length) {
        let mut piece = vec![0; expected.len()];
        reader.read_exact(&mut piece)?;
        if let Some(offset) = (0..piece.len()).find(|&offset| piece[offset] != expected[offset]) {
            let wrong = piece
                .iter()
                .zip(&expected)
                .filter(|(piece, expected)| piece != expected);
            return Err(format!(
                "{} bytes differ from byte {} of {length} on: {:?} instead of {:?}",
                wrong.count(),
                at + offset,
                String::from_utf8_lossy(&piece[offset..(offset + 70).min(piece.len())]),
                String::from_utf8_lossy(&expected[offset..(offset + 70).min(piece.len())]),
            )
            .into());
        }
        at += piece.len();
    }
    Ok(())
}
