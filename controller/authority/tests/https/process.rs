//! The authority as a process of its own, and a client that believes its certificate.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use authority::store::audit;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::site::{Directory, POLICIES, authority_key, operator, publisher};

/// How long a line of the log is awaited; far more than this takes, on any machine.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Process {
    child: Mutex<Child>,
    lines: mpsc::Receiver<Value>,
    client: reqwest::Client,
    tls: Arc<rustls::ClientConfig>,
    port: u16,
    base: String,
}

impl Process {
    /// Starts the authority, with the files that are there from before.
    pub(crate) fn start(directory: &Directory) -> Self {
        let certificate = write_files(directory);
        let mut child = Command::new(env!("CARGO_BIN_EXE_edgecloud-authority"))
            .arg("--config")
            .arg(directory.file("authority.toml"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the authority starts");
        let log = child.stderr.take().expect("a pipe");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                let parsed = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send(parsed).is_err() {
                    break;
                }
            }
        });
        let tls = believing(&certificate);
        let mut process = Self {
            child: Mutex::new(child),
            lines,
            client: client(tls.clone()),
            tls: Arc::new(tls),
            port: 0,
            base: String::new(),
        };
        let ready = process.wait_for("ready");
        let address = ready["fields"]["address"].as_str().expect("an address");
        let address: std::net::SocketAddr = address.parse().expect("an address");
        process.port = address.port();
        process.base = format!("https://localhost:{}", process.port);
        process
    }

    /// The next line of the log with a message; those before are passed over.
    pub(crate) fn wait_for(&mut self, message: &str) -> Value {
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line["fields"]["message"] == message => return line,
                Ok(line) => seen.push(line),
                Err(error) => panic!("no {message:?} ({error}) in {seen:?}"),
            }
        }
    }

    pub(crate) fn reload(&self) {
        let pid = self.child.lock().expect("not poisoned").id().to_string();
        let status = Command::new("kill").args(["-HUP", &pid]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(&self) {
        let mut child = self.child.lock().expect("not poisoned");
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.request(path, body).await.expect("an answer")
    }

    /// A request that lives apart from this process; nothing if nobody answers.
    pub(crate) fn request(
        &self,
        path: &str,
        body: &Value,
    ) -> impl Future<Output = Option<(u16, Value)>> + use<> {
        let request = self.client.post(format!("{}{path}", self.base)).json(body);
        async move {
            let response = request.send().await.ok()?;
            let status = response.status().as_u16();
            Some((status, response.json().await.ok()?))
        }
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let request = self.client.get(format!("{}{path}", self.base));
        let response = request.send().await.expect("an answer");
        let status = response.status().as_u16();
        (status, response.json().await.expect("JSON"))
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.unwrap()
    }

    pub(crate) async fn connect_tls(&self) -> TlsStream<TcpStream> {
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let name = "localhost".try_into().unwrap();
        let stream = self.connect().await;
        connector.connect(name, stream).await.unwrap()
    }

    /// All lines of the audit log.
    pub(crate) async fn audit(&self, request: &str) -> Vec<audit::Line> {
        let mut lines: Vec<audit::Line> = Vec::new();
        loop {
            let after = lines.last().map_or(0, |line| line.index);
            let request = self
                .client
                .get(format!("{}/v1/audit?after={after}", self.base))
                .header("authorization", format!("EdgeCloud {request}"));
            let body: Value = request.send().await.unwrap().json().await.unwrap();
            let more = body["lines"].as_array().expect("lines").iter().map(line);
            let count = lines.len();
            lines.extend(more);
            if lines.len() == count {
                return lines;
            }
        }
    }
}

fn line(value: &Value) -> audit::Line {
    let text = |field: &str| value[field].as_str().expect(field).to_owned();
    audit::Line {
        index: value["index"].as_u64().expect("a number"),
        hash: text("hash"),
        entry: text("entry"),
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(mut child) = self.child.lock() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Writes what the authority reads, and returns its certificate.
fn write_files(directory: &Directory) -> String {
    let write = |name: &str, text: &str| std::fs::write(directory.file(name), text).unwrap();
    let secret = |name: &str, text: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        write(name, text);
        let owner_only = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(directory.file(name), owner_only).unwrap();
    };
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    write("tls.pem", &pair.cert.pem());
    secret("tls.key", &pair.signing_key.serialize_pem());
    secret("authority.pem", &authority_key().to_pem().unwrap());
    write("policies.cedar", POLICIES);
    let config = json!({
        "issuer": "isp.example",
        "listen": "127.0.0.1:0",
        "key": "authority.pem",
        "database": "authority.redb",
        "policies": "policies.cedar",
        "hosts": ["edge-1"],
        "operators": [operator().public().to_string()],
        "tls": { "certificates": "tls.pem", "key": "tls.key" },
        "publishers": [{
            "key": publisher().public().to_string(),
            "name": "Photos",
            "accounts": ["photos"],
            "groups": ["partners"],
        }],
    });
    write("authority.toml", &toml::to_string(&config).unwrap());
    pair.cert.pem()
}

/// The client's side of TLS, which believes this certificate and no other.
fn believing(certificate: &str) -> rustls::ClientConfig {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// Speaks HTTP/2, which the authority must agree to.
fn client(mut tls: rustls::ClientConfig) -> reqwest::Client {
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let builder = reqwest::Client::builder().tls_backend_preconfigured(tls);
    builder.no_proxy().timeout(PATIENCE).build().unwrap()
}
