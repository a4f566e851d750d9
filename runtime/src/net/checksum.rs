//! The Internet checksum (RFC 1071).
//!
//! smoltcp's sums 16 bits at a time; this one sums 64 bits per step, which matters where the device
//! offers no offload and every byte passes here.

use core::net::IpAddr;

/// A running one's-complement sum, not yet folded.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sum(u64);

impl Sum {
    /// Adds the bytes, an odd last one padded with zero; so only the last piece may have odd length.
    pub(crate) fn add(self, data: &[u8]) -> Sum {
        let mut sum = u128::from(self.0);
        let mut words = data.chunks_exact(8);
        for word in &mut words {
            sum += u128::from(u64::from_be_bytes([
                word[0], word[1], word[2], word[3], word[4], word[5], word[6], word[7],
            ]));
        }
        let mut last = [0u8; 8];
        last[..words.remainder().len()].copy_from_slice(words.remainder());
        sum += u128::from(u64::from_be_bytes(last));
        // Carries of the top are worth one each at the bottom.
        let folded = (sum & u128::from(u64::MAX)) + (sum >> 64);
        Sum(((folded & u128::from(u64::MAX)) + (folded >> 64)) as u64)
    }

    /// Adds one 16-bit number.
    pub(crate) fn add_u16(self, value: u16) -> Sum {
        let (sum, carry) = self.0.overflowing_add(u64::from(value));
        Sum(sum + u64::from(carry))
    }

    /// The sum in 16 bits, as a device that completes checksums wants it in the field.
    pub(crate) fn folded(self) -> u16 {
        let mut sum = (self.0 >> 32) + (self.0 & 0xffff_ffff);
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        sum as u16
    }

    /// The checksum: the complement of the sum.
    pub(crate) fn complement(self) -> u16 {
        !self.folded()
    }
}

/// The sum over the pseudo-header of TCP, UDP and ICMPv6 (RFC 9293 §3.1, RFC 8200 §8.1).
pub(crate) fn pseudo_header(src: IpAddr, dst: IpAddr, protocol: u8, len: usize) -> Sum {
    let sum = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => Sum::default().add(&src.octets()).add(&dst.octets()),
        (IpAddr::V6(src), IpAddr::V6(dst)) => Sum::default().add(&src.octets()).add(&dst.octets()),
        _ => Sum::default(),
    };
    sum.add_u16((len >> 16) as u16)
        .add_u16(len as u16)
        .add_u16(u16::from(protocol))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_rfc_1071() {
        let data = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::default().add(&data).folded(), 0xddf2);
    }

    #[test]
    fn agrees_with_the_plain_sum_for_every_length() {
        let data: Vec<u8> = (0..1500u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8 | 0x80)
            .collect();
        for len in 0..data.len() {
            let mut plain = 0u32;
            for pair in data[..len].chunks(2) {
                plain += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
            }
            while plain > 0xffff {
                plain = (plain >> 16) + (plain & 0xffff);
            }
            assert_eq!(
                u32::from(Sum::default().add(&data[..len]).folded()),
                plain,
                "length {len}"
            );
        }
    }

    #[test]
    fn verifies_a_header_of_others() {
        // The IPv4 header that Wikipedia's article computes by hand.
        let header = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8,
            0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7,
        ];
        assert_eq!(Sum::default().add(&header).complement(), 0);
    }
}
