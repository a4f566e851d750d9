//! What programs ask of sockets beside reading and writing, through `std::net` and on the loopback
//! network: timeouts, peeking, non-blocking calls, half-closed connections, errors, options.

use std::io::{IoSlice, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

/// Long enough to be told from no waiting at all, short enough not to keep a test waiting.
const SHORT: Duration = Duration::from_millis(100);
/// What should happen at once on the loopback network happens within this time or is lost.
const PATIENCE: Duration = Duration::from_secs(20);
/// More than any socket buffers.
const PLENTY: usize = 64 << 20;

fn main() {
    guests::tell(
        "sockets",
        &[
            ("a read ends when its timeout is over", read_timeout),
            ("a write ends when its timeout is over", write_timeout),
            (
                "a datagram is waited for as long as was said",
                datagram_timeout,
            ),
            ("connecting within a time", connect_timeout),
            ("non-blocking calls answer at once", nonblocking),
            ("peeking takes nothing", peeking),
            ("a direction is closed, and then the other", half_closed),
            ("a reader is woken when its socket is shut down", woken),
            ("several buffers go in one call", vectored),
            ("errors are told once", errors),
            ("options are kept", options),
        ],
    );
}

/// Two ends of a connection.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    let one = TcpStream::connect(address).expect("a connection");
    let (other, peer) = listener.accept().expect("a connection");
    assert_eq!(one.local_addr().expect("an address"), peer);
    (one, other)
}

fn read_timeout() {
    let (mut one, mut other) = pair();
    assert_eq!(one.read_timeout().expect("an answer"), None);
    one.set_read_timeout(Some(SHORT)).expect("a timeout");
    let mut clone = one.try_clone().expect("a clone");
    assert_eq!(clone.read_timeout().expect("an answer"), Some(SHORT));
    let start = Instant::now();
    let error = clone.read(&mut [0; 8]).expect_err("nothing was sent");
    assert!(start.elapsed() >= SHORT, "it waited {:?}", start.elapsed());
    println!("  {:?}", error.kind());
    // The connection is as before.
    other.write_all(b"late").expect("room");
    one.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut four = [0; 4];
    one.read_exact(&mut four).expect("four bytes");
    assert_eq!(&four, b"late");
    one.set_read_timeout(None).expect("none");
    assert_eq!(clone.read_timeout().expect("an answer"), None);
    let zero = one.set_read_timeout(Some(Duration::ZERO));
    println!("  {:?}", zero.expect_err("zero is no timeout").kind());
}

fn write_timeout() {
    let (mut one, other) = pair();
    one.set_write_timeout(Some(SHORT)).expect("a timeout");
    assert_eq!(one.write_timeout().expect("an answer"), Some(SHORT));
    let piece = vec![7; 1 << 20];
    let mut sent = 0;
    let error = loop {
        match one.write(&piece) {
            Ok(count) => sent += count,
            Err(error) => break error,
        }
        assert!(
            sent < PLENTY,
            "{sent} bytes that nobody reads went somewhere"
        );
    };
    println!("  {:?}", error.kind());
    // Exactly what was counted arrives.
    drop(one);
    let mut reader = other;
    reader.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut received = 0;
    let mut bytes = vec![0; 1 << 20];
    loop {
        match reader.read(&mut bytes).expect("bytes or their end") {
            0 => break,
            count => received += count,
        }
    }
    assert_eq!(received, sent);
}

fn datagram_timeout() {
    let socket = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).expect("a port");
    socket.set_read_timeout(Some(SHORT)).expect("a timeout");
    let start = Instant::now();
    let error = socket.recv_from(&mut [0; 8]).expect_err("nothing was sent");
    assert!(start.elapsed() >= SHORT, "it waited {:?}", start.elapsed());
    println!("  {:?}", error.kind());
    let own = socket.local_addr().expect("an address");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket.send_to(b"to myself", own).expect("room");
    let mut bytes = [0; 16];
    let (count, from) = socket.recv_from(&mut bytes).expect("a datagram");
    assert_eq!((&bytes[..count], from), (&b"to myself"[..], own));
}

fn connect_timeout() {
    let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("a connection");
    assert_eq!(stream.peer_addr().expect("an address"), address);
    drop((listener, stream));
    let refused = TcpStream::connect_timeout(&address, PATIENCE).expect_err("nobody listens");
    println!("  {:?}", refused.kind());
}

fn nonblocking() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.set_nonblocking(true).expect("an option");
    println!("  {:?}", listener.accept().expect_err("nobody").kind());
    let (mut one, mut other) = pair();
    one.set_nonblocking(true).expect("an option");
    println!("  {:?}", one.read(&mut [0; 8]).expect_err("nothing").kind());
    one.set_nonblocking(false).expect("an option");
    other.write_all(b"x").expect("room");
    one.read_exact(&mut [0]).expect("a byte");
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    socket.set_nonblocking(true).expect("an option");
    println!(
        "  {:?}",
        socket.recv(&mut [0; 8]).expect_err("nothing").kind()
    );
}

fn peeking() {
    let (one, mut other) = pair();
    other.write_all(b"peek").expect("room");
    one.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut bytes = [0; 16];
    for _ in 0..2 {
        let count = one.peek(&mut bytes).expect("bytes");
        assert!(b"peek".starts_with(&bytes[..count]) && count > 0);
    }
    (&one).read_exact(&mut bytes[..4]).expect("four bytes");
    assert_eq!(&bytes[..4], b"peek");
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let own = socket.local_addr().expect("an address");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket.connect(own).expect("a peer");
    assert_eq!(socket.peer_addr().expect("an address"), own);
    socket.send(b"datagram").expect("room");
    let (count, from) = socket.peek_from(&mut bytes).expect("a datagram");
    assert_eq!((&bytes[..count], from), (&b"datagram"[..], own));
    // A datagram that does not fit is cut.
    let count = socket.recv(&mut bytes[..4]).expect("a datagram");
    assert_eq!(&bytes[..count], b"data");
}

fn half_closed() {
    let (mut one, mut other) = pair();
    one.write_all(b"question").expect("room");
    one.shutdown(Shutdown::Write).expect("an end");
    let mut said = String::new();
    other.read_to_string(&mut said).expect("all of it");
    assert_eq!(said, "question");
    other.write_all(b"answer").expect("room");
    drop(other);
    said.clear();
    one.read_to_string(&mut said).expect("all of it");
    assert_eq!(said, "answer");
    println!("  {:?}", one.write(b"more").expect_err("closed").kind());
}

fn woken() {
    let (one, _other) = pair();
    let mut reader = one.try_clone().expect("a clone");
    let reading = thread::spawn(move || reader.read(&mut [0; 8]));
    thread::sleep(SHORT);
    one.shutdown(Shutdown::Both).expect("an end");
    let read = reading.join().expect("the reader lives");
    assert_eq!(read.expect("the end"), 0);
}

fn vectored() {
    let (mut one, mut other) = pair();
    let parts = [
        IoSlice::new(b"head "),
        IoSlice::new(b""),
        IoSlice::new(b"body"),
    ];
    assert_eq!(one.write_vectored(&parts).expect("room"), 9);
    drop(one);
    let mut said = String::new();
    other.read_to_string(&mut said).expect("all of it");
    assert_eq!(said, "head body");
}

fn errors() {
    let (one, other) = pair();
    assert!(one.take_error().expect("an answer").is_none());
    // Closed with unread bytes: the peer is reset.
    (&one).write_all(b"never read").expect("room");
    other.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    other.peek(&mut [0]).expect("a byte");
    drop(other);
    one.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let reset = (&one).read(&mut [0; 8]).expect_err("it is reset");
    println!("  {:?}", reset.kind());
    assert!(one.take_error().expect("an answer").is_none());
    assert_eq!((&one).read(&mut [0; 8]).expect("the end"), 0);
    // A port where nobody listens: the next call is told.
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let nobody = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    socket
        .connect(nobody.local_addr().expect("an address"))
        .expect("a peer");
    drop(nobody);
    socket.send(b"anybody?").expect("room");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let refused = socket.recv(&mut [0; 8]).expect_err("nobody is there");
    println!("  {:?}", refused.kind());
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let again = TcpListener::bind(taken.local_addr().expect("an address"));
    println!("  {:?}", again.expect_err("it is taken").kind());
    // A foreign address is not asked for: a domain may have any, as a transparent proxy needs it, and a
    // process may not.
}

fn options() {
    let (one, _other) = pair();
    for on in [true, false] {
        one.set_nodelay(on).expect("an option");
        assert_eq!(one.nodelay().expect("an answer"), on);
    }
    one.set_ttl(7).expect("an option");
    assert_eq!(one.ttl().expect("an answer"), 7);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    socket.set_ttl(9).expect("an option");
    assert_eq!(socket.ttl().expect("an answer"), 9);
    socket.set_broadcast(true).expect("an option");
    assert!(socket.broadcast().expect("an answer"));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.set_ttl(11).expect("an option");
    assert_eq!(listener.ttl().expect("an answer"), 11);
    assert!(listener.take_error().expect("an answer").is_none());
}
