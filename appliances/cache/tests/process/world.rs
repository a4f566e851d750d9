//! A cache as a process, clients, and an origin that does what the test says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// Nothing here takes this long; what hangs fails the test.
pub(super) const LIMIT: Duration = Duration::from_secs(30);

/// A cache in front of an origin, both on ports of their own.
pub(super) struct World {
    process: Child,
    _lines: BufReader<ChildStdout>,
    pub(super) http: String,
    pub(super) https: String,
    pub(super) management: String,
    pub(super) origin: TcpListener,
}

impl Drop for World {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl World {
    pub(super) fn start() -> Self {
        Self::start_with("")
    }

    /// With more settings of the service.
    pub(super) fn start_with(settings: &str) -> Self {
        let origin = TcpListener::bind("127.0.0.1:0").expect("a port");
        Self::in_front_of(origin, settings)
    }

    pub(super) fn in_front_of(origin: TcpListener, settings: &str) -> Self {
        let address = origin.local_addr().expect("an address");
        let appliance = "http = '127.0.0.1:0'\nhttps = 'off'";
        Self::run(
            origin,
            appliance,
            &format!("origin = '{address}'\n{settings}"),
        )
    }

    /// With `[appliance]` but for the management's address, and `[service]`.
    pub(super) fn run(origin: TcpListener, appliance: &str, service: &str) -> Self {
        let document =
            format!("[appliance]\nmanagement = '127.0.0.1:0'\n{appliance}\n[service]\n{service}\n");
        let mut process = Command::new(env!("CARGO_BIN_EXE_cache"))
            .env_clear()
            .env("CONFIG", document)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(process.stdout.take().expect("a pipe"));
        let has_http = !appliance.contains("http = 'off'");
        let has_https = !appliance.contains("https = 'off'");
        let [mut management, mut http, mut https] = [const { String::new() }; 3];
        while has_http && http.is_empty() || has_https && https.is_empty() {
            let mut line = String::new();
            let read = lines.read_line(&mut line).expect("a line");
            assert_ne!(read, 0, "no listener");
            for (sign, address) in [
                ("cache: management on ", &mut management),
                ("cache: http on ", &mut http),
                ("cache: https on ", &mut https),
            ] {
                if let Some(told) = line.strip_prefix(sign) {
                    told.trim().clone_into(address);
                }
            }
        }
        Self {
            process,
            _lines: lines,
            http,
            https,
            management,
            origin,
        }
    }

    /// Kills the cache, and starts another in its place.
    pub(super) fn restart(mut self, settings: &str) -> Self {
        self.process.kill().expect("it runs");
        let origin = self.origin.try_clone().expect("a clone");
        drop(self);
        Self::in_front_of(origin, settings)
    }

    /// Asks the management listener.
    pub(super) fn order(&self, path: &str, body: &str) -> String {
        let mut client = TcpStream::connect(&self.management).expect("a connection");
        client.set_read_timeout(Some(LIMIT)).expect("a limit");
        let method = if body.is_empty() { "GET" } else { "POST" };
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        client.write_all(request.as_bytes()).expect("it is sent");
        all(client)
    }

    /// Asks the cache, on a connection that ends with the answer.
    pub(super) fn ask(&self, path: &str, fields: &str) -> TcpStream {
        let line = format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n");
        self.send(&format!("{line}Connection: close\r\n{fields}\r\n"))
    }

    pub(super) fn send(&self, request: &str) -> TcpStream {
        let mut client = TcpStream::connect(&self.http).expect("a connection");
        client.set_read_timeout(Some(LIMIT)).expect("a limit");
        client.write_all(request.as_bytes()).expect("it is sent");
        client
    }

    /// The origin's next request.
    pub(super) fn asked(&self) -> (TcpStream, String) {
        let mut connection = accepted(&self.origin);
        let head = head(&mut connection);
        (connection, head)
    }

    /// Has the origin answer the next request, which is the result.
    pub(super) fn answer(&self, answer: &str) -> String {
        let (mut connection, head) = self.asked();
        connection.write_all(answer.as_bytes()).expect("it is sent");
        head
    }

    /// Whether the origin was asked for nothing more.
    pub(super) fn origin_rests(&self) -> bool {
        self.origin.set_nonblocking(true).expect("a mode");
        let rests = self.origin.accept().is_err();
        self.origin.set_nonblocking(false).expect("a mode");
        rests
    }
}

/// The next connection to an origin.
pub(super) fn accepted(origin: &TcpListener) -> TcpStream {
    origin.set_nonblocking(true).expect("a mode");
    let until = Instant::now() + LIMIT;
    let connection = loop {
        match origin.accept() {
            Ok((connection, _)) => break connection,
            Err(_) => assert!(Instant::now() < until, "nobody asks the origin"),
        }
        std::thread::sleep(Duration::from_millis(1)); // std has no accept with a limit.
    };
    origin.set_nonblocking(false).expect("a mode");
    connection.set_nonblocking(false).expect("a mode");
    connection.set_read_timeout(Some(LIMIT)).expect("a limit");
    connection
}

/// Reads to the blank line, and not further.
pub(super) fn head(connection: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        connection.read_exact(&mut byte).expect("a head");
        bytes.push(byte[0]);
    }
    let text = String::from_utf8(bytes).expect("text");
    text.to_ascii_lowercase()
}

pub(super) fn exactly(connection: &mut TcpStream, length: usize) -> String {
    let mut bytes = vec![0; length];
    connection.read_exact(&mut bytes).expect("a body");
    String::from_utf8(bytes).expect("text")
}

pub(super) fn all(mut connection: TcpStream) -> String {
    let mut text = String::new();
    connection.read_to_string(&mut text).expect("an answer");
    text
}

/// An answer that is fresh for a minute.
pub(super) const FRESH: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nETag: \"1\"\r\n\
                     Connection: close\r\nContent-Length: 10\r\n\r\n0123456789";
