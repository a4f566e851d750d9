//! The packets that switches ask about: hosts at ports of each switch send UDP to each other.

/// Hosts of a switch; host `n` is at port `n + 1`.
pub(crate) const HOSTS: u32 = 64;
/// Ethernet, IPv4, UDP, and a number: the shortest frame that a network card would send.
pub(crate) const LENGTH: usize = 60;

/// Where the number is: the payload's first bytes.
const NUMBER: usize = 14 + 20 + 8;
/// Where the source's UDP port is: each packet is a flow of its own.
const SOURCE_PORT: usize = 14 + 20;

/// A packet's number says who sends it to whom, and finds it again in what the controller sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packet(pub(crate) u32);

impl Packet {
    /// The host that sends it.
    pub(crate) fn source(self) -> u32 {
        self.0 % HOSTS
    }

    /// The host that it is for; never its source.
    pub(crate) fn target(self) -> u32 {
        let step = 1 + self.0 / HOSTS % (HOSTS - 1);
        (self.source() + step) % HOSTS
    }

    /// Its bytes.
    pub(crate) fn frame(self) -> [u8; LENGTH] {
        let mut frame = frame(self.source(), mac(self.target()));
        frame[SOURCE_PORT..SOURCE_PORT + 2].copy_from_slice(&(self.0 as u16).to_be_bytes());
        frame[NUMBER..NUMBER + 4].copy_from_slice(&self.0.to_be_bytes());
        frame
    }

    /// The packet whose bytes these are; None if they are none's.
    pub(crate) fn of(bytes: &[u8]) -> Option<Packet> {
        let number = bytes.get(NUMBER..NUMBER + 4)?.try_into().ok()?;
        let packet = Packet(u32::from_be_bytes(number));
        (packet.frame() == bytes).then_some(packet)
    }
}

/// What a host sends so that the switch learns where it is.
pub(crate) fn announcement(host: u32) -> [u8; LENGTH] {
    frame(host, [0xff; 6])
}

pub(crate) fn mac(host: u32) -> [u8; 6] {
    // At most HOSTS.
    [2, 0, 0, 0, 1, host as u8]
}

fn frame(source: u32, target: [u8; 6]) -> [u8; LENGTH] {
    let mut frame = [0; LENGTH];
    frame[..6].copy_from_slice(&target);
    frame[6..12].copy_from_slice(&mac(source));
    frame[12..14].copy_from_slice(&[8, 0]);
    let ip: [u8; 20] = [
        0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ];
    frame[14..34].copy_from_slice(&ip);
    let sum = ip.chunks(2).fold(0u32, |sum, pair| {
        sum + u32::from(pair[0]) * 256 + u32::from(pair[1])
    });
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    // To port 9, 26 bytes with the header, no checksum.
    frame[36..38].copy_from_slice(&9u16.to_be_bytes());
    frame[38..40].copy_from_slice(&26u16.to_be_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_found_again_and_no_other_is() {
        for number in [0, 1, 63, 64, 4095, 1_000_000] {
            let packet = Packet(number);
            assert_ne!(packet.source(), packet.target());
            let mut bytes = packet.frame();
            assert_eq!(Packet::of(&bytes), Some(packet));
            bytes[20] ^= 1;
            assert_eq!(Packet::of(&bytes), None);
        }
    }
}
