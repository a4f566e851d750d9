//! What a request of tus 1.0 asks, from its head: a pure function.

use axum::http::{HeaderMap, Method};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

use crate::digests;
use crate::id::Id;
use crate::limits::PARTS_MAX;
use crate::metadata::Metadata;
use crate::refusal::Refused;
use crate::store::Digest;

/// The version that is spoken.
pub(crate) const VERSION: &str = "1.0.0";
/// What of tus is spoken beside its core.
pub(crate) const EXTENSIONS: &str = "creation,creation-with-upload,creation-defer-length,expiration,checksum,termination,concatenation";
/// For the extension "checksum".
pub(crate) const ALGORITHMS: &str = "sha1,sha256";
const BODY: &str = "application/offset+octet-stream";

/// What is asked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// What is spoken.
    Options,
    Create(Creation),
    /// How far an upload is.
    Head,
    Patch(Patch),
    Delete,
}

/// An upload to be made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Creation {
    /// `None` if it is told later.
    pub(crate) length: Option<u64>,
    pub(crate) kind: Kind,
    pub(crate) metadata: Metadata,
    /// What it will hash to.
    pub(crate) digest: Option<Digest>,
    /// Bytes that came with it.
    pub(crate) patch: Option<Patch>,
}

/// What an upload is to others ("Concatenation").
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Whole,
    Partial,
    Final(Vec<Id>),
}

/// Bytes to be added.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Patch {
    pub(crate) offset: u64,
    /// The length of the whole, if it is told only now.
    pub(crate) length: Option<u64>,
    /// Bytes that come, if that is known.
    pub(crate) bytes: Option<u64>,
    /// Of these bytes: `Upload-Checksum`, `Content-Digest`, or both.
    pub(crate) checksums: Vec<Checksum>,
    /// Of the whole.
    pub(crate) digest: Option<Digest>,
}

/// What the bytes of a request must hash to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checksum {
    is_sha1: bool,
    value: Vec<u8>,
}

/// A checksum as bytes come.
pub(crate) struct Checking {
    context: Context,
    value: Vec<u8>,
}

impl Checksum {
    fn parse(text: &str) -> Option<Checksum> {
        let (algorithm, value) = text.trim().split_once(' ')?;
        let (is_sha1, length) = match algorithm {
            "sha1" => (true, 20),
            "sha256" => (false, 32),
            _ => return None,
        };
        let value = STANDARD.decode(value.trim()).ok()?;
        (value.len() == length).then_some(Checksum { is_sha1, value })
    }

    pub(crate) fn begin(&self) -> Checking {
        let algorithm = match self.is_sha1 {
            true => &SHA1_FOR_LEGACY_USE_ONLY,
            false => &SHA256,
        };
        Checking {
            context: Context::new(algorithm),
            value: self.value.clone(),
        }
    }
}

impl Checking {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    pub(crate) fn matches(self) -> bool {
        self.context.finish().as_ref() == self.value
    }
}

/// Reads a head. `id` is whether the path names an upload.
pub(crate) fn ask(method: &Method, headers: &HeaderMap, id: bool) -> Result<Ask, Refused> {
    // Browsers and strict proxies let only POST through.
    let method = match (method, text(headers, "x-http-method-override")) {
        (&Method::POST, Some("PATCH")) => Method::PATCH,
        (&Method::POST, Some("DELETE")) => Method::DELETE,
        (method, _) => method.clone(),
    };
    if method == Method::OPTIONS {
        return Ok(Ask::Options);
    }
    if text(headers, "tus-resumable") != Some(VERSION) {
        return Err(Refused::Version);
    }
    match (method, id) {
        (Method::POST, false) => creation(headers).map(Ask::Create),
        (Method::HEAD, true) => Ok(Ask::Head),
        (Method::PATCH, true) => {
            if text(headers, "content-type") != Some(BODY) {
                return Err(Refused::MediaType);
            }
            let offset = number(headers, "upload-offset")?.ok_or(Refused::Number)?;
            patch(headers, offset).map(Ask::Patch)
        }
        (Method::DELETE, true) => Ok(Ask::Delete),
        _ => Err(Refused::Method),
    }
}

fn creation(headers: &HeaderMap) -> Result<Creation, Refused> {
    let metadata = text(headers, "upload-metadata").unwrap_or_default();
    let metadata = Metadata::parse(metadata).map_err(|_| Refused::Metadata)?;
    let kind = match text(headers, "upload-concat") {
        None if headers.contains_key("upload-concat") => return Err(Refused::Concatenation),
        None => Kind::Whole,
        Some("partial") => Kind::Partial,
        Some(parts) => Kind::Final(final_parts(parts).ok_or(Refused::Concatenation)?),
    };
    let defers = text(headers, "upload-defer-length") == Some("1");
    let length = number(headers, "upload-length")?;
    match (&kind, length, defers) {
        (Kind::Final(_), None, false) | (_, Some(_), false) | (_, None, true) => {}
        _ => return Err(Refused::Length),
    }
    let with_upload = text(headers, "content-type") == Some(BODY);
    let patch = match with_upload && !matches!(kind, Kind::Final(_)) {
        true => {
            let mut patch = patch(headers, 0)?;
            patch.length = None;
            Some(patch)
        }
        false => None,
    };
    Ok(Creation {
        length,
        kind,
        metadata,
        digest: digests::sha256(headers, digests::REPRESENTATION)?,
        patch,
    })
}

fn patch(headers: &HeaderMap, offset: u64) -> Result<Patch, Refused> {
    let mut checksums = Vec::new();
    if let Some(value) = headers.get("upload-checksum") {
        let parsed = value.to_str().ok().and_then(Checksum::parse);
        checksums.push(parsed.ok_or(Refused::Algorithm)?);
    }
    if let Some(digest) = digests::sha256(headers, digests::CONTENT)? {
        checksums.push(Checksum {
            is_sha1: false,
            value: digest.0.to_vec(),
        });
    }
    Ok(Patch {
        offset,
        length: number(headers, "upload-length")?,
        bytes: number(headers, "content-length")?,
        checksums,
        digest: digests::sha256(headers, digests::REPRESENTATION)?,
    })
}

/// The names after `final;`: URLs or paths, whose last segments are names of ours.
fn final_parts(text: &str) -> Option<Vec<Id>> {
    let parts = text.strip_prefix("final;")?;
    let id = |part: &str| part.trim_end_matches('/').rsplit('/').next()?.parse().ok();
    let parts: Vec<Id> = parts.split_whitespace().map(id).collect::<Option<_>>()?;
    (1..=PARTS_MAX).contains(&parts.len()).then_some(parts)
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then(|| value.trim())
}

/// A field of digits only, there once or not at all.
fn number(headers: &HeaderMap, name: &str) -> Result<Option<u64>, Refused> {
    if !headers.contains_key(name) {
        return Ok(None);
    }
    let text = text(headers, name).ok_or(Refused::Number)?;
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    number.map(Some).ok_or(Refused::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: &str, id: bool, fields: &[(&'static str, &str)]) -> Result<Ask, Refused> {
        let mut headers = HeaderMap::new();
        headers.insert("tus-resumable", "1.0.0".parse().expect("a value"));
        for (name, value) in fields {
            headers.append(*name, value.parse().expect("a value"));
        }
        ask(&method.parse().expect("a method"), &headers, id)
    }

    #[test]
    fn what_is_asked_is_understood() {
        let created = read("POST", false, &[("upload-length", "5")]);
        let Ok(Ask::Create(creation)) = created else {
            panic!("{created:?}");
        };
        assert_eq!((creation.length, creation.kind), (Some(5), Kind::Whole));
        let created = read("POST", false, &[("upload-defer-length", "1")]);
        assert!(matches!(
            created,
            Ok(Ask::Create(Creation { length: None, .. }))
        ));
        let body = ("content-type", BODY);
        let sum = ("upload-checksum", "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=");
        let patched = read("PATCH", true, &[body, ("upload-offset", "7"), sum]);
        let Ok(Ask::Patch(patch)) = patched else {
            panic!("{patched:?}");
        };
        assert_eq!(patch.offset, 7);
        let mut checking = patch.checksums[0].begin();
        checking.update(b"hello ");
        checking.update(b"world");
        assert!(checking.matches());
        let overridden = ("x-http-method-override", "DELETE");
        assert_eq!(read("POST", true, &[overridden]), Ok(Ask::Delete));
        let id = Id(5);
        let joined = read(
            "POST",
            false,
            &[(
                "upload-concat",
                &format!("final;/files/{id} http://a/files/{id}"),
            )],
        );
        let Ok(Ask::Create(creation)) = joined else {
            panic!("{joined:?}");
        };
        assert_eq!(creation.kind, Kind::Final(vec![id, id]));
    }

    #[test]
    fn what_makes_no_sense_has_a_reason() {
        let check = |method: &str, id: bool, fields: &[(&'static str, &str)], wanted: Refused| {
            assert_eq!(read(method, id, fields), Err(wanted), "{method} {fields:?}");
        };
        let body = ("content-type", BODY);
        check("POST", false, &[], Refused::Length);
        check(
            "POST",
            false,
            &[("upload-length", "1"), ("upload-defer-length", "1")],
            Refused::Length,
        );
        check(
            "POST",
            false,
            &[("upload-defer-length", "2")],
            Refused::Length,
        );
        for wrong in ["+5", "0x5", "-1", "", "99999999999999999999"] {
            check("POST", false, &[("upload-length", wrong)], Refused::Number);
        }
        check(
            "POST",
            false,
            &[("upload-length", "1"), ("upload-length", "1")],
            Refused::Number,
        );
        check(
            "POST",
            false,
            &[("upload-length", "1"), ("upload-metadata", "a !")],
            Refused::Metadata,
        );
        check(
            "POST",
            false,
            &[("upload-concat", "final;")],
            Refused::Concatenation,
        );
        check(
            "POST",
            false,
            &[("upload-concat", "final;/a/b")],
            Refused::Concatenation,
        );
        check("PATCH", true, &[("upload-offset", "0")], Refused::MediaType);
        check("PATCH", true, &[body], Refused::Number);
        check(
            "PATCH",
            true,
            &[
                body,
                ("upload-offset", "0"),
                ("upload-checksum", "md5 AA=="),
            ],
            Refused::Algorithm,
        );
        for name in ["content-digest", "repr-digest"] {
            let wrong = (name, "sha-256=AA==");
            check(
                "PATCH",
                true,
                &[body, ("upload-offset", "0"), wrong],
                Refused::Digest,
            );
        }
        check("PUT", true, &[], Refused::Method);
        check("GET", true, &[], Refused::Method);
        check("POST", true, &[], Refused::Method);
        check("HEAD", false, &[], Refused::Method);
        assert_eq!(
            ask(&Method::HEAD, &HeaderMap::new(), true),
            Err(Refused::Version)
        );
    }
}
