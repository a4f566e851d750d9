//! Each command with what is wrong about its words, its files, and whom it asks: the message says
//! what it is, and what to do.

use crate::place::Place;

/// Splits a command line.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

const HOLDER: &str = "ed25519:PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw";
const AUTHORITY: &str = "--authority https://127.0.0.1:1 --authority-key \
                         ed25519:PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw";

#[test]
fn wrong_words_are_told_with_the_right_ones() {
    let place = Place::new();
    let submit = "manifest submit m.toml --key p.pem --image i.elf";
    for (line, parts) in [
        ("", &["Usage: edgecloud", "keygen", "launch"][..]),
        ("lanch", &["unrecognized subcommand", "launch"]),
        ("keygen", &["<FILE>", "--help"]),
        (
            "image sign i.elf --name hello --memory-mib 16",
            &["--key <FILE>"],
        ),
        (
            "image sign i.elf --key p.pem --name hello --memory-mib much",
            &["much", "--memory-mib <N>", "digit"],
        ),
        (
            "image sign i.elf --key p.pem --name hello --memory-mib 16 --device floppy",
            &["floppy", "--device <DEVICE>", "network", "disk"],
        ),
        (
            "image sign i.elf --key p.pem --name Hello! --memory-mib 16",
            &["Hello!", "--name <NAME>", "letters"],
        ),
        ("image inspect", &["<DESCRIPTOR>"]),
        ("manifest check", &["<MANIFEST>"]),
        (
            &format!("{submit} --host edge-1"),
            &["--holder <KEY>", "--authority <URL>"],
        ),
        (
            &format!("{submit} --host edge_1 --holder {HOLDER} {AUTHORITY}"),
            &["edge_1", "--host <NAME>"],
        ),
        (
            &format!("{submit} --host edge-1 --holder me {AUTHORITY}"),
            &["'me'", "--holder <KEY>", "ed25519:"],
        ),
        (
            "manifest accept x.offer",
            &["--key <FILE>", "--authority <URL>"],
        ),
        ("launch i.elf --token t --descriptor d", &["--key <FILE>"]),
        (
            "launch i.elf --token t --descriptor d --key k --env LANG",
            &["LANG", "NAME=VALUE"],
        ),
        ("ps --sockt x", &["--sockt", "--socket"]),
        ("logs", &["<DOMAIN>"]),
        ("logs ../x", &["no domain's name", "`edgecloud ps`"]),
        (
            "stop one --drain-seconds soon",
            &["soon", "--drain-seconds <N>"],
        ),
        ("revoke", &["the application's number", "--list FILE"]),
        ("revoke photos", &["photos", "`edgecloud ps`"]),
        ("revoke 1 --list x", &["cannot be used with"]),
        ("flows --table 0", &["--table"]),
        (
            "trace --from access --source here",
            &["here", "--source <ADDRESS>", "IP address"],
        ),
        (
            "trace --from access --source 10.0.0.5 --target 10.0.0.6 --protocol sctp",
            &["sctp", "tcp, udp, icmp"],
        ),
        ("accounts photos", &["photos", "Usage: edgecloud accounts"]),
    ] {
        place.fails(2, &words(line), parts);
    }
}

#[test]
fn files_that_are_not_there_or_not_what_they_should_be_are_named() {
    let place = Place::new();
    let publisher = place.done(&["keygen", "p.pem"]);
    place.write_manifest(&publisher, "[[speak]]\nprotocols = [\"dns\"]\n");
    place.write("i.elf", "an ELF");
    place.write("nonsense", "nonsense");
    let none = &[
        "none: No such file or directory",
        "give a file that is there",
    ][..];
    let sign = "--name hello --memory-mib 16";
    let launch = "--socket d.sock --name x";
    let submit = format!("--host edge-1 --holder {HOLDER} {AUTHORITY}");
    for (code, line, parts) in [
        (
            1,
            "keygen p.pem".to_owned(),
            &["p.pem: ", "exists", "another name"][..],
        ),
        (
            1,
            "keygen none/p.pem".to_owned(),
            &["none/p.pem: No such file"],
        ),
        (1, format!("image sign none --key p.pem {sign}"), none),
        (1, format!("image sign i.elf --key none {sign}"), none),
        (
            2,
            format!("image sign i.elf --key i.elf {sign}"),
            &["i.elf", "chmod 600 i.elf"],
        ),
        (1, "image inspect none".to_owned(), none),
        (2, "image inspect nonsense".to_owned(), &["nonsense: "]),
        (1, "manifest check none".to_owned(), none),
        (
            1,
            "manifest check .".to_owned(),
            &["give a file, not a directory"],
        ),
        (
            2,
            "manifest check nonsense".to_owned(),
            &["nonsense: line 1"],
        ),
        (
            1,
            format!("manifest submit none --key p.pem --image i.elf {submit}"),
            none,
        ),
        (
            1,
            format!("manifest submit m.toml --key p.pem --image none {submit}"),
            none,
        ),
        (
            1,
            format!("manifest accept none --key p.pem {AUTHORITY}"),
            none,
        ),
        (
            2,
            format!("manifest accept nonsense --key p.pem {AUTHORITY}"),
            &["nonsense: "],
        ),
        (
            1,
            format!("launch i.elf --token none --descriptor i.elf --key p.pem {launch}"),
            none,
        ),
        (
            1,
            format!("launch i.elf --token i.elf --descriptor none --key p.pem {launch}"),
            none,
        ),
        (
            1,
            format!("launch i.elf --token i.elf --descriptor i.elf --key none {launch}"),
            none,
        ),
        (
            1,
            format!(
                "launch i.elf --token i.elf --descriptor i.elf --key p.pem --config none {launch}"
            ),
            none,
        ),
        (1, "revoke --list none".to_owned(), none),
    ] {
        place.fails(code, &words(&line), parts);
    }
}

#[test]
fn who_is_not_there_is_named_and_how_to_find_him() {
    let place = Place::new();
    let publisher = place.done(&["keygen", "p.pem"]);
    place.write_manifest(&publisher, "[[speak]]\nprotocols = [\"dns\"]\n");
    place.write("i.elf", "an ELF");
    let absent = &[
        "the daemon at none.sock cannot be reached",
        "edgecloudd runs",
        "--socket",
    ];
    let trace = "trace --from access --source 10.0.0.5 --target 10.0.0.6";
    let launch = "launch i.elf --token i.elf --descriptor i.elf --key p.pem";
    for line in [
        "ps",
        "logs one",
        "stop one",
        "revoke 1",
        "revoke --list i.elf",
        "flows",
        trace,
        "accounts",
        launch,
    ] {
        let mut words = words(line);
        words.extend(["--socket", "none.sock"]);
        place.fails(5, &words, absent);
        words.push("--json");
        let (code, out, _) = place.run(&words);
        let told: serde_json::Value = serde_json::from_str(&out).expect("JSON");
        assert_eq!(
            (code, &told["exit_code"]),
            (5, &serde_json::json!(5)),
            "{line}"
        );
    }
    let submit =
        format!("manifest submit m.toml --key p.pem --image i.elf --host e --holder {HOLDER}");
    let absent = &[
        "the authority at https://127.0.0.1:1 cannot be reached",
        "--authority",
    ];
    place.write("ca.pem", "");
    place.fails(5, &words(&format!("{submit} {AUTHORITY}")), absent);
    let http = AUTHORITY.replace("https", "http");
    let wrong = &["no authority's URL", "https://NAME:PORT"];
    place.fails(2, &words(&format!("{submit} {http}")), wrong);
    let ca = format!("{submit} {AUTHORITY} --ca ca.pem");
    place.fails(2, &words(&ca), &["no certificate", "with --ca FILE"]);
}
