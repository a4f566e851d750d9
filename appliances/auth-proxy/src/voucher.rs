//! Vouchers: codes on paper that are good for a quota.
//!
//! A code is ten letters and digits without those that look alike (Crockford's base 32), fifty random
//! bits. Kept is its hash, by which it is found: no comparison takes longer for a better guess.

use sha2::{Digest as _, Sha256};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use crate::session::{Login, Quota};

/// Crockford's alphabet: without I, L, O and U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Characters of a code, five bits each.
const CODE_CHARACTERS: usize = 10;
/// Random bytes that a code is made of: as many as fifty bits take.
pub const SEED_BYTES: usize = 7;

/// What is kept of a voucher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voucher {
    /// What it is good for, from its first use.
    pub quota: Quota,
    /// Until when it can be used first, in seconds since 1970.
    pub good_until: u64,
    /// The operator's word for those that were made together.
    pub batch: String,
}

/// A code, as it is printed and typed.
#[derive(Clone, PartialEq, Eq)]
pub struct Code(String);

impl Code {
    /// The code of random bytes.
    pub fn of(seed: [u8; SEED_BYTES]) -> Self {
        let bits = seed
            .iter()
            .fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
        let letter = |place: usize| {
            let value = bits >> (5 * place) & 31;
            char::from(ALPHABET[usize::try_from(value).unwrap_or(0)])
        };
        Self((0..CODE_CHARACTERS).map(letter).collect())
    }

    /// The code that somebody typed: small letters, spaces and hyphens do not matter, and what looks
    /// like a digit is one.
    pub fn typed(text: &str) -> Option<Self> {
        if text.len() > 4 * CODE_CHARACTERS {
            return None;
        }
        let written = text.chars().filter(|c| !c.is_whitespace() && *c != '-');
        let meant = written.map(|c| match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        });
        let code: String = meant.collect();
        let is_code = code.len() == CODE_CHARACTERS && code.bytes().all(|b| ALPHABET.contains(&b));
        is_code.then_some(Self(code))
    }

    /// By what the voucher is kept.
    pub fn hash(&self) -> String {
        HEXLOWER.encode(&Sha256::digest(self.0.as_bytes())[..16])
    }

    /// As it is printed.
    pub fn printed(&self) -> String {
        let (first, second) = self.0.split_at(CODE_CHARACTERS / 2);
        format!("{first}-{second}")
    }
}

impl Voucher {
    /// The login that it is good for, by its code's hash.
    pub fn login(&self, hash: &str) -> Login {
        Login {
            key: format!("voucher:{hash}"),
            quota: self.quota,
            renews: false,
            class: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_understood_however_it_is_typed() {
        for seed in [[0; 7], [255; 7], [1, 2, 3, 4, 5, 6, 7]] {
            let code = Code::of(seed);
            let printed = code.printed();
            assert_eq!(printed.len(), 11);
            let typed = [
                printed.clone(),
                printed.to_lowercase(),
                printed.replace('-', " "),
                printed.replace('0', "o").replace('1', "l"),
            ];
            for text in typed {
                assert!(
                    Code::typed(&text).is_some_and(|typed| typed == code),
                    "{text}"
                );
            }
        }
        assert_ne!(Code::of([1; 7]).hash(), Code::of([2; 7]).hash());
    }

    #[test]
    fn what_is_no_code_is_none() {
        for text in [
            "",
            "12345-6789",
            "12345-6789U",
            "12345-67890A",
            &"-".repeat(100),
            "ééééé",
        ] {
            assert!(Code::typed(text).is_none(), "{text}");
        }
    }
}
