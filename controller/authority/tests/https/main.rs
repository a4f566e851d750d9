//! The program itself: a process, HTTPS over loopback, a client that others wrote.

#[allow(dead_code, reason = "the site is shared with the tests of decisions")]
#[path = "../site/mod.rs"]
mod site;

mod process;

use std::collections::BTreeSet;

use authority::store::audit;
use data_encoding::BASE64URL_NOPAD;
use manifest::*;
use process::Process;
use serde_json::{Value, json};
use site::*;

fn encoded(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

fn decoded(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("text");
    BASE64URL_NOPAD.decode(text.as_bytes()).expect("base64url")
}

async fn submit(process: &Process, wish: &Wish) -> (u16, Value) {
    let body = json!({ "submission": encoded(wish.signed().bytes()) });
    process.post("/v1/manifests", &body).await
}

/// The word in a problem's type.
fn problem(body: &Value) -> &str {
    let kind = body["type"].as_str().expect("a problem");
    kind.strip_prefix("urn:edgecloud:problem:").expect(kind)
}

#[tokio::test]
async fn what_is_granted_is_a_token_that_a_host_believes() {
    let directory = Directory::new();
    let process = Process::start(&directory);
    let wish = Wish::with(&[SPEAK]);
    let (status, body) = submit(&process, &wish).await;
    assert_eq!(status, 201, "{body}");
    let bytes = decoded(&body["tokens"][0]["token"]);
    let none = RevocationList::empty();
    let token = verifier()
        .verify(&bytes, authority::api::now(), &none)
        .unwrap();
    assert_eq!(Value::from(token.serial().0), body["tokens"][0]["serial"]);
    assert_eq!(token.image(), Digest::of(b"an ELF"));
    assert_eq!(submit(&process, &wish).await, (201, body));
    assert_eq!(process.get("/health").await.0, 200);
}

#[tokio::test]
async fn what_is_narrowed_is_an_offer_that_can_be_accepted() {
    let directory = Directory::new();
    let process = Process::start(&directory);
    let (status, body) = submit(&process, &Wish::with(&[SPEAK, INTERCEPT, CALL, MAIL])).await;
    assert_eq!((status, problem(&body)), (409, "offer"), "{body}");
    let answers = body["offer"]["answers"].as_array().unwrap();
    let outcomes: Vec<(&str, &str)> = answers
        .iter()
        .map(|answer| {
            (
                answer["outcome"].as_str().unwrap(),
                answer["policy"].as_str().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("granted", "basics"),
        ("narrowed", "own-names"),
        ("priced", "calls"),
        ("refused", "no-mail"),
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(answers[1]["reason"], "encrypted only");
    assert_eq!(answers[2]["price"], "0.05 EUR per GB");
    let own = [authority_key().public()];
    let offer = SignedOffer::open(&decoded(&body["offer"]["signed"]), &own).unwrap();
    let digest = offer.document().digest();
    let path = format!("/v1/offers/{digest}");
    assert_eq!(process.get(&path).await, (200, body["offer"].clone()));

    let yes = acceptance(digest, &publisher());
    let yes = json!({ "acceptance": encoded(yes.bytes()) });
    let path = format!("{path}/acceptance");
    let (status, body) = process.post(&path, &yes).await;
    assert_eq!(status, 201, "{body}");
    let bytes = decoded(&body["tokens"][0]["token"]);
    let none = RevocationList::empty();
    let token = verifier()
        .verify(&bytes, authority::api::now(), &none)
        .unwrap();
    let grants: Vec<u16> = token.grants().iter().map(|grant| grant.index).collect();
    assert_eq!(grants, [0, 1, 2]);
    assert_eq!(process.post(&path, &yes).await, (201, body));
}

#[tokio::test]
async fn what_is_refused_names_the_policy() {
    let directory = Directory::new();
    let process = Process::start(&directory);
    let (status, body) = submit(&process, &Wish::with(&[MAIL])).await;
    assert_eq!((status, problem(&body)), (409, "offer"));
    let answer = &body["offer"]["answers"][0];
    assert_eq!(answer["policy"], "no-mail");
    assert_eq!(answer["reason"], "mail is not carried here");
    let digest = body["offer"]["digest"].as_str().unwrap();
    let yes = acceptance(Digest::from_hex(digest).unwrap(), &publisher());
    let yes = json!({ "acceptance": encoded(yes.bytes()) });
    let path = format!("/v1/offers/{digest}/acceptance");
    let (status, body) = process.post(&path, &yes).await;
    assert_eq!((status, problem(&body)), (409, "nothing-granted"));
}

#[tokio::test]
async fn bad_requests_are_problems_with_names() {
    let directory = Directory::new();
    let process = Process::start(&directory);
    let mut expired = Wish::with(&[SPEAK]);
    expired.expires = "2020-01-01T00:00:00Z";
    let (status, body) = submit(&process, &expired).await;
    assert_eq!((status, problem(&body)), (422, "manifest-expired"));
    let mut forged = Wish::with(&[SPEAK]).signed().bytes().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let check = async |body: Value, expected: (u16, &str)| {
        let (status, answer) = process.post("/v1/manifests", &body).await;
        assert_eq!((status, problem(&answer)), expected, "{answer}");
    };
    check(
        json!({ "submission": encoded(&forged) }),
        (403, "not-signed"),
    )
    .await;
    check(json!({ "submission": "***" }), (400, "malformed")).await;
    check(json!({ "manifest": "" }), (400, "malformed")).await;
    check(json!([]), (400, "malformed")).await;
    let long = "A".repeat(authority::api::BODY_BYTES_MAX);
    check(json!({ "submission": long }), (400, "malformed")).await;
    for path in [
        "/",
        "/v1/offers/abc",
        &format!("/v1/offers/{}", "0".repeat(64)),
    ] {
        assert_eq!(process.get(path).await.0, 404, "{path}");
    }
    let (status, body) = process.get("/v1/audit").await;
    assert_eq!((status, problem(&body)), (403, "not-an-operator"));
}

#[tokio::test]
async fn a_revoked_token_is_on_the_list_that_hosts_get() {
    let directory = Directory::new();
    let process = Process::start(&directory);
    let (_, body) = submit(&process, &Wish::with(&[SPEAK])).await;
    let serial = Serial(body["tokens"][0]["serial"].as_u64().unwrap());
    let body = json!({ "revocation": encoded(order(serial, &operator()).bytes()) });
    let (status, revoked) = process.post("/v1/revocations", &body).await;
    assert_eq!(status, 200, "{revoked}");
    let (_, listed) = process.get("/v1/revocations").await;
    let own = [authority_key().public()];
    let list = SignedRevocationList::open(&decoded(&listed["signed"]), &own).unwrap();
    assert!(list.document().contains(serial));
    assert!(list.document().supersedes(&RevocationList::empty()));
    let forged = json!({ "revocation": encoded(order(serial, &publisher()).bytes()) });
    let (status, body) = process.post("/v1/revocations", &forged).await;
    assert_eq!((status, problem(&body)), (403, "not-an-operator"));
}

#[tokio::test]
async fn wrong_policies_are_not_taken_and_right_ones_are() {
    let directory = Directory::new();
    let mut process = Process::start(&directory);
    let policies = directory.file("policies.cedar");
    std::fs::write(&policies, "@id(\"broken\") permit (principal, action").unwrap();
    process.reload();
    let line = process.wait_for("policies kept");
    assert!(
        line["fields"]["error"].as_str().unwrap().contains("line 1"),
        "{line}"
    );
    assert_eq!(submit(&process, &Wish::with(&[SPEAK])).await.0, 201);
    std::fs::write(
        &policies,
        "@id(\"closed\") forbid (principal, action, resource);",
    )
    .unwrap();
    process.reload();
    process.wait_for("policies reloaded");
    let mut other = Wish::with(&[SPEAK]);
    other.application = "another".to_owned();
    let (status, body) = submit(&process, &other).await;
    assert_eq!(
        (status, &body["offer"]["answers"][0]["policy"]),
        (409, &json!("closed"))
    );
}

/// Most tests speak HTTP/2; this one speaks HTTP/1.1 by hand, and pipelines.
#[tokio::test]
async fn the_older_http_is_spoken_as_well() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let directory = Directory::new();
    let process = Process::start(&directory);
    let mut stream = process.connect_tls().await;
    let first = "GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let last = "GET /nothing HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream
        .write_all([first, last].concat().as_bytes())
        .await
        .unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 1, "{answers}");
    assert_eq!(
        answers.matches("HTTP/1.1 404 Not Found").count(),
        1,
        "{answers}"
    );
    assert_eq!(
        answers.matches("cache-control: no-store").count(),
        2,
        "{answers}"
    );
}

/// Who says nothing, or half a thing, is let go, and until then keeps nobody waiting.
#[tokio::test]
async fn slow_clients_are_let_go() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let directory = Directory::new();
    let process = Process::start(&directory);
    let mut silent = process.connect().await;
    let mut half = process.connect_tls().await;
    half.write_all(b"POST /v1/manifests HTTP/1.1\r\nhost: ")
        .await
        .unwrap();
    half.flush().await.unwrap();
    assert_eq!(submit(&process, &Wish::with(&[SPEAK])).await.0, 201);
    // Each read ends because the authority closes; a close without TLS's goodbye is an error.
    let mut rest = Vec::new();
    assert_eq!(silent.read_to_end(&mut rest).await.unwrap_or(0), 0);
    let _ = half.read_to_end(&mut rest).await;
    let answer = String::from_utf8_lossy(&rest);
    assert!(
        rest.is_empty() || answer.starts_with("HTTP/1.1 408"),
        "{answer}"
    );
}

/// Killed in the middle of answering, again and again: what a client was told is in the log, no
/// serial number was given twice, and the log's chain holds.
#[tokio::test]
async fn killed_in_the_middle_it_gives_no_serial_twice() {
    const ROUNDS: usize = 4;
    const SUBMISSIONS: usize = 12;
    let directory = Directory::new();
    let mut told = BTreeSet::new();
    let mut answers = Vec::new();
    for round in 0..ROUNDS {
        let process = Process::start(&directory);
        let requests = (0..SUBMISSIONS).map(|number| {
            let mut wish = Wish::with(&[SPEAK]);
            wish.application = format!("app-{round}-{number}");
            let body = json!({ "submission": encoded(wish.signed().bytes()) });
            tokio::spawn(process.request("/v1/manifests", &body))
        });
        let requests: Vec<_> = requests.collect();
        for (number, request) in requests.into_iter().enumerate() {
            // Some answers come; then it is killed, and the others find nobody.
            if number == SUBMISSIONS / 3 {
                process.kill();
            }
            if let Ok(Some((201, body))) = request.await {
                let serial = body["tokens"][0]["serial"].as_u64().unwrap();
                assert!(told.insert(serial), "serial {serial} was given twice");
                answers.push(body["tokens"][0]["application"].clone());
            }
        }
    }
    assert!(told.len() >= ROUNDS * (SUBMISSIONS / 3), "{told:?}");
    let process = Process::start(&directory);
    let request = AuditRequest {
        operator: operator().public(),
        at: authority::api::now(),
    };
    let request = Signed::sign(request, &operator());
    let lines = process.audit(&encoded(request.bytes())).await;
    audit::verify(&"0".repeat(64), &lines).unwrap();
    let entries = lines
        .iter()
        .map(|line| serde_json::from_str::<Value>(&line.entry).unwrap());
    let granted: Vec<u64> = entries
        .filter_map(|entry| entry["detail"]["serial"].as_u64())
        .collect();
    let distinct: BTreeSet<u64> = granted.iter().copied().collect();
    assert_eq!(distinct.len(), granted.len());
    assert!(told.is_subset(&distinct), "{told:?} in {distinct:?}");
}
