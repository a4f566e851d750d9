//! Documents and keys for the tests, and generators of random ones.

use std::sync::LazyLock;

use manifest::*;
use proptest::prelude::*;

/// 2026-12-01T00:00:00Z.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_seconds(1_796_083_200).unwrap()
}

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn manifest() -> Manifest {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        format!(
            "name = \"photos-edge\"\npublisher = \"{}\"\nexpires = 2027-01-01T00:00:00Z\n\
             [[intercept]]\nfrom = \"clients\"\nto = {{ name = \"www.photos.example\", tcp = [80, 443], udp = [443] }}\n\
             where = {{ host = \"*.photos.example\", path = \"/upload*\" }}\non-fail = \"block\"\n\
             [[call]]\nto = {{ net = \"2001:db8::/32\", tcp = [443, \"8000-8100\"] }}\n\
             [[serve]]\nas = \"edge.photos.example\"\ntcp = [443]\n\
             [limit]\nrate = \"50Mbit\"\n[bill]\naccount = \"photos\"\n",
            key(1).public()
        )
    });
    Manifest::from_toml(&TEXT).unwrap()
}

pub(crate) fn signed_manifest(publisher: &SigningKey) -> SignedManifest {
    let example = manifest();
    let parts = ManifestParts {
        name: example.name().clone(),
        publisher: publisher.public(),
        expires: example.expires(),
        on_fail: example.on_fail(),
        rules: example.rules().to_vec(),
        limit: example.limit(),
        bill: example.bill().clone(),
    };
    Signed::sign(Manifest::new(parts).unwrap(), publisher)
}

pub(crate) fn submission(publisher: &SigningKey) -> Submission {
    let hosts = vec![name("edge-2"), name("edge-1")];
    let image = Digest::of(b"an ELF");
    Submission::new(signed_manifest(publisher), hosts, image, key(4).public()).unwrap()
}

pub(crate) fn descriptor(publisher: &SigningKey) -> ImageDescriptor {
    ImageDescriptor {
        name: "thumbnailer".parse().unwrap(),
        digest: Digest::of(b"an ELF"),
        publisher: publisher.public(),
        memory_mib: 64,
        devices: [Device::Network].into(),
        version: "1.0.0".to_owned(),
    }
}

pub(crate) fn offer(publisher: &SigningKey) -> Offer {
    let submission = submission(publisher);
    let rules = submission.manifest().rules();
    let rule = rules[1].clone();
    let price = "0.05 EUR per GB".parse().unwrap();
    let outcomes = [
        Outcome::Granted(rules[0].clone()),
        Outcome::Narrowed { to: rule.clone() },
        Outcome::Priced { rule, price },
        Outcome::Refused,
    ];
    let answers = outcomes.map(|outcome| Answer::new(outcome, "policy", "because"));
    Offer {
        submission: submission.digest(),
        valid_until: now().after(3600),
        answers: answers.into(),
        limit: Limit::default(),
        expires: now().after(86_400),
    }
}

pub(crate) fn claims() -> Claims {
    let manifest = manifest();
    let grant = |index: u16| Grant {
        index,
        rule: manifest.rules()[usize::from(index)].clone(),
    };
    Claims {
        issuer: name("isp.example"),
        hosts: vec![name("edge-1"), name("edge-2")],
        expires: now().after(86_400),
        not_before: now(),
        serial: Serial(7),
        publisher: key(1).public(),
        application: manifest.name().clone(),
        number: ApplicationNumber::new(0x0012_3456).unwrap(),
        manifest: manifest.digest(),
        image: Digest::of(b"an ELF"),
        holder: key(4).public(),
        grants: vec![grant(0), grant(2)],
        on_fail: manifest.on_fail(),
        limit: manifest.limit(),
        bill: manifest.bill().clone(),
    }
}

pub(crate) fn signed_token(
    authority: &SigningKey,
    change: impl FnOnce(&mut Claims),
) -> Signed<Token> {
    let mut claims = claims();
    change(&mut claims);
    Signed::sign(Token::new(claims).unwrap(), authority)
}

pub(crate) fn verifier(authority: &SigningKey) -> Verifier {
    Verifier::new(
        name("isp.example"),
        vec![authority.public()],
        name("edge-1"),
    )
    .unwrap()
}

pub(crate) fn revocations(serials: &[u64]) -> RevocationList {
    let serials = serials.iter().copied().map(Serial).collect();
    RevocationList::new(9, now(), serials).unwrap()
}

pub(crate) fn any_ports() -> impl Strategy<Value = Ports> {
    let range = (1..=u16::MAX, 0..2000u16);
    let range = range.prop_map(|(first, more)| (first, first.saturating_add(more)));
    prop::collection::vec(range, 1..8).prop_map(|ranges| Ports::new(ranges).unwrap())
}

fn any_services() -> impl Strategy<Value = Services> {
    (any_ports(), any_ports(), 0..3u8).prop_map(|(tcp, udp, which)| {
        let none = Ports::default();
        match which {
            0 => Services::new(tcp, none),
            1 => Services::new(none, udp),
            _ => Services::new(tcp, udp),
        }
        .unwrap()
    })
}

fn any_pattern() -> impl Strategy<Value = NamePattern> {
    let text = "(\\*\\.)?[a-z]([a-z0-9-]{0,20}[a-z0-9])?\\.[a-z]{2,10}";
    text.prop_map(|text| text.parse().unwrap())
}

fn any_net() -> impl Strategy<Value = Cidr> {
    prop_oneof![
        (any::<std::net::Ipv4Addr>(), 0..=32u8).prop_map(|(address, prefix)| Cidr::new(
            address.into(),
            prefix
        )
        .unwrap()),
        (any::<std::net::Ipv6Addr>(), 0..=128u8).prop_map(|(address, prefix)| Cidr::new(
            address.into(),
            prefix
        )
        .unwrap()),
    ]
}

fn any_source() -> impl Strategy<Value = Source> {
    prop_oneof![Just(Source::Clients), any_net().prop_map(Source::Net)]
}

fn any_peer() -> impl Strategy<Value = Peer> {
    prop_oneof![
        any_pattern().prop_map(Peer::Name),
        any_net().prop_map(Peer::Net)
    ]
}

fn any_condition() -> impl Strategy<Value = Option<Condition>> {
    let path = "/[a-z0-9%/]{0,30}\\*?".prop_map(|text| text.parse().unwrap());
    let parts = (prop::option::of(any_pattern()), prop::option::of(path));
    parts.prop_map(|(host, path)| Condition::new(host, path))
}

pub(crate) fn any_rule() -> impl Strategy<Value = Rule> {
    let protocols = prop::sample::subsequence(Protocol::ALL.to_vec(), 1..=Protocol::ALL.len());
    let speak = protocols.prop_map(|chosen| {
        let protocols = chosen.into_iter().map(|(protocol, _)| protocol);
        Rule::Speak(Speak::new(protocols).unwrap())
    });
    let on_fail = prop_oneof![
        Just(None),
        Just(Some(OnFail::Pass)),
        Just(Some(OnFail::Block))
    ];
    let intercept = (
        any_source(),
        any_peer(),
        any_services(),
        any_condition(),
        on_fail,
    );
    let intercept = intercept.prop_map(|(from, to, services, condition, on_fail)| {
        let condition = condition.filter(|_| !services.tcp().is_empty());
        Rule::Intercept(Intercept::new(from, to, services, condition, on_fail).unwrap())
    });
    let call = (any_peer(), any_services());
    let call = call.prop_map(|(to, services)| Rule::Call(Call { to, services }));
    let serve = (any_pattern(), any_services(), any_source());
    let serve = serve.prop_map(|(pattern, services, from)| {
        let name = pattern.base().clone();
        Rule::Serve(Serve {
            name,
            services,
            from,
        })
    });
    prop_oneof![speak, intercept, call, serve]
}

pub(crate) fn any_manifest() -> impl Strategy<Value = Manifest> {
    let rules = prop::collection::hash_set(any_rule(), 1..20);
    let parts = (
        rules,
        0..4_000_000_000u64,
        prop::option::of(1..1_000_000u32),
        any::<bool>(),
    );
    parts.prop_map(|(rules, expires, kbit, free_to_client)| {
        let example = manifest();
        let parts = ManifestParts {
            name: example.name().clone(),
            publisher: *example.publisher(),
            expires: Timestamp::from_seconds(expires).unwrap(),
            on_fail: if free_to_client {
                OnFail::Pass
            } else {
                OnFail::Block
            },
            rules: rules.into_iter().collect(),
            limit: Limit {
                rate: kbit.and_then(Rate::from_kbit),
            },
            bill: Bill {
                account: example.bill().account.clone(),
                free_to_client,
            },
        };
        Manifest::new(parts).unwrap()
    })
}
