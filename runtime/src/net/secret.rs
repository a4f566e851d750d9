//! Everything an outsider must not guess, from one secret of 32 bytes: initial sequence numbers
//! (RFC 6528), ephemeral ports (RFC 6056), and the keys of the hash tables that packets index.

use core::hash::{BuildHasher, Hash, Hasher};
use core::net::SocketAddr;

use siphasher::sip::{SipHasher13, SipHasher24};

use super::tcp::{Seq, Tuple};
use super::time::Instant;

/// The secrets of one stack.
#[derive(Clone)]
pub(crate) struct Secret {
    sequence: [u8; 16],
    other: [u8; 16],
    /// Counts the draws, so that no two are equal.
    drawn: u64,
}

impl Secret {
    pub(crate) fn new(secret: &[u8; 32]) -> Secret {
        let (a, b) = secret.split_at(16);
        let half = |bytes: &[u8]| core::array::from_fn(|i| bytes[i]);
        Secret {
            sequence: half(a),
            other: half(b),
            drawn: 0,
        }
    }

    /// RFC 6528: a clock of 4 µs plus a keyed hash of the connection's addresses and ports.
    pub(crate) fn initial_sequence(&self, now: Instant, tuple: &Tuple) -> Seq {
        let mut hasher = SipHasher24::new_with_key(&self.sequence);
        tuple.hash(&mut hasher);
        Seq((hasher.finish() as u32).wrapping_add((now.micros() / 4) as u32))
    }

    /// A number that depends on the secret, on what was drawn before, and on the peer.
    pub(crate) fn draw(&mut self, peer: Option<SocketAddr>) -> u64 {
        self.drawn += 1;
        let mut hasher = SipHasher24::new_with_key(&self.other);
        hasher.write_u64(self.drawn);
        peer.hash(&mut hasher);
        hasher.finish()
    }

    /// The key of the hash tables.
    pub(crate) fn table_key(&mut self) -> TableKey {
        let (a, b) = (self.draw(None), self.draw(None));
        let mut key = [0; 16];
        key[..8].copy_from_slice(&a.to_ne_bytes());
        key[8..].copy_from_slice(&b.to_ne_bytes());
        TableKey(key)
    }
}

/// Builds the keyed hashers of tables whose keys strangers choose.
#[derive(Clone)]
pub(crate) struct TableKey([u8; 16]);

impl BuildHasher for TableKey {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(port: u16) -> Tuple {
        Tuple {
            local: ([10, 0, 0, 1], 80).into(),
            remote: ([10, 0, 0, 2], port).into(),
        }
    }

    #[test]
    fn sequence_numbers_differ_by_peer_and_secret_and_grow_with_time() {
        let (a, b) = (Secret::new(&[1; 32]), Secret::new(&[2; 32]));
        let t = Instant(0);
        assert_ne!(
            a.initial_sequence(t, &tuple(1)),
            a.initial_sequence(t, &tuple(2))
        );
        assert_ne!(
            a.initial_sequence(t, &tuple(1)),
            b.initial_sequence(t, &tuple(1))
        );
        let later = a.initial_sequence(t.after(4_000_000), &tuple(1));
        assert_eq!(later.since(a.initial_sequence(t, &tuple(1))), 1_000);
    }

    #[test]
    fn draws_do_not_repeat() {
        let mut secret = Secret::new(&[7; 32]);
        let drawn: std::collections::HashSet<u64> =
            (0..10_000).map(|_| secret.draw(None)).collect();
        assert_eq!(drawn.len(), 10_000);
    }
}
