//! What the portal's forms and fields are read by: a voucher's code as somebody typed it, a field against
//! forged forms, `Accept-Language`, and text that goes into a page.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use auth_proxy::csrf::Forms;
use auth_proxy::language::Languages;
use auth_proxy::page::escaped;
use auth_proxy::probe::expected;
use auth_proxy::voucher::{Code, SEED_BYTES};

use crate::Target;

pub(super) const TARGET: Target = Target {
    name: "portal",
    run,
    seeds,
};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5));

fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(code) = Code::typed(&text) {
        let printed = code.printed();
        let again = Code::typed(&printed).expect("what is printed can be typed");
        assert!(again == code);
    }
    assert!(!Forms::new(&[7; 32]).is_ours(&text, CLIENT, 1_800_000_000));
    let languages = Languages::with(&BTreeMap::new()).expect("our own are whole");
    assert!(!languages.choose(Some(&text)).text("title").is_empty());
    let page = escaped(&text);
    assert!(!page.contains(['<', '>', '"', '\'']));
    assert!(page.len() >= text.len());
    let (host, path) = text.split_once('/').unwrap_or((&text, ""));
    expected(host, path);
}

fn seeds() -> Vec<Vec<u8>> {
    let code = Code::of([0x5a; SEED_BYTES]).printed();
    let field = Forms::new(&[8; 32]).field(CLIENT, 1_800_000_000);
    [
        code.as_str(),
        &field,
        "de-CH, de;q=0.9, en;q=0.8, *;q=0.5",
        "<a href=\"'&\">",
        "captive.apple.com/hotspot-detect.html",
    ]
    .into_iter()
    .map(|seed| seed.as_bytes().to_vec())
    .collect()
}
