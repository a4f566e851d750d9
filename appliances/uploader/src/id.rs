//! Names of uploads. Who knows one may change the upload, so nobody can guess one.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};

/// 128 random bits; as text 22 of `[A-Za-z0-9_-]`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub(crate) u128);

/// This is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoId;

impl Id {
    /// A new one, from the system's random numbers; `None` if it has none.
    pub(crate) fn random() -> Option<Id> {
        let mut bytes = [0; 16];
        SystemRandom::new().fill(&mut bytes).ok()?;
        Some(Id(u128::from_be_bytes(bytes)))
    }

    /// By which logs and the status tell it, and which gives no power over it.
    pub(crate) fn public(&self) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, &self.0.to_be_bytes());
        let bytes = digest.as_ref();
        bytes[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0.to_be_bytes()))
    }
}

/// Without what gives power over it.
impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({})", self.public())
    }
}

impl FromStr for Id {
    type Err = NoId;

    fn from_str(text: &str) -> Result<Id, NoId> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| NoId)?;
        let bytes = bytes.try_into().map_err(|_| NoId)?;
        Ok(Id(u128::from_be_bytes(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written() {
        let id = Id::random().expect("random numbers");
        let text = id.to_string();
        assert_eq!((text.len(), text.parse()), (22, Ok(id)));
        assert!(!format!("{id:?}").contains(&text));
        for wrong in [
            "",
            "a",
            "../../etc/passwd",
            "AAAAAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAA=",
        ] {
            assert_eq!(wrong.parse::<Id>(), Err(NoId), "{wrong}");
        }
    }
}
