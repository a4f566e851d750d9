//! Free services by name: what the portal carries on, and what it does not. The service has another address of
//! the loopback network, and the port of the portal's listener, as a service has that a client meant.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use auth_proxy::limits::{CARRIED_PER_CLIENT_MAX, FREE_KNOWN_TIME_MAX};
use serde_json::{Value, json};

use crate::controller::{Gate, start};
use crate::{Directory, Hotspot, LIMIT, check};

const SERVICE: Ipv4Addr = Ipv4Addr::new(127, 0, 2, 7);

/// Somebody pays for these names.
fn free(version: u8, names: &[&str], ports: &[u16]) -> Value {
    let tcp: Vec<_> = ports.iter().map(|port| (port, port)).collect();
    let services = names.iter().map(|name| {
        json!({"name": name, "service": "*.chat.example", "payer": "8.0",
               "clients": "127.0.1.0/24", "tcp": tcp, "addresses": [SERVICE]})
    });
    let services: Vec<Value> = services.collect();
    let payers = if names.is_empty() {
        vec![]
    } else {
        vec!["8.0"]
    };
    json!({"version": version.to_string(), "services": services, "payers": payers})
}

/// A portal, for whose clients `www.chat.example` is free, and its controller.
fn site(directory: &Directory) -> (Gate, Hotspot) {
    let gate = Gate::default();
    let hotspot = start(directory, gate.serve());
    let ports = [hotspot.http.port(), hotspot.https.port()];
    gate.free(Some(free(1, &["www.chat.example"], &ports)));
    (gate, hotspot)
}

/// The service, at the port of a listener of the portal's.
fn service(port: u16) -> TcpListener {
    TcpListener::bind((SERVICE, port)).expect("an address of the loopback network")
}

fn accept(service: &TcpListener) -> TcpStream {
    let (stream, from) = service.accept().expect("a connection");
    assert_eq!(from.ip(), Ipv4Addr::LOCALHOST, "the portal's own address");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    stream
}

fn read(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).expect("as many bytes");
    bytes
}

/// Asks until it is so.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !so() {
        assert!(Instant::now() < deadline, "never so: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Hotspot {
    fn host(&self, name: &str) -> String {
        format!("{name}:{}", self.http.port())
    }

    fn is_counted(&self, line: &str) -> bool {
        self.metrics().contains(&format!("{line}\n"))
    }
}

#[test]
fn a_connection_is_the_services_whole_to_both_its_ends() {
    let directory = Directory::new("carried");
    let (_gate, hotspot) = site(&directory);
    let service = service(hotspot.http.port());
    let mut client = hotspot.connect(1);
    let host = hotspot.host("WWW.Chat.example");
    let first = format!("POST /a HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\n\r\nbo");
    // The head comes in two parts, the body in two more.
    let (head, rest) = first.split_at(20);
    client.write_all(head.as_bytes()).expect("it is sent");
    client.write_all(rest.as_bytes()).expect("it is sent");
    let mut server = accept(&service);
    assert_eq!(read(&mut server, first.len()), first.as_bytes());
    // Later requests go there as well, whatever they name.
    let second = "dyGET / HTTP/1.1\r\nHost: bank.example\r\n\r\n";
    client.write_all(second.as_bytes()).expect("it is sent");
    assert_eq!(read(&mut server, second.len()), second.as_bytes());
    // One end of the connection ends, and the other one goes on, with more than any buffer holds.
    client.shutdown(Shutdown::Write).expect("it is open");
    assert_eq!(server.read(&mut [0]).expect("an end"), 0);
    let answer = vec![7; 3_000_000];
    std::thread::scope(|scope| {
        scope.spawn(|| server.write_all(&answer).expect("it is taken"));
        assert!(read(&mut client, answer.len()) == answer);
    });
    server.shutdown(Shutdown::Write).expect("it is open");
    assert_eq!(client.read(&mut [0]).expect("an end"), 0);
    let (sent, received) = (first.len() + second.len(), answer.len());
    let bytes = "edgecloud_auth_carried_bytes_total{service=\"*.chat.example\",direction";
    assert!(hotspot.is_counted(&format!("{bytes}=\"sent\"}} {sent}")));
    assert!(hotspot.is_counted(&format!("{bytes}=\"received\"}} {received}")));
    assert!(hotspot.is_counted("edgecloud_auth_carried_total{service=\"*.chat.example\"} 1"));
    until("its place is free", || {
        hotspot.is_counted("edgecloud_auth_carried_open 0")
    });
}

#[test]
fn what_is_not_free_beyond_doubt_finds_the_portal() {
    let directory = Directory::new("not-carried");
    let (gate, hotspot) = site(&directory);
    let service = service(hotspot.http.port());
    service.set_nonblocking(true).expect("a socket");
    let host = hotspot.host("www.chat.example");
    let lines = |lines: &str| format!("GET / HTTP/1.1\r\nConnection: close\r\n{lines}\r\n");
    let requests = [
        lines(&format!("Host: {}\r\n", hotspot.host("bank.example"))),
        lines(&format!("Host: {}\r\n", hotspot.host("x.www.chat.example"))),
        lines(&format!("Host: {}\r\n", hotspot.host("chat.example"))),
        // Port 80 is another one here.
        lines("Host: www.chat.example:80\r\n"),
        format!("GET http://bank.example/ HTTP/1.1\r\nConnection: close\r\nHost: {host}\r\n\r\n"),
    ];
    for request in requests {
        let told = hotspot.send(1, &request);
        check(&told, "302", &["http://portal.example/"]);
    }
    // Two hosts are none.
    let two = lines(&format!("Host: {host}\r\nHost: {host}\r\n"));
    let told = hotspot.send(1, &two);
    assert!(
        told.starts_with("HTTP/1.1 302") || told.starts_with("HTTP/1.1 400"),
        "{told}"
    );
    // Nor is it free for clients of another range.
    let other = json!([{"name": "www.chat.example", "service": "*.chat.example", "payer": "8.0",
        "clients": "127.0.1.2/32", "tcp": [[1, 65535]], "addresses": [SERVICE]}]);
    let other = json!({"version": "2", "services": other, "payers": ["8.0"]});
    gate.free(Some(other));
    check(&hotspot.get(1, &host, "/"), "302", &[]);
    let nobody = service.accept().expect_err("nobody was let there");
    assert_eq!(nobody.kind(), ErrorKind::WouldBlock);
}

#[test]
fn what_is_carried_ends_when_nobody_pays_any_more() {
    let directory = Directory::new("withdrawn");
    let (gate, hotspot) = site(&directory);
    let service = service(hotspot.http.port());
    let host = hotspot.host("www.chat.example");
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let mut client = hotspot.connect(1);
    client.write_all(request.as_bytes()).expect("it is sent");
    let mut server = accept(&service);
    read(&mut server, request.len());
    server.write_all(b"some").expect("it is taken");
    assert_eq!(read(&mut client, 4), b"some");
    // That the name has no address for a while ends nothing.
    let mut without = free(2, &["www.chat.example"], &[hotspot.http.port()]);
    without["services"] = json!([]);
    gate.free(Some(without));
    server.write_all(b"more").expect("it is taken");
    assert_eq!(read(&mut client, 4), b"more");
    check(&hotspot.send(1, &request), "302", &[]);
    gate.free(Some(free(3, &[], &[])));
    for end in [&mut client, &mut server] {
        let error = end.read(&mut [0]).expect_err("it is cut");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    check(&hotspot.send(1, &request), "302", &[]);
}

#[test]
fn nothing_is_carried_on_what_the_host_said_long_ago() {
    let directory = Directory::new("stale");
    let (gate, hotspot) = site(&directory);
    let service = service(hotspot.http.port());
    service.set_nonblocking(true).expect("a socket");
    gate.free(None);
    std::thread::sleep(FREE_KNOWN_TIME_MAX);
    let told = hotspot.get(1, &hotspot.host("www.chat.example"), "/");
    check(&told, "302", &[]);
    assert!(hotspot.is_counted("edgecloud_refusals_total{reason=\"free-unknown\"} 1"));
    let nobody = service.accept().expect_err("nobody was let there");
    assert_eq!(nobody.kind(), ErrorKind::WouldBlock);
}

#[test]
fn one_client_has_so_many_connections_and_a_service_that_is_away_is_told_of() {
    let directory = Directory::new("many");
    let (_gate, hotspot) = site(&directory);
    let host = hotspot.host("www.chat.example");
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let mut away = hotspot.connect(1);
    away.write_all(request.as_bytes()).expect("it is sent");
    let error = away.read(&mut [0]).expect_err("it is cut");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(hotspot.is_counted("edgecloud_refusals_total{reason=\"free-unreachable\"} 1"));
    let service = service(hotspot.http.port());
    let held = (0..CARRIED_PER_CLIENT_MAX).map(|_| {
        let mut client = hotspot.connect(1);
        client.write_all(request.as_bytes()).expect("it is sent");
        (client, accept(&service))
    });
    let mut held: Vec<_> = held.collect();
    check(&hotspot.send(1, &request), "302", &[]);
    assert!(hotspot.is_counted("edgecloud_refusals_total{reason=\"free-too-many\"} 1"));
    // Another client is not the worse for it, nor are those who log in.
    let mut other = hotspot.connect(2);
    other.write_all(request.as_bytes()).expect("it is sent");
    let _others = accept(&service);
    check(&hotspot.get(1, "portal.example", "/"), "200", &[]);
    held.pop();
    until("there is a place again", || {
        let open = format!("edgecloud_auth_carried_open {}", held.len() + 1);
        hotspot.is_counted(&open)
    });
    let mut again = hotspot.connect(1);
    again.write_all(request.as_bytes()).expect("it is sent");
    accept(&service);
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Curl, which asks for a name over TLS at the portal's address, and believes the service's certificate only.
fn curl(directory: &Directory, address: SocketAddr, name: &str) -> (Option<i32>, String) {
    let port = address.port();
    let output = Command::new("curl")
        .args([
            "-sS",
            "--max-time",
            "60",
            "--interface",
            "127.0.1.1",
            "--cacert",
        ])
        .arg(directory.0.join("cert.pem"))
        .args(["--resolve", &format!("{name}:{port}:{}", address.ip())])
        .arg(format!("https://{name}:{port}/"))
        .output()
        .expect("curl");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.code(), said)
}

#[test]
fn a_handshake_is_the_services_and_nobody_looks_into_it() {
    let directory = Directory::new("handshake");
    let (_gate, hotspot) = site(&directory);
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ])
        .args([
            "-nodes", "-subj", "/CN=chat", "-keyout", "key.pem", "-out", "cert.pem",
        ])
        .args([
            "-addext",
            "subjectAltName=DNS:www.chat.example,DNS:bank.example",
        ])
        .current_dir(&directory.0)
        .stderr(Stdio::null())
        .status();
    assert!(made.expect("openssl").success());
    let accept = format!("{SERVICE}:{}", hotspot.https.port());
    let server = Command::new("openssl")
        .args(["s_server", "-www", "-cert", "cert.pem", "-key", "key.pem"])
        .args(["-accept", &accept])
        .current_dir(&directory.0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _server = Running(server.expect("openssl"));
    until("the service listens", || {
        TcpStream::connect(&accept).is_ok()
    });
    let (code, said) = curl(&directory, hotspot.https, "www.chat.example");
    assert!(
        code == Some(0) && said.contains("s_server"),
        "{code:?} {said}"
    );
    // Another name is reset, although the service has a certificate for it: 35 is a handshake that was cut.
    let (code, said) = curl(&directory, hotspot.https, "bank.example");
    assert!(code == Some(35), "{code:?} {said}");
    assert!(hotspot.is_counted("edgecloud_meant_for_others_total{listener=\"https\"} 1"));
    // And the portal's own is its own, with a certificate that curl does not believe here.
    let (code, said) = curl(&directory, hotspot.https, "portal.example");
    assert!(code == Some(60), "{code:?} {said}");
}
