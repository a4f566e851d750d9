use manifest::{Manifest, SigningKey};

use super::*;

const POLICIES: &str = r#"
@id("basics")
permit (principal, action == Action::"speak", resource)
when { ["arp", "nd", "dhcp", "dns"].containsAll(context.protocols) };

@id("own-names") @narrow("tcp=443 udp=443") @reason("encrypted only")
permit (principal in Group::"partners", action == Action::"intercept", resource == Account::"photos")
when { context has toName && context.toName like "*.photos.example" };

@id("calls") @price("0.05 EUR per GB")
permit (principal, action == Action::"call", resource);

@id("calls-home")
permit (principal, action == Action::"call", resource)
when { context has toName && context.toName == "api.photos.example" };

@id("slow-service") @narrow("rate=10Mbit days=7")
permit (principal, action == Action::"serve", resource);

@id("no-mail") @reason("mail is not carried here")
forbid (principal, action == Action::"call", resource)
when { context.tcp.containsAny([25, 465, 587]) };
"#;

/// What the policies above answer to a manifest with these rules: a line for each.
fn answers(rules: &str) -> (Vec<String>, Verdict) {
    answers_by(POLICIES, rules)
}

fn answers_by(policies: &str, rules: &str) -> (Vec<String>, Verdict) {
    let key = SigningKey::from_seed(&[1; 32]).public();
    let text = format!(
        "name = \"photos-edge\"\npublisher = \"{key}\"\nexpires = 2027-01-01T00:00:00Z\n\
         {rules}\n[bill]\naccount = \"photos\"\n"
    );
    let manifest = Manifest::from_toml(&text).unwrap();
    let wish = Wish {
        publisher: &key,
        publisher_name: "photos",
        groups: &["partners".to_owned()],
        application: "photos-edge",
        hosts: &["edge-1".parse().unwrap()],
        account: &manifest.bill().account,
        free_to_client: false,
        on_fail: manifest.on_fail(),
        limit: manifest.limit(),
        expires: manifest.expires(),
        now: "2026-12-01T00:00:00Z".parse().unwrap(),
    };
    let verdict = Policies::parse(policies)
        .unwrap()
        .answer(&wish, manifest.rules());
    let line = |answer: &Answer| {
        let rule = answer.outcome.rule().map(|rule| format!(" {rule}"));
        let rule = rule.unwrap_or_default();
        format!(
            "{}{rule} by {}: {}",
            answer.outcome.as_str(),
            answer.policy,
            answer.reason
        )
    };
    (verdict.answers.iter().map(line).collect(), verdict)
}

#[test]
fn each_rule_is_answered_by_a_policy_with_a_name() {
    let check = |rule: &str, expected: &str| assert_eq!(answers(rule).0, [expected]);
    check(
        "[[speak]]\nprotocols = [\"dns\"]",
        "granted speak dns by basics: ",
    );
    check(
        "[[speak]]\nprotocols = [\"dns\", \"ntp\"]",
        "refused by default-deny: no policy of the operator permits it",
    );
    let intercept =
        "[[intercept]]\nfrom = \"clients\"\nto = { name = \"www.photos.example\", tcp = PORTS }";
    check(
        &intercept.replace("PORTS", "[80, 443]"),
        "narrowed intercept from clients to www.photos.example tcp=443 by own-names: encrypted only",
    );
    check(
        &intercept.replace("PORTS", "[443]"),
        "granted intercept from clients to www.photos.example tcp=443 by own-names: encrypted only",
    );
    check(
        &intercept.replace("PORTS", "[80]"),
        "refused by own-names: nothing of the rule remains within what is permitted",
    );
    check(
        &intercept.replace("PORTS", "[\"1-65535\"]"),
        "refused by ports-bound: the rule names more than 1024 ports: name those that the application uses",
    );
    check(
        "[[call]]\nto = { name = \"cdn.example.net\", tcp = [443] }",
        "priced call cdn.example.net tcp=443 by calls: ",
    );
    check(
        "[[call]]\nto = { name = \"api.photos.example\", tcp = [443] }",
        "granted call api.photos.example tcp=443 by calls-home: ",
    );
    check(
        "[[call]]\nto = { name = \"api.photos.example\", tcp = [443, 587] }",
        "refused by no-mail: mail is not carried here",
    );
    check(
        "[[call]]\nto = { net = \"192.0.2.0/24\", tcp = [443] }",
        "priced call 192.0.2.0/24 tcp=443 by calls: ",
    );
}

#[test]
fn what_rules_share_gets_the_least_of_all() {
    let serve = "[[serve]]\nas = \"edge.photos.example\"\ntcp = [443]\n";
    let (lines, verdict) = answers(serve);
    assert_eq!(
        lines,
        ["narrowed serve edge.photos.example tcp=443 to clients by slow-service: "]
    );
    assert_eq!(verdict.limit.rate.unwrap().to_string(), "10Mbit");
    assert_eq!(verdict.expires.to_string(), "2026-12-08T00:00:00Z");
    let (_, verdict) = answers(&format!("{serve}[limit]\nrate = \"2Mbit\""));
    assert_eq!(verdict.limit.rate.unwrap().to_string(), "2Mbit");
}

const DNS: &str = "[[speak]]\nprotocols = [\"dns\"]";

#[test]
fn of_equal_permits_the_first_by_name_counts() {
    let permit = |id: &str| format!("@id(\"{id}\") permit (principal, action, resource);\n");
    let expected = ["granted speak dns by a: "];
    let policies = ["c", "a", "b"].map(permit).concat();
    assert_eq!(answers_by(&policies, DNS).0, expected);
    let policies = ["a", "b", "c"].map(permit).concat();
    assert_eq!(answers_by(&policies, DNS).0, expected);
}

#[test]
fn a_policy_that_fails_refuses() {
    let policies = "@id(\"all\") permit (principal, action, resource);\n\
        @id(\"overflow\") forbid (principal, action, resource)\n\
        when { context.wish.expiresInDays * 9223372036854775807 > 7 };";
    let (lines, verdict) = answers_by(policies, DNS);
    assert!(
        lines[0].starts_with("refused by evaluation: a policy failed"),
        "{lines:?}"
    );
    assert!(verdict.answers[0].outcome.rule().is_none());
}

#[test]
fn the_example_is_right() {
    let example = include_str!("../../example/policies.cedar");
    assert_eq!(Policies::parse(example).unwrap().count(), 8);
}

#[test]
fn wrong_policies_are_refused_with_their_place() {
    let check = |text: &str, words: &[&str]| {
        let error = Policies::parse(text).err().expect(text).to_string();
        for word in words {
            assert!(error.contains(word), "{word} in: {error}");
        }
    };
    check(
        "@id(\"a\")\npermit (principal, action, resource",
        &["line 2, column", "unexpected"],
    );
    check(
        "permit (principal, action, resource);",
        &["line 1, column 1: ", "@id"],
    );
    let twice = "@id(\"a\") permit (principal, action, resource);\n";
    check(&twice.repeat(2), &["two policies are named \"a\""]);
    check(
        "\n@id(\"a\")\npermit (principal, action == Action::\"call\", resource) when { context.port == 1 };",
        &["line 3, column", "port"],
    );
    check(
        "@id(\"a\") permit (principal == ?principal, action, resource);",
        &["slot"],
    );
    let annotated = |annotation: &str, effect: &str| {
        format!("@id(\"a\") {annotation} {effect} (principal, action, resource);")
    };
    check(
        &annotated("@narow(\"tcp=1\")", "permit"),
        &["@narow means nothing"],
    );
    check(
        &annotated("@narrow(\"tcp=0\")", "permit"),
        &["@narrow: tcp:"],
    );
    check(&annotated("@narrow(\"\")", "permit"), &["@narrow is empty"]);
    check(&annotated("@narrow(\"days=0\")", "permit"), &["from 1 to"]);
    check(
        &annotated("@narrow(\"tcp=1 tcp=2\")", "permit"),
        &["stands twice"],
    );
    check(
        &annotated("@narrow(\"port=1\")", "permit"),
        &["means nothing"],
    );
    check(
        &annotated("@narrow(\"tcp=1\")", "forbid"),
        &["use it with `permit`"],
    );
    check(
        &annotated("@price(\"cheap\")", "permit"),
        &["@price: no price"],
    );
    check(&" ".repeat(POLICY_BYTES_MAX + 1), &["may have"]);
}
