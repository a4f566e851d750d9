//! The client of `cargo xtask bench redirect` and `cargo xtask bench revoke`, as it runs on a host of either
//! world.
//!
//! | command | does |
//! |---|---|
//! | `bench-client ask COUNT fresh\|kept ADDRESS…` | asks the addresses in turns, each time over a connection of its own or over one that is kept; prints JSON: by address, the microseconds of each |
//! | `bench-client watch ADDRESS` | asks over one connection without a pause; prints `speaks`, then `last` with when the last answer came, in microseconds since 1970, and how many there were |

#![forbid(unsafe_code)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;

/// How long an answer is waited for, on an emulated machine, too.
const PATIENCE: Duration = Duration::from_secs(20);
/// A connection on which nothing has come for so long is silent.
const SILENT_AFTER: Duration = Duration::from_millis(700);
/// After so many answers a connection is one that lives.
const SPEAKS: u64 = 20;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["ask", count, "fresh", addresses @ ..] => ask(count.parse()?, false, addresses),
        ["ask", count, "kept", addresses @ ..] => ask(count.parse()?, true, addresses),
        ["watch", address] => watch(address),
        _ => bail!("bench-client ask COUNT fresh|kept ADDRESS… | bench-client watch ADDRESS"),
    }
}

/// A connection of HTTP/1.1.
struct Connection {
    stream: BufReader<TcpStream>,
    request: String,
}

impl Connection {
    fn to(address: &str, patience: Duration) -> Result<Connection> {
        let to: SocketAddr = address.parse()?;
        let stream = TcpStream::connect_timeout(&to, patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        Ok(Connection {
            stream: BufReader::new(stream),
            request: format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n"),
        })
    }

    /// One request, and all of its answer.
    fn ask(&mut self) -> Result<Vec<u8>> {
        self.stream.get_mut().write_all(self.request.as_bytes())?;
        let (mut line, mut length) = (String::new(), None);
        let mut is_ok = false;
        loop {
            line.clear();
            ensure!(self.stream.read_line(&mut line)? > 0, "closed");
            is_ok |= line.starts_with("HTTP/1.1 200");
            if line == "\r\n" {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = Some(value.trim().parse::<u16>()?);
            }
        }
        ensure!(is_ok, "another status than 200");
        let mut body = vec![0; length.context("no length")?.into()];
        self.stream.read_exact(&mut body)?;
        Ok(body)
    }
}

fn ask(count: u32, is_kept: bool, addresses: &[&str]) -> Result<()> {
    let mut kept = Vec::new();
    let mut times = vec![Vec::new(); addresses.len()];
    // The first of each is not measured: neighbours are asked for, caches filled.
    for address in addresses {
        let mut connection = Connection::to(address, PATIENCE)?;
        connection.ask()?;
        kept.push(connection);
    }
    for _ in 0..count {
        for (place, address) in addresses.iter().enumerate() {
            let began = Instant::now();
            match kept.get_mut(place) {
                Some(connection) if is_kept => drop(connection.ask()?),
                _ => drop(Connection::to(address, PATIENCE)?.ask()?),
            }
            let microseconds = u64::try_from(began.elapsed().as_micros())?;
            times
                .get_mut(place)
                .context("a place for each")?
                .push(microseconds);
        }
    }
    println!("{}", json!(times));
    Ok(())
}

fn watch(address: &str) -> Result<()> {
    let mut connection = first(address)?;
    let (mut count, mut last) = (0, since_1970()?);
    let mut who = Vec::new();
    while let Ok(body) = connection.ask() {
        last = since_1970()?;
        count += 1;
        ensure!(count == 1 || body == who, "another answers");
        who = body;
        if count == SPEAKS {
            println!("speaks {}", String::from_utf8_lossy(&who).trim_end());
        }
    }
    println!("last {} {count}", last.as_micros());
    Ok(())
}

/// A connection on which somebody answers: a domain that has just become live may do so a little later.
fn first(address: &str) -> Result<Connection> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let connection = Connection::to(address, SILENT_AFTER);
        let answered = connection.and_then(|mut connection| {
            connection.ask()?;
            Ok(connection)
        });
        if answered.is_ok() || Instant::now() > deadline {
            return answered;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn since_1970() -> Result<Duration> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?)
}
