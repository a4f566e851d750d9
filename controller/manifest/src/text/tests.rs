use super::*;
use crate::document::RULES_MAX;

/// The manifest of DESIGN.md, whose publisher is RFC 8032's second key.
pub(crate) const PHOTOS: &str = r#"name = "photos-edge"
publisher = "ed25519:PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw"
expires = 2027-01-01T00:00:00Z
on-fail = "pass"

[[speak]]                    # well-known pairs
protocols = ["dns", "arp"]

[[intercept]]
from = "clients"
to = { name = "www.photos.example", tcp = [80, 443] }
where = { host = "*.photos.example", path = "/upload*" }

[[call]]
to = { name = "api.photos.example", tcp = [443] }

[[serve]]
as = "edge.photos.example"
tcp = [443, "8000-8100"]

[limit]
rate = "50Mbit"

[bill]
account = "photos"
free-to-client = true
"#;

#[test]
fn the_example_is_read() {
    let manifest = Manifest::from_toml(PHOTOS).unwrap();
    assert_eq!(manifest.name().as_str(), "photos-edge");
    assert_eq!(manifest.expires().to_string(), "2027-01-01T00:00:00Z");
    assert_eq!(manifest.limit().rate.unwrap().to_string(), "50Mbit");
    assert!(manifest.bill().free_to_client);
    let rules: Vec<String> = manifest.rules().iter().map(Rule::to_string).collect();
    assert_eq!(
        rules,
        [
            "speak arp,dns",
            "intercept from clients to www.photos.example tcp=80,443 \
             where host=*.photos.example path=/upload*",
            "call api.photos.example tcp=443",
            "serve edge.photos.example tcp=443,8000-8100 to clients",
        ]
    );
}

#[test]
fn rules_keep_the_order_of_the_document() {
    let swapped = PHOTOS.replace(
        "[[speak]]",
        "[[call]]\nto = { net = \"192.0.2.0/24\", udp = [53] }\n[[speak]]",
    );
    let manifest = Manifest::from_toml(&swapped).unwrap();
    let kinds: Vec<&str> = manifest.rules().iter().map(Rule::kind).collect();
    assert_eq!(kinds, ["call", "speak", "intercept", "call", "serve"]);
}

#[test]
fn a_gate_and_what_everybody_may_reach_are_read_written_and_covered() {
    let rules = "[[admit]]\nfrom = \"clients\"\n[[admit]]\nfrom = \"10.1.0.0/16\"\n\
                 to = { name = \"*.chat.example\", tcp = [443] }\n[[speak]]";
    let text = PHOTOS.replace("[[speak]]", rules);
    let manifest = Manifest::from_toml(&text).unwrap();
    let words: Vec<String> = manifest.rules().iter().map(Rule::to_string).collect();
    assert_eq!(words[0], "admit clients");
    assert_eq!(words[1], "admit 10.1.0.0/16 to *.chat.example tcp=443");
    let read = Manifest::from_bytes(&manifest.to_bytes());
    assert_eq!(read.as_ref(), Ok(&manifest));
    let [gate, free, ..] = manifest.rules() else {
        panic!("two rules");
    };
    assert!(!gate.covers(free) && !free.covers(gate) && free.covers(free));
    assert_eq!((gate.services(), gate.within(None, None)), (None, None));
    let wrong = text.replace("tcp = [443] }\n[[speak]]", "}\n[[speak]]");
    assert!(Manifest::from_toml(&wrong).is_err(), "a name without ports");
}

/// Changes the example and expects an error in that line, where that text starts.
fn check(from: &str, to: &str, (line, at): (usize, &str), words: &str) {
    let text = PHOTOS.replacen(from, to, 1);
    assert_ne!(text, PHOTOS, "{from} is in the example");
    let error = Manifest::from_toml(&text).expect_err(to);
    assert!(error.problem.contains(words), "{to}: {error}");
    let found = text.lines().nth(error.line - 1).unwrap();
    let found: String = found.chars().skip(error.column - 1).collect();
    assert!(
        error.line == line && found.starts_with(at),
        "{error}: {found}"
    );
}

#[test]
fn errors_name_place_and_cure() {
    check(
        "name = \"photos-edge\"\n",
        "",
        (1, ""),
        "`name` is missing in the manifest: add what you",
    );
    check(
        "\"photos-edge\"",
        "\"Photos\"",
        (1, "\"Photos"),
        "lower-case letters",
    );
    check(
        "\"photos-edge\"",
        "7",
        (1, "7"),
        "`name`: write a text in quotes, not a number",
    );
    check(
        "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        (2, "\""),
        "nobody can have",
    );
    check("ed25519:", "", (2, "\""), "edgecloud keygen");
    check(
        "2027-01-01T00:00:00Z",
        "2027-01-01",
        (3, "2027"),
        "2027-01-01T00:00:00Z",
    );
    check("= \"pass\"", "= \"maybe\"", (4, "\"maybe"), "\"block\"");
    check(
        "[[speak]]",
        "[speak]",
        (6, "[speak]"),
        "`speak`: write `[[speak]]`, with two brackets",
    );
    check(
        "[[speak]]",
        "[[speek]]",
        (6, "speek"),
        "has no key \"speek\": its keys are `name`",
    );
    check(
        "[\"dns\", \"arp\"]",
        "[\"dns\", \"http\"]",
        (7, "\"http"),
        "no protocol",
    );
    check("[\"dns\", \"arp\"]", "[]", (7, "[]"), "the list is empty");
    check(
        "\"clients\"",
        "\"client\"",
        (10, "\"client\""),
        "range of addresses",
    );
    check(
        "from = \"clients\"\n",
        "",
        (9, "[[intercept]]"),
        "`from` is missing in intercept",
    );
    check(
        "\"www.photos.example\"",
        "\"www_photos.example\"",
        (11, "\"www_"),
        "'_'",
    );
    check("[80, 443]", "[80, 99999]", (11, "99999"), "from 1 to 65535");
    check("[80, 443]", "[0x50]", (11, "0x50"), "a number or a text");
    check(", tcp = [80, 443]", "", (11, "{ name"), "no port is named");
    check(
        "tcp = [80, 443]",
        "udp = [443]",
        (12, "{"),
        "seen in TCP only",
    );
    check(
        "{ host = \"*.photos.example\", path = \"/upload*\" }",
        "{}",
        (12, "{"),
        "it says nothing",
    );
    check(
        "path = \"/upload*\"",
        "paths = \"/upload*\"",
        (12, "paths"),
        "has no key \"paths\": its keys are `host`, `path`",
    );
    check(
        "{ name = \"api",
        "{ net = \"192.0.2.1/24\", name = \"api",
        (15, "\"192"),
        "give one of both",
    );
    check(
        "\"edge.photos.example\"",
        "\"*.photos.example\"",
        (18, "\"*."),
        "wildcard",
    );
    check(
        "\"50Mbit\"",
        "\"fast\"",
        (22, "\"fast"),
        "kbit, Mbit or Gbit",
    );
    check(
        "[bill]\naccount = \"photos\"\nfree-to-client = true\n",
        "",
        (1, ""),
        "`bill` is missing",
    );
    check(
        "free-to-client = true",
        "free-to-client = 1",
        (26, "1"),
        "true or false",
    );
    check("name = ", "name = = ", (1, "="), "");
    check(
        "[[call]]\n",
        "[[speak]]\nprotocols = [\"arp\", \"dns\", \"dns\"]\n[[call]]\n",
        (14, "[[speak]]"),
        "rule 3 is the same as rule 1",
    );
}

#[test]
fn too_much_is_refused_before_it_is_read() {
    let rules = |count: usize| {
        let rule = |n: usize| {
            format!("[[call]]\nto = {{ name = \"a{n}.photos.example\", tcp = [443] }}\n")
        };
        PHOTOS.to_owned() + &(0..count).map(rule).collect::<String>()
    };
    let error = Manifest::from_toml(&rules(1_000_000)).unwrap_err();
    assert!(error.problem.contains("may have 262144"), "{error}");
    assert!(Manifest::from_toml(&rules(RULES_MAX - 4)).is_ok());
    let error = Manifest::from_toml(&rules(RULES_MAX - 3)).unwrap_err();
    assert!(error.problem.contains("may have 512"), "{error}");
    // The rule that is too much is the last one.
    assert_eq!(error.line, 26 + 2 * (RULES_MAX - 4) + 1);
    let deep = format!(
        "{PHOTOS}deep = {}{}",
        "[".repeat(50_000),
        "]".repeat(50_000)
    );
    assert!(Manifest::from_toml(&deep).is_err());
}
