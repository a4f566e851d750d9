//! RADIUS against FreeRADIUS, on ports and with a configuration of the test's own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use auth_proxy::radius::Radius;
use auth_proxy::radius::packet::{Packet, Secret, attribute, code};
use auth_proxy::refusal::Refused;
use auth_proxy::settings::Radius as Settings;
use edgecloud_appliance::Log;

const SECRET: &str = "shared-with-nobody-else";

/// A server that knows ada, whose password is tea.
struct Server {
    process: Child,
    directory: PathBuf,
    authentication: SocketAddr,
    accounting: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A port of loopback's that was free a moment ago.
fn port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.local_addr().expect("an address").port()
}

const USERS: &str = "ada Cleartext-Password := \"tea\"\n\
    \tReply-Message = \"Hello\", Session-Timeout = 1200, WISPr-Bandwidth-Max-Down = 4000000, Class = 0x616263, \
    Acct-Interim-Interval = 600\n";

fn configuration(
    directory: &Path,
    [authentication, accounting]: [u16; 2],
    detail: &Path,
) -> String {
    let (directory, detail) = (directory.display(), detail.display());
    format!(
        "prefix = /usr\nlogdir = {directory}\nrun_dir = {directory}\nlibdir = /usr/lib/freeradius\n\
         pidfile = {directory}/pid\nmax_requests = 256\n\
         security {{\n allow_core_dumps = no\n max_attributes = 200\n reject_delay = 0\n status_server = no\n}}\n\
         client local {{\n ipaddr = 127.0.0.1\n secret = {SECRET}\n require_message_authenticator = yes\n}}\n\
         modules {{\n pap {{ }}\n files {{\n filename = {directory}/users\n }}\n\
         detail {{\n filename = {detail}\n permissions = 0600\n }}\n }}\n\
         server test {{\n\
         listen {{\n type = auth\n ipaddr = 127.0.0.1\n port = {authentication}\n }}\n\
         listen {{\n type = acct\n ipaddr = 127.0.0.1\n port = {accounting}\n }}\n\
         authorize {{\n files\n pap\n }}\n authenticate {{\n Auth-Type PAP {{\n pap\n }}\n }}\n\
         post-auth {{\n update reply {{\n Message-Authenticator := 0x00\n }}\n\
         Post-Auth-Type REJECT {{\n update reply {{\n Message-Authenticator := 0x00\n }}\n }}\n }}\n\
         accounting {{\n detail\n }}\n}}\n"
    )
}

impl Server {
    fn start() -> Self {
        let directory =
            std::env::temp_dir().join(format!("radius-{}-{}", std::process::id(), port()));
        fs::create_dir_all(&directory).expect("a directory");
        let ports = [port(), port()];
        let detail = directory.join("detail");
        fs::write(directory.join("users"), USERS).expect("it is written");
        let text = configuration(&directory, ports, &detail);
        fs::write(directory.join("radiusd.conf"), text).expect("it is written");
        // The dictionary is where Debian has it.
        let mut process = Command::new("freeradius")
            .args(["-X", "-d"])
            .arg(&directory)
            .args(["-D", "/usr/share/freeradius"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("freeradius of Debian");
        let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let mut told = String::new();
        loop {
            let Some(Ok(line)) = lines.next() else {
                panic!("freeradius ended:\n{told}");
            };
            if line.contains("Ready to process requests") {
                break;
            }
            told += &line;
            told.push('\n');
        }
        // What it goes on to write is read, so that it does not wait for that.
        std::thread::spawn(move || lines.for_each(drop));
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            process,
            directory,
            authentication: at(ports[0]),
            accounting: at(ports[1]),
        }
    }
}

fn settings(servers: Vec<SocketAddr>, accounting: Vec<SocketAddr>) -> Settings {
    Settings {
        servers,
        accounting,
        nas_identifier: "station".to_owned(),
        dynamic: None,
        interim_seconds: None,
        message_authenticator: true,
        quota: auth_proxy::session::Quota::default(),
    }
}

fn client(settings: Settings) -> Radius {
    Radius::new(settings, SECRET, Log::new("test")).expect("good settings")
}

const PHONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 7));

#[tokio::test]
async fn freeradius_knows_who_logs_in_and_for_how_long() {
    let server = Server::start();
    let radius = client(settings(vec![server.authentication], vec![]));
    let accepted = radius
        .log_in(PHONE, "ada", b"tea")
        .await
        .expect("the password");
    assert_eq!(accepted.interim_seconds, Some(600));
    let login = accepted.login;
    assert_eq!(login.key, "radius:ada");
    assert_eq!((login.quota.seconds, login.quota.kbit), (1200, Some(4000)));
    for (name, password) in [("ada", "coffee"), ("eve", "tea"), ("ada", "")] {
        let refused = radius.log_in(PHONE, name, password.as_bytes()).await;
        assert_eq!(refused, Err(Refused::WrongAccount), "{name}");
    }
}

#[tokio::test]
async fn a_server_that_is_silent_is_left_for_the_next() {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let server = Server::start();
    let both = vec![
        silent.local_addr().expect("an address"),
        server.authentication,
    ];
    let radius = client(settings(both, vec![]));
    assert!(radius.log_in(PHONE, "ada", b"tea").await.is_ok());
    silent.set_nonblocking(true).expect("a mode");
    let count = || {
        let mut bytes = [0; 4096];
        std::iter::from_fn(|| silent.recv(&mut bytes).ok()).count()
    };
    assert_eq!(count(), 3, "it was asked three times");
    // Who answered last is asked first.
    assert!(radius.log_in(PHONE, "ada", b"tea").await.is_ok());
    assert_eq!(count(), 0);
}

#[tokio::test]
async fn another_secret_is_no_answer() {
    let server = Server::start();
    let radius = Radius::new(
        settings(vec![server.authentication], vec![]),
        "not-the-shared-one",
        Log::new("test"),
    );
    let radius = radius.expect("good settings");
    let refused = radius.log_in(PHONE, "ada", b"tea").await;
    assert_eq!(refused, Err(Refused::Radius));
}

#[tokio::test]
async fn accounting_is_taken_by_freeradius() {
    let server = Server::start();
    let secret = Secret::new(SECRET);
    let request = Packet {
        code: code::ACCOUNTING_REQUEST,
        identifier: 9,
        authenticator: [0; 16],
        attributes: vec![
            (attribute::ACCT_STATUS_TYPE, vec![0, 0, 0, 2]),
            (attribute::ACCT_SESSION_ID, b"0123456789abcdef".to_vec()),
            (attribute::USER_NAME, b"ada".to_vec()),
            (attribute::ACCT_OUTPUT_OCTETS, vec![0, 0, 1, 0]),
            (attribute::ACCT_TERMINATE_CAUSE, vec![0, 0, 0, 1]),
        ],
    };
    let bytes = request.request(&secret);
    let mut authenticator = [0; 16];
    authenticator.copy_from_slice(&bytes[4..20]);
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0")
        .await
        .expect("a port");
    socket.connect(server.accounting).await.expect("an address");
    socket.send(&bytes).await.expect("it is sent");
    let mut answer = [0; 4096];
    let length = socket.recv(&mut answer).await.expect("an answer");
    let answer = Packet::parse(&answer[..length]).expect("a packet");
    assert_eq!(answer.code, code::ACCOUNTING_RESPONSE);
    assert_eq!(answer.check_answer(&authenticator, &secret, false), Ok(()));
    let detail = fs::read_to_string(server.directory.join("detail")).expect("what it took");
    for line in [
        "User-Name = \"ada\"",
        "Acct-Status-Type = Stop",
        "Acct-Output-Octets = 256",
    ] {
        assert!(detail.contains(line), "{line} in {detail}");
    }
}
