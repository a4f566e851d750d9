//! Whether a request is one to take: a function of its head and of the first bytes of its body.

use axum::http::{HeaderMap, Method, header};

use crate::limits::{BODY_BYTES_MAX, FORM_START_BYTES_MAX};
use crate::multipart;
use crate::picture::{Format, SNIFFED_BYTES};
use crate::reason::Pass;
use crate::uploader::number;

/// How a picture is in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The body is the picture.
    Whole,
    /// It is a file of a form with this boundary.
    Form(String),
    /// tus: an upload is made.
    TusCreation,
}

/// What a head says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Admitted {
    pub(crate) kind: Kind,
    /// Of the body, if it is told.
    pub(crate) length: Option<usize>,
}

/// Looks at a head.
pub(crate) fn head(
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    paths: &[String],
) -> Result<Admitted, Pass> {
    let is_upload = [Method::POST, Method::PUT].contains(method)
        && paths.iter().any(|start| is_below(path, start));
    if !is_upload {
        return Err(Pass::NoUpload);
    }
    let unusual = [
        header::CONTENT_ENCODING,
        header::CONTENT_RANGE,
        header::UPGRADE,
        header::TRAILER,
    ];
    if unusual.iter().any(|name| headers.contains_key(name)) {
        return Err(Pass::Unusual);
    }
    if headers.contains_key("tus-resumable") {
        return tus(method, headers);
    }
    let length = match headers.contains_key(header::CONTENT_LENGTH) {
        true => Some(number(headers, "content-length").ok_or(Pass::Unusual)?),
        false => None,
    };
    let length = length.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    match length {
        Some(0) => return Err(Pass::NoPicture),
        Some(length) if length > BODY_BYTES_MAX => return Err(Pass::TooLarge),
        _ => {}
    }
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default();
    let kind = match multipart::boundary(content_type) {
        Some(boundary) => Kind::Form(boundary.to_owned()),
        None if content_type
            .trim_start()
            .to_ascii_lowercase()
            .starts_with("multipart/") =>
        {
            return Err(Pass::Unusual);
        }
        None => Kind::Whole,
    };
    Ok(Admitted { kind, length })
}

fn tus(method: &Method, headers: &HeaderMap) -> Result<Admitted, Pass> {
    let length = number(headers, "upload-length").ok_or(Pass::Unusual)?;
    let concatenates = headers.contains_key("upload-concat");
    let has_body = headers
        .get(header::CONTENT_LENGTH)
        .is_some_and(|length| length != "0");
    if *method != Method::POST || concatenates || has_body {
        return Err(Pass::Unusual);
    }
    match usize::try_from(length) {
        Ok(0) => Err(Pass::NoPicture),
        Ok(length) if length <= BODY_BYTES_MAX => Ok(Admitted {
            kind: Kind::TusCreation,
            length: Some(length),
        }),
        _ => Err(Pass::TooLarge),
    }
}

/// Whether a path is another or begins with it, by whole segments.
fn is_below(path: &str, start: &str) -> bool {
    let rest = path.strip_prefix(start);
    rest.is_some_and(|rest| rest.is_empty() || start.ends_with('/') || rest.starts_with('/'))
}

/// Looks at what has come of a body: `None` wants more of it.
pub(crate) fn start(kind: &Kind, start: &[u8], is_whole: bool) -> Option<Result<(), Pass>> {
    match kind {
        Kind::Whole | Kind::TusCreation => match Format::of(start) {
            Some(_) => Some(Ok(())),
            None if is_whole || start.len() >= SNIFFED_BYTES => Some(Err(Pass::UnknownFormat)),
            None => None,
        },
        Kind::Form(boundary) => {
            let parts = multipart::parts(start, boundary);
            let mut files = parts.iter().filter(|part| part.is_file);
            let picture = files.any(|part| Format::of(&start[part.content.clone()]).is_some());
            match picture {
                true => Some(Ok(())),
                false if is_whole || start.len() >= FORM_START_BYTES_MAX => {
                    Some(Err(Pass::NoPicture))
                }
                false => None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(method: Method, path: &str, fields: &[(&'static str, &str)]) -> Result<Admitted, Pass> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().expect("a value"));
        }
        head(&method, path, &headers, &["/upload".to_owned()])
    }

    #[test]
    fn uploads_are_posted_or_put_below_their_paths() {
        for (method, path) in [(Method::POST, "/upload"), (Method::PUT, "/upload/a.jpg")] {
            let admitted = look(method, path, &[("content-length", "5")]).expect("taken");
            assert_eq!((admitted.kind, admitted.length), (Kind::Whole, Some(5)));
        }
        for (method, path) in [
            (Method::GET, "/upload"),
            (Method::POST, "/uploads"),
            (Method::POST, "/"),
        ] {
            assert_eq!(look(method, path, &[]), Err(Pass::NoUpload));
        }
        let form = look(
            Method::POST,
            "/upload",
            &[("content-type", "multipart/form-data; boundary=a")],
        );
        assert_eq!(form.expect("taken").kind, Kind::Form("a".to_owned()));
    }

    #[test]
    fn what_only_the_origin_understands_passes() {
        for (fields, reason) in [
            (&[("content-encoding", "gzip")][..], Pass::Unusual),
            (&[("content-range", "bytes 0-1/2")], Pass::Unusual),
            (
                &[("content-type", "multipart/related; boundary=a")],
                Pass::Unusual,
            ),
            (&[("content-length", "+5")], Pass::Unusual),
            (
                &[("content-length", "5"), ("content-length", "6")],
                Pass::Unusual,
            ),
            (&[("content-length", "0")], Pass::NoPicture),
            (&[("content-length", "99999999999999999999")], Pass::Unusual),
            (&[("content-length", "33554433")], Pass::TooLarge),
            (
                &[("tus-resumable", "1.0.0"), ("upload-defer-length", "1")],
                Pass::Unusual,
            ),
            (
                &[
                    ("tus-resumable", "1.0.0"),
                    ("upload-length", "7"),
                    ("content-length", "7"),
                ],
                Pass::Unusual,
            ),
        ] {
            assert_eq!(
                look(Method::POST, "/upload", fields),
                Err(reason),
                "{fields:?}"
            );
        }
    }

    #[test]
    fn the_first_bytes_decide() {
        assert_eq!(start(&Kind::Whole, b"\xff\xd8", false), None);
        assert_eq!(start(&Kind::Whole, b"\xff\xd8\xff", false), Some(Ok(())));
        assert_eq!(
            start(&Kind::Whole, b"\xff\xd8", true),
            Some(Err(Pass::UnknownFormat))
        );
        assert_eq!(
            start(&Kind::Whole, b"\0\0\0\x18ftypheic\0\0\0\0", false),
            Some(Err(Pass::UnknownFormat))
        );
        let form = Kind::Form("b".to_owned());
        let head = b"--b\r\nContent-Disposition: form-data; name=f; filename=x\r\n\r\n";
        let body = [head.as_slice(), b"GIF89a"].concat();
        assert_eq!(start(&form, head, false), None);
        assert_eq!(start(&form, &body, false), Some(Ok(())));
        assert_eq!(start(&form, head, true), Some(Err(Pass::NoPicture)));
    }
}
