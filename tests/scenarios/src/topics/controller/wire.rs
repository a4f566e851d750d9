//! What goes through the switch, as `tcpdump` sees it at all of dom0's interfaces: a packet that
//! enters the switch at one (a client's cable, a domain's vif) leaves it at another.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, ensure};
use site::{Place, Service};

/// Of each packet: both addresses, ports, and all that TCP says.
const SNAP_BYTES: usize = 160;
/// A packet's Ethernet header, which counts in the switch.
const ETHERNET: u64 = 14;

/// Watches until it is asked what it saw.
pub(super) struct Wire<'p> {
    place: &'p Place<'p>,
    tcpdump: Service<'p>,
}

/// A packet at an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packet {
    /// The interface's number in dom0.
    interface: u32,
    /// Whether it leaves dom0 there.
    leaves: bool,
    /// The frame's length, bytes.
    bytes: u64,
    /// When, microseconds of Unix time.
    time_us: u64,
    /// From IP's header on; without TCP's checksum, which a device may still have to fill in.
    head: Vec<u8>,
}

/// Packets, and the bytes of their frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sum {
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

impl<'p> Wire<'p> {
    /// Begins; nothing is missed from then on.
    pub(super) fn watch(place: &'p Place<'p>) -> Result<Wire<'p>> {
        // `any` is told apart by interface and direction in this link type (tcpdump.org, LINUX_SLL2).
        let command = format!(
            "exec tcpdump -Z root -i any -y LINUX_SLL2 -n -s {SNAP_BYTES} -B 16384 -U \
                 -w \"$HERE/wire.pcap\" '(tcp or udp) and not host 127.0.0.1'"
        );
        let tcpdump = place.start("wire", &command)?;
        let listens = "for i in $(seq 200); do
                 if grep -q 'listening on' \"$HERE/wire.log\"; then exit 0; fi; sleep 0.05
             done; exit 1";
        place.run(listens).with_context(|| tcpdump.log())?;
        Ok(Wire { place, tcpdump })
    }

    /// How much it saw until now: the length of its file.
    pub(super) fn length(&self) -> Result<u64> {
        let said = self.place.run("stat -c %s \"$HERE/wire.pcap\"")?;
        Ok(said.trim().parse()?)
    }

    /// Ends; all that it saw.
    pub(super) fn end(self) -> Result<Vec<Packet>> {
        self.tcpdump.end("-INT")?;
        let log = self.tcpdump.log();
        ensure!(log.contains("\n0 packets dropped by kernel"), "{log}");
        let file = format!("{}/wire.pcap", self.place.directory());
        parse(&self.place.read(&file)?).context("tcpdump's file")
    }
}

/// The packets of a file (pcap-savefile(5)), little-endian as tcpdump writes it here.
fn parse(file: &[u8]) -> Option<Vec<Packet>> {
    let word = |bytes: &[u8], at: usize| {
        let four = bytes.get(at..at + 4)?;
        Some(u32::from_le_bytes(four.try_into().ok()?))
    };
    let mut rest = file.get(24..)?;
    let mut packets = vec![];
    while !rest.is_empty() {
        let (seconds, micros) = (word(rest, 0)?, word(rest, 4)?);
        let length = word(rest, 8)? as usize;
        let captured = rest.get(16..16 + length)?;
        rest = rest.get(16 + length..)?;
        let time_us = u64::from(seconds) * 1_000_000 + u64::from(micros);
        packets.extend(packet(captured, time_us));
    }
    Some(packets)
}

/// LINUX_SLL2: protocol 2, reserved 2, interface 4, hardware 2, direction 1, 9 of the address.
fn packet(captured: &[u8], time_us: u64) -> Option<Packet> {
    let interface = u32::from_be_bytes(captured.get(4..8)?.try_into().ok()?);
    const OUTGOING: u8 = 4;
    let leaves = *captured.get(10)? == OUTGOING;
    let mut head = captured.get(20..)?.to_vec();
    let half = |at: usize| {
        Some(u64::from(u16::from_be_bytes(
            head.get(at..at + 2)?.try_into().ok()?,
        )))
    };
    let (length, payload) = match head.first()? >> 4 {
        4 => (half(2)?, usize::from(head.first()? & 0xf) * 4),
        _ => (half(4)? + 40, 40),
    };
    const CHECKSUM: usize = 16;
    let end = head.len().min(payload + CHECKSUM + 2);
    if let Some(checksum) = head.get_mut(payload + CHECKSUM..end) {
        checksum.fill(0);
    }
    Some(Packet {
        interface,
        leaves,
        bytes: length + ETHERNET,
        time_us,
        head,
    })
}

impl Packet {
    /// Whether it is a client's, or for it.
    fn concerns(&self, client: Ipv4Addr) -> bool {
        let client = client.octets();
        let at = |from: usize| self.head.get(from..from + 4) == Some(&client[..]);
        self.is_v4() && (at(12) || at(16))
    }

    fn is_v4(&self) -> bool {
        self.head.first().is_some_and(|first| first >> 4 == 4)
    }
}

/// That each packet between a client and domains that entered the switch before a moment,
/// microseconds of Unix time, left it once; how many.
pub(super) fn none_is_lost(
    packets: &[Packet],
    client: Ipv4Addr,
    access: u32,
    domains: &[u32],
    until_us: u64,
) -> Result<u64> {
    // What entered is counted up, what left down, each way apart.
    let mut balance: BTreeMap<(bool, &[u8]), i64> = BTreeMap::new();
    let mut count = 0;
    for packet in packets.iter().filter(|packet| packet.concerns(client)) {
        let is_access = packet.interface == access;
        let is_theirs = is_access || domains.contains(&packet.interface);
        if !is_theirs || packet.time_us >= until_us {
            continue;
        }
        let to_domain = is_access != packet.leaves;
        let entry = balance.entry((to_domain, &packet.head)).or_default();
        *entry += if packet.leaves { -1 } else { 1 };
        count += u64::from(!packet.leaves);
    }
    let lost: Vec<_> = balance.iter().filter(|(_, sum)| **sum != 0).collect();
    ensure!(
        lost.is_empty(),
        "{} of {count} packets entered and did not leave, or the reverse: {:02x?}",
        lost.len(),
        lost.first()
    );
    Ok(count)
}

/// What went to and from domains between two moments, microseconds of Unix time.
pub(super) fn carried(packets: &[Packet], domains: &[u32], from_us: u64, to_us: u64) -> Sum {
    let of_theirs = packets
        .iter()
        .filter(|packet| domains.contains(&packet.interface))
        .filter(|packet| (from_us..to_us).contains(&packet.time_us));
    sum(of_theirs)
}

/// What came from an interface for an address from a moment on, microseconds of Unix time.
pub(super) fn sent_to(packets: &[Packet], from: u32, address: Ipv4Addr, from_us: u64) -> Sum {
    let target = address.octets();
    let sent = packets
        .iter()
        .filter(|packet| packet.interface == from && packet.time_us >= from_us)
        .filter(|packet| packet.is_v4() && packet.head.get(16..20) == Some(&target[..]));
    sum(sent)
}

fn sum<'p>(packets: impl Iterator<Item = &'p Packet>) -> Sum {
    packets.fold(Sum::default(), |sum, packet| Sum {
        packets: sum.packets + 1,
        bytes: sum.bytes + packet.bytes,
    })
}

/// When the last packet went to or from domains, microseconds of Unix time.
pub(super) fn last_at(packets: &[Packet], domains: &[u32]) -> u64 {
    let of_theirs = packets.iter().filter(|p| domains.contains(&p.interface));
    of_theirs
        .map(|packet| packet.time_us)
        .max()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A segment of 10.0.0.5 at an interface.
    fn captured(interface: u8, direction: u8, checksum: u8) -> Vec<u8> {
        let mut bytes = vec![8, 0, 0, 0, 0, 0, 0, interface, 0, 1, direction];
        bytes.extend([0; 9]);
        bytes.extend([
            0x45, 0, 0, 52, 0, 7, 0, 0, 64, 6, 0, 0, 10, 0, 0, 5, 203, 0, 113, 7,
        ]);
        bytes.extend([0; 16]);
        bytes.extend([checksum; 2]);
        bytes.extend([0; 14]);
        bytes
    }

    fn file(packets: &[Vec<u8>]) -> Vec<u8> {
        let mut file = vec![0; 24];
        for packet in packets {
            for word in [1, 2, packet.len() as u32, packet.len() as u32] {
                file.extend(word.to_le_bytes());
            }
            file.extend(packet);
        }
        file
    }

    #[test]
    fn what_enters_and_leaves_is_none_lost() {
        let client = Ipv4Addr::new(10, 0, 0, 5);
        let (came, left) = (captured(3, 0, 1), captured(9, 4, 2));
        let both = parse(&file(&[came.clone(), left])).unwrap();
        assert_eq!(none_is_lost(&both, client, 3, &[9], u64::MAX).unwrap(), 1);
        let sum = Sum {
            packets: 1,
            bytes: 66,
        };
        assert_eq!(carried(&both, &[9], 0, u64::MAX), sum);
        assert_eq!(carried(&both, &[9], 0, 1_000_002), Sum::default());
        let target = Ipv4Addr::new(203, 0, 113, 7);
        assert_eq!(sent_to(&both, 9, target, 0), sum);
        assert_eq!(sent_to(&both, 9, client, 0), Sum::default());
        assert_eq!(sent_to(&both, 9, target, 1_000_003), Sum::default());
        let lost = parse(&file(&[came])).unwrap();
        none_is_lost(&lost, client, 3, &[9], u64::MAX).unwrap_err();
        assert_eq!(parse(&file(&[vec![0; 3]])), Some(vec![]));
        assert_eq!(parse(&[0; 30]), None);
    }
}
