//! Publishers' tokens: a header and claims, with a line end between, which a publisher's key signs here;
//! and the same bytes as a token that nobody signed.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use auth_proxy::session::Quota;
use auth_proxy::token::{Publisher, Publishers};
use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::{Signer as _, SigningKey};

use crate::Target;

pub(super) const TARGET: Target = Target {
    name: "tokens",
    run,
    seeds,
};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5));
const NOW: u64 = 1_800_000_000;
const QUOTA: Quota = Quota {
    seconds: 3600,
    bytes: Some(1_000_000),
    kbit: Some(2000),
    devices: 1,
};

fn run(bytes: &[u8]) {
    let key = SigningKey::from_bytes(&[7; 32]);
    let publisher = Publisher {
        name: "chat".to_owned(),
        key: key.verifying_key(),
        quota: QUOTA,
    };
    let publishers = Publishers {
        audience: "station".to_owned(),
        keys: HashMap::from([("k".to_owned(), publisher)]),
    };
    let unsigned = publishers.check(&String::from_utf8_lossy(bytes), CLIENT, NOW);
    assert!(unsigned.is_err());

    let mut halves = bytes.splitn(2, |byte| *byte == b'\n');
    let mut part = || BASE64URL_NOPAD.encode(halves.next().unwrap_or_default());
    let signed = format!("{}.{}", part(), part());
    let signature = key.sign(signed.as_bytes()).to_bytes();
    let token = |signature: &[u8]| format!("{signed}.{}", BASE64URL_NOPAD.encode(signature));
    let Ok(verified) = publishers.check(&token(&signature), CLIENT, NOW) else {
        return;
    };
    // A publisher gives no more than it may, and nothing that is over.
    assert!(verified.expires > NOW);
    let quota = verified.login.quota;
    assert!(quota.seconds <= QUOTA.seconds && quota.bytes <= QUOTA.bytes);
    assert!(quota.bytes.is_some() && quota.kbit.is_some() && quota.kbit <= QUOTA.kbit);
    assert!(verified.login.key.starts_with("token:chat:"));
    // What was good is not with another signature, for another hotspot, or later.
    let mut other = signature;
    other[usize::from(bytes[0]) % 64] ^= 1;
    assert!(publishers.check(&token(&other), CLIENT, NOW).is_err());
    let late = publishers.check(&token(&signature), CLIENT, verified.expires);
    assert!(late.is_err());
    let elsewhere = Publishers {
        audience: "museum".to_owned(),
        ..publishers
    };
    assert!(elsewhere.check(&token(&signature), CLIENT, NOW).is_err());
}

fn seeds() -> Vec<Vec<u8>> {
    let header = r#"{"alg":"EdDSA","kid":"k","typ":"JWT"}"#;
    [
        r#"{"aud":"station","exp":1800000100,"nbf":1799999990,"jti":"1"}"#,
        r#"{"aud":"station","exp":1800000100,"nbf":1799999990,"jti":"a b","seconds":60,"bytes":5,"kbit":9,"ip":"10.0.0.5"}"#,
        r#"{"aud":"station","exp":1,"nbf":0,"jti":"","ip":"::ffff:10.0.0.5"}"#,
    ]
    .into_iter()
    .map(|claims| format!("{header}\n{claims}").into_bytes())
    .collect()
}
