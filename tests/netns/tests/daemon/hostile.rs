//! A domain that has been taken over: it writes frames of its own, and looks around. Each lie is
//! dropped by a flow whose cookie says why, and nobody else is told anything.

use edgecloudd::pipeline::{Class, Cookie, Deny};
use netns::Switch;
use serde_json::Value;

use crate::site::{CLIENT, Daemon, Outcome, Site, launch, token, wait_for};
use crate::{RULES, served};

/// The neighbour's address, dom0's and the client's.
const NEIGHBOUR: [u8; 4] = [10, 0, 1, 3];
const DOM0: [u8; 4] = [10, 0, 1, 1];
const SOMEBODY: [u8; 4] = [10, 0, 0, 5];
const GATEWAY: [u8; 6] = [2, 0, 0, 0, 0, 2];

fn frame(source: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [GATEWAY, source].concat();
    frame.extend(kind.to_be_bytes());
    frame.extend(payload);
    frame.resize(frame.len().max(60), 0);
    frame
}

/// ARP (RFC 826): a request or a reply, about who sends and who is meant.
fn arp(operation: u8, own: [u8; 6], sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, operation];
    let packet = [&head[..], &own, &sender, &[0; 6], &target].concat();
    frame(own, 0x0806, &packet)
}

fn udp(own: [u8; 6], source: [u8; 4], target: [u8; 4], ports: [u16; 2]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0];
    packet.extend([source, target].concat());
    let sum: u32 = packet
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    for word in [ports[0], ports[1], 8, 0] {
        packet.extend(word.to_be_bytes());
    }
    frame(own, 0x0800, &packet)
}

/// A neighbour advertisement (RFC 4861, 4.4) for somebody else's address.
fn advertisement(own: [u8; 6]) -> Vec<u8> {
    let other = [0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let mut packet = vec![0x60, 0, 0, 0, 0, 32, 58, 255];
    packet.extend([other, other].concat());
    packet.extend([136, 0, 0, 0, 0x60, 0, 0, 0]);
    packet.extend(other);
    packet.extend([2, 1]);
    packet.extend(own);
    frame(own, 0x86dd, &packet)
}

fn lies(own: [u8; 6], address: [u8; 4]) -> Vec<(Deny, Vec<u8>)> {
    let other = [2, 0, 0, 0, 0, 0x99];
    vec![
        (Deny::SpoofedMac, udp(other, address, SOMEBODY, [9, 9])),
        (Deny::Tagged, frame(own, 0x8100, &[0, 5, 8, 0])),
        (Deny::OtherProtocol, frame(own, 0x88cc, &[0; 40])),
        (Deny::SpoofedArp, arp(2, own, DOM0, SOMEBODY)),
        (Deny::SpoofedArp, arp(2, own, NEIGHBOUR, SOMEBODY)),
        (Deny::OwnAddress, arp(1, own, address, address)),
        (Deny::SpoofedNeighbour, advertisement(own)),
        (Deny::SpoofedAddress, udp(own, NEIGHBOUR, SOMEBODY, [9, 9])),
        (
            Deny::SpoofedAddress,
            udp(own, NEIGHBOUR, [169, 254, 169, 254], [9, 80]),
        ),
        (Deny::NotSpoken, udp(own, [0; 4], [255; 4], [68, 67])),
        (Deny::Unspoken, udp(own, address, SOMEBODY, [9, 9])),
    ]
}

/// How many packets were denied to application 7 for a reason.
fn denied(switch: &Switch, reason: Deny) -> Outcome<u64> {
    let cookie = Cookie::of(Class::Deny(reason), 7).number() & !0xffff;
    let ours = format!("cookie={cookie:#x}/0x0000ffffffff0000");
    let flows = switch.ofctl("dump-flows", &[&ours])?;
    let counts = flows.split("n_packets=").skip(1);
    let counts = counts.filter_map(|rest| rest.split(',').next()?.parse::<u64>().ok());
    Ok(counts.sum())
}

#[test]
fn a_domain_that_lies_is_dropped_and_counted() -> Outcome {
    let switch = Switch::start()?;
    let site = Site::new(&switch)?;
    let daemon = Daemon::start(&switch)?;
    let token = token(RULES, |_| {});
    let domain = daemon.succeed("POST", "/v1/launch", &launch("one", &token))?;
    let neighbour = daemon.succeed("POST", "/v1/launch", &launch("two", &token))?;
    daemon.wait_for_state("one", "live")?;
    daemon.wait_for_state("two", "live")?;
    assert_eq!(neighbour["addresses"][0], "10.0.1.3");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mac: edgecloudd::config::Mac = text(&domain["mac"]).parse()?;
    let address: std::net::Ipv4Addr = text(&domain["addresses"][0]).parse()?;
    let inside = |command: &[&str]| {
        let enter = ["ip", "netns", "exec", "ec-1"];
        switch.world().run(&[&enter, command].concat())
    };

    for (reason, lie) in lies(mac.0, address.octets()) {
        let before = denied(&switch, reason)?;
        let bytes: String = lie.iter().map(|byte| format!("{byte:02x}")).collect();
        let send = "import socket, sys\ns = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\n\
                    s.bind(('eth0', 0))\ns.send(bytes.fromhex(sys.argv[1]))";
        inside(&["python3", "-c", send, &bytes])?;
        wait_for(&format!("{reason:?} is counted"), || {
            Ok(denied(&switch, reason)? > before)
        })?;
    }
    // Nobody believes it to be somebody else.
    for known in [
        site.client.run(&["ip", "neigh"])?,
        site.router.run(&["ip", "neigh"])?,
    ] {
        let of_it = known.lines().filter(|line| line.contains(&mac.to_string()));
        let lied = of_it.filter(|line| !line.starts_with(&address.to_string()));
        assert_eq!(lied.count(), 0, "{known}");
    }
    // It looks around, and is looked at: nothing is open.
    let scan = [
        "nmap",
        "-n",
        "-Pn",
        "-sT",
        "-T5",
        "--max-retries",
        "0",
        "-p",
        "22,53,80,8443",
    ];
    let seen = inside(&[&scan[..], &["10.0.1.1", "10.0.1.3", CLIENT]].concat())?;
    assert!(!seen.contains("open"), "{seen}");
    let own = address.to_string();
    let seen = site
        .client
        .run(&[&scan[..], &[&own, "10.0.1.3"]].concat())?;
    assert!(!seen.contains("open"), "{seen}");
    let answer = site.get()?;
    assert!([served("one"), served("two")].contains(&answer), "{answer}");
    Ok(())
}
