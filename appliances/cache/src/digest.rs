//! Digests that origins send with content (RFC 9530), and whether what came has them.
//!
//! `Content-Digest` is of the content of one message, `Repr-Digest` of the whole representation, which is
//! the same where the answer is 200. Who sends one that is wrong, or whose words were changed on their way,
//! is not believed: the answer is not kept, and its last bytes are not passed on.

use data_encoding::BASE64;
use http::{HeaderMap, HeaderName, StatusCode};
use ring::digest::{Context, SHA256, SHA512};

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// Content that is being checked.
pub(crate) struct Checking(Vec<(Context, Vec<u8>)>);

impl Checking {
    /// The digests that an answer has to have; None if it has none, or only some that are not known here.
    pub(crate) fn of(status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        let mut all = Vec::new();
        for name in [CONTENT_DIGEST, REPR_DIGEST] {
            if name == REPR_DIGEST && status != StatusCode::OK {
                continue;
            }
            for value in headers.get_all(name) {
                let members = value.to_str().unwrap_or_default().split(',');
                all.extend(members.filter_map(member));
            }
        }
        (!all.is_empty()).then_some(Self(all))
    }

    /// Takes what has arrived next.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        for (context, _) in &mut self.0 {
            context.update(bytes);
        }
    }

    /// Whether all of it has the digests.
    pub(crate) fn is_right(&self) -> bool {
        let right = |(context, digest): &(Context, Vec<u8>)| {
            context.clone().finish().as_ref() == digest.as_slice()
        };
        self.0.iter().all(right)
    }
}

/// A member of the dictionary: `sha-256=:BASE64:`, perhaps with parameters.
fn member(text: &str) -> Option<(Context, Vec<u8>)> {
    let (algorithm, value) = text.trim().split_once('=')?;
    let algorithm = match algorithm {
        "sha-256" => &SHA256,
        "sha-512" => &SHA512,
        _ => return None,
    };
    let (digest, _) = value.strip_prefix(':')?.split_once(':')?;
    let digest = BASE64.decode(digest.as_bytes()).ok()?;
    (digest.len() == algorithm.output_len()).then(|| (Context::new(algorithm), digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `{"hello": "world"}` and a line end: RFC 9530, appendix D.
    const SHA_256: &str = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:";
    const CONTENT: &[u8] = b"{\"hello\": \"world\"}\n";

    #[track_caller]
    fn check(status: StatusCode, name: &'static str, value: &str, right: Option<bool>) {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().expect("a value"));
        let told = Checking::of(status, &headers).map(|mut checking| {
            CONTENT.chunks(5).for_each(|piece| checking.take(piece));
            checking.is_right()
        });
        assert_eq!(told, right, "{name}: {value}");
    }

    #[test]
    fn what_has_another_digest_is_seen() {
        check(StatusCode::OK, "content-digest", SHA_256, Some(true));
        check(
            StatusCode::OK,
            "repr-digest",
            &format!("md5=:AA==:, {SHA_256}"),
            Some(true),
        );
        let other = SHA_256.replace("RK", "Rk");
        check(StatusCode::OK, "repr-digest", &other, Some(false));
        check(
            StatusCode::OK,
            "content-digest",
            &format!("{SHA_256}, {other}"),
            Some(false),
        );
        check(StatusCode::PARTIAL_CONTENT, "repr-digest", &other, None);
        check(
            StatusCode::PARTIAL_CONTENT,
            "content-digest",
            &other,
            Some(false),
        );
        for unknown in [
            "",
            "sha-256",
            "sha-256=:AA==:",
            "md5=:AA==:",
            "sha-256=RK",
            "unixsum=1",
        ] {
            check(StatusCode::OK, "content-digest", unknown, None);
        }
    }
}
