//! What the network guests share: the bytes they serve and how they write addresses.
//!
//! The pattern is the lines `1000000000`, `1000000001`, …: what `seq 1000000000 9999999999` prints,
//! so that any shell can make the same bytes, and no piece of it is equal to another.

use std::net::SocketAddr;

/// Ten digits and the end of the line.
const LINE: usize = 11;
/// Lines per piece: pieces of 44 kB, of which several fit into a socket's buffer.
const LINES_PER_PIECE: usize = 4096;

/// The first `length` bytes of the pattern, in pieces.
pub fn pattern(length: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut line = *b"1000000000\n";
    let mut left = length;
    std::iter::from_fn(move || {
        let size = left.min(LINES_PER_PIECE * LINE);
        let mut piece = Vec::with_capacity(LINES_PER_PIECE * LINE);
        while piece.len() < size {
            piece.extend_from_slice(&line);
            count_up(&mut line[..LINE - 1]);
        }
        piece.truncate(size);
        left -= size;
        (size > 0).then_some(piece)
    })
}

/// The next number, in decimal digits; after the last one comes the first, zero.
fn count_up(digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
    }
}

/// An address as a person writes it: one of IPv4 that came to an IPv6 socket is written as IPv4.
pub fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_is_what_seq_prints() {
        let whole: Vec<u8> = pattern(200_000).flatten().collect();
        let lines = (1_000_000_000_u64..).map(|number| format!("{number}\n"));
        let expected: Vec<u8> = lines.flat_map(String::into_bytes).take(200_000).collect();
        assert!(whole == expected);
        assert_eq!(pattern(0).count(), 0);
    }

    #[test]
    fn mapped_addresses_are_written_as_ipv4() {
        let text = |address: &str| plain(address.parse().expect("an address")).to_string();
        assert_eq!(text("[::ffff:10.0.0.1]:80"), "10.0.0.1:80");
        assert_eq!(text("[fd00::1]:80"), "[fd00::1]:80");
    }
}
