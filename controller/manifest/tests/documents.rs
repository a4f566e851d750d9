//! The signed documents: what is written is read, what was changed is refused, and each refusal
//! has its name. Other people's libraries read the fixed vector (see `vector`).

mod examples;

use examples::*;
use manifest::signed::Document;
use manifest::*;
use proptest::prelude::*;

fn opened<T: Document + signed::SelfSigned + PartialEq + std::fmt::Debug>(signed: &Signed<T>) {
    let again = Signed::<T>::open_self_signed(signed.bytes()).unwrap();
    assert_eq!(&again, signed);
}

#[test]
fn what_is_signed_is_read() {
    let (publisher, authority) = (key(1), key(2));
    opened(&signed_manifest(&publisher));
    opened(&Signed::sign(submission(&publisher), &publisher));
    opened(&Signed::sign(descriptor(&publisher), &publisher));
    let order = RevocationOrder {
        serial: Serial(7),
        reason: "misuse".to_owned(),
        operator: publisher.public(),
    };
    opened(&Signed::sign(order, &publisher));
    let offer = offer(&publisher);
    let yes = Acceptance {
        offer: offer.digest(),
        publisher: publisher.public(),
    };
    opened(&Signed::sign(yes, &publisher));
    let signed = Signed::sign(offer, &authority);
    let again = Signed::<Offer>::open(signed.bytes(), &[key(3).public(), authority.public()]);
    assert_eq!(again.unwrap(), signed);
}

#[test]
fn a_signature_over_one_kind_is_none_over_another() {
    let publisher = key(1);
    let manifest = signed_manifest(&publisher);
    assert_eq!(
        SignedSubmission::open_self_signed(manifest.bytes()),
        Err(OpenError::OtherKind {
            expected: "application/vnd.edgecloud.submission+cbor"
        })
    );
    let by_another = Signed::sign(manifest.document().clone(), &key(2));
    assert_eq!(
        SignedManifest::open_self_signed(by_another.bytes()),
        Err(OpenError::Forged)
    );
    let long = vec![0; 1 << 20];
    assert!(matches!(
        SignedManifest::open_self_signed(&long),
        Err(OpenError::TooLarge { .. })
    ));
}

/// Every byte of every document, changed in several ways: nothing is read, nothing panics.
#[test]
fn whatever_is_changed_is_refused() {
    let publisher = key(1);
    let manifest = signed_manifest(&publisher);
    let submission = Signed::sign(submission(&publisher), &publisher);
    let descriptor = Signed::sign(descriptor(&publisher), &publisher);
    each_change(manifest.bytes(), |bytes| {
        SignedManifest::open_self_signed(bytes).is_ok()
    });
    each_change(submission.bytes(), |bytes| {
        SignedSubmission::open_self_signed(bytes).is_ok()
    });
    each_change(descriptor.bytes(), |bytes| {
        SignedImageDescriptor::open_self_signed(bytes).is_ok()
    });
    let token = signed_token(&key(2), |_| {});
    let (verifier, none) = (verifier(&key(2)), RevocationList::empty());
    each_change(token.bytes(), |bytes| {
        verifier.verify(bytes, now(), &none).is_ok()
    });
    let list = Signed::sign(revocations(&[7]), &key(2));
    each_change(list.bytes(), |bytes| {
        SignedRevocationList::open(bytes, &[key(2).public()]).is_ok()
    });
}

fn each_change(bytes: &[u8], accepted: impl Fn(&[u8]) -> bool) {
    assert!(accepted(bytes));
    for at in 0..bytes.len() {
        assert!(!accepted(&bytes[..at]), "cut at {at}");
        for change in [0x01, 0x80] {
            let mut changed = bytes.to_vec();
            changed[at] ^= change;
            assert!(!accepted(&changed), "byte {at} with {change:#x}");
        }
    }
    assert!(!accepted(&[bytes, &[0]].concat()));
}

/// What is not signed must have one form as well: digests are taken of it.
#[test]
fn a_manifest_has_one_encoding() {
    let manifest = manifest();
    let bytes = manifest.to_bytes();
    assert_eq!(Manifest::from_bytes(&bytes).unwrap(), manifest);
    for at in 0..bytes.len() {
        for change in 1..=255 {
            let mut changed = bytes.clone();
            changed[at] ^= change;
            // A changed meaning is another manifest, and has another encoding.
            if let Ok(other) = Manifest::from_bytes(&changed) {
                assert_eq!(other.to_bytes(), changed);
                assert_ne!(other, manifest);
            }
        }
    }
    // The same meaning with a longer integer: the map's first key as 18 01.
    let mut longer = bytes.clone();
    longer.splice(1..2, [0x18, 0x01]);
    assert_eq!(
        Manifest::from_bytes(&longer),
        Err(encoding::DecodeError::NotDeterministic)
    );
}

#[test]
fn tokens_are_refused_by_name() {
    let authority = key(2);
    let none = RevocationList::empty();
    let check = |word: &str, token: &Signed<Token>, now: Timestamp, list: &RevocationList| {
        let result = verifier(&authority).verify(token.bytes(), now, list);
        let refusal = result.as_ref().err().map(|refusal| refusal.as_str());
        assert_eq!(refusal.unwrap_or("accepted"), word);
    };
    let token = signed_token(&authority, |_| {});
    let (start, end) = (
        token.document().claims().not_before,
        token.document().expires(),
    );
    check("accepted", &token, now(), &none);
    check("accepted", &token, end.before(1), &none);
    check("expired", &token, end, &none);
    check("accepted", &token, start.before(60), &none);
    check("not-yet-valid", &token, start.before(61), &none);
    check("revoked", &token, now(), &revocations(&[7]));
    check("accepted", &token, now(), &revocations(&[6, 8]));
    check("forged", &signed_token(&key(3), |_| {}), now(), &none);
    let elsewhere = signed_token(&authority, |claims| claims.hosts = vec![name("edge-9")]);
    check("other-audience", &elsewhere, now(), &none);
    let several = signed_token(&authority, |claims| claims.hosts.insert(0, name("edge-9")));
    check("accepted", &several, now(), &none);
    let other = signed_token(&authority, |claims| claims.issuer = name("evil.example"));
    check("other-issuer", &other, now(), &none);
    let verifier = verifier(&authority);
    let refusal = verifier.verify(signed_manifest(&authority).bytes(), now(), &none);
    assert_eq!(refusal.unwrap_err().as_str(), "malformed");
}

#[test]
fn an_older_list_never_takes_the_place_of_a_newer() {
    let (old, new) = (
        revocations(&[]),
        RevocationList::new(10, now(), [Serial(7)].into()).unwrap(),
    );
    assert!(new.supersedes(&old) && !old.supersedes(&new) && !new.supersedes(&new));
    assert!(old.supersedes(&RevocationList::empty()));
}

#[test]
fn a_proof_is_good_once_for_one_token_and_for_a_while() {
    let holder = key(4);
    let token = signed_token(&key(2), |_| {});
    let proof = |nonce: proof::Nonce, token: Digest, by: &SigningKey| {
        Signed::sign(Proof { nonce, token }, by).bytes().to_vec()
    };
    let mut window = ReplayWindow::default();
    let mut check = |proof: &[u8], seconds: u64, expected: Result<(), ProofRefusal>| {
        let now = now().after(seconds);
        assert_eq!(
            window.check(proof, token.document(), token.bytes(), now),
            expected
        );
    };
    let mine = proof([9; 32], token.digest(), &holder);
    check(&mine, 0, Err(ProofRefusal::Replayed));
    let mut window = ReplayWindow::default();
    window.issue([9; 32], now());
    window.issue([8; 32], now());
    let mut check = |proof: &[u8], seconds: u64, expected: Result<(), ProofRefusal>| {
        let now = now().after(seconds);
        assert_eq!(
            window.check(proof, token.document(), token.bytes(), now),
            expected
        );
    };
    let forged = proof([9; 32], token.digest(), &key(5));
    check(
        &forged,
        0,
        Err(ProofRefusal::NotTheHolder(OpenError::Forged)),
    );
    let other = proof([9; 32], Digest::of(b"another"), &holder);
    check(&other, 0, Err(ProofRefusal::OtherToken));
    check(&mine, 30, Ok(()));
    check(&mine, 30, Err(ProofRefusal::Replayed));
    let late = proof([8; 32], token.digest(), &holder);
    check(&late, 31, Err(ProofRefusal::Late));
}

#[test]
fn a_flood_of_challenges_forgets_the_oldest() {
    let token = signed_token(&key(2), |_| {});
    let mut window = ReplayWindow::default();
    let nonce = |number: usize| {
        let mut nonce = [0; 32];
        nonce[..8].copy_from_slice(&number.to_be_bytes());
        nonce
    };
    for number in 0..=proof::CHALLENGES_MAX {
        window.issue(nonce(number), now());
    }
    let mut check = |number: usize| {
        let proof = Proof {
            nonce: nonce(number),
            token: token.digest(),
        };
        let proof = Signed::sign(proof, &key(4));
        window.check(proof.bytes(), token.document(), token.bytes(), now())
    };
    assert_eq!(check(0), Err(ProofRefusal::Replayed));
    assert_eq!(check(1), Ok(()));
    assert_eq!(check(proof::CHALLENGES_MAX), Ok(()));
}

#[test]
fn claims_fit_together_or_are_no_token() {
    let refused = |change: fn(&mut Claims)| {
        let mut claims = claims();
        change(&mut claims);
        Token::new(claims).is_err()
    };
    assert!(!refused(|_| {}));
    assert!(refused(|claims| claims.hosts.clear()));
    assert!(refused(|claims| claims.hosts.push(claims.hosts[0].clone())));
    assert!(refused(|claims| claims.grants.clear()));
    assert!(refused(|claims| claims.grants.reverse()));
    assert!(refused(|claims| claims.grants[0].index = 600));
    assert!(refused(|claims| claims.expires = claims.not_before));
    assert_eq!(ApplicationNumber::new(0), None);
    assert_eq!(ApplicationNumber::new(1 << 24), None);
}

#[test]
fn a_narrowed_rule_is_covered_by_the_rule() {
    let manifest = manifest();
    let narrowed = manifest.rules()[1]
        .within(Some(&"443".parse().unwrap()), None)
        .unwrap();
    assert!(manifest.rules()[1].covers(&narrowed) && !narrowed.covers(&manifest.rules()[1]));
    let nothing: Ports = "22".parse().unwrap();
    assert_eq!(manifest.rules()[1].within(Some(&nothing), None), None);
    // What has a condition on requests is nothing without TCP.
    assert_eq!(manifest.rules()[0].within(Some(&nothing), None), None);
}

/// Lists in lists, as deep as there is room: no parser follows them down the stack.
#[test]
fn what_is_deep_is_refused() {
    for opening in [0x81, 0xa1, 0xd2] {
        let deep = vec![opening; 200_000];
        assert!(Manifest::from_bytes(&deep).is_err());
        assert!(SignedSubmission::open_self_signed(&deep).is_err());
        assert!(
            verifier(&key(2))
                .verify(&deep, now(), &RevocationList::empty())
                .is_err()
        );
    }
}

proptest! {
    #[test]
    fn any_manifest_survives_its_encoding(manifest in any_manifest()) {
        let bytes = manifest.to_bytes();
        prop_assert_eq!(Manifest::from_bytes(&bytes).unwrap(), manifest);
    }

    #[test]
    fn a_rule_covers_itself_and_what_remains_within(rule in any_rule(), ports in any_ports()) {
        prop_assert!(rule.covers(&rule));
        for (tcp, udp) in [(Some(&ports), None), (None, Some(&ports)), (Some(&ports), Some(&ports))] {
            if let Some(narrowed) = rule.within(tcp, udp) {
                prop_assert!(rule.covers(&narrowed));
            }
        }
    }

    #[test]
    fn no_bytes_make_a_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Manifest::from_bytes(&bytes);
        let _ = SignedSubmission::open_self_signed(&bytes);
        let _ = verifier(&key(2)).verify(&bytes, now(), &RevocationList::empty());
        let _ = Manifest::from_toml(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in "[a-z\\[\\]{}=\"'.,#\n 0-9*é-]{0,200}") {
        let _ = Manifest::from_toml(&text);
        let _ = text.parse::<NamePattern>();
        let _ = text.parse::<Ports>();
        let _ = text.parse::<Price>();
        let _ = text.parse::<Cidr>();
        let _ = text.parse::<Timestamp>();
    }
}

/// The bytes that `cbor2` 5.9 and `pycose` 1.1 of Python read, verify and encode again alike: who
/// changes a format changes this vector.
#[test]
fn vector() {
    let expected = include_str!("token.hex").trim();
    let token = signed_token(&key(2), |_| {});
    assert_eq!(data_encoding::HEXLOWER.encode(token.bytes()), expected);
}
