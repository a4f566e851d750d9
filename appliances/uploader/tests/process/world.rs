//! The world around an uploader: an origin that may misbehave, the process itself, and a client of tus.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Response, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::watch;
use tokio::time::timeout;

/// Nothing here takes this long; what hangs fails the test.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A request that came to the origin, whole.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn field(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

/// A tus upload at the origin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Remote {
    pub(crate) length: usize,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Default)]
struct Origin {
    seen: watch::Sender<Vec<Seen>>,
    /// What it answers to the next requests, before it is sound again.
    answers: Mutex<Vec<(u16, &'static str)>>,
    remotes: Mutex<HashMap<String, Remote>>,
    /// Whoever has it keeps originals from being answered.
    held: Arc<tokio::sync::Mutex<()>>,
}

/// An origin of photographs: plain requests, and tus below `/files`.
#[derive(Clone)]
pub(crate) struct Site {
    origin: Arc<Origin>,
    pub(crate) address: String,
}

impl Site {
    pub(crate) async fn start() -> Site {
        let origin = Arc::<Origin>::default();
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&origin));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Site { origin, address }
    }

    /// No original is answered while the result is kept.
    pub(crate) fn hold(&self) -> tokio::sync::OwnedMutexGuard<()> {
        let held = Arc::clone(&self.origin.held);
        held.try_lock_owned().expect("nobody else holds it")
    }

    /// The next requests get these answers: a status, or 0 for a sound one, and a `Retry-After` if it is not
    /// empty; with the status 1 that is an `Upload-Offset`, whatever came.
    pub(crate) fn answers(&self, answers: &[(u16, &'static str)]) {
        *self.origin.answers.lock().expect("no panic") = answers.to_vec();
    }

    /// Waits until so many requests came.
    pub(crate) async fn seen(&self, count: usize) -> Vec<Seen> {
        let mut seen = self.origin.seen.subscribe();
        let came = timeout(LIMIT, seen.wait_for(|seen| seen.len() >= count)).await;
        came.expect("in time").expect("an origin").clone()
    }

    pub(crate) fn remotes(&self) -> Vec<Remote> {
        self.origin
            .remotes
            .lock()
            .expect("no panic")
            .values()
            .cloned()
            .collect()
    }
}

async fn answer(State(origin): State<Arc<Origin>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.to_string();
    let closes = parts
        .headers
        .get("cookie")
        .is_some_and(|cookie| cookie == "who=closing");
    if path.starts_with("/upload/") {
        drop(origin.held.lock().await);
    }
    let body = body.collect().await.map(|body| body.to_bytes());
    let mut answers = origin.answers.lock().expect("no panic");
    let told = (!answers.is_empty()).then(|| answers.remove(0));
    let told = told.filter(|(status, _)| *status != 0);
    drop(answers);
    let mut response = Response::new(Body::empty());
    let Ok(body) = body else {
        return response;
    };
    match told {
        Some((1, offset)) => {
            *response.status_mut() = StatusCode::NO_CONTENT;
            let value = offset.parse().expect("a value");
            response.headers_mut().insert("upload-offset", value);
        }
        Some((status, retry_after)) => {
            *response.status_mut() = StatusCode::from_u16(status).expect("a status");
            if !retry_after.is_empty() {
                let value = retry_after.parse().expect("a value");
                response.headers_mut().insert("retry-after", value);
            }
        }
        None if path.starts_with("/files") => be_tus(&origin, &parts, &path, &body, &mut response),
        None => *response.status_mut() = StatusCode::CREATED,
    }
    if closes {
        let value = "close".parse().expect("a value");
        response.headers_mut().insert("connection", value);
    }
    let seen = Seen {
        method: parts.method,
        path,
        headers: parts.headers,
        body,
    };
    origin.seen.send_modify(|all| all.push(seen));
    response
}

fn be_tus(
    origin: &Origin,
    parts: &axum::http::request::Parts,
    path: &str,
    body: &[u8],
    response: &mut Response<Body>,
) {
    let number = |name: &str| {
        let text = parts.headers.get(name)?.to_str().ok()?;
        text.parse::<usize>().ok()
    };
    let mut remotes = origin.remotes.lock().expect("no panic");
    if parts.method == Method::POST {
        let name = format!("/files/{}", remotes.len());
        let length = number("upload-length").expect("a length");
        remotes.insert(
            name.clone(),
            Remote {
                length,
                ..Remote::default()
            },
        );
        *response.status_mut() = StatusCode::CREATED;
        response
            .headers_mut()
            .insert("location", name.parse().expect("a value"));
        return;
    }
    let Some(remote) = remotes.get_mut(path) else {
        *response.status_mut() = StatusCode::NOT_FOUND;
        return;
    };
    if parts.method == Method::PATCH {
        if number("upload-offset") != Some(remote.bytes.len()) {
            *response.status_mut() = StatusCode::CONFLICT;
            return;
        }
        remote.bytes.extend_from_slice(body);
        *response.status_mut() = StatusCode::NO_CONTENT;
    }
    response
        .headers_mut()
        .insert("upload-offset", remote.bytes.len().into());
}

/// A disk that is a file, gone with the test.
pub(crate) struct DiskFile(PathBuf);

impl DiskFile {
    pub(crate) fn new() -> DiskFile {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        DiskFile(std::env::temp_dir().join(format!("uploader-{}-{number}", std::process::id())))
    }
}

impl Drop for DiskFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// An uploader; the process ends with it.
pub(crate) struct Uploader {
    process: Child,
    _lines: Lines<BufReader<ChildStdout>>,
    pub(crate) http: String,
    pub(crate) management: String,
    pub(crate) status: String,
}

impl Uploader {
    /// On a disk, with more lines of `[service]`.
    pub(crate) async fn start(disk: &DiskFile, more: &str) -> Uploader {
        Uploader::start_with(disk, more, &[]).await
    }

    fn command(disk: &DiskFile, more: &str) -> Command {
        let device = disk.0.display();
        let config = format!(
            "[service]\ndevice = \"{device}\"\nsize-mib = 64\nrest-seconds = 0\nstatus = \"127.0.0.1:0\"\n{more}\n"
        );
        let mut command = Command::new(env!("CARGO_BIN_EXE_uploader"));
        command
            .env_clear()
            .env("CONFIG", config)
            .env("HTTP_ADDRESS", "127.0.0.1:0")
            .env("HTTPS_ADDRESS", "off")
            .env("MANAGEMENT_ADDRESS", "127.0.0.1:0")
            .kill_on_drop(true);
        command
    }

    /// With settings that it does not start with; what it says.
    pub(crate) async fn fails(disk: &DiskFile, more: &str) -> String {
        let mut command = Uploader::command(disk, more);
        let output = timeout(LIMIT, command.output()).await;
        let output = output.expect("in time").expect("a process");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// And with variables of its environment.
    pub(crate) async fn start_with(
        disk: &DiskFile,
        more: &str,
        variables: &[(&str, &str)],
    ) -> Uploader {
        let mut process = Uploader::command(disk, more)
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut lines = BufReader::new(process.stdout.take().expect("its output")).lines();
        let mut places = HashMap::new();
        while places.len() < 3 {
            let line = lines.next_line().await.expect("a line").expect("it lives");
            for name in ["http", "management", "status"] {
                if let Some(place) = line.strip_prefix(&format!("uploader: {name} on ")) {
                    places.insert(name, place.to_owned());
                }
            }
        }
        Uploader {
            process,
            _lines: lines,
            http: places["http"].clone(),
            management: places["management"].clone(),
            status: places["status"].clone(),
        }
    }

    /// Ends it at once, as a lost domain ends.
    pub(crate) async fn kill(mut self) {
        self.process.kill().await.expect("killed");
    }

    /// Sends a request whose head is in lines, and reads the answer.
    pub(crate) async fn ask(&self, head: &str, body: &[u8]) -> Answer {
        let mut connection = self.begin(head, body.len(), body).await;
        Answer::read(&mut connection).await
    }

    /// Sends a head that announces so many bytes, and some of them.
    pub(crate) async fn begin(&self, head: &str, length: usize, body: &[u8]) -> TcpStream {
        let mut connection = TcpStream::connect(&self.http).await.expect("a connection");
        let (first, rest) = head.split_once('\n').unwrap_or((head, ""));
        let mut text = format!("{first} HTTP/1.1\r\nHost: uploader\r\nTus-Resumable: 1.0.0\r\n");
        text.extend(rest.lines().map(|line| format!("{}\r\n", line.trim())));
        text.push_str(&format!(
            "Content-Length: {length}\r\nConnection: close\r\n\r\n"
        ));
        connection.write_all(text.as_bytes()).await.expect("sent");
        connection.write_all(body).await.expect("sent");
        connection
    }

    /// Makes an upload of metadata; its path.
    pub(crate) async fn create(&self, length: &str, metadata: &[(&str, &str)]) -> String {
        let pairs: Vec<_> = metadata
            .iter()
            .map(|(key, value)| format!("{key} {}", STANDARD.encode(value)))
            .collect();
        let head = format!(
            "POST /files/\n{length}\nUpload-Metadata: {}",
            pairs.join(",")
        );
        let answer = self.ask(&head, b"").await;
        assert_eq!(answer.status, 201, "{}", answer.head);
        answer.field("location").to_owned()
    }

    pub(crate) async fn patch(&self, path: &str, offset: usize, more: &str, body: &[u8]) -> Answer {
        self.ask(&patch_head(path, offset, more), body).await
    }

    /// Uploads as the thumbnailer does that knows the length.
    pub(crate) async fn upload(&self, metadata: &[(&str, &str)], body: &[u8]) -> String {
        let path = self
            .create(&format!("Upload-Length: {}", body.len()), metadata)
            .await;
        let answer = self.patch(&path, 0, "", body).await;
        assert_eq!(answer.status, 204, "{}", answer.head);
        path
    }

    pub(crate) async fn offset(&self, path: &str) -> usize {
        let answer = self.ask(&format!("HEAD {path}"), b"").await;
        assert_eq!(answer.status, 200, "{}", answer.head);
        answer.field("upload-offset").parse().expect("a number")
    }

    pub(crate) async fn metrics(&self) -> String {
        text(&self.management, "GET /metrics", "").await
    }

    /// Waits until the status has so many uploads of a state.
    pub(crate) async fn wait_for(&self, state: &str, count: usize) {
        let wanted = format!("\"state\":\"{state}\"");
        let deadline = tokio::time::Instant::now() + LIMIT;
        let mut shown = String::new();
        while tokio::time::Instant::now() < deadline {
            shown = self.status("GET /status.json", "").await;
            if shown.matches(&wanted).count() == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("never {count} {state}: {shown}");
    }

    /// A figure, by its name with its labels.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let metrics = self.metrics().await;
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        let value = line.and_then(|value| value.trim().parse().ok());
        value.unwrap_or_else(|| panic!("no {name} in {metrics}"))
    }

    /// What the operator asks, with more fields.
    pub(crate) async fn status(&self, what: &str, fields: &str) -> String {
        text(&self.status, what, fields).await
    }
}

/// Sends a request without a body, and reads the whole answer.
async fn text(address: &str, what: &str, fields: &str) -> String {
    let mut connection = TcpStream::connect(address).await.expect("a connection");
    let request = format!("{what} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n");
    connection
        .write_all(request.as_bytes())
        .await
        .expect("sent");
    let mut text = String::new();
    let reading = timeout(LIMIT, connection.read_to_string(&mut text)).await;
    reading.expect("in time").expect("text");
    text
}

pub(crate) fn patch_head(path: &str, offset: usize, more: &str) -> String {
    format!(
        "PATCH {path}\nContent-Type: application/offset+octet-stream\nUpload-Offset: {offset}\n{more}"
    )
}

/// What the uploader answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
}

impl Answer {
    pub(crate) async fn read(connection: &mut TcpStream) -> Answer {
        let mut head = String::new();
        let reading = timeout(LIMIT, connection.read_to_string(&mut head)).await;
        reading.expect("in time").expect("text");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        Answer {
            status: status.unwrap_or_else(|| panic!("no status in {head:?}")),
            head,
        }
    }

    pub(crate) fn field(&self, name: &str) -> &str {
        let is_it = |line: &&str| {
            let (field, _) = line.split_once(':').unwrap_or((line, ""));
            field.eq_ignore_ascii_case(name)
        };
        let line = self.head.lines().find(is_it).unwrap_or_default();
        line.split_once(':').map_or("", |(_, value)| value.trim())
    }
}

pub(crate) fn pattern(length: usize, seed: u8) -> Vec<u8> {
    let byte = |at: usize| (at.wrapping_mul(31) >> 3) as u8 ^ (at >> 11) as u8 ^ seed;
    (0..length).map(byte).collect()
}
