//! The smallest program that takes part: an HTTP server that says who asked and whom he meant, and
//! registers with the metadata service if there is one. And the clients of its tests.
//!
//! | command | does |
//! |---|---|
//! | `edge` | serves on port 80; registers if `EDGECLOUD_METADATA` is there |
//! | `edge get ADDRESS PATH [MILLISECONDS]` | asks once, within two seconds or so many milliseconds; prints the status and the body |
//! | `edge hold ADDRESS` | asks again and again over one connection; prints each answer, and `cut` when there is none |

use std::error::Error;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use data_encoding::BASE64;
use manifest::{Digest, Proof, Signed, SigningKey};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// How long a client waits for anything.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between the questions of `hold`.
const BETWEEN: Duration = Duration::from_millis(20);

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] => serve(),
        ["get", address, path] => get(address, path, PATIENCE),
        ["get", address, path, milliseconds] => {
            get(address, path, Duration::from_millis(milliseconds.parse()?))
        }
        ["hold", address] => hold(address),
        _ => Err("edge [get ADDRESS PATH [MILLISECONDS] | hold ADDRESS]".into()),
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
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
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

fn hold(address: &str) -> Outcome<()> {
    let mut stream = connect(address, PATIENCE)?;
    loop {
        match ask(&mut stream, "GET", "/", "") {
            Ok((status, body)) => println!("{status} {body}"),
            Err(error) => {
                println!("cut {error}");
                return Ok(());
            }
        }
        std::thread::sleep(BETWEEN);
    }
}

/// Registers, and says that it is ready.
fn take_part(metadata: &str) -> Outcome<()> {
    let key = SigningKey::from_pem(&std::env::var("EDGECLOUD_KEY")?)?;
    let authority = metadata.strip_prefix("http://").ok_or("no address")?;
    let address = format!("{}:80", authority.split('/').next().unwrap_or_default());
    let mut stream = TcpStream::connect(address)?;
    let (_, challenge) = ask(&mut stream, "GET", "/v1/nonce", "")?;
    let challenge: serde_json::Value = serde_json::from_str(&challenge)?;
    let text = |name: &str| challenge[name].as_str().unwrap_or_default();
    let (nonce, token) = (text("nonce").as_bytes(), text("token").as_bytes());
    let nonce = BASE64.decode(nonce)?.try_into().map_err(|_| "no nonce")?;
    let token = Digest::of(&BASE64.decode(token)?);
    let proof = Signed::sign(Proof { nonce, token }, &key);
    let proof = BASE64.encode(proof.bytes());
    let registration = serde_json::json!({ "token": text("token"), "proof": proof });
    let (status, why) = ask(
        &mut stream,
        "POST",
        "/v1/register",
        &registration.to_string(),
    )?;
    println!("edge: registered {status} {why}");
    let (status, why) = ask(&mut stream, "POST", "/v1/ready", "")?;
    println!("edge: ready {status} {why}");
    Ok(())
}
