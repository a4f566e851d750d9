//! The auth proxy as an ordinary process, with clients that are addresses of the loopback network.
//!
//! The operator's port is asked with curl, because it speaks TLS.

mod browser;
mod carried;
mod controller;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// Nothing here takes this long; what hangs fails the test.
const LIMIT: Duration = Duration::from_secs(60);
const TOKEN: &str = "a-token-of-this-test-alone";

/// A hotspot with a store of its own.
struct Hotspot {
    process: Child,
    _lines: BufReader<ChildStdout>,
    http: SocketAddr,
    https: SocketAddr,
    operator: String,
    management: String,
}

impl Drop for Hotspot {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("auth-proxy-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Hotspot {
    fn start(directory: &Directory, more: &str) -> Self {
        Self::start_with(directory, more, &[])
    }

    /// With further variables of the environment.
    fn start_with(directory: &Directory, more: &str, variables: &[(&str, &str)]) -> Self {
        let store = directory.0.join("store.redb");
        let document = format!(
            "[appliance]\nhttp = \"127.0.0.1:0\"\nhttps = \"127.0.0.1:0\"\nmanagement = \"127.0.0.1:0\"\n\
             [service]\nportal = \"http://portal.example/\"\nstore = \"{}\"\n\
             operator = \"127.0.0.1:0\"\n{more}",
            store.display()
        );
        let mut process = Command::new(env!("CARGO_BIN_EXE_auth-proxy"))
            .env_clear()
            .env("CONFIG", document)
            .env("OPERATOR_TOKEN", TOKEN)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(process.stdout.take().expect("a pipe"));
        let (mut http, mut https, mut operator, mut management) = (None, None, None, None);
        while http.is_none() || operator.is_none() {
            let mut line = String::new();
            let read = lines.read_line(&mut line).expect("a line");
            assert_ne!(read, 0, "no listener");
            let after = |what: &str| line.strip_prefix(what).map(|a| a.trim().to_owned());
            http = http.or(after("auth-proxy: http on "));
            https = https.or(after("auth-proxy: https on "));
            operator = operator.or(after("auth-proxy: operator on "));
            management = management.or(after("auth-proxy: management on "));
        }
        Self {
            process,
            _lines: lines,
            http: http.and_then(|a| a.parse().ok()).expect("an address"),
            https: https.and_then(|a| a.parse().ok()).expect("an address"),
            operator: operator.expect("an address"),
            management: management.expect("it comes first"),
        }
    }

    fn kill(mut self) {
        self.process.kill().expect("it ends");
        self.process.wait().expect("it has ended");
    }

    /// Sends a request as a client, and has the answer.
    fn send(&self, client: u8, request: &str) -> String {
        let mut stream = self.connect(client);
        stream.write_all(request.as_bytes()).expect("it is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    /// A connection of a client's to the portal, at the port where captured requests arrive.
    fn connect(&self, client: u8) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let from = SocketAddr::from((Ipv4Addr::new(127, 0, 1, client), 0));
        socket
            .bind(&from.into())
            .expect("an address of the loopback network");
        socket.connect(&self.http.into()).expect("a connection");
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(LIMIT)).expect("a limit");
        stream
    }

    fn get(&self, client: u8, host: &str, path: &str) -> String {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        self.send(client, &head)
    }

    fn post(&self, client: u8, path: &str, fields: &str, body: &str) -> String {
        let kind = "application/x-www-form-urlencoded";
        self.send(
            client,
            &format!(
                "POST {path} HTTP/1.1\r\nHost: portal.example\r\nConnection: close\r\n{fields}\
                 Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ),
        )
    }

    /// The field of a form on the front page.
    fn field(&self, client: u8) -> String {
        let page = self.get(client, "portal.example", "/");
        let (_, rest) = page.split_once("name=\"form\" value=\"").expect("a form");
        rest.split('"').next().expect("a value").to_owned()
    }

    fn redeem(&self, client: u8, code: &str) -> String {
        let field = self.field(client);
        self.post(client, "/voucher", "", &format!("form={field}&code={code}"))
    }

    /// What the operator's port answers, by curl.
    fn operator(&self, token: &str, arguments: &[&str], path: &str) -> String {
        let output = Command::new("curl")
            .args(["-sk", "--max-time", "60", "-w", "\n%{http_code}"])
            .args(arguments)
            .arg("-H")
            .arg(format!("Authorization: Bearer {token}"))
            .arg(format!("https://{}{path}", self.operator))
            .output()
            .expect("curl");
        String::from_utf8(output.stdout).expect("text")
    }

    /// What the management listener counts.
    fn metrics(&self) -> String {
        let mut stream = TcpStream::connect(&self.management).expect("a connection");
        stream.set_read_timeout(Some(LIMIT)).expect("a limit");
        let request = "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("it is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    fn vouchers(&self, order: &str) -> Vec<String> {
        let arguments = ["-H", "Content-Type: application/json", "-d", order];
        let answer = self.operator(TOKEN, &arguments, "/v1/vouchers");
        let (body, status) = answer.rsplit_once('\n').expect("a status");
        assert_eq!(status, "201", "{body}");
        let value: serde_json::Value = serde_json::from_str(body).expect("JSON");
        let codes = value["codes"].as_array().expect("codes").iter();
        codes
            .map(|code| code.as_str().expect("a code").to_owned())
            .collect()
    }

    fn sessions(&self) -> Vec<IpAddr> {
        let answer = self.operator(TOKEN, &[], "/v1/sessions");
        let (body, _) = answer.rsplit_once('\n').expect("a status");
        let value: serde_json::Value = serde_json::from_str(body).expect("JSON");
        let all = value["sessions"].as_array().expect("sessions").iter();
        let mut clients: Vec<IpAddr> = all
            .map(|s| {
                s["client"]
                    .as_str()
                    .expect("an address")
                    .parse()
                    .expect("one")
            })
            .collect();
        clients.sort();
        clients
    }
}

fn check(answer: &str, status: &str, parts: &[&str]) {
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {status}")),
        "{answer}"
    );
    for part in parts {
        assert!(answer.contains(part), "{part} is not in {answer}");
    }
}

#[test]
fn every_probe_finds_the_portal_until_the_client_is_let_in() {
    let directory = Directory::new("probes");
    let hotspot = Hotspot::start(&directory, "");
    let probes = [
        ("connectivitycheck.gstatic.com", "/generate_204", "204"),
        ("captive.apple.com", "/hotspot-detect.html", "200"),
        ("www.msftconnecttest.com", "/connecttest.txt", "200"),
        ("detectportal.firefox.com", "/canonical.html", "200"),
        ("network-test.debian.org", "/nm", "200"),
    ];
    let portal = "location: http://portal.example/\r\n";
    for (host, path, _) in probes {
        check(
            &hotspot.get(1, host, path),
            "302",
            &[portal, "connection: close"],
        );
    }
    let post =
        "POST / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    check(&hotspot.send(1, post), "511", &["http://portal.example/"]);

    let codes = hotspot.vouchers("{\"count\":1}");
    check(&hotspot.redeem(1, &codes[0]), "303", &["location: /"]);
    for (host, path, status) in probes {
        check(&hotspot.get(1, host, path), status, &[]);
    }
    check(
        &hotspot.get(1, "www.example", "/"),
        "503",
        &["http-equiv=\"refresh\""],
    );
    check(&hotspot.get(2, "www.example", "/"), "302", &[portal]);
}

#[test]
fn no_request_injects_a_header_or_leads_elsewhere() {
    let directory = Directory::new("injection");
    let hotspot = Hotspot::start(&directory, "");
    let portal = "location: http://portal.example/\r\n";
    for (host, path) in [
        ("evil.example", "//x@evil.example/%0d%0aSet-Cookie:a"),
        ("portal.example.evil.example", "/?to=http://evil.example/"),
        ("portal.example@evil.example", "/"),
    ] {
        let answer = hotspot.get(1, host, path);
        check(&answer, "302", &[portal]);
        assert!(!answer.to_lowercase().contains("set-cookie"), "{answer}");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        assert!(!body.contains("evil"), "{body}");
    }
    // After a login, too, the way leads to the front page, whatever the form says.
    let code = hotspot.vouchers("{\"count\":1}").remove(0);
    let field = hotspot.field(1);
    let form = format!("form={field}&code={code}&to=http://evil.example/");
    let answer = hotspot.post(1, "/voucher", "Referer: http://evil.example/\r\n", &form);
    check(&answer, "303", &["location: /\r\n"]);
    // Two fields of one name, and a line that begins nothing, are no requests.
    let smuggled = "GET / HTTP/1.1\r\nHost: a\r\nHost: portal.example\r\nConnection: close\r\n\r\n";
    assert!(
        !hotspot.send(2, smuggled).starts_with("HTTP/1.1 200"),
        "two hosts"
    );
    check(
        &hotspot.send(2, "GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
        "400",
        &[],
    );
}

#[test]
fn sessions_outlive_a_kill_and_a_voucher_is_for_its_devices() {
    let directory = Directory::new("kill");
    let hotspot = Hotspot::start(&directory, "");
    let codes = hotspot.vouchers("{\"count\":2,\"quota\":{\"seconds\":600,\"devices\":1}}");
    check(&hotspot.redeem(1, &codes[0].to_lowercase()), "303", &[]);
    check(&hotspot.redeem(2, &codes[1]), "303", &[]);
    let field = hotspot.field(1);
    hotspot.kill();

    let hotspot = Hotspot::start(&directory, "");
    let client = |number| IpAddr::from([127, 0, 1, number]);
    assert_eq!(hotspot.sessions(), [client(1), client(2)]);
    check(
        &hotspot.get(1, "portal.example", "/"),
        "200",
        &["You are online"],
    );
    // The page was open all the while.
    let gone = hotspot.post(1, "/logout", "", &format!("form={field}"));
    check(&gone, "303", &[]);
    assert_eq!(hotspot.sessions(), [client(2)]);
    // Another device of the same voucher takes its place.
    check(&hotspot.redeem(3, &codes[1]), "303", &[]);
    assert_eq!(hotspot.sessions(), [client(3)]);
    let deleted = hotspot.operator(TOKEN, &["-X", "DELETE"], "/v1/sessions/127.0.1.3");
    assert_eq!(deleted, "\n204");
    assert!(hotspot.sessions().is_empty());
}

#[test]
fn guesses_are_bounded_and_foreign_forms_refused() {
    let directory = Directory::new("guesses");
    let hotspot = Hotspot::start(&directory, "");
    let code = hotspot.vouchers("{\"count\":1}").remove(0);
    let field = hotspot.field(1);
    let form = format!("form={field}&code={code}");
    // Another client's field, none, and a page of another site.
    check(
        &hotspot.post(2, "/voucher", "", &form),
        "403",
        &["open for too long"],
    );
    check(
        &hotspot.post(1, "/voucher", "", &format!("code={code}")),
        "400",
        &[],
    );
    let foreign = "Sec-Fetch-Site: cross-site\r\n";
    check(&hotspot.post(1, "/voucher", foreign, &form), "403", &[]);
    check(
        &hotspot.post(1, "/voucher", "Accept-Language: de\r\n", "form=x&code=y"),
        "403",
        &["lang=\"de\""],
    );

    let wrong = format!("form={field}&code=00000-00000");
    let answers: Vec<String> = (0..12)
        .map(|_| hotspot.post(1, "/voucher", "", &wrong))
        .collect();
    check(&answers[0], "403", &["role=\"alert\"", "not known"]);
    check(&answers[11], "429", &["Too many attempts"]);
    check(&hotspot.redeem(2, &code), "303", &[]);
}

#[test]
fn the_operators_port_wants_its_token() {
    let directory = Directory::new("operator");
    let hotspot = Hotspot::start(&directory, "");
    let answer = hotspot.operator("a-token-of-somebody-else", &[], "/v1/sessions");
    assert!(answer.ends_with("\n401"), "{answer}");
    let page = hotspot.operator(TOKEN, &[], "/");
    assert!(
        page.contains("<h1>Hotspot</h1>") && page.ends_with("\n200"),
        "{page}"
    );
    let order = [
        "-H",
        "Content-Type: application/json",
        "-d",
        "{\"count\":0}",
    ];
    let refused = hotspot.operator(TOKEN, &order, "/v1/vouchers");
    assert!(refused.ends_with("\n400"), "{refused}");
    for _ in 0..12 {
        hotspot.operator("guess-guess-guess", &[], "/");
    }
    let locked = hotspot.operator(TOKEN, &[], "/");
    assert!(locked.ends_with("\n429"), "{locked}");
}

/// Settings of a subscriber `ada` whose password is `tea`.
fn ada() -> String {
    use argon2::password_hash::{PasswordHasher as _, SaltString};
    let salt = SaltString::encode_b64(b"somesaltsomesalt").expect("a salt");
    let params = argon2::Params::new(4096, 1, 1, None).expect("parameters");
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let hash = argon2.hash_password(b"tea", &salt).expect("a hash");
    format!("[[service.subscribers]]\nname = 'ada'\npassword = '{hash}'\n")
}

impl Hotspot {
    fn log_in(&self, client: u8, name: &str, password: &str) -> String {
        let field = self.field(client);
        let body = format!("form={field}&name={name}&password={password}");
        self.post(client, "/login", "", &body)
    }
}

#[test]
fn a_subscriber_logs_in_with_a_password() {
    let directory = Directory::new("subscriber");
    let hotspot = Hotspot::start(&directory, &ada());
    let wrong = ["are not right"];
    check(&hotspot.log_in(1, "ada", "coffee"), "403", &wrong);
    check(&hotspot.log_in(1, "eve", "tea"), "403", &wrong);
    check(&hotspot.log_in(1, "ada", "tea"), "303", &[]);
    check(
        &hotspot.get(1, "portal.example", "/"),
        "200",
        &["You are online"],
    );
}

#[test]
fn no_name_that_a_client_tries_keeps_the_operator_out() {
    let directory = Directory::new("names");
    let hotspot = Hotspot::start(&directory, &ada());
    // Until the account is as locked as a client can make it, each client trying less than it may.
    let tries = (0..60).map(|turn| hotspot.log_in(1 + turn / 5, "operator%27s+port", "x"));
    let mut locked = tries.skip_while(|answer| !answer.starts_with("HTTP/1.1 429"));
    locked.next();
    let answer = hotspot.operator(TOKEN, &[], "/v1/sessions");
    assert!(answer.ends_with("\n200"), "{answer}");
}
