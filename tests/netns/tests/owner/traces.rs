//! The real switch and the fake one say the same of where a packet goes.

use std::net::IpAddr;
use std::sync::Arc;

use edgecloudd::fake_switch::{FakeSwitch, Packet, SYN};
use edgecloudd::ovs::{Carried, Fate, Probe, Traced, trace};
use edgecloudd::pipeline::{Class, Deny, compile, difference};
use netns::{BRIDGE, Host, Switch};
use openflow::PortNumber;

use crate::owner;
use crate::site::{CLIENT, ORIGIN, Outcome, block_on, photos, state};

/// Everywhere to everywhere, from everywhere.
const PORTS: [PortNumber; 4] = [
    PortNumber(1),
    PortNumber(2),
    PortNumber(11),
    PortNumber::LOCAL,
];
const ADDRESSES: [&str; 5] = [CLIENT, ORIGIN, "10.0.1.11", "10.0.1.1", "169.254.169.254"];
const CARRIED: [Carried; 4] = [
    Carried::Tcp(40_000, 80),
    Carried::Tcp(40_000, 443),
    Carried::Udp(40_000, 53),
    Carried::Udp(40_000, 9),
];

fn packet(probe: &Probe) -> Packet {
    let [from, to] = probe.macs;
    let frame = Packet::ethernet(probe.port, from, to, 0);
    match probe.carried {
        Carried::Tcp(from, to) => frame.tcp(probe.source, probe.target, (from, to), SYN),
        Carried::Udp(from, to) => frame.udp(probe.source, probe.target, (from, to)),
        Carried::Echo => unreachable!("none is asked"),
    }
}

/// What the fake switch says, in the same words.
fn expected(fake: &FakeSwitch, probe: &Probe) -> Fate {
    let answer = fake.clone().send(&packet(probe));
    match answer.cookies().last().map(|cookie| cookie.class) {
        Some(Class::Deny(reason)) if answer.outputs.is_empty() => Fate::Denied(reason),
        _ => Fate::Delivered(answer.outputs.iter().map(|(port, _)| *port).collect()),
    }
}

#[test]
fn hundreds_of_packets_go_where_the_fake_switch_says() -> Outcome {
    let switch = Switch::start()?;
    let _people = [
        Host::plug(&switch, "client", 1, "10.0.0.5/24")?,
        Host::plug(&switch, "origin", 2, "203.0.113.7/24")?,
        Host::plug(&switch, "replica", 11, "10.0.1.11/24")?,
    ];
    block_on(async {
        let desired = Arc::new(state(photos()));
        owner(&switch).apply(desired.clone()).await?;
        let mut fake = FakeSwitch::new();
        let changes = difference(&fake.dump(), &compile(&desired));
        fake.bundle(&changes)?;
        let (mut denied, mut delivered) = (0, 0);
        for port in PORTS {
            for (source, target) in pairs() {
                for carried in CARRIED {
                    let probe = Probe::new(&desired, port, (source, target), carried);
                    let traced = trace(switch.directory(), BRIDGE, &probe).await?;
                    let expected = expected(&fake, &probe);
                    assert_eq!(traced.fate, expected, "{probe:?}\n{}", traced.text);
                    match expected {
                        Fate::Delivered(_) => delivered += 1,
                        _ => denied += 1,
                    }
                }
            }
        }
        println!("{delivered} delivered, {denied} denied");
        assert!(delivered > 30 && denied > 30);
        Ok(())
    })
}

fn pairs() -> Vec<(IpAddr, IpAddr)> {
    let all = ADDRESSES.map(|text| text.parse::<IpAddr>().expect("an address"));
    let pairs = all
        .iter()
        .flat_map(|one| all.iter().map(move |other| (*one, *other)));
    pairs.filter(|(one, other)| one != other).collect()
}

#[test]
fn a_trace_is_explained_in_words_of_the_manifest() -> Outcome {
    let switch = Switch::start()?;
    let _replica = Host::plug(&switch, "replica", 11, "10.0.1.11/24")?;
    let _client = Host::plug(&switch, "client", 1, "10.0.0.5/24")?;
    block_on(async {
        let desired = Arc::new(state(photos()));
        owner(&switch).apply(desired.clone()).await?;
        let ask = async |port,
                         source: &str,
                         target: &str|
               -> Result<Traced, Box<dyn std::error::Error>> {
            let addresses = (source.parse()?, target.parse()?);
            let probe = Probe::new(&desired, port, addresses, Carried::Tcp(40_000, 80));
            Ok(trace(switch.directory(), BRIDGE, &probe).await?)
        };
        let intercepted = ask(PortNumber(1), CLIENT, ORIGIN).await?.explain(&desired);
        assert_eq!(
            intercepted,
            [
                "it concerns application 7",
                "rule 1 `intercept from clients to www.photos.example tcp=80` permits it, of \
                 application 7",
                "a replica is chosen, of application 7",
                "it leaves to replica 1 of application 7",
            ]
        );
        let forged = ask(PortNumber(11), "203.0.113.99", CLIENT).await?;
        assert_eq!(forged.fate, Fate::Denied(Deny::SpoofedAddress));
        let last = forged.explain(&desired).pop();
        assert_eq!(last.as_deref(), Some("it is dropped: spoofed-address"));
        Ok(())
    })
}
