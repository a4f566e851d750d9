//! The auth proxy's decisions under load, on one core: `cargo xtask bench auth`.
//!
//! Tokens that were never seen are checked and remembered, beside the bare verification of as many
//! signatures; twenty thousand sessions are held; and one client floods with forged tokens. What the
//! switch does with those who are let in is not measured here.

use std::net::IpAddr;
use std::time::Instant;

use auth_proxy::attempts::{Attempts, Who};
use auth_proxy::limits::SESSIONS_MAX;
use auth_proxy::session::{Login, Quota};
use auth_proxy::table::Table;
use auth_proxy::token::{Publisher, Publishers, Replays};
use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde_json::json;

const NOW: u64 = 1_800_000_000;
/// Tokens of a round; all are remembered.
const TOKENS: usize = 5000;
/// Rounds, ours and the peer's in turns.
const ROUNDS: usize = 5;
/// What the project's issue asks for.
const SESSIONS_BYTES_MAX: f64 = 64e6;

fn main() {
    let key = SigningKey::from_bytes(&[7; 32]);
    let publishers = publishers(&key);
    let flood = forged(&publishers);
    figure(
        "forged tokens of one client refused",
        flood,
        None,
        "1/s",
        "higher",
    );
    let bytes = sessions();
    let bound = Some((SESSIONS_BYTES_MAX, "the bound"));
    figure("memory of 20,000 sessions", bytes, bound, "B", "lower");
    let (ours, bare) = tokens(&key, &publishers);
    let bare = Some((bare, "ed25519-dalek's verify_strict alone"));
    figure(
        "first-seen tokens a second and core",
        ours,
        bare,
        "1/s",
        "higher",
    );
}

fn figure(name: &str, ours: f64, peer: Option<(f64, &str)>, unit: &str, better: &str) {
    let mut line = json!({
        "bench": "auth", "figure": name, "ours": ours.round(), "better": better, "unit": unit,
        "rounds": ROUNDS,
    });
    if let Some((peer, name)) = peer {
        line["peer"] = peer.round().into();
        line["peer_name"] = name.into();
        line["ratio"] = ((ours / peer * 1e3).round() / 1e3).into();
    }
    println!("{line}");
}

fn publishers(key: &SigningKey) -> Publishers {
    let publisher = Publisher {
        name: "chat".to_owned(),
        key: key.verifying_key(),
        quota: Quota::default(),
    };
    Publishers {
        audience: "station".to_owned(),
        keys: [("chat-1".to_owned(), publisher)].into(),
    }
}

fn token(key: &SigningKey, id: usize) -> String {
    let part = |value: serde_json::Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let head = part(json!({"alg": "EdDSA", "kid": "chat-1"}));
    let body = json!({"aud": "station", "nbf": NOW, "exp": NOW + 300, "jti": id.to_string()});
    let signed = format!("{head}.{}", part(body));
    let signature = key.sign(signed.as_bytes()).to_bytes();
    format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
}

fn client(number: usize) -> IpAddr {
    let [.., a, b] = number.to_be_bytes();
    [10, 1, a, b].into()
}

/// Tokens and bare signatures a second: the medians.
fn tokens(key: &SigningKey, publishers: &Publishers) -> (f64, f64) {
    let tokens: Vec<String> = (0..TOKENS).map(|id| token(key, id)).collect();
    let bare: Vec<(&str, Signature)> = tokens.iter().filter_map(|token| split(token)).collect();
    let verifying = key.verifying_key();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut replays = Replays::default();
        ours.push(rate(|| {
            for (number, token) in tokens.iter().enumerate() {
                let by = client(number);
                let verified = publishers.check(token, by, NOW).expect("good");
                replays.check(&verified, by, NOW).expect("new");
                replays.take(verified.id, verified.expires, by);
            }
        }));
        theirs.push(rate(|| all_hold(&verifying, &bare)));
    }
    (median(ours), median(theirs))
}

fn split(token: &str) -> Option<(&str, Signature)> {
    let (signed, signature) = token.rsplit_once('.')?;
    let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).ok()?;
    Some((signed, Signature::from_slice(&signature).ok()?))
}

fn all_hold(key: &VerifyingKey, signatures: &[(&str, Signature)]) {
    for (signed, signature) in signatures {
        key.verify_strict(signed.as_bytes(), signature)
            .expect("good");
    }
}

/// How many a second, of [`TOKENS`].
fn rate(work: impl FnOnce()) -> f64 {
    let since = Instant::now();
    work();
    TOKENS as f64 / since.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What the process grew by when all sessions were there.
fn sessions() -> f64 {
    let before = resident_bytes();
    let mut table = Table::default();
    for number in 0..SESSIONS_MAX {
        let login = Login {
            key: format!("voucher:{number:032x}"),
            quota: Quota::default(),
            renews: false,
            class: None,
        };
        let plan = table.plan(client(number), &login, 1, NOW).expect("room");
        table.take(plan.session, plan.pass);
    }
    assert_eq!(table.len(), SESSIONS_MAX);
    resident_bytes() - before
}

fn resident_bytes() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0.0) * 4096.0
}

/// One client shows tokens whose signatures do not hold, as the portal meets them.
fn forged(publishers: &Publishers) -> f64 {
    let forger = SigningKey::from_bytes(&[8; 32]);
    let tokens: Vec<String> = (0..TOKENS).map(|id| token(&forger, id)).collect();
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        let mut attempts = Attempts::default();
        let who = Who::client(client(1));
        rates.push(rate(|| {
            for token in &tokens {
                if attempts.begin(&who, NOW) {
                    assert!(publishers.check(token, client(1), NOW).is_err());
                }
            }
        }));
    }
    median(rates)
}
