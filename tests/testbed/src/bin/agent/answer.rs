//! Measuring in dom0 how soon a domain answers by HTTP.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::wait::Supervisor;

/// How long one attempt to connect is waited for before the next one: what the figure is exact to. A
/// SYN that was lost because there is no domain yet would be sent again after a second only.
const ATTEMPT: Duration = Duration::from_millis(30);
/// How long a connection that was accepted may take to answer before another one is made.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

const REQUEST: &[u8] = b"GET /bytes/1024 HTTP/1.1\r\nHost: guest\r\nConnection: close\r\n\r\n";
const SUCCESS: &[u8] = b"HTTP/1.1 200 ";

/// Creates a domain and prints the nanoseconds until it has answered, or fails once the domain has ended.
/// Whoever called ends this process if neither ever happens.
pub(crate) fn time(name: &str, address: &str, config: &str) -> Result<ExitCode> {
    let address: SocketAddr = address.parse().context("this is no address with a port")?;
    let start = Instant::now();
    let supervisor = Supervisor::start(name, config, &[])?;
    while !answers(&address) {
        ensure!(!supervisor.ended()?, "the domain ended without an answer");
    }
    println!("{}", start.elapsed().as_nanos());
    Ok(ExitCode::SUCCESS)
}

fn answers(address: &SocketAddr) -> bool {
    let attempt = Instant::now();
    let answered = TcpStream::connect_timeout(address, ATTEMPT)
        .and_then(|mut connection| {
            connection.set_read_timeout(Some(ANSWER_LIMIT))?;
            connection.write_all(REQUEST)?;
            let mut start = [0; SUCCESS.len()];
            connection.read_exact(&mut start)?;
            Ok(start == SUCCESS)
        })
        .unwrap_or(false);
    if !answered {
        // A domain that is being built refuses at once; asking without a pause would slow that down.
        std::thread::sleep(ATTEMPT.saturating_sub(attempt.elapsed()));
    }
    answered
}
