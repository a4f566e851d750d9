//! Requests through a whole thumbnailer, between an origin and an uploader that are slow, hang or fail.
//! Where time is paused it goes on when everybody waits.

use std::future::pending;
use std::time::Duration;

use axum::http::{HeaderName, Method, StatusCode, header};
use axum::routing::post;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{Instant, advance, sleep, timeout};

use super::*;
use crate::http::{Rejoined, fed};
use crate::limits::{ORIGIN_TIME_MAX, SESSION_TIME_MAX};

/// More than sockets and HTTP keep for themselves.
const LARGE: usize = 16 << 20;
/// Longer than any patience.
const AGE: Duration = Duration::from_secs(3600);
/// A name as the uploader gives them.
const ID: &str = "a1_B-2AAAAAAAAAAAAAAAA";
/// What a phone says that makes an upload by tus.
const CREATION: [(&str, &str); 3] = [
    ("tus-resumable", "1.0.0"),
    ("upload-length", "20971520"),
    ("upload-metadata", "filename YS5qcGc="),
];

fn ends() -> Ends {
    Ends {
        peer: ([10, 0, 0, 1], 1).into(),
        local: None,
        tls: false,
    }
}

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// A thumbnailer between them.
async fn between(origin: Router, uploader: Router) -> Arc<Thumbnailer> {
    let (origin, uploader) = (serve(origin).await, serve(uploader).await);
    let written = format!(
        "uploader = 'http://{uploader}/files'\norigin = '{origin}'\nsizes = ['small=64x64']"
    );
    let written: Written = toml::from_str(&written).expect("TOML");
    let settings = Settings::try_from(written).expect("settings");
    let (log, metrics) = (Log::new("thumbnail"), Registry::default());
    let refusals = Refusals::of::<Refused>(&metrics, &log);
    let background: Background = Box::new(|task| drop(tokio::spawn(task)));
    let made = Thumbnailer::new(settings, refusals, log, &metrics, background);
    Arc::new(made.expect("a thumbnailer"))
}

async fn ask(
    thumbnailer: &Arc<Thumbnailer>,
    method: Method,
    path: &str,
    fields: &[(&'static str, &str)],
    body: Body,
) -> Result<StatusCode, Refused> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().expect("a path");
    let headers = request.headers_mut();
    headers.insert(header::HOST, "photos.example".parse().expect("a host"));
    for (name, value) in fields {
        let value = value.parse().expect("a value");
        headers.insert(HeaderName::from_static(name), value);
    }
    let (parts, body) = request.into_parts();
    let ends = ends();
    let answering = thumbnailer.answer(parts, body, &ends);
    let answer = timeout(AGE, answering).await.expect("in this age");
    answer.map(|response| response.status())
}

/// Reads whatever comes, and says so.
fn reads(status: StatusCode) -> Router {
    Router::new().fallback(async move |request: Request| {
        let body = request.into_body().collect().await;
        body.map_or(StatusCode::BAD_REQUEST, |_| status)
    })
}

/// Makes uploads; everything else is answered by another.
fn makes_uploads(more: Router) -> Router {
    let made = || async {
        let location = [(header::LOCATION, format!("/files/{ID}"))];
        (StatusCode::CREATED, location)
    };
    Router::new().route("/files/", post(made)).merge(more)
}

fn hangs() -> Router {
    Router::new().fallback(async || pending::<StatusCode>().await)
}

/// The beginning of a photograph and a lot more, in pieces.
fn large() -> Body {
    let mut bytes = vec![0; LARGE];
    bytes[..3].copy_from_slice(b"\xff\xd8\xff");
    Body::new(Rejoined {
        start: Bytes::from(bytes),
        rest: None,
    })
}

#[tokio::test(start_paused = true)]
async fn a_body_that_passes_takes_as_long_as_it_takes() {
    const PAUSE: Duration = Duration::from_secs(100);
    let slow = || {
        let (feed, body) = fed(1);
        tokio::spawn(async move {
            for _ in 0..5 {
                sleep(PAUSE).await;
                feed.piece(Bytes::from_static(b"slow"))
                    .await
                    .expect("taken");
            }
            feed.end().await.expect("taken");
        });
        Body::new(body)
    };
    let sound = between(reads(StatusCode::ACCEPTED), hangs()).await;
    let answer = ask(&sound, Method::POST, "/comments", &[], slow()).await;
    assert_eq!(answer, Ok(StatusCode::ACCEPTED));
    let silent = Router::new().fallback(async |_: Bytes| pending::<StatusCode>().await);
    let silent = between(silent, hangs()).await;
    let begun = Instant::now();
    let answer = ask(&silent, Method::POST, "/comments", &[], slow()).await;
    assert_eq!(answer, Err(Refused::OriginSlow));
    let silence = begun.elapsed() - 5 * PAUSE;
    assert!(silence >= ORIGIN_TIME_MAX && silence < ORIGIN_TIME_MAX + PAUSE);
}

#[tokio::test]
async fn what_waits_for_a_slow_origin_is_in_the_budget() {
    static CAME: Semaphore = Semaphore::const_new(0);
    static GOES_ON: Semaphore = Semaphore::const_new(0);
    let origin = Router::new().fallback(async |request: Request| {
        CAME.add_permits(1);
        let _goes_on = GOES_ON.acquire().await;
        let body = request.into_body().collect().await.expect("a body");
        assert_eq!(body.to_bytes().len(), LARGE);
        StatusCode::ACCEPTED
    });
    let fails = makes_uploads(reads(StatusCode::INTERNAL_SERVER_ERROR));
    let thumbnailer = between(origin, fails).await;
    let is_room = |bytes| thumbnailer.budget.reserve(ends().client(), bytes).is_ok();
    let asking = ask(&thumbnailer, Method::POST, "/upload", &[], large());
    let looking = async {
        let _came = CAME.acquire().await;
        assert!(!is_room(1));
        GOES_ON.add_permits(1);
    };
    let (answer, ()) = tokio::join!(asking, looking);
    assert_eq!(answer, Ok(StatusCode::ACCEPTED));
    assert!(is_room(BODY_BYTES_MAX));
}

#[tokio::test(start_paused = true)]
async fn uploads_that_were_left_make_room() {
    let uploader = makes_uploads(hangs());
    let thumbnailer = between(reads(StatusCode::ACCEPTED), uploader).await;
    let create = async || {
        let empty = Body::empty();
        ask(&thumbnailer, Method::POST, "/upload", &CREATION, empty).await
    };
    assert_eq!(create().await, Ok(StatusCode::CREATED));
    // More than the client's share.
    assert_eq!(create().await, Ok(StatusCode::ACCEPTED));
    advance(SESSION_TIME_MAX).await;
    assert_eq!(create().await, Ok(StatusCode::CREATED));
}

#[tokio::test]
async fn only_tus_reaches_the_uploader() {
    let thumbnailer = between(reads(StatusCode::ACCEPTED), reads(StatusCode::NO_CONTENT)).await;
    let ours = format!("/upload/edgecloud-{ID}");
    let tus = &CREATION[..1];
    for (path, fields, status) in [
        (ours.as_str(), tus, StatusCode::NO_CONTENT),
        (&ours, &[], StatusCode::ACCEPTED),
        ("/shop/edgecloud-shoes", tus, StatusCode::ACCEPTED),
        ("/shop/edgecloud-shoes", &[], StatusCode::ACCEPTED),
    ] {
        let answer = ask(&thumbnailer, Method::HEAD, path, fields, Body::empty()).await;
        assert_eq!(answer, Ok(status), "{path} {fields:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_uploader_that_hangs_holds_no_phone() {
    let thumbnailer = between(reads(StatusCode::ACCEPTED), hangs()).await;
    let path = format!("/upload/edgecloud-{ID}");
    let fields = [("tus-resumable", "1.0.0"), ("upload-offset", "0")];
    for (method, body) in [
        (Method::HEAD, Body::empty()),
        (Method::DELETE, Body::empty()),
        (Method::PATCH, Body::from("short")),
        (Method::PATCH, large()),
    ] {
        let answer = ask(&thumbnailer, method.clone(), &path, &fields, body).await;
        assert_eq!(answer, Err(Refused::UploaderAway), "{method}");
    }
    let thumbnailer = between(reads(StatusCode::ACCEPTED), makes_uploads(hangs())).await;
    let answer = ask(&thumbnailer, Method::POST, "/upload", &[], large()).await;
    assert_eq!(answer, Ok(StatusCode::ACCEPTED));
}

/// What an uploader answers who takes an upload back, the last one first.
type Answers = Arc<std::sync::Mutex<Vec<StatusCode>>>;

/// An uploader that takes a body and does not say so.
fn loses_answers(taken_back: &Answers) -> Router {
    let answers = Arc::clone(taken_back);
    makes_uploads(Router::new().fallback(async move |request: Request| {
        if request.method() == Method::DELETE {
            let next = answers.lock().expect("no panic").pop();
            return next.expect("it is not asked again once it has said so");
        }
        let _ = request.into_body().collect().await;
        StatusCode::INTERNAL_SERVER_ERROR
    }))
}

#[tokio::test(start_paused = true)]
async fn what_the_uploader_has_and_sends_does_not_pass_as_well() {
    let answers = Answers::new(vec![StatusCode::FORBIDDEN].into());
    let thumbnailer = between(reads(StatusCode::ACCEPTED), loses_answers(&answers)).await;
    let answer = ask(&thumbnailer, Method::POST, "/upload", &[], large()).await;
    assert_eq!(answer, Ok(StatusCode::CREATED));
}

#[tokio::test(start_paused = true)]
async fn an_upload_is_taken_back_once_its_uploader_is_there_again() {
    let away = StatusCode::SERVICE_UNAVAILABLE;
    let answers = Answers::new(vec![StatusCode::NO_CONTENT, away, away].into());
    let thumbnailer = between(reads(StatusCode::ACCEPTED), loses_answers(&answers)).await;
    let answer = ask(&thumbnailer, Method::POST, "/upload", &[], large()).await;
    assert_eq!(answer, Ok(StatusCode::ACCEPTED));
    sleep(AGE).await;
    assert!(answers.lock().expect("no panic").is_empty());
}
