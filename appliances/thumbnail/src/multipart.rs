//! Where the files are in a body of `multipart/form-data` (RFC 7578, RFC 2046): a function of the bytes.
//!
//! The body itself is never rewritten: what goes to the uploader or to the origin are the bytes that came.
//! So a reading that differs from the origin's costs a thumbnail at worst.

use std::ops::Range;

/// RFC 2046, section 5.1.1.
const BOUNDARY_BYTES_MAX: usize = 70;
/// Fields of a form; sites have a dozen.
const PARTS_MAX: usize = 64;
/// The head of a part: three fields with a file's name.
const HEAD_BYTES_MAX: usize = 4096;

/// A part of the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Whether it has a file's name.
    pub is_file: bool,
    /// Its content, in the body.
    pub content: Range<usize>,
    /// Whether its end was seen.
    pub is_whole: bool,
}

/// The boundary, out of the value of `Content-Type`; `None` if it is no `multipart/form-data`.
pub fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("boundary")
            .then(|| value.trim())
    })?;
    let value = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'))
        .unwrap_or(value);
    let good = (1..=BOUNDARY_BYTES_MAX).contains(&value.len()) && !value.contains('"');
    good.then_some(value)
}

/// The parts in what has come so far. What is malformed ends the list.
pub fn parts(body: &[u8], boundary: &str) -> Vec<Part> {
    let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
    let mut parts = Vec::new();
    // The first delimiter may be at the very beginning, without its line end.
    let mut at = match body.starts_with(&delimiter[2..]) {
        true => delimiter.len() - 2,
        false => match find(body, &delimiter) {
            Some(start) => start + delimiter.len(),
            None => return parts,
        },
    };
    while parts.len() < PARTS_MAX {
        let Some(start) = head_start(body, at) else {
            break;
        };
        let Some(head) = head(&body[start..]) else {
            break;
        };
        let content = start + head.len() + HEAD_END.len();
        // An empty head leaves its line end to the delimiter.
        let end = find(&body[content..], &delimiter).map(|length| content + length);
        parts.push(Part {
            is_file: is_file(head),
            content: content..end.unwrap_or(body.len()),
            is_whole: end.is_some(),
        });
        match end {
            Some(end) => at = end + delimiter.len(),
            None => break,
        }
    }
    parts
}

const HEAD_END: &[u8] = b"\r\n\r\n";

/// Behind a delimiter: spaces and a line end, or `--` for the last.
fn head_start(body: &[u8], at: usize) -> Option<usize> {
    let rest = body.get(at..)?;
    let padding = rest
        .iter()
        .take_while(|&&byte| byte == b' ' || byte == b'\t')
        .count();
    rest[padding..]
        .starts_with(b"\r\n")
        .then_some(at + padding + 2)
}

fn head(rest: &[u8]) -> Option<&[u8]> {
    let window = &rest[..rest.len().min(HEAD_BYTES_MAX)];
    find(window, HEAD_END).map(|length| &window[..length])
}

fn is_file(head: &[u8]) -> bool {
    let lower = head.to_ascii_lowercase();
    let mut lines = lower.split(|&byte| byte == b'\n');
    lines.any(|line| {
        line.starts_with(b"content-disposition:")
            && (find(line, b"filename=").is_some() || find(line, b"filename*=").is_some())
    })
}

/// Where a pattern begins. Looks for its first byte, so that a picture costs little.
fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    let (&first, rest) = pattern.split_first()?;
    let mut from = 0;
    while let Some(step) = bytes[from..].iter().position(|&byte| byte == first) {
        let at = from + step;
        if bytes[at + 1..].starts_with(rest) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"preamble\r\n--XX\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nA day\r\n--XX  \r\n\
        content-disposition: form-data; name=\"f\"; filename=\"a.jpg\"\r\nContent-Type: image/jpeg\r\n\r\n\xff\xd8\r\n--X\r\n--XX--\r\n";

    #[track_caller]
    fn check(body: &[u8], wanted: &[(bool, &[u8], bool)]) {
        let parts = parts(body, "XX");
        let found: Vec<_> = parts
            .iter()
            .map(|part| (part.is_file, &body[part.content.clone()], part.is_whole))
            .collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn parts_are_found_wherever_the_body_is_cut() {
        check(
            BODY,
            &[(false, b"A day", true), (true, b"\xff\xd8\r\n--X", true)],
        );
        check(
            &BODY[10..],
            &[(false, b"A day", true), (true, b"\xff\xd8\r\n--X", true)],
        );
        for length in 0..BODY.len() {
            let found = parts(&BODY[..length], "XX");
            assert!(found.len() <= 2);
            assert!(found.iter().all(|part| part.content.end <= length));
        }
        let cut = &BODY[..BODY.len() - 10];
        check(
            cut,
            &[(false, b"A day", true), (true, b"\xff\xd8\r\n--X", false)],
        );
    }

    #[test]
    fn what_is_no_form_has_no_parts() {
        check(b"", &[]);
        check(b"--XX--\r\n", &[]);
        check(b"--XX\nContent-Disposition: form-data\n\n", &[]);
        let endless = [
            b"--XX\r\n".as_slice(),
            &[b'a'; 10_000],
            b"\r\n\r\nx\r\n--XX--",
        ]
        .concat();
        check(&endless, &[]);
    }

    #[test]
    fn a_boundary_is_a_parameter() {
        assert_eq!(boundary("multipart/form-data; boundary=XX"), Some("XX"));
        assert_eq!(
            boundary("Multipart/Form-Data;charset=utf-8; Boundary=\"a b\""),
            Some("a b")
        );
        for wrong in [
            "multipart/form-data",
            "multipart/mixed; boundary=XX",
            "multipart/form-data; boundary=",
        ] {
            assert_eq!(boundary(wrong), None);
        }
        assert_eq!(
            boundary(&format!("multipart/form-data; boundary={}", "x".repeat(71))),
            None
        );
    }
}
