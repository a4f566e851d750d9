//! The program itself, as people run it: with files, with a real authority on the loopback
//! interface, and with a daemon's socket.

mod daemon;
mod mistakes;
mod place;

use place::{Authority, Place};
use serde_json::json;

#[test]
fn a_key_is_made_once_and_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let public = place.done(&["keygen", "p.pem"]);
    assert!(
        public.starts_with("ed25519:") && public.len() == 51,
        "{public}"
    );
    let mode = std::fs::metadata(place.file("p.pem"))
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    place.fails(1, &["keygen", "p.pem"], &["p.pem", "exists"]);
    let (code, out, _) = place.run(&["--json", "keygen", "q.pem"]);
    assert_eq!(code, 0);
    let private = std::fs::read_to_string(place.file("q.pem")).expect("a file");
    let secret = private.lines().nth(1).expect("a key");
    assert!(!out.contains(secret));
}

#[test]
fn a_manifest_that_is_wrong_is_explained_by_its_line() {
    let place = Place::new();
    let publisher = place.done(&["keygen", "p.pem"]);
    place.write_manifest(&publisher, "[[speak]]\nprotocols = [\"dns\"]\n");
    let said = place.done(&["manifest", "check", "m.toml"]);
    assert!(
        said.contains("photos-edge") && said.contains("paid by photos"),
        "{said}"
    );
    place.write_manifest(&publisher, "[[speak]]\nprotocls = [\"dns\"]\n");
    place.fails(
        2,
        &["manifest", "check", "m.toml"],
        &["m.toml: line 4, column 1", "protocols", "add a list"],
    );
    place.fails(
        1,
        &["manifest", "check", "none.toml"],
        &["none.toml: No such file"],
    );
    place.fails(2, &["manifest", "chekc"], &["check"]);
}

#[test]
fn an_image_is_signed_and_inspected() {
    let place = Place::new();
    let publisher = place.done(&["keygen", "p.pem"]);
    place.write("hello.elf", "an ELF");
    let sign = "image sign hello.elf --key p.pem --name hello --memory-mib 16";
    let sign: Vec<_> = sign.split(' ').collect();
    place.done(&sign);
    let inspect = ["image", "inspect", "hello.descriptor", "--elf", "hello.elf"];
    let said = place.done(&inspect);
    assert!(
        said.contains(&publisher) && said.contains("16 MiB"),
        "{said}"
    );
    place.write("hello.elf", "another ELF");
    place.fails(2, &inspect, &["hello.descriptor", "sign it again"]);
    place.write("hello.descriptor", "nonsense");
    place.fails(2, &inspect, &["hello.descriptor"]);
    place.write("open.pem", "x");
    let open: Vec<_> = sign
        .iter()
        .map(|word| word.replace("p.pem", "open.pem"))
        .collect();
    let open: Vec<_> = open.iter().map(String::as_str).collect();
    place.fails(2, &open, &["open.pem", "chmod 600"]);
}

#[test]
fn a_manifest_becomes_an_offer_and_a_token() {
    let place = Place::new();
    let publisher = place.done(&["keygen", "p.pem"]);
    let holder = place.done(&["keygen", "h.pem"]);
    let authority = Authority::start(&place, &publisher);
    place.write("hello.elf", "an ELF");
    let submit = authority.with(&[
        "manifest",
        "submit",
        "m.toml",
        "--key",
        "p.pem",
        "--host",
        "edge-1",
        "--image",
        "hello.elf",
        "--holder",
        &holder,
    ]);
    let submit: Vec<_> = submit.iter().map(String::as_str).collect();
    place.write_manifest(&publisher, "[[speak]]\nprotocols = [\"dns\"]\n");
    let said = place.done(&submit);
    assert!(
        said.contains("m.token") && said.contains("token 1 "),
        "{said}"
    );
    assert!(place.file("m.token").exists());

    let narrowed = "[[intercept]]\nfrom = \"clients\"\n\
        to = { name = \"www.photos.example\", tcp = [80, 443] }\n\
        [[call]]\nto = { name = \"mx.photos.example\", tcp = [25] }\n";
    place.write_manifest(&publisher, narrowed);
    let (code, out, err) = place.run(&submit);
    assert_eq!(code, 4, "{out} {err}");
    for part in [
        "m.offer",
        "narrowed",
        "refused",
        "own-names",
        "encrypted only",
    ] {
        assert!(out.contains(part), "no {part:?} in {out}");
    }
    let accept = authority.with(&["manifest", "accept", "m.offer", "--key", "p.pem", "--json"]);
    let accept: Vec<_> = accept.iter().map(String::as_str).collect();
    let said = place.done(&accept);
    let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(said["grants"].as_array().map(Vec::len), Some(1), "{said}");

    // Somebody else's offer is none: it is not by the authority that is believed.
    let other = place.done(&["keygen", "other.pem"]);
    let key = authority.key.clone();
    let forged: Vec<_> = accept
        .iter()
        .map(|word| word.replace(&key, &other))
        .collect();
    let forged: Vec<_> = forged.iter().map(String::as_str).collect();
    let (code, out, _) = place.run(&forged);
    let said: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &said["exit_code"]), (2, &json!(2)), "{said}");
    // A publisher whom the authority does not know.
    place.write_manifest(&other, "[[speak]]\nprotocols = [\"dns\"]\n");
    let unknown: Vec<_> = submit
        .iter()
        .map(|word| word.replace("p.pem", "other.pem"))
        .collect();
    let unknown: Vec<_> = unknown.iter().map(String::as_str).collect();
    place.fails(3, &unknown, &["the authority refused"]);
    drop(authority);
    place.fails(5, &unknown, &["cannot be reached"]);
}

#[test]
fn the_help_of_every_command_suffices() {
    let place = Place::new();
    for command in [
        "",
        "keygen",
        "image sign",
        "image inspect",
        "manifest check",
        "manifest submit",
        "manifest accept",
        "launch",
        "ps",
        "logs",
        "stop",
        "revoke",
        "flows",
        "trace",
        "accounts",
    ] {
        let mut words: Vec<_> = command.split_whitespace().collect();
        words.push("--help");
        let said = place.done(&words);
        assert!(
            said.contains("Usage: edgecloud") && said.contains("--json"),
            "{said}"
        );
    }
    assert!(place.done(&["--help"]).contains("Exit codes:"));
}
