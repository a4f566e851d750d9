//! Subscribers of the operator's own list: a name, a hash of a password (Argon2id, in the PHC format),
//! and a quota.
//!
//! Who asks for a name that is not there waits as long as who gives a wrong password: a hash is
//! computed either way.

use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Argon2, Params};
use serde::Deserialize;

use crate::session::Quota;

/// A subscriber, as the operator wrote it.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Subscriber {
    /// The name.
    pub name: String,
    /// The hash of the password: `$argon2id$v=19$m=…`, as `argon2` of Debian prints it.
    #[serde(deserialize_with = "hash")]
    pub password: String,
    /// What a login is good for.
    #[serde(default)]
    pub quota: Quota,
}

/// Without the hash.
impl std::fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Subscriber({})", self.name)
    }
}

/// The most that the hash of a subscriber may cost: as much as a small domain has to spare.
const MEMORY_KIB_MAX: u32 = 64 * 1024;
/// Passes over that memory.
const PASSES_MAX: u32 = 10;

fn hash<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    use serde::de::Error;
    let text = String::deserialize(deserializer)?;
    let cure = "a subscriber's password is a hash like $argon2id$v=19$m=19456,t=2,p=1$…";
    let hash = PasswordHash::new(&text).map_err(|_| D::Error::custom(cure))?;
    let params = Params::try_from(&hash).map_err(|_| D::Error::custom(cure))?;
    let is_argon2 = hash.algorithm.as_str().starts_with("argon2") && hash.hash.is_some();
    match is_argon2 && params.m_cost() <= MEMORY_KIB_MAX && params.t_cost() <= PASSES_MAX {
        true => Ok(text),
        false => Err(D::Error::custom(format!(
            "{cure} of at most {MEMORY_KIB_MAX} KiB and {PASSES_MAX} passes"
        ))),
    }
}

/// Whether a password is the one of a hash; without a hash it is not, and that takes as long.
pub fn is_right(hash: Option<&str>, password: &[u8]) -> bool {
    let known = hash.and_then(|hash| PasswordHash::new(hash).ok());
    match known {
        Some(hash) => Argon2::default().verify_password(password, &hash).is_ok(),
        None => {
            // What the same work is done for.
            let salt = SaltString::encode_b64(&[0; 16]);
            let _ = salt.map(|salt| Argon2::default().hash_password(password, &salt).is_ok());
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How the hash begins, in the PHC format, with `somesaltsomesalt` in base64.
    const TEA: &str = "$argon2id$v=19$m=4096,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$";

    fn made(password: &[u8]) -> String {
        let salt = SaltString::encode_b64(b"somesaltsomesalt").expect("a salt");
        let params = Params::new(4096, 2, 1, None).expect("parameters");
        let argon2 = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
        let hash = argon2.hash_password(password, &salt).expect("a hash");
        hash.to_string()
    }

    #[test]
    fn one_password_is_right() {
        let hash = made(b"tea");
        assert!(hash.starts_with(TEA), "{hash}");
        assert!(is_right(Some(&hash), b"tea"));
        assert!(!is_right(Some(&hash), b"Tea"));
        assert!(!is_right(None, b"tea"));
        assert!(!is_right(Some("$argon2id$"), b"tea"));
    }

    #[test]
    fn what_is_no_hash_or_costs_too_much_is_explained() {
        let check = |password: &str| {
            let text = format!("name = 'ada'\npassword = '{password}'");
            toml::from_str::<Subscriber>(&text)
        };
        assert!(check(&made(b"tea")).is_ok());
        for wrong in [
            "tea",
            "$6$salt$hash",
            "$argon2id$v=19$m=4096,t=2,p=1$c29tZXNhbHQ",
        ] {
            let error = check(wrong).expect_err(wrong).to_string();
            assert!(error.contains("$argon2id$v=19$"), "{error}");
        }
        let costly = made(b"tea").replace("m=4096", "m=4194304");
        assert!(check(&costly).is_err());
        assert!(!format!("{:?}", check(&made(b"tea"))).contains("argon2id"));
    }
}
