//! How soon a cache serves again that had 100,000 objects on its disk when it was killed.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread::scope;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Options;
use super::process::{Folder, Server};
use crate::bench::{Better, Figure};

const OBJECTS: usize = 100_000;
/// More than are counted: while the disk is slow the cache leaves objects out.
const ASKED: usize = 110_000;
const CLIENTS: usize = 4;
const DISK_BYTES: u64 = 1 << 30;
/// The bound.
const BOUND_S: f64 = 3.0;
/// How the line begins that says what is there.
const DISK_SIGN: &str = "cache: disk ";
/// The index is written every second.
const SETTLING: Duration = Duration::from_secs(2);

pub(super) fn run(
    options: &Options,
    program: &Path,
    folder: &Folder,
    origin: SocketAddr,
) -> Result<()> {
    let disk = folder.0.join("disk");
    File::create(&disk)?.set_len(DISK_BYTES)?;
    let document = format!(
        "[appliance]\nhttp = '127.0.0.1:0'\nhttps = 'off'\nmanagement = '127.0.0.1:0'\n\
         [service]\norigin = '{origin}'\nmemory-mib = 64\ndisk = '{}'\n",
        disk.display()
    );
    let (mut cache, _) = Server::ours(program, &document, DISK_SIGN)?;
    fill(cache.address)?;
    std::thread::sleep(SETTLING);
    let mut seconds = Vec::new();
    for round in 1..=options.rounds {
        cache.kill();
        let started = Instant::now();
        let (again, line) = Server::ours(program, &document, DISK_SIGN)?;
        ask(again.address, std::iter::once(0))?;
        seconds.push(started.elapsed().as_secs_f64());
        cache = again;
        eprintln!(
            "restart, round {round}: {:.3} s; {line}",
            seconds[usize::from(round) - 1]
        );
        let objects = line
            .split("objects=")
            .nth(1)
            .and_then(|rest| rest.split(' ').next());
        let objects: usize = objects.context("no number")?.parse()?;
        ensure!(objects >= OBJECTS, "only {objects} objects are on the disk");
    }
    let name = ("cache", "restart with 100,000 objects on disk, Linux", "s");
    Figure::of_rounds(Better::Lower, name, &seconds, ("bound", &[BOUND_S])).print()
}

/// Asks for as many objects as are wanted, over some connections.
fn fill(cache: SocketAddr) -> Result<()> {
    scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| scope.spawn(move || ask(cache, (client..ASKED).step_by(CLIENTS))))
            .collect();
        let joined = clients.into_iter().map(|client| {
            client
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        joined.collect()
    })
}

fn ask(cache: SocketAddr, objects: impl Iterator<Item = usize>) -> Result<()> {
    let mut connection = BufReader::new(TcpStream::connect(cache)?);
    for object in objects {
        let request = format!("GET /n/{object} HTTP/1.1\r\nHost: a.example\r\n\r\n");
        connection.get_mut().write_all(request.as_bytes())?;
        let (mut length, mut line) = (0, String::new());
        while line != "\r\n" {
            line.clear();
            ensure!(connection.read_line(&mut line)? > 0, "the cache ended");
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse()?;
            }
        }
        let mut body = (&mut connection).take(length);
        std::io::copy(&mut body, &mut std::io::sink())?;
    }
    Ok(())
}
