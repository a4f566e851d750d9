//! A manifest as its publisher wrote it: the bytes are the text.

use manifest::Manifest;
use manifest::encoding::{from_bytes, to_bytes};
use manifest::signed::Document;

use crate::Target;

pub(super) const TARGET: Target = Target {
    name: "manifest",
    run,
    seeds,
};

pub(super) const EXAMPLE: &str = r#"
name = "photos-edge"
publisher = "ed25519:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
expires = 2027-01-01T00:00:00Z
on-fail = "pass"

[[speak]]
protocols = ["arp", "dns"]

[[intercept]]
from = "clients"
to = { name = "www.photos.example", tcp = [80, 443] }
where = { host = "*.photos.example", path = "/upload*" }

[[call]]
to = { name = "api.photos.example", tcp = [443] }

[[serve]]
as = "edge.photos.example"
tcp = [443]

[limit]
rate = "50Mbit"

[bill]
account = "photos"
free-to-client = true
"#;

fn run(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    match Manifest::from_toml(text) {
        Ok(manifest) => {
            let again = from_bytes(&to_bytes(&manifest), Manifest::BYTES_MAX);
            assert_eq!(
                again.as_ref(),
                Ok(&manifest),
                "what is signed is not what was written"
            );
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    vec![EXAMPLE.as_bytes().to_vec()]
}
