//! The world around a thumbnailer: an origin, an uploader that keeps all in memory, and the process itself.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::BodyExt as _;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::watch;

/// A request that came to the origin.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn field(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

/// How the uploader behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    Sound,
    /// It makes no uploads.
    Full,
    /// It breaks off in the middle of a body.
    Breaks,
    /// It says that it has less than it was given.
    Lies,
}

/// An upload at the uploader.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stored {
    pub(crate) metadata: String,
    pub(crate) length: Option<usize>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_deleted: bool,
}

impl Stored {
    pub(crate) fn is_whole(&self) -> bool {
        self.length == Some(self.bytes.len()) && !self.is_deleted
    }

    /// A value of its metadata.
    pub(crate) fn value(&self, key: &str) -> String {
        use base64::Engine as _;
        let pairs = self
            .metadata
            .split(',')
            .filter_map(|pair| pair.split_once(' '));
        let value = pairs
            .into_iter()
            .find(|(name, _)| *name == key)
            .map_or("", |(_, value)| value);
        let decoded = base64::engine::general_purpose::STANDARD
            .decode(value)
            .expect("base64");
        String::from_utf8(decoded).expect("text")
    }
}

struct World {
    seen: watch::Sender<Vec<Seen>>,
    stored: Mutex<HashMap<String, Stored>>,
    manner: Mutex<Manner>,
    /// What the origin answers to a thumbnail.
    verdict: Mutex<StatusCode>,
}

/// All of it; the process ends with it.
pub(crate) struct Site {
    world: Arc<World>,
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    pub(crate) http: String,
    pub(crate) https: String,
    pub(crate) management: String,
}

impl Site {
    pub(crate) async fn start() -> Site {
        Site::start_with("").await
    }

    /// With more lines of `[service]`.
    pub(crate) async fn start_with(more: &str) -> Site {
        let world = Arc::new(World {
            seen: watch::Sender::default(),
            stored: Mutex::default(),
            manner: Mutex::new(Manner::Sound),
            verdict: Mutex::new(StatusCode::CREATED),
        });
        let origin = serve(
            Router::new()
                .fallback(be_origin)
                .with_state(Arc::clone(&world)),
        )
        .await;
        let uploader = serve(
            Router::new()
                .fallback(be_uploader)
                .with_state(Arc::clone(&world)),
        )
        .await;
        let config = format!(
            "[service]\nuploader = \"http://{uploader}/files\"\norigin = \"{origin}\"\nsizes = [\"small=64x64\", \"large=128x128\"]\n{more}\n"
        );
        let mut process = Command::new(env!("CARGO_BIN_EXE_thumbnail"))
            .env_clear()
            .env("CONFIG", config)
            .env("HTTP_ADDRESS", "127.0.0.1:0")
            .env("HTTPS_ADDRESS", "127.0.0.1:0")
            .env("MANAGEMENT_ADDRESS", "127.0.0.1:0")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("a process");
        let mut lines = BufReader::new(process.stdout.take().expect("its output")).lines();
        let mut places = HashMap::new();
        while places.len() < 3 {
            let line = lines.next_line().await.expect("a line").expect("it lives");
            for name in ["http", "https", "management"] {
                if let Some(place) = line.strip_prefix(&format!("thumbnail: {name} on ")) {
                    places.insert(name, place.to_owned());
                }
            }
        }
        Site {
            world,
            process,
            lines,
            http: format!("http://{}", places["http"]),
            https: format!("https://{}", places["https"]),
            management: format!("http://{}", places["management"]),
        }
    }

    pub(crate) fn set_manner(&self, manner: Manner) {
        *self.world.manner.lock().expect("manner") = manner;
    }

    pub(crate) fn set_verdict(&self, verdict: StatusCode) {
        *self.world.verdict.lock().expect("verdict") = verdict;
    }

    /// What came to the origin, when it is so many.
    pub(crate) async fn seen(&self, count: usize) -> Vec<Seen> {
        let mut seen = self.world.seen.subscribe();
        let enough = seen
            .wait_for(|seen| seen.len() >= count)
            .await
            .expect("the origin lives");
        enough.clone()
    }

    pub(crate) fn seen_so_far(&self) -> Vec<Seen> {
        self.world.seen.borrow().clone()
    }

    pub(crate) fn stored(&self) -> Vec<Stored> {
        let stored = self.world.stored.lock().expect("stored");
        let mut all: Vec<_> = stored.iter().collect();
        all.sort_by_key(|(id, _)| *id);
        all.into_iter().map(|(_, stored)| stored.clone()).collect()
    }

    /// Waits for a line of the process that has a part.
    pub(crate) async fn line(&mut self, part: &str) -> String {
        loop {
            let line = self
                .lines
                .next_line()
                .await
                .expect("a line")
                .expect("it lives");
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Ends the process as an operator does.
    pub(crate) async fn terminate(&mut self) -> bool {
        let id = self.process.id().expect("it lives").to_string();
        let status = Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .await
            .expect("kill");
        status.success() && self.process.wait().await.expect("it ends").success()
    }
}

/// Runs curl; its output.
pub(crate) async fn curl(arguments: &[&str]) -> String {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--insecure", "--max-time", "60"])
        .args(arguments)
        .output()
        .await
        .expect("curl");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{arguments:?}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

async fn serve(router: Router) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let _ = axum::serve(listener, router).await;
    });
    address
}

async fn be_origin(State(world): State<Arc<World>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        return answer(StatusCode::BAD_REQUEST);
    };
    let path = parts.uri.to_string();
    let status = match path.starts_with("/thumbnails") {
        true => *world.verdict.lock().expect("verdict"),
        false => StatusCode::ACCEPTED,
    };
    let seen = Seen {
        method: parts.method,
        path,
        headers: parts.headers,
        body: body.to_bytes(),
    };
    world.seen.send_modify(|all| all.push(seen));
    let mut response = answer(status);
    *response.body_mut() = Body::from("the origin's own words");
    response
}

fn answer(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert("tus-resumable", "1.0.0".parse().expect("a value"));
    response
}

async fn be_uploader(State(world): State<Arc<World>>, request: Request) -> Response<Body> {
    let manner = *world.manner.lock().expect("manner");
    let (parts, mut body) = request.into_parts();
    let number = |name: &str| {
        parts
            .headers
            .get(name)
            .map(|value| value.to_str().expect("text").parse().expect("digits"))
    };
    let id = parts.uri.path().trim_start_matches("/files/").to_owned();
    if parts.method == Method::POST {
        if manner == Manner::Full {
            return answer(StatusCode::INSUFFICIENT_STORAGE);
        }
        let mut stored = world.stored.lock().expect("stored");
        // As long as the uploader's own.
        let id = format!("{:021}A", stored.len() + 1);
        let metadata = parts.headers["upload-metadata"]
            .to_str()
            .expect("text")
            .to_owned();
        let made = Stored {
            metadata,
            length: number("upload-length"),
            ..Stored::default()
        };
        stored.insert(id.clone(), made);
        let mut response = answer(StatusCode::CREATED);
        response
            .headers_mut()
            .insert("location", format!("/files/{id}").parse().expect("a value"));
        return response;
    }
    let offset: Option<usize> = number("upload-offset");
    if parts.method == Method::PATCH {
        let has = world
            .stored
            .lock()
            .expect("stored")
            .get(&id)
            .map(|stored| stored.bytes.len());
        if has != offset {
            // Who answers with the body unread resets the connection, and may lose the answer.
            while let Some(Ok(_)) = body.frame().await {}
            return answer(StatusCode::CONFLICT);
        }
        while let Some(Ok(frame)) = body.frame().await {
            let mut stored = world.stored.lock().expect("stored");
            let stored = stored.get_mut(&id).expect("an upload");
            stored.bytes.extend(frame.into_data().unwrap_or_default());
            if manner == Manner::Breaks {
                return answer(StatusCode::INTERNAL_SERVER_ERROR);
            }
        }
    }
    let mut stored = world.stored.lock().expect("stored");
    let Some(stored) = stored.get_mut(&id) else {
        return answer(StatusCode::NOT_FOUND);
    };
    if parts.method == Method::DELETE {
        stored.is_deleted = true;
        return answer(StatusCode::NO_CONTENT);
    }
    stored.length = stored.length.or(number("upload-length"));
    let mut response = answer(if parts.method == Method::HEAD {
        StatusCode::OK
    } else {
        StatusCode::NO_CONTENT
    });
    let told = stored.bytes.len() - usize::from(manner == Manner::Lies);
    response.headers_mut().insert("upload-offset", told.into());
    response
}
