//! The decisions without a network, at moments of the test's choice.

#[allow(dead_code, reason = "the site is shared with the tests over HTTPS")]
mod site;

use authority::authority::{Authority, REQUESTS_PER_MINUTE_MAX, Reply, Terms};
use authority::config::Publisher;
use authority::policy::Policies;
use authority::refusal::Refusal;
use authority::store::Store;
use authority::store::audit;
use manifest::*;
use site::*;

const DAY: u64 = 86_400;

fn start() -> Timestamp {
    "2026-12-01T00:00:00Z".parse().unwrap()
}

fn authority(directory: &Directory, policies: &str) -> Authority {
    let publisher_of = |key: SigningKey, name: &str| Publisher {
        key: key.public(),
        name: name.to_owned(),
        accounts: vec!["photos".parse().unwrap()],
        groups: vec!["partners".to_owned()],
    };
    let terms = Terms {
        issuer: name("isp.example"),
        hosts: vec![name("edge-1"), name("edge-2")],
        operators: vec![operator().public()],
        publishers: vec![
            publisher_of(publisher(), "Photos"),
            publisher_of(key(4), "Other"),
        ],
        token_days_max: 30,
        offer_hours_max: 24,
    };
    let policies = Policies::parse(policies).unwrap();
    let store = Store::open(&directory.file("authority.redb")).unwrap();
    Authority::new(authority_key(), terms, policies, store)
}

fn token(reply: Result<Reply, Refusal>) -> Signed<Token> {
    match reply {
        Ok(Reply::Token(token)) => *token,
        other => panic!("no token: {other:?}"),
    }
}

fn offer(reply: Result<Reply, Refusal>) -> Signed<Offer> {
    match reply {
        Ok(Reply::Offer(offer)) => *offer,
        other => panic!("no offer: {other:?}"),
    }
}

/// The word for which something is refused.
fn refused<T: std::fmt::Debug>(result: Result<T, Refusal>) -> &'static str {
    result.unwrap_err().name_and_status().0
}

#[test]
fn one_submission_has_one_answer_as_long_as_it_stands() {
    let directory = Directory::new();
    let authority = authority(&directory, POLICIES);
    let wish = Wish::with(&[SPEAK]).signed();
    let first = token(authority.submit(wish.bytes(), start()));
    assert_eq!(first.document().expires(), start().after(30 * DAY));
    let later = start().after(30 * DAY - 1);
    assert_eq!(token(authority.submit(wish.bytes(), later)), first);
    let renewed = token(authority.submit(wish.bytes(), start().after(30 * DAY)));
    assert_ne!(renewed.document().serial(), first.document().serial());
    assert_eq!(renewed.document().number(), first.document().number());
    let mut other = Wish::with(&[SPEAK]);
    other.host = "edge-2";
    let other = token(authority.submit(other.signed().bytes(), start()));
    assert_ne!(other.document().serial(), first.document().serial());
    assert_eq!(other.document().number(), first.document().number());
}

#[test]
fn an_offer_ends_and_is_for_its_publisher() {
    let directory = Directory::new();
    let authority = authority(&directory, POLICIES);
    let wish = Wish::with(&[INTERCEPT]).signed();
    let made = offer(authority.submit(wish.bytes(), start()));
    let digest = made.document().digest();
    assert_eq!(
        offer(authority.submit(wish.bytes(), start().after(1))),
        made
    );
    assert_eq!(authority.find_offer(digest, start()).unwrap(), made);
    let accept = |by: &SigningKey, offer: Digest, now| {
        authority.accept(digest, acceptance(offer, by).bytes(), now)
    };
    assert_eq!(refused(accept(&key(4), digest, start())), "foreign-offer");
    assert_eq!(
        refused(accept(&key(5), digest, start())),
        "unknown-publisher"
    );
    let other = Digest::of(b"another");
    assert_eq!(
        refused(accept(&publisher(), other, start())),
        "unknown-offer"
    );
    let end = start().after(DAY);
    assert_eq!(refused(accept(&publisher(), digest, end)), "offer-expired");
    assert_eq!(refused(authority.find_offer(digest, end)), "offer-expired");
    let accepted = token(accept(&publisher(), digest, end.before(1)));
    let grants = accepted.document().grants();
    assert_eq!(grants[0].rule.services().unwrap().to_string(), "tcp=443");
    // Accepting again, and submitting again, bring the same token.
    assert_eq!(token(accept(&publisher(), digest, end.before(1))), accepted);
    assert_eq!(token(authority.submit(wish.bytes(), end)), accepted);
}

#[test]
fn offers_stand_when_policies_change() {
    let directory = Directory::new();
    let authority = authority(&directory, POLICIES);
    let wish = Wish::with(&[INTERCEPT]).signed();
    let made = offer(authority.submit(wish.bytes(), start()));
    let nothing = "@id(\"closed\") forbid (principal, action, resource);";
    let nothing = Policies::parse(nothing).unwrap();
    authority.replace_policies(nothing, start()).unwrap();
    assert_eq!(offer(authority.submit(wish.bytes(), start())), made);
    let again = offer(authority.submit(wish.bytes(), start().after(DAY)));
    assert_eq!(again.document().answers[0].policy, "closed");
    assert!(again.document().grants().is_empty());
    let yes = acceptance(again.document().digest(), &publisher());
    let nothing = authority.accept(again.document().digest(), yes.bytes(), start().after(DAY));
    assert_eq!(refused(nothing), "nothing-granted");
}

#[test]
fn what_speaks_against_a_submission_has_a_name() {
    let directory = Directory::new();
    let authority = authority(&directory, POLICIES);
    let check = |word: &str, change: fn(&mut Wish)| {
        let mut wish = Wish::with(&[SPEAK]);
        change(&mut wish);
        assert_eq!(
            refused(authority.submit(wish.signed().bytes(), start())),
            word
        );
    };
    check("unknown-publisher", |wish| wish.publisher = key(7));
    check("foreign-account", |wish| wish.account = "others");
    check("unknown-host", |wish| wish.host = "edge-9");
    check("manifest-expired", |wish| {
        wish.expires = "2026-12-01T00:00:00Z"
    });
    let by_another = Signed::sign(Wish::with(&[SPEAK]).signed().into_document(), &key(4));
    assert_eq!(
        refused(authority.submit(by_another.bytes(), start())),
        "not-signed"
    );
    // What a known publisher tries is in the audit log; strangers leave nothing that costs disk.
    let lines = lines(&authority, start());
    let reasons: Vec<String> = lines.iter().map(reason).collect();
    assert_eq!(
        reasons,
        ["foreign-account", "unknown-host", "manifest-expired"]
    );
}

fn reason(line: &audit::Line) -> String {
    let entry: serde_json::Value = serde_json::from_str(&line.entry).unwrap();
    assert_eq!(entry["event"], "rejected");
    entry["detail"]["reason"].as_str().unwrap().to_owned()
}

#[test]
fn a_publisher_that_floods_waits_and_others_do_not() {
    let directory = Directory::new();
    let authority = authority(&directory, POLICIES);
    let wish = Wish::with(&[SPEAK]).signed();
    for _ in 0..REQUESTS_PER_MINUTE_MAX {
        token(authority.submit(wish.bytes(), start()));
    }
    assert_eq!(
        refused(authority.submit(wish.bytes(), start().after(59))),
        "too-fast"
    );
    let mut other = Wish::with(&[SPEAK]);
    other.publisher = key(4);
    token(authority.submit(other.signed().bytes(), start()));
    token(authority.submit(wish.bytes(), start().after(60)));
}

#[test]
fn revocation_is_for_operators_and_for_good() {
    let directory = Directory::new();
    let authority = authority(&directory, POLICIES);
    let wish = Wish::with(&[SPEAK]).signed();
    let token = token(authority.submit(wish.bytes(), start()));
    let serial = token.document().serial();
    let revoke = |serial, by: &SigningKey| authority.revoke(order(serial, by).bytes(), start());
    assert_eq!(refused(revoke(serial, &publisher())), "not-an-operator");
    assert_eq!(refused(revoke(Serial(99), &operator())), "unknown-token");
    let before = authority.revocations(start()).unwrap();
    let list = revoke(serial, &operator()).unwrap();
    assert!(list.document().contains(serial));
    assert!(list.document().supersedes(before.document()));
    assert_eq!(revoke(serial, &operator()).unwrap(), list);
    let verdict = verifier().verify(token.bytes(), start(), list.document());
    assert_eq!(verdict, Err(TokenRefusal::Revoked(serial)));
    assert_eq!(refused(authority.submit(wish.bytes(), start())), "revoked");
    assert_eq!(lines(&authority, start()).len(), 2);
}

/// The whole audit log, checked.
fn lines(authority: &Authority, now: Timestamp) -> Vec<audit::Line> {
    let request = AuditRequest {
        operator: operator().public(),
        at: now,
    };
    let request = Signed::sign(request, &operator());
    let lines = authority.audit(request.bytes(), 0, now).unwrap();
    audit::verify(&"0".repeat(64), &lines).unwrap();
    lines
}

#[test]
fn the_audit_log_is_for_operators_and_now() {
    let directory = Directory::new();
    let authority = authority(&directory, POLICIES);
    let ask = |by: &SigningKey, now| {
        let operator = by.public();
        let request = Signed::sign(
            AuditRequest {
                operator,
                at: start(),
            },
            by,
        );
        authority.audit(request.bytes(), 0, now)
    };
    assert!(ask(&operator(), start().after(60)).unwrap().is_empty());
    assert_eq!(refused(ask(&operator(), start().after(61))), "stale");
    assert_eq!(refused(ask(&operator(), start().before(61))), "stale");
    assert_eq!(refused(ask(&publisher(), start())), "not-an-operator");
}
