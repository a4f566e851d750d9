//! `photo-site DIRECTORY ADDRESS:PORT CERTIFICATE KEY`: a small photo site over HTTPS, the origin of
//! the demo and of its scenario. Certificate and key are files, PEM.
//!
//! | request | does |
//! |---|---|
//! | `POST` or `PUT /upload…` | takes a photograph, as the body or as the file of a form: 201 |
//! | `POST /thumbnails?size=…` with `Link: <urn:sha256:…>; rel="original"` | takes a thumbnail: 201 |
//! | `GET /` | the album |
//! | `GET /photos/HEX/NAME` | a picture |
//! | `GET /events` | what came when, as JSON: kind, SHA-256, bytes, milliseconds since 1970 |
//!
//! A photograph is known by its SHA-256: one that comes twice is answered the same, counted, and
//! kept once. So is a thumbnail by its original and its size.

#![forbid(unsafe_code)]

mod album;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest as _, Multipart, Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum_server::tls_rustls::RustlsConfig;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::album::{Album, Kind};

/// Of a photograph.
const BODY_BYTES_MAX: usize = 128 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, address, certificate, key] = arguments.as_slice() else {
        anyhow::bail!("usage: photo-site DIRECTORY ADDRESS:PORT CERTIFICATE KEY");
    };
    let address: SocketAddr = address.parse().context("the address is no ADDRESS:PORT")?;
    let album = Arc::new(Album::open(directory.into())?);
    let service = Router::new()
        .route("/", get(page))
        .route("/events", get(events))
        .route("/photos/{id}/{name}", get(picture))
        .route("/upload", post(upload).put(upload))
        .route("/upload/{*name}", post(upload).put(upload))
        .route("/thumbnails", post(thumbnail))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(album);
    // Fails only if there is one already.
    drop(rustls::crypto::ring::default_provider().install_default());
    let tls = RustlsConfig::from_pem_file(certificate, key)
        .await
        .with_context(|| format!("{certificate} and {key} cannot be served"))?;
    println!("photo-site: https on {address}");
    axum_server::bind_rustls(address, tls)
        .serve(service.into_make_service())
        .await
        .with_context(|| format!("cannot listen on {address}"))
}

type Shared = State<Arc<Album>>;

async fn page(State(album): Shared) -> Html<String> {
    Html(album.page())
}

async fn events(State(album): Shared) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    (json, album.events()).into_response()
}

async fn picture(State(album): Shared, Path((id, name)): Path<(String, String)>) -> Response {
    match album.file(&id, &name) {
        // Never a page, whatever was uploaded.
        Some(bytes) => {
            let kind = [
                (header::CONTENT_TYPE, "image/jpeg"),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            ];
            (kind, bytes).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The photograph of a body: all of it, or the first file of a form.
async fn photograph(request: Request) -> Result<Bytes, Response> {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let is_form = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"multipart/form-data"));
    if !is_form {
        return Bytes::from_request(request, &())
            .await
            .map_err(IntoResponse::into_response);
    }
    let form = Multipart::from_request(request, &()).await;
    let mut form = form.map_err(IntoResponse::into_response)?;
    while let Some(part) = form
        .next_field()
        .await
        .map_err(IntoResponse::into_response)?
    {
        if part.file_name().is_some() {
            return part.bytes().await.map_err(IntoResponse::into_response);
        }
    }
    Err((StatusCode::BAD_REQUEST, "the form has no file\n").into_response())
}

async fn upload(State(album): Shared, request: Request) -> Result<Response, Response> {
    let photograph = photograph(request).await?;
    let id = hex(&Sha256::digest(&photograph));
    let kept = album.keep(&id, Kind::Original, "original", &photograph, now());
    kept.map_err(failed)?;
    Ok((StatusCode::CREATED, format!("{{\"photo\":\"{id}\"}}\n")).into_response())
}

#[derive(Deserialize)]
struct Size {
    size: String,
}

async fn thumbnail(
    State(album): Shared,
    Query(Size { size }): Query<Size>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Response> {
    let wrong = |why: &'static str| (StatusCode::BAD_REQUEST, why).into_response();
    let id = headers
        .get(header::LINK)
        .and_then(|link| {
            link.to_str()
                .ok()?
                .strip_prefix("<urn:sha256:")?
                .split('>')
                .next()
        })
        .filter(|id| id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .ok_or_else(|| wrong("no Link to the original by its SHA-256\n"))?;
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if size.is_empty() || size.len() > 32 || !size.bytes().all(is_word) {
        return Err(wrong("the size is no word\n"));
    }
    let kept = album.keep(id, Kind::Thumbnail, &size, &body, now());
    kept.map_err(failed)?;
    Ok(StatusCode::CREATED.into_response())
}

fn failed(error: std::io::Error) -> Response {
    (StatusCode::INSUFFICIENT_STORAGE, format!("{error}\n")).into_response()
}

/// Milliseconds since 1970.
fn now() -> u128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
