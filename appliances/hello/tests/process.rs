//! The service as an ordinary process: how it starts, answers and ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

/// Nothing here takes this long; a service that hangs fails the test.
const LIMIT: Duration = Duration::from_secs(60);

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hello"));
    command.env_clear().stdin(Stdio::null());
    command
}

/// A service on ports of its own.
struct Service {
    process: Child,
    lines: BufReader<ChildStdout>,
    http: String,
    https: String,
    management: String,
}

impl Service {
    fn start() -> Service {
        let mut process = program()
            .env("HTTP_ADDRESS", "127.0.0.1:0")
            .env("HTTPS_ADDRESS", "127.0.0.1:0")
            .env("MANAGEMENT_ADDRESS", "127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(process.stdout.take().expect("a pipe"));
        let greeting = line(&mut lines);
        assert!(greeting.starts_with("Hello from "), "{greeting}");
        let fingerprint = line(&mut lines);
        assert!(fingerprint.contains("sha256 fingerprint="), "{fingerprint}");
        let mut address = |protocol: &str| {
            let line = line(&mut lines);
            let found = line.strip_prefix(&format!("hello: {protocol} on "));
            found.expect("an address").to_owned()
        };
        let management = address("management");
        let (http, https) = (address("http"), address("https"));
        Service {
            process,
            lines,
            http,
            https,
            management,
        }
    }

    fn connect(&self) -> TcpStream {
        connect(&self.http)
    }

    fn terminate(&mut self) {
        let kill = Command::new("kill")
            .arg(self.process.id().to_string())
            .status();
        assert!(kill.expect("kill starts").success());
        // Refusals are told before.
        loop {
            let line = line(&mut self.lines);
            assert!(!line.is_empty(), "it ended without a word");
            if line.starts_with("hello: draining ") {
                return;
            }
            assert!(line.starts_with("hello: refused reason="), "{line}");
        }
    }

    fn wait(mut self) -> (ExitStatus, String) {
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).expect("text");
        (self.process.wait().expect("an end"), rest)
    }
}

/// A test that fails leaves no process.
impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    stream
}

fn line(lines: &mut impl BufRead) -> String {
    let mut line = String::new();
    lines.read_line(&mut line).expect("a line");
    line.trim_end().to_owned()
}

/// Everything until the service ends the connection.
fn rest(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    text
}

#[track_caller]
fn check(service: &Service, request: &str, status: u16, text: &str) {
    let answer = ask(&service.http, request);
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.ends_with(text),
        "{answer}"
    );
}

fn ask(address: &str, request: &str) -> String {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).expect("sent");
    rest(stream)
}

/// Those who watch see what the clients caused.
#[test]
fn it_is_watched_at_a_place_of_its_own() {
    let service = Service::start();
    check(
        &service,
        "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        404,
        "/ready\n",
    );
    for (path, found) in [
        ("/health", "alive\n"),
        ("/ready", "ready\n"),
        (
            "/metrics",
            "\nedgecloud_refusals_total{reason=\"no-such-path\"} 1\n",
        ),
        (
            "/metrics",
            "\nedgecloud_answers_total{listener=\"http\",class=\"4xx\"} 1\n",
        ),
    ] {
        let answer = ask(
            &service.management,
            &format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
        );
        assert!(
            answer.starts_with("HTTP/1.1 200 OK") && answer.contains(found),
            "{answer}"
        );
    }
}

#[test]
fn it_answers_and_ends_when_asked() {
    let mut service = Service::start();
    let head = "Host: a\r\nConnection: close\r\n";
    let greeting = "You are 127.0.0.1, and you asked 127.0.0.1.\n";
    check(
        &service,
        &format!("GET / HTTP/1.1\r\n{head}\r\n"),
        200,
        greeting,
    );
    check(
        &service,
        &format!("HEAD / HTTP/1.1\r\n{head}\r\n"),
        200,
        "\r\n\r\n",
    );
    check(
        &service,
        &format!("GET /x HTTP/1.1\r\n{head}\r\n"),
        404,
        "/ready\n",
    );
    let large = format!("POST / HTTP/1.1\r\n{head}Content-Length: 99999\r\n\r\n");
    check(&service, &large, 413, "broke off\n");
    let many = "X: y\r\n".repeat(65);
    check(
        &service,
        &format!("GET / HTTP/1.1\r\n{head}{many}\r\n"),
        431,
        "\r\n\r\n",
    );
    service.terminate();
    let (status, rest) = service.wait();
    assert!(
        status.success() && rest.contains("0 connections cut"),
        "{status} {rest}"
    );
}

/// A request whose body is on its way when the service is asked to end is answered; who only holds
/// a connection is not waited for.
#[test]
fn a_request_in_flight_is_answered() {
    let mut service = Service::start();
    // Nothing was said on these two, and on the one with TLS hands are not shaken.
    let (idle, silent) = (service.connect(), connect(&service.https));
    let mut stream = service.connect();
    let head = b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    stream.write_all(head).expect("sent");
    let mut lines = BufReader::new(stream.try_clone().expect("a second handle"));
    // Now the service waits for the body.
    assert_eq!(line(&mut lines), "HTTP/1.1 100 Continue");
    service.terminate();
    assert_eq!((rest(idle), rest(silent)), (String::new(), String::new()));
    stream.write_all(b"ab").expect("sent");
    let mut answer = String::new();
    lines.read_to_string(&mut answer).expect("an answer");
    assert!(
        answer.contains("HTTP/1.1 200 OK") && answer.contains("Hello from"),
        "{answer}"
    );
    let (status, rest) = service.wait();
    assert!(
        status.success() && rest.contains("0 connections cut"),
        "{status} {rest}"
    );
}

#[test]
fn settings_that_make_no_sense_are_explained() {
    let output = program()
        .env("HTTP_ADDRESS", "eighty")
        .output()
        .expect("it starts");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("HTTP_ADDRESS=eighty is no address"), "{said}");
}

#[test]
fn an_address_in_use_is_explained() {
    let service = Service::start();
    let output = program()
        .env("HTTP_ADDRESS", &service.http)
        .env("HTTPS_ADDRESS", "127.0.0.1:0")
        .output()
        .expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("choose another address with HTTP_ADDRESS"),
        "{said}"
    );
}
