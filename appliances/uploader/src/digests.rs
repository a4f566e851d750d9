//! `Content-Digest` and `Repr-Digest` (RFC 9530): what a client says its bytes hash to.
//!
//! Both are dictionaries of byte sequences (RFC 8941). Of the algorithms only SHA-256 is known here; others are
//! ignored, as the RFC has it, and what is no dictionary is refused.

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::refusal::Refused;
use crate::store::Digest;

/// Of the bytes of a request.
pub(crate) const CONTENT: &str = "content-digest";
/// Of the whole upload.
pub(crate) const REPRESENTATION: &str = "repr-digest";

/// The SHA-256 that a field says, if it says one.
pub(crate) fn sha256(headers: &HeaderMap, name: &str) -> Result<Option<Digest>, Refused> {
    let mut found = None;
    for value in headers.get_all(name) {
        let text = value.to_str().map_err(|_| Refused::Digest)?;
        for member in text.split(',') {
            let (algorithm, digest) = member_of(member.trim()).ok_or(Refused::Digest)?;
            // The last one of a name holds (RFC 8941, section 3.2).
            if algorithm == "sha-256" {
                let digest = digest.try_into().map_err(|_| Refused::Digest)?;
                found = Some(Digest(digest));
            }
        }
    }
    Ok(found)
}

/// `NAME=:BASE64:`, perhaps with parameters, which mean nothing.
fn member_of(text: &str) -> Option<(&str, Vec<u8>)> {
    let (name, value) = text.split_once("=:")?;
    let (value, rest) = value.split_once(':')?;
    let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*');
    let is_good = !name.is_empty() && name.bytes().all(is_plain);
    let has_parameters = rest.is_empty() || rest.starts_with(';');
    let bytes = STANDARD.decode(value).ok()?;
    (is_good && has_parameters).then_some((name, bytes))
}

/// As `Repr-Digest` writes it.
pub(crate) fn written(digest: Digest) -> String {
    format!("sha-256=:{}:", STANDARD.encode(digest.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Result<Option<Digest>, Refused> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CONTENT, value.parse().expect("a value"));
        }
        sha256(&headers, CONTENT)
    }

    #[test]
    fn a_digest_is_read_as_it_is_written() {
        let digest = Digest([0x5a; 32]);
        let text = written(digest);
        assert_eq!(read(&[&text]), Ok(Some(digest)));
        assert_eq!(read(&[]), Ok(None));
        // RFC 9530, appendix B.2: the digest of {"hello": "world"} and a newline.
        let theirs = read(&["sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"]);
        let theirs = theirs.expect("a digest").expect("of sha-256");
        let bytes = ring::digest::digest(&ring::digest::SHA256, b"{\"hello\": \"world\"}\n");
        assert_eq!(theirs.0, bytes.as_ref());
        let other = "sha-512=:AAAA:";
        assert_eq!(read(&[other]), Ok(None));
        assert_eq!(read(&[other, &text]), Ok(Some(digest)));
        assert_eq!(read(&[&format!("{other}, {text};a=1")]), Ok(Some(digest)));
    }

    #[test]
    fn what_is_no_dictionary_is_refused() {
        for wrong in [
            "",
            "sha-256",
            "sha-256=AAAA",
            "sha-256=:AAAA:",
            "sha-256=:A:",
            "SHA-256=:AAAA:",
            "sha-256=:AAAA: x",
            "=:AAAA:",
            "a=:AAAA:,",
        ] {
            assert_eq!(read(&[wrong]), Err(Refused::Digest), "{wrong:?}");
        }
    }
}
