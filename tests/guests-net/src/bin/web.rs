//! A web server like any other, on port 80 of every address: `/` says hello, `/bytes/N` streams N
//! bytes of the pattern, `/digest` tells length and SHA-256 of what is posted, `/who` tells which
//! addresses the two ends have. SIGTERM lets what is being answered end, and then ends it.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{Path, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::IncomingStream;
use futures_util::{StreamExt, stream};
use guests_net::{pattern, plain};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> io::Result<()> {
    let router = Router::new()
        .route("/", get(async || "hello from the edge\n"))
        .route("/bytes/{length}", get(bytes))
        .route("/digest", post(digest))
        .route("/who", get(who));
    let mut terminate = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind("[::]:80").await?;
    println!("web: listening on {}", listener.local_addr()?);
    axum::serve(
        listener,
        router.into_make_service_with_connect_info::<Ends>(),
    )
    .with_graceful_shutdown(async move {
        terminate.recv().await;
        println!("web: draining");
    })
    .await?;
    println!("guest web: ok");
    Ok(())
}

/// The two ends of a connection.
#[derive(Clone, Copy)]
struct Ends {
    peer: SocketAddr,
    /// Unknown when the peer has reset the connection before it was served.
    local: Option<SocketAddr>,
}

impl Connected<IncomingStream<'_, TcpListener>> for Ends {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Ends {
        Ends {
            peer: plain(*stream.remote_addr()),
            local: stream.io().local_addr().ok().map(plain),
        }
    }
}

async fn bytes(Path(length): Path<usize>) -> Response {
    let pieces = stream::iter(pattern(length).map(Ok::<_, Infallible>));
    (
        [(header::CONTENT_LENGTH, length)],
        Body::from_stream(pieces),
    )
        .into_response()
}

async fn digest(request: Request) -> Response {
    let mut body = request.into_body().into_data_stream();
    let (mut length, mut hash) = (0, Sha256::new());
    while let Some(piece) = body.next().await {
        match piece {
            Ok(piece) => {
                length += piece.len();
                hash.update(&piece);
            }
            Err(error) => {
                return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response();
            }
        }
    }
    format!("{length} {}\n", hexadecimal(&hash.finalize())).into_response()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

async fn who(ConnectInfo(ends): ConnectInfo<Ends>) -> String {
    let local = ends.local.map(|local| local.to_string());
    format!(
        "peer {} local {}\n",
        ends.peer,
        local.as_deref().unwrap_or("unknown")
    )
}
