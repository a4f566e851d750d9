//! The cache as an ordinary process, between clients and an origin that does what the test says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// Nothing here takes this long; what hangs fails the test.
const LIMIT: Duration = Duration::from_secs(60);

/// A cache in front of an origin, both on ports of their own.
struct World {
    process: Child,
    _lines: BufReader<ChildStdout>,
    http: String,
    management: String,
    origin: TcpListener,
}

impl Drop for World {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl World {
    fn start() -> Self {
        Self::start_with("")
    }

    /// With more settings of the service.
    fn start_with(settings: &str) -> Self {
        let origin = TcpListener::bind("127.0.0.1:0").expect("a port");
        Self::in_front_of(origin, settings)
    }

    fn in_front_of(origin: TcpListener, settings: &str) -> Self {
        let address = origin.local_addr().expect("an address");
        let document = format!(
            "[appliance]\nhttp = \"127.0.0.1:0\"\nhttps = \"off\"\nmanagement = \"127.0.0.1:0\"\n\
             [service]\norigin = \"{address}\"\n{settings}\n"
        );
        let mut process = Command::new(env!("CARGO_BIN_EXE_cache"))
            .env_clear()
            .env("CONFIG", document)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(process.stdout.take().expect("a pipe"));
        let mut management = String::new();
        let http = loop {
            let mut line = String::new();
            let read = lines.read_line(&mut line).expect("a line");
            assert_ne!(read, 0, "no listener");
            if let Some(address) = line.strip_prefix("cache: management on ") {
                management = address.trim().to_owned();
            }
            if let Some(address) = line.strip_prefix("cache: http on ") {
                break address.trim().to_owned();
            }
        };
        Self {
            process,
            _lines: lines,
            http,
            management,
            origin,
        }
    }

    /// Kills the cache, and starts another in its place.
    fn restart(mut self, settings: &str) -> Self {
        self.process.kill().expect("it runs");
        let origin = self.origin.try_clone().expect("a clone");
        drop(self);
        Self::in_front_of(origin, settings)
    }

    /// Asks the management listener.
    fn order(&self, path: &str, body: &str) -> String {
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
    fn ask(&self, path: &str, fields: &str) -> TcpStream {
        let line = format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n");
        self.send(&format!("{line}Connection: close\r\n{fields}\r\n"))
    }

    fn send(&self, request: &str) -> TcpStream {
        let mut client = TcpStream::connect(&self.http).expect("a connection");
        client.set_read_timeout(Some(LIMIT)).expect("a limit");
        client.write_all(request.as_bytes()).expect("it is sent");
        client
    }

    /// The origin's next request.
    fn asked(&self) -> (TcpStream, String) {
        let (mut connection, _) = self.origin.accept().expect("a connection");
        connection.set_read_timeout(Some(LIMIT)).expect("a limit");
        let head = head(&mut connection);
        (connection, head)
    }

    /// Has the origin answer the next request, which is the result.
    fn answer(&self, answer: &str) -> String {
        let (mut connection, head) = self.asked();
        connection.write_all(answer.as_bytes()).expect("it is sent");
        head
    }

    /// Whether the origin was asked for nothing more.
    fn origin_rests(&self) -> bool {
        self.origin.set_nonblocking(true).expect("a mode");
        let rests = self.origin.accept().is_err();
        self.origin.set_nonblocking(false).expect("a mode");
        rests
    }
}

/// Reads to the blank line, and not further.
fn head(connection: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        connection.read_exact(&mut byte).expect("a head");
        bytes.push(byte[0]);
    }
    let text = String::from_utf8(bytes).expect("text");
    text.to_ascii_lowercase()
}

fn exactly(connection: &mut TcpStream, length: usize) -> String {
    let mut bytes = vec![0; length];
    connection.read_exact(&mut bytes).expect("a body");
    String::from_utf8(bytes).expect("text")
}

fn all(mut connection: TcpStream) -> String {
    let mut text = String::new();
    connection.read_to_string(&mut text).expect("an answer");
    text
}

const FRESH: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nETag: \"1\"\r\n\
                     Connection: close\r\nContent-Length: 10\r\n\r\n0123456789";

#[test]
fn joiners_read_what_has_arrived_while_one_request_is_under_way() {
    let world = World::start();
    let mut first = world.ask("/live", "");
    let (mut origin, _) = world.asked();
    let half = FRESH.len() - 5;
    origin.write_all(&FRESH.as_bytes()[..half]).expect("half");
    assert!(head(&mut first).contains("fwd=uri-miss; stored"));
    assert_eq!(exactly(&mut first, 5), "01234");
    let mut joiners: Vec<_> = (0..20).map(|_| world.ask("/live", "")).collect();
    for joiner in &mut joiners {
        assert!(head(joiner).starts_with("http/1.1 200"));
        assert_eq!(exactly(joiner, 5), "01234", "before the rest has come");
    }
    let mut range = world.ask("/live", "Range: bytes=3-6\r\n");
    assert!(head(&mut range).contains("content-range: bytes 3-6/10"));
    assert!(world.origin_rests());
    origin.write_all(b"56789").expect("the rest");
    for reader in joiners.into_iter().chain([first]) {
        assert_eq!(all(reader), "56789");
    }
    assert_eq!(all(range), "3456");
}

#[test]
fn a_crowd_waits_for_one_head() {
    let world = World::start();
    let first = world.ask("/crowd", "");
    let (mut origin, _) = world.asked();
    let crowd: Vec<_> = (0..20).map(|_| world.ask("/crowd", "")).collect();
    origin.write_all(FRESH.as_bytes()).expect("an answer");
    for client in crowd.into_iter().chain([first]) {
        assert!(all(client).ends_with("0123456789"));
    }
    assert!(world.origin_rests());
}

#[test]
fn what_broke_off_is_never_served_again() {
    let world = World::start();
    let mut client = world.ask("/torn", "");
    world.answer(&FRESH[..FRESH.len() - 3]);
    head(&mut client);
    let mut torn = Vec::new();
    // The client is told by an early end, or by a reset.
    let _ = client.read_to_end(&mut torn);
    assert!(torn.len() < 10);
    let again = world.ask("/torn", "");
    world.answer(FRESH);
    assert!(all(again).ends_with("\r\n\r\n0123456789"));
}

#[test]
fn an_origin_that_is_gone_is_outlived_where_allowed() {
    let world = World::start();
    let check = |path: &str, directives: &str, wanted: &str| {
        let client = world.ask(path, "");
        world.answer(&format!(
            "HTTP/1.1 200 OK\r\nAge: 50\r\nCache-Control: {directives}\r\nETag: \"1\"\r\n\
             Connection: close\r\nContent-Length: 2\r\n\r\nok"
        ));
        all(client);
        let again = world.ask(path, "");
        let (_, asked) = world.asked();
        assert!(asked.contains("if-none-match: \"1\""), "{asked}");
        let answer = all(again);
        assert!(answer.starts_with(wanted), "{directives}: {answer}");
    };
    check("/may", "max-age=10", "HTTP/1.1 200");
    check("/must", "max-age=10, must-revalidate", "HTTP/1.1 502");
}

#[test]
fn a_client_cannot_choose_what_others_get() {
    let world = World::start();
    let pretends = "X-Forwarded-Host: evil.example\r\nX-Original-URL: /evil\r\n";
    let client = world.ask("/", pretends);
    let sent = world.answer(FRESH);
    assert!(sent.contains("host: a.example"), "{sent}");
    assert!(!sent.contains("evil"), "{sent}");
    all(client);
    for bad in [
        "GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n",
        "GET http://b.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a.example\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: +1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example\r\nA: b\r\n folded: c\r\n\r\n",
    ] {
        let answer = head(&mut world.send(bad));
        assert!(answer.starts_with("http/1.1 400"), "{bad:?}: {answer}");
    }
    assert!(world.origin_rests());
}

/// An answer with a tag.
fn tagged(tag: &str) -> String {
    FRESH.replace("ETag", &format!("Cache-Tag: {tag}\r\nETag"))
}

#[test]
fn a_disk_outlasts_a_kill_and_what_was_purged_stays_away() {
    let disk = tempfile::NamedTempFile::new().expect("a file");
    disk.as_file().set_len(4 << 20).expect("its length");
    let settings = format!("disk = {:?}", disk.path());
    let mut world = World::start_with(&settings);
    for (path, tag) in [("/a", "one"), ("/b", "two"), ("/c", "one"), ("/d/e", "two")] {
        let client = world.ask(path, "");
        world.answer(&tagged(tag));
        assert!(all(client).ends_with("0123456789"));
    }
    for (orders, wanted) in [
        ("tag one", "200"),
        ("prefix http://a.example/d/", "200"),
        ("everything", "400"),
    ] {
        let said = world.order("/purge", orders);
        assert!(said.starts_with(&format!("HTTP/1.1 {wanted}")), "{said}");
    }
    for _ in 0..2 {
        let hit = all(world.ask("/b", ""));
        assert!(
            hit.contains("edgecloud; hit") && hit.ends_with("0123456789"),
            "{hit}"
        );
        let part = all(world.ask("/b", "Range: bytes=2-4\r\n"));
        assert!(
            part.starts_with("HTTP/1.1 206") && part.ends_with("234"),
            "{part}"
        );
        for path in ["/a", "/c", "/d/e"] {
            let client = world.ask(path, "");
            world.answer(&FRESH.replace("max-age=60", "no-store"));
            assert!(all(client).contains("fwd=uri-miss"), "{path}");
        }
        assert!(world.origin_rests());
        world = world.restart(&settings);
    }
}

#[test]
fn what_is_under_way_when_it_is_purged_is_not_kept() {
    let world = World::start();
    let first = world.ask("/a", "");
    let (mut origin, _) = world.asked();
    world.order("/purge", "url http://a.example/a");
    origin.write_all(FRESH.as_bytes()).expect("an answer");
    assert!(all(first).contains("detail=purged"));
    let second = world.ask("/a", "");
    world.answer(FRESH);
    assert!(all(second).contains("fwd=uri-miss; stored"));
}

#[test]
fn what_is_prefetched_is_there_and_the_page_shows_it() {
    let world = World::start();
    let said = world.order(
        "/prefetch",
        "http://a.example/premiere\nhttp://A.example/<b>",
    );
    assert!(said.starts_with("HTTP/1.1 400"), "{said}");
    let said = world.order(
        "/prefetch",
        "http://a.example/premiere\nhttp://A.example/second",
    );
    assert!(said.starts_with("HTTP/1.1 202"), "{said}");
    assert!(world.answer(FRESH).starts_with("get /premiere"));
    assert!(world.answer(FRESH).starts_with("get /second"));
    assert!(all(world.ask("/premiere", "")).contains("edgecloud; hit"));
    let page = world.order("/", "");
    assert!(page.contains("http://a.example/premiere"), "{page}");
    assert!(page.contains("33.3 %</b> of 3 requests"), "{page}");
}

#[test]
fn that_nothing_is_there_is_kept_as_long_as_told() {
    let world = World::start_with("negative-seconds = 60");
    let missing = "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno";
    let client = world.ask("/missing", "");
    world.answer(missing);
    assert!(all(client).starts_with("HTTP/1.1 404"));
    let again = all(world.ask("/missing", ""));
    assert!(
        again.starts_with("HTTP/1.1 404") && again.contains("edgecloud; hit"),
        "{again}"
    );
    assert!(world.origin_rests());
}

#[test]
fn what_outgrows_the_cache_is_passed_on_whole_and_not_kept() {
    let world = World::start_with("memory-mib = 4\nobject-mib = 1");
    let piece = "0123456789abcdef".repeat(4096);
    for _ in 0..2 {
        let mut client = world.ask("/film", "");
        let (mut origin, _) = world.asked();
        let piece = piece.clone();
        let sender = std::thread::spawn(move || {
            let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nConnection: close\r\n\r\n";
            origin.write_all(head.as_bytes()).expect("a head");
            (0..80).for_each(|_| origin.write_all(piece.as_bytes()).expect("a piece"));
        });
        assert!(head(&mut client).contains("fwd=uri-miss"));
        let body = all(client);
        // In chunks, as its length is not known.
        let bytes = body.len();
        assert!((80 * 65536..81 * 65536).contains(&bytes), "{bytes} bytes");
        assert!(body.ends_with("0\r\n\r\n"), "it ends before its end");
        sender.join().expect("all was taken");
    }
}
