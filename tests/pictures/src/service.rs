//! The thumbnailer as a process, between an uploader and an origin that are no more than they must be:
//! `pictures latency THUMBNAILER PHOTO` uploads the photograph once for each line on standard input, and
//! answers with the nanoseconds from the upload's last byte to the thumbnail's last byte at the origin.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::BodyExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// The last piece of an upload: when it is written, its last byte is on its way.
const LAST_PIECE_BYTES: usize = 16 << 10;
/// For an upload and its thumbnail.
const TIME_MAX: Duration = Duration::from_secs(60);

pub(crate) fn run(program: &str, photo: &str) -> Result<()> {
    let photo = std::fs::read(photo).with_context(|| format!("cannot read {photo}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (made, mut thumbnails) = mpsc::channel(1);
        let origin = serve(Router::new().fallback(be_origin).with_state(made)).await?;
        let held = Arc::new(AtomicUsize::new(0));
        let uploader = serve(Router::new().fallback(be_uploader).with_state(held)).await?;
        let (_thumbnailer, address) = Thumbnailer::start(program, origin, uploader)?;
        let mut line = String::new();
        while std::io::stdin().read_line(&mut line)? > 0 {
            let sent = upload(&address, &photo).await?;
            let made = tokio::time::timeout(TIME_MAX, thumbnails.recv()).await;
            let made: Instant = made
                .context("no thumbnail came")?
                .context("the origin ended")?;
            println!("{} 0", (made - sent).as_nanos());
            std::io::stdout().flush()?;
        }
        Ok(())
    })
}

/// The process, which ends with its owner.
struct Thumbnailer(Child);

impl Drop for Thumbnailer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Thumbnailer {
    /// Gives where it takes uploads.
    fn start(
        program: &str,
        origin: SocketAddr,
        uploader: SocketAddr,
    ) -> Result<(Thumbnailer, String)> {
        let size = super::SIZE;
        let config = format!(
            "[appliance]\nhttp = \"127.0.0.1:0\"\nhttps = \"off\"\nmanagement = \"127.0.0.1:0\"\n[service]\n\
             uploader = \"http://{uploader}/files\"\norigin = \"{origin}\"\nsizes = [\"{size}\"]\n"
        );
        let mut process = Command::new(program)
            .env("CONFIG", config)
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let output = process.stdout.take().context("it has an output")?;
        let process = Thumbnailer(process);
        for line in BufReader::new(output).lines() {
            if let Some(address) = line?.strip_prefix("thumbnail: http on ") {
                return Ok((process, address.to_owned()));
            }
        }
        bail!("the thumbnailer ended before it listened")
    }
}

async fn serve(router: Router) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}

/// When the last byte was written.
async fn upload(address: &str, photo: &[u8]) -> Result<Instant> {
    let mut phone = TcpStream::connect(address).await?;
    phone.set_nodelay(true)?;
    let head = format!(
        "POST /upload HTTP/1.1\r\nhost: photos.example\r\ncontent-type: image/jpeg\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        photo.len()
    );
    phone.write_all(head.as_bytes()).await?;
    let (first, last) = photo.split_at(photo.len().saturating_sub(LAST_PIECE_BYTES));
    phone.write_all(first).await?;
    phone.write_all(last).await?;
    let sent = Instant::now();
    // It hangs up when it is answered, whatever the answer is.
    tokio::spawn(async move {
        let mut answer = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut phone, &mut answer).await
    });
    Ok(sent)
}

async fn be_origin(State(made): State<mpsc::Sender<Instant>>, request: Request) -> Response<Body> {
    let is_thumbnail = request.uri().path().starts_with("/thumbnails");
    let body = request.into_body().collect().await;
    if is_thumbnail && body.is_ok_and(|body| !body.to_bytes().is_empty()) {
        // Whoever measured has gone.
        let _ = made.send(Instant::now()).await;
    }
    answer(StatusCode::CREATED, 0)
}

/// Takes one upload at a time.
async fn be_uploader(State(held): State<Arc<AtomicUsize>>, request: Request) -> Response<Body> {
    let status = match *request.method() {
        Method::POST => {
            held.store(0, Ordering::Relaxed);
            StatusCode::CREATED
        }
        Method::HEAD => StatusCode::OK,
        _ => StatusCode::NO_CONTENT,
    };
    let mut body = request.into_body();
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.into_data().map_or(0, |data| data.len());
        held.fetch_add(bytes, Ordering::Relaxed);
    }
    answer(status, held.load(Ordering::Relaxed))
}

fn answer(status: StatusCode, offset: usize) -> Response<Body> {
    let mut headers = HeaderMap::new();
    headers.insert(
        "tus-resumable",
        axum::http::HeaderValue::from_static("1.0.0"),
    );
    headers.insert("location", axum::http::HeaderValue::from_static("/files/1"));
    headers.insert("upload-offset", offset.into());
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
