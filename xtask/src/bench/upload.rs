//! `cargo xtask bench upload`: what the uploader takes in, beside npm's `@tus/server`.
//!
//! One client of tus, in this process, puts the same bytes to both in turns, on the same file system. Ours
//! answers when the bytes are durable; the peer writes them to files and never flushes.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::{Better, Figure, quantile};
use crate::succeed::succeed;

const PEER: &str = "@tus/server 1.10.2";
const PACKAGES: [&str; 2] = ["@tus/server@1.10.2", "@tus/file-store@1.5.1"];
/// The peer as its README starts it.
const PEER_PROGRAM: &str = "import { Server } from '@tus/server';
import { FileStore } from '@tus/file-store';
const datastore = new FileStore({ directory: process.argv[2] });
const server = new Server({ path: '/files', datastore });
const listening = server.listen({ host: '127.0.0.1', port: 0 }, () =>
  console.log('listening on 127.0.0.1:' + listening.address().port));
";
/// Nothing here takes this long; what hangs fails the benchmark.
const LIMIT: Duration = Duration::from_secs(120);

/// Ours has a disk of this size.
const DISK_MIB: usize = 1024;

/// What is uploaded in one round.
struct Load {
    figure: &'static str,
    bytes: usize,
    uploads: usize,
    at_once: usize,
}

const LOADS: [Load; 2] = [
    Load {
        figure: "one upload of 100 MB",
        bytes: 100_000_000,
        uploads: 1,
        at_once: 1,
    },
    Load {
        figure: "photographs of 4 MB, four at once",
        bytes: 4_000_000,
        uploads: 32,
        at_once: 4,
    },
];

/// What the command line said.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often each is given the same
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
}

/// A server that ends with this value.
struct Server {
    process: Child,
    /// Kept open: who writes to nobody ends.
    output: BufReader<ChildStdout>,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs the command.
pub(crate) fn run(options: &Options) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = root.join("target/bench/upload");
    let stored = folder.join("stored");
    fs::create_dir_all(&stored)?;
    install(&folder)?;
    let mut build = Command::new("cargo");
    build.args(["build", "--release", "--quiet", "--package", "uploader"]);
    succeed(build.current_dir(&root), "build the uploader")?;
    let ours = ours(&root, &folder)?;
    let peer = peer(&folder, &stored)?;
    let mut figures = Vec::new();
    for load in &LOADS {
        let (mut at_ours, mut at_peer) = (Vec::new(), Vec::new());
        for round in 0..options.rounds {
            eprintln!("upload: {}, round {}", load.figure, round + 1);
            at_ours.push(load.put(&ours.address, round)?);
            at_peer.push(load.put(&peer.address, round)?);
        }
        let what = ("upload", load.figure, "MB/s");
        let ratio = quantile(&at_ours, 0.5) / quantile(&at_peer, 0.5);
        let figure = Figure::of_rounds(Better::Higher, what, &at_ours, (PEER, &at_peer));
        figures.push((ratio, figure));
    }
    // The worst is the principal one.
    figures.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    for (_, figure) in &figures {
        figure.print()?;
    }
    drop((ours, peer));
    fs::remove_dir_all(&stored)?;
    Ok(fs::remove_file(folder.join("disk"))?)
}

impl Load {
    /// Uploads all of it, and takes it back, which is not timed; megabytes a second.
    fn put(&self, address: &str, round: u16) -> Result<f64> {
        // A client has its photograph before it begins: what it takes to make one is no server's time.
        let clients: Result<Vec<Client>> = (0..self.at_once)
            .map(|number| self.client(address, number))
            .collect();
        let clients = clients?;
        let began = Instant::now();
        let uploaded = std::thread::scope(|scope| -> Result<Vec<String>> {
            let clients: Vec<_> = clients
                .into_iter()
                .map(|client| scope.spawn(move || client.upload_all(self, round)))
                .collect();
            let mut paths = Vec::new();
            for client in clients {
                let uploaded = client.join();
                paths.extend(uploaded.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
            }
            Ok(paths)
        })?;
        let seconds = began.elapsed().as_secs_f64();
        let mut connection = Connection::to(address)?;
        for path in uploaded {
            let (status, _) = connection.ask(&format!("DELETE {path}"), "", &[])?;
            ensure!(status == 204, "{address} answers {status} to DELETE");
        }
        Ok((self.bytes * self.uploads) as f64 / 1e6 / seconds)
    }

    fn client(&self, address: &str, number: usize) -> Result<Client> {
        Ok(Client {
            connection: Connection::to(address)?,
            address: address.to_owned(),
            body: vec![0x5a; self.bytes],
            number,
        })
    }
}

/// One of those who upload, with what it sends.
struct Client {
    connection: Connection,
    address: String,
    body: Vec<u8>,
    number: usize,
}

impl Client {
    /// Its part of the uploads, one after the other on one connection.
    fn upload_all(mut self, load: &Load, round: u16) -> Result<Vec<String>> {
        let mut paths = Vec::new();
        for upload in (self.number..load.uploads).step_by(load.at_once) {
            // No two are equal: what is there already would not be written again.
            let mark = format!("{} {round} {upload} {}", self.address, load.bytes);
            self.body[..mark.len()].copy_from_slice(mark.as_bytes());
            paths.push(self.connection.upload(&self.body)?);
        }
        Ok(paths)
    }
}

/// A connection of HTTP/1.1 that is kept.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn to(address: &str) -> Result<Connection> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        Ok(Connection(BufReader::new(stream)))
    }

    /// Makes an upload and fills it; its path.
    fn upload(&mut self, body: &[u8]) -> Result<String> {
        // url http://photos.example/
        let metadata = "Upload-Metadata: url aHR0cDovL3Bob3Rvcy5leGFtcGxlLw==\r\n";
        let length = format!("Upload-Length: {}\r\n{metadata}", body.len());
        let (status, head) = self.ask("POST /files", &length, &[])?;
        ensure!(status == 201, "POST is answered with {status}");
        let location = field(&head, "location").context("no Location")?;
        let path = location.split_once("://").map_or(location, |(_, rest)| {
            rest.find('/').map_or("/", |slash| &rest[slash..])
        });
        let path = path.to_owned();
        let fields = "Upload-Offset: 0\r\nContent-Type: application/offset+octet-stream\r\n";
        let (status, head) = self.ask(&format!("PATCH {path}"), fields, body)?;
        let has = field(&head, "upload-offset").unwrap_or_default();
        ensure!(
            status == 204 && has == body.len().to_string(),
            "PATCH is answered with {status}, {has:?}"
        );
        Ok(path)
    }

    fn ask(&mut self, what: &str, fields: &str, body: &[u8]) -> Result<(u16, String)> {
        let head = format!(
            "{what} HTTP/1.1\r\nHost: bench\r\nTus-Resumable: 1.0.0\r\n{fields}Content-Length: {}\r\n\r\n",
            body.len()
        );
        let stream = self.0.get_mut();
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let mut answer = String::new();
        while !answer.ends_with("\r\n\r\n") {
            let read = self.0.read_line(&mut answer)?;
            ensure!(read > 0, "no whole answer: {answer:?}");
        }
        let length = field(&answer, "content-length").and_then(|length| length.parse().ok());
        let mut rest = vec![0; length.unwrap_or(0)];
        self.0.read_exact(&mut rest)?;
        let status = answer
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        Ok((status.context("no status")?, answer))
    }
}

fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let mut named = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
    named.next().map(|(_, value)| value.trim())
}

/// Ours on a file, with a link that is never cheap: nothing is sent meanwhile.
fn ours(root: &Path, folder: &Path) -> Result<Server> {
    let disk = folder.join("disk");
    write_through(&disk)?;
    let config = format!(
        "service = {{ device = {:?}, size-mib = {DISK_MIB}, timetable = [\"00:00 price=9\"] }}",
        disk.display().to_string()
    );
    let mut command = Command::new(root.join("target/release/uploader"));
    command
        .env("CONFIG", config)
        .env("HTTP_ADDRESS", "127.0.0.1:0")
        .env("HTTPS_ADDRESS", "off")
        .env("MANAGEMENT_ADDRESS", "127.0.0.1:0");
    started(&mut command, "uploader: http on ")
}

/// Makes a disk of zeros, without a hole: what a file system does to fill one no device has to.
fn write_through(disk: &Path) -> Result<()> {
    // What an interrupted run left would be taken for durable uploads.
    let mut file = File::create(disk)?;
    let zeros = vec![0; 1 << 20];
    for _ in 0..DISK_MIB {
        file.write_all(&zeros)?;
    }
    Ok(file.sync_all()?)
}

fn peer(folder: &Path, stored: &Path) -> Result<Server> {
    let program = folder.join("peer.mjs");
    fs::write(&program, PEER_PROGRAM)?;
    started(
        Command::new("node").arg(&program).arg(stored),
        "listening on ",
    )
}

/// Waits for the line that says where it listens.
fn started(command: &mut Command, line_start: &str) -> Result<Server> {
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut process = spawned.with_context(|| format!("cannot start {command:?}"))?;
    let output = process.stdout.take().context("no output")?;
    let mut server = Server {
        process,
        output: BufReader::new(output),
        address: String::new(),
    };
    let mut line = String::new();
    while server.output.read_line(&mut line)? > 0 {
        if let Some(address) = line.strip_prefix(line_start) {
            address.trim().clone_into(&mut server.address);
            return Ok(server);
        }
        line.clear();
    }
    bail!("it ended before it listened: {command:?}")
}

fn install(folder: &PathBuf) -> Result<()> {
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-save", "--ignore-scripts"]);
    npm.args(PACKAGES).arg("--prefix").arg(folder);
    succeed(&mut npm, "install the peer (apt-get install nodejs npm)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_whatever_their_case() {
        let head = "HTTP/1.1 201 Created\r\nLocation:  http://a:1/files/x\r\n\r\n";
        assert_eq!(field(head, "location"), Some("http://a:1/files/x"));
        assert_eq!(field(head, "upload-offset"), None);
    }
}
