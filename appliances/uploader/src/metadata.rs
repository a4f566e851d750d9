//! `Upload-Metadata`: what an upload is, and where it must go.
//!
//! Clients of tus write keys, and values in base64 (tus 1.0, "Creation"). These keys say where the body
//! belongs; the thumbnailer sets them, and lets no phone do so:
//!
//! | key | value |
//! |---|---|
//! | `url` | where the body goes: a whole URL |
//! | `address` | `ADDRESS:PORT` that is connected to, instead of what the URL's name resolves to |
//! | `method` | of the request; `POST` without it |
//! | `content-type`, `authorization`, `cookie`, `link` | the fields of these names |
//! | `priority` | `thumbnail`, or `original` |
//! | `idempotency-key` | by which the origin knows it, if it comes twice |

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::limits::{METADATA_BYTES_MAX, METADATA_PAIRS_MAX};

pub(crate) const URL: &str = "url";
pub(crate) const ADDRESS: &str = "address";
pub(crate) const METHOD: &str = "method";
pub(crate) const CONTENT_TYPE: &str = "content-type";
pub(crate) const AUTHORIZATION: &str = "authorization";
pub(crate) const COOKIE: &str = "cookie";
pub(crate) const PRIORITY: &str = "priority";
pub(crate) const IDEMPOTENCY_KEY: &str = "idempotency-key";
pub(crate) const LINK: &str = "link";

/// What gives power at the origin; it goes when the body is there.
const SECRET: [&str; 3] = [AUTHORIZATION, COOKIE, IDEMPOTENCY_KEY];

/// Keys and values, as the client wrote them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Metadata(Vec<(String, Vec<u8>)>);

/// This is not how tus writes metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Without values: there are cookies among them.
impl std::fmt::Debug for Metadata {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(key, _)| key))
            .finish()
    }
}

impl Metadata {
    /// Reads a field's value.
    ///
    /// # Errors
    /// Keys that are empty, twice there or not plain; values that are no base64; too much of it.
    pub fn parse(text: &str) -> Result<Metadata, Malformed> {
        if text.len() > METADATA_BYTES_MAX {
            return Err(Malformed);
        }
        let mut pairs: Vec<(String, Vec<u8>)> = Vec::new();
        // Joined lists of clients end with a comma where the second is empty.
        for pair in text
            .split(',')
            .map(str::trim)
            .filter(|pair| !pair.is_empty())
        {
            let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
            let is_plain = key.bytes().all(|byte| byte.is_ascii_graphic());
            let is_new = pairs.iter().all(|(other, _)| other != key);
            if !is_plain || !is_new || pairs.len() == METADATA_PAIRS_MAX {
                return Err(Malformed);
            }
            let value = STANDARD.decode(value.trim()).map_err(|_| Malformed)?;
            pairs.push((key.to_owned(), value));
        }
        Ok(Metadata(pairs))
    }

    /// As tus writes it.
    pub fn written(&self) -> String {
        let pair = |(key, value): &(String, Vec<u8>)| match value.is_empty() {
            true => key.clone(),
            false => format!("{key} {}", STANDARD.encode(value)),
        };
        self.0.iter().map(pair).collect::<Vec<_>>().join(",")
    }

    /// About how long that is.
    pub(crate) fn written_bytes(&self) -> usize {
        let bytes = |(key, value): &(String, Vec<u8>)| key.len() + value.len().div_ceil(3) * 4 + 2;
        self.0.iter().map(bytes).sum()
    }

    /// A key's bytes; none for an empty value.
    pub(crate) fn bytes(&self, key: &str) -> Option<&[u8]> {
        let (_, value) = self.0.iter().find(|(other, _)| other == key)?;
        Some(value.as_slice()).filter(|value| !value.is_empty())
    }

    /// A key's text.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        std::str::from_utf8(self.bytes(key)?).ok()
    }

    /// Sets a key that is not there.
    pub(crate) fn default_to(&mut self, key: &str, value: &str) {
        if self.bytes(key).is_none() {
            self.0.retain(|(other, _)| other != key);
            self.0.push((key.to_owned(), value.as_bytes().to_vec()));
        }
    }

    /// What a client may read of it: no secrets, and nothing of the origin.
    pub(crate) fn shown(&self) -> Metadata {
        let ours = [URL, ADDRESS, METHOD, PRIORITY, LINK, CONTENT_TYPE];
        let harmless = |key: &str| !SECRET.contains(&key) && !ours.contains(&key);
        Metadata(
            self.0
                .iter()
                .filter(|(key, _)| harmless(key))
                .cloned()
                .collect(),
        )
    }

    /// What is kept when the origin has the body.
    pub(crate) fn forget_secrets(&mut self) {
        self.0.retain(|(key, _)| !SECRET.contains(&key.as_str()));
    }

    /// Who sends: what the origin knows a client by. Equal for uploads of one person.
    pub(crate) fn sender(&self) -> u64 {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        for key in [AUTHORIZATION, COOKIE] {
            let value = self.bytes(key).unwrap_or_default();
            context.update(&(value.len() as u64).to_le_bytes());
            context.update(value);
        }
        crate::store::number(&context.finish().as_ref()[..8])
    }

    /// What makes a request the same as another, beside its body.
    pub(crate) fn identity(&self) -> [u8; 32] {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        for key in [
            URL,
            METHOD,
            CONTENT_TYPE,
            AUTHORIZATION,
            COOKIE,
            IDEMPOTENCY_KEY,
            LINK,
        ] {
            let value = self.bytes(key).unwrap_or_default();
            context.update(&(value.len() as u64).to_le_bytes());
            context.update(value);
        }
        let mut identity = [0; 32];
        identity.copy_from_slice(context.finish().as_ref());
        identity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_as_they_are_written() {
        let text = "url aHR0cDovL2Ev,method UE9TVA==,is_confidential";
        let metadata = Metadata::parse(text).expect("metadata");
        assert_eq!(metadata.text(URL), Some("http://a/"));
        assert_eq!(metadata.text("is_confidential"), None);
        assert_eq!(metadata.written(), text);
        assert_eq!(
            Metadata::parse("a YQ==, b Yg==,").map(|m| m.written()),
            Ok("a YQ==,b Yg==".to_owned())
        );
    }

    #[test]
    fn what_is_malformed_is_refused() {
        let long = format!("a {}", "A".repeat(METADATA_BYTES_MAX));
        let many: String = (0..40).map(|n| format!("k{n} YQ==,")).collect();
        for wrong in ["a !", "a YQ==,a Yg==", "a YQ", "ä YQ==", &long, &many] {
            assert_eq!(Metadata::parse(wrong), Err(Malformed), "{wrong}");
        }
    }

    #[test]
    fn nobody_reads_others_secrets() {
        let mut metadata =
            Metadata::parse("cookie YQ==,authorization Yg==,url Yw==,filename ZA==").expect("good");
        assert_eq!(metadata.shown().written(), "filename ZA==");
        assert!(!format!("{metadata:?}").contains("YQ"));
        metadata.forget_secrets();
        assert_eq!(metadata.written(), "url Yw==,filename ZA==");
    }

    #[test]
    fn whatever_is_read_is_written_the_same() {
        let seed = u64::from(std::process::id());
        println!("seed {seed}");
        let mut random = crate::store::Random::of(seed);
        let alphabet = b"urlcookie YQ==,YWI=, AAAA!=\xc3\xa4\x00";
        let mut understood = 0;
        for _ in 0..20_000 {
            let length = random.below(24);
            let bytes: Vec<u8> = (0..length)
                .map(|_| alphabet[random.below(alphabet.len() as u64) as usize])
                .collect();
            let text = String::from_utf8_lossy(&bytes);
            if let Ok(metadata) = Metadata::parse(&text) {
                assert_eq!(
                    Metadata::parse(&metadata.written()),
                    Ok(metadata),
                    "{text:?}"
                );
                understood += 1;
            }
        }
        assert!(understood > 100, "{understood} of 20,000 are metadata");
    }
}
