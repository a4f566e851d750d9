//! A metadata service on the loopback interface, which notes what it is told.

use std::sync::{Arc, Mutex};

use axum::extract::{Path, State as Shared};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, body};
use ring::signature::{ED25519, KeyPair as _, UnparsedPublicKey};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::*;

/// What the service says of the domain's state, and what it was told.
#[derive(Clone)]
struct Fake {
    state: watch::Sender<&'static str>,
    told: Arc<Mutex<Vec<String>>>,
    /// Answers 503 that often, and 403 after a `forget`.
    away: Arc<Mutex<u32>>,
}

async fn answer(
    Shared(fake): Shared<Fake>,
    Path(path): Path<String>,
    uri: Uri,
    body: body::Bytes,
) -> Response {
    {
        let mut away = fake.away.lock().expect("whole");
        if *away > 0 {
            *away -= 1;
            return (StatusCode::SERVICE_UNAVAILABLE, "starting").into_response();
        }
    }
    let tell = |what: String| fake.told.lock().expect("whole").push(what);
    match path.as_str() {
        "nonce" => format!(
            r#"{{"nonce":"{}","token":"{}"}}"#,
            BASE64.encode(&[1; 32]),
            BASE64.encode(b"token")
        )
        .into_response(),
        "register" => {
            let sent: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            let proof = sent["proof"].as_str().expect("text");
            let proof = BASE64.decode(proof.as_bytes()).expect("base64");
            match is_by_the_key(&proof) {
                true => tell("register".to_owned()),
                false => tell("forged".to_owned()),
            }
            StatusCode::NO_CONTENT.into_response()
        }
        "configuration" => "[service]\n".into_response(),
        "state" => {
            let known = uri.query().unwrap_or_default().replace("known=", "");
            let mut states = fake.state.subscribe();
            let state = *states
                .wait_for(|state| *state != known)
                .await
                .expect("kept");
            format!(r#"{{"state":"{state}"}}"#).into_response()
        }
        other => {
            tell(other.to_owned());
            StatusCode::NO_CONTENT.into_response()
        }
    }
}

fn is_by_the_key(proof: &[u8]) -> bool {
    let pem = super::proof::tests::KEY;
    let der = <rustls::pki_types::PrivatePkcs8KeyDer<'_> as rustls::pki_types::pem::PemObject>::from_pem_slice(pem.as_bytes());
    let der = der.expect("PEM");
    let pair = ring::signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der());
    let public = UnparsedPublicKey::new(
        &ED25519,
        pair.expect("a key").public_key().as_ref().to_vec(),
    );
    let (sealed, signature) = proof.split_at(proof.len() - 64);
    // 42 bytes of header, 71 of payload.
    let (header, payload) = (&sealed[4..46], &sealed[49..120]);
    let signed = [
        &b"\x84\x6aSignature1\x58\x2a"[..],
        header,
        b"\x40\x58\x47",
        payload,
    ]
    .concat();
    public.verify(&signed, signature).is_ok()
}

async fn fake(away: u32) -> (Fake, Controller) {
    let fake = Fake {
        state: watch::Sender::new("live"),
        told: Arc::default(),
        away: Arc::new(Mutex::new(away)),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let router = Router::new()
        .route("/v1/{path}", get(answer).post(answer))
        .with_state(fake.clone());
    tokio::spawn(async move {
        axum_serve(listener, router).await;
    });
    let controller = Controller {
        service: Service::at(&format!("http://{address}/v1/")).expect("a URL"),
        key: HolderKey::from_pem(super::proof::tests::KEY).expect("a key"),
    };
    (fake, controller)
}

/// The appliance's own server serves the fake.
async fn axum_serve(listener: TcpListener, router: Router) {
    let seats = Arc::new(tokio::sync::Semaphore::new(100));
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(crate::connection::serve(
            stream,
            crate::connection::Server {
                own_name: crate::own_name::OwnName::default(),
                router: router.clone(),
                tls: None,
                drain: Drain::default(),
                figures: None,
                read_bytes: crate::limits::HEAD_BYTES_MAX,
            },
            Arc::clone(&seats).acquire_owned().await.expect("open"),
        ));
    }
}

#[tokio::test]
async fn it_registers_when_the_controller_is_there_and_ends_when_told() {
    let (fake, controller) = fake(3).await;
    let log = Log::new("test");
    assert_eq!(controller.configuration(&log).await, "[service]\n");
    let (drain, metrics) = (Drain::default(), Registry::default());
    let readiness = Readiness::new(drain.clone());
    let gate = readiness.gate("starting");
    let part = Part::new(log, drain.clone(), readiness, &metrics);
    let registered = part.registered.clone();
    let taking_part = tokio::spawn(controller.take_part(part));
    gate.open();
    // The state is asked for after `ready`; the answer makes the appliance register once more.
    fake.state.send_replace("starting");
    while fake.told.lock().expect("whole").len() < 4 {
        tokio::task::yield_now().await;
    }
    fake.state.send_replace("draining");
    taking_part.await.expect("an end");
    assert!(drain.has_begun() && registered.get() == 0);
    let told = fake.told.lock().expect("whole").join(" ");
    assert!(told.starts_with("register ready register ready"), "{told}");
    assert!(!told.contains("forged"), "{told}");
}

#[tokio::test]
async fn a_controller_that_is_away_keeps_nobody_from_ending() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = nobody.local_addr().expect("an address");
    drop(nobody);
    let controller = Controller {
        service: Service::at(&format!("http://{address}/v1/")).expect("a URL"),
        key: HolderKey::from_pem(super::proof::tests::KEY).expect("a key"),
    };
    let (drain, metrics) = (Drain::default(), Registry::default());
    let readiness = Readiness::new(drain.clone());
    let part = Part::new(Log::new("test"), drain.clone(), readiness, &metrics);
    let errors = part.errors.clone();
    let taking_part = tokio::spawn(controller.take_part(part));
    while errors.get() < 2 {
        tokio::task::yield_now().await;
    }
    drain.begin();
    taking_part.await.expect("an end");
}

#[test]
fn pauses_rise_to_a_bound() {
    for (failed, random, milliseconds) in [
        (0, 0, 50),
        (0, 50_000, 100),
        (1, 0, 100),
        (6, 0, 3_200),
        (u32::MAX, 0, 5_000),
        (u32::MAX, 5_000_000, 10_000),
    ] {
        assert_eq!(pause(failed, random).as_millis(), milliseconds);
    }
}

#[test]
fn an_address_of_the_service_is_one_of_http() {
    for wrong in [
        "",
        "https://a/",
        "169.254.169.254",
        "http:///v1",
        "http://a/?b",
    ] {
        assert!(Service::at(wrong).is_none(), "{wrong}");
    }
    assert!(Service::at("http://[fd00::1]:8080/v1/").is_some());
}
