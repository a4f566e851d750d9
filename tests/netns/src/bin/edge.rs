//! The smallest program that takes part: an HTTP server that says who asked and whom he meant, and
//! registers with the metadata service if there is one. And the clients of its tests.
//!
//! | command | does |
//! |---|---|
//! | `edge` | serves on port 80; registers if `EDGECLOUD_METADATA` is there |
//! | `edge get ADDRESS PATH [MILLISECONDS]` | asks once, within two seconds or so many milliseconds; prints the status and the body |
//! | `edge hold ADDRESS [MILLISECONDS]` | asks again and again over one connection, with so much time between; prints each answer, and `cut` when there is none |
//! | `edge knock ADDRESS MILLISECONDS` | the same over new connections; prints each answer, or `failed` |
//! | `edge prove ADDRESS KEY` | registers at a metadata service with the key in a file, and again with the same proof; prints both statuses |
//! | `edge flood ADDRESS SECONDS` | takes connections and asks for nonces as fast as it can; prints how many were answered and how many not |

use std::error::Error;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use data_encoding::BASE64;
use manifest::{Digest, Proof, Signed, SigningKey};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// How long a client waits for anything.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long those wait who say that a connection was cut: slow is not that.
const LONG_PATIENCE: Duration = Duration::from_secs(10);
/// Between the questions of `hold`, if it is not said.
const BETWEEN: Duration = Duration::from_millis(20);
/// Who floods: half of them ask, the others hold a connection each and say nothing.
const FLOODING: usize = 32;
/// How long one that floods waits for an answer.
const FLOOD_PATIENCE: Duration = Duration::from_millis(500);

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] => serve(),
        ["get", address, path] => get(address, path, PATIENCE),
        ["get", address, path, milliseconds] => {
            get(address, path, Duration::from_millis(milliseconds.parse()?))
        }
        ["hold", address] => hold(address, BETWEEN),
        ["hold", address, pause] => hold(address, Duration::from_millis(pause.parse()?)),
        ["knock", address, pause] => knock(address, Duration::from_millis(pause.parse()?)),
        ["prove", address, key] => prove(address, &std::fs::read_to_string(key)?),
        ["flood", address, seconds] => flood(address, Duration::from_secs(seconds.parse()?)),
        _ => Err(
            "edge [get ADDRESS PATH [MILLISECONDS] | hold ADDRESS [MILLISECONDS] \
                  | knock ADDRESS MILLISECONDS | prove ADDRESS KEY | flood ADDRESS SECONDS]"
                .into(),
        ),
    }
}

fn serve() -> Outcome<()> {
    let listener = TcpListener::bind("[::]:80")?;
    // What clients meant for others is taken, too (ip(7)).
    let socket = socket2::SockRef::from(&listener);
    socket.set_ip_transparent_v4(true)?;
    let name = std::env::var("EDGE_NAME").unwrap_or_else(|_| "origin".to_owned());
    if let Ok(metadata) = std::env::var("EDGECLOUD_METADATA") {
        std::thread::spawn(move || {
            if let Err(error) = take_part(&metadata) {
                println!("edge: {error}");
                std::process::exit(1);
            }
        });
    }
    println!("edge: serving");
    for stream in listener.incoming() {
        let (stream, name) = (stream?, name.clone());
        // A client that goes away is no event.
        std::thread::spawn(move || answer(stream, &name).map_err(|error| error.to_string()));
    }
    Ok(())
}

fn answer(mut stream: TcpStream, name: &str) -> Outcome<()> {
    let canonical = |address: SocketAddr| address.ip().to_canonical();
    let (from, to) = (stream.peer_addr()?, stream.local_addr()?);
    let mut reader = BufReader::new(stream.try_clone()?);
    while read_head(&mut reader)?.is_some() {
        let body = format!("{name} from {} to {}", canonical(from), canonical(to));
        let length = body.len();
        // At once: in pieces the last would wait for the client's acknowledgement.
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(answer.as_bytes())?;
    }
    Ok(())
}

/// The first line of a head, and the length of its body; nothing at the end.
fn read_head(reader: &mut BufReader<TcpStream>) -> Outcome<Option<(String, usize)>> {
    let (mut first, mut length) = (String::new(), 0);
    if reader.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            return Ok(Some((first.trim_end().to_owned(), length)));
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse()?;
        }
    }
}

fn get(address: &str, path: &str, patience: Duration) -> Outcome<()> {
    let (status, body) = ask(&mut connect(address, patience)?, "GET", path, "")?;
    println!("{status} {body}");
    Ok(())
}

fn connect(address: &str, patience: Duration) -> Outcome<TcpStream> {
    let stream = TcpStream::connect_timeout(&address.parse()?, patience)?;
    stream.set_read_timeout(Some(patience))?;
    Ok(stream)
}

fn ask(stream: &mut TcpStream, method: &str, path: &str, body: &str) -> Outcome<(u16, String)> {
    let host = stream.peer_addr()?;
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n");
    let kind = "Content-Type: application/json\r\n\r\n";
    stream.write_all(format!("{head}{kind}{body}").as_bytes())?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let (first, length) = read_head(&mut reader)?.ok_or("no answer")?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let status = first.split(' ').nth(1).ok_or("no status")?.parse()?;
    Ok((status, String::from_utf8(body)?))
}

fn hold(address: &str, pause: Duration) -> Outcome<()> {
    let mut stream = connect(address, LONG_PATIENCE)?;
    loop {
        match ask(&mut stream, "GET", "/", "") {
            Ok((status, body)) => println!("{status} {body}"),
            Err(error) => {
                println!("cut {error}");
                return Ok(());
            }
        }
        std::thread::sleep(pause);
    }
}

fn knock(address: &str, pause: Duration) -> Outcome<()> {
    loop {
        let asked = connect(address, LONG_PATIENCE).and_then(|mut it| ask(&mut it, "GET", "/", ""));
        match asked {
            Ok((status, body)) => println!("{status} {body}"),
            Err(error) => println!("failed {error} at {:?}", SystemTime::now()),
        }
        std::thread::sleep(pause);
    }
}

/// A registration, its proof by a key for the nonce that it asks for.
fn registration(stream: &mut TcpStream, key: &SigningKey) -> Outcome<String> {
    let (_, challenge) = ask(stream, "GET", "/v1/nonce", "")?;
    let challenge: serde_json::Value = serde_json::from_str(&challenge)?;
    let text = |name: &str| challenge[name].as_str().unwrap_or_default();
    let (nonce, token) = (text("nonce").as_bytes(), text("token").as_bytes());
    let nonce = BASE64.decode(nonce)?.try_into().map_err(|_| "no nonce")?;
    let token = Digest::of(&BASE64.decode(token)?);
    let proof = Signed::sign(Proof { nonce, token }, key);
    let proof = BASE64.encode(proof.bytes());
    Ok(serde_json::json!({ "token": text("token"), "proof": proof }).to_string())
}

fn prove(address: &str, key: &str) -> Outcome<()> {
    let mut stream = connect(address, PATIENCE)?;
    let registration = registration(&mut stream, &SigningKey::from_pem(key)?)?;
    for _ in 0..2 {
        let (status, why) = ask(&mut stream, "POST", "/v1/register", &registration)?;
        println!("{status} {why}");
    }
    Ok(())
}

fn flood(address: &str, time: Duration) -> Outcome<()> {
    let until = Instant::now() + time;
    let (answered, not) = (AtomicU64::new(0), AtomicU64::new(0));
    let asking = || {
        while Instant::now() < until {
            let asked = connect(address, FLOOD_PATIENCE)
                .and_then(|mut stream| ask(&mut stream, "GET", "/v1/nonce", ""));
            let counter = if asked.is_ok() { &answered } else { &not };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    };
    let holding = || {
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            // Nothing comes: it is held until it is closed from there, or to the end.
            let held = connect(address, FLOOD_PATIENCE).and_then(|mut stream| {
                stream.set_read_timeout(Some(left.max(FLOOD_PATIENCE)))?;
                Ok(stream.read(&mut [0])?)
            });
            not.fetch_add(held.is_err().into(), Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        for number in 0..FLOODING {
            match number % 2 {
                0 => scope.spawn(asking),
                _ => scope.spawn(holding),
            };
        }
    });
    println!(
        "{} answered, {} not",
        answered.into_inner(),
        not.into_inner()
    );
    Ok(())
}

/// Registers, and says that it is ready.
fn take_part(metadata: &str) -> Outcome<()> {
    let key = SigningKey::from_pem(&std::env::var("EDGECLOUD_KEY")?)?;
    let authority = metadata.strip_prefix("http://").ok_or("no address")?;
    let address = format!("{}:80", authority.split('/').next().unwrap_or_default());
    let mut stream = TcpStream::connect(address)?;
    let registration = registration(&mut stream, &key)?;
    let (status, why) = ask(&mut stream, "POST", "/v1/register", &registration)?;
    println!("edge: registered {status} {why}");
    let (status, why) = ask(&mut stream, "POST", "/v1/ready", "")?;
    println!("edge: ready {status} {why}");
    Ok(())
}
