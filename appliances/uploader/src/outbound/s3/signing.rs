//! Signature Version 4, by which a store that speaks S3 knows who asks ("Authenticating Requests: Using the
//! Authorization Header", Amazon S3 API Reference).

use std::fmt;
use std::time::SystemTime;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use ring::{digest, hmac};
use time::OffsetDateTime;

/// For a body whose digest is not known before it goes; parts have a CRC32C instead.
pub(super) const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// Who asks. The secret is in no log, and goes nowhere.
#[derive(Clone)]
pub(crate) struct Keys {
    id: String,
    secret: String,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

impl Keys {
    /// By the names that all programs of S3 know.
    pub(crate) fn of(variable: impl Fn(&'static str) -> Option<String>) -> Option<Keys> {
        let good = |text: &String| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        Some(Keys {
            id: variable("AWS_ACCESS_KEY_ID").filter(good)?,
            secret: variable("AWS_SECRET_ACCESS_KEY").filter(good)?,
        })
    }
}

/// A request as it is signed.
pub(super) struct Signed<'r> {
    pub(super) method: &'r Method,
    /// As it is sent, without the query.
    pub(super) path: &'r str,
    /// As it is sent: in the order of the names, encoded.
    pub(super) query: &'r str,
    /// SHA-256 of the body in hexadecimal digits, or [`UNSIGNED`].
    pub(super) payload: &'r str,
}

impl Signed<'_> {
    /// Adds date, digest and signature to fields, of which all that are there are signed.
    pub(super) fn sign(&self, headers: &mut HeaderMap, keys: &Keys, region: &str, now: SystemTime) {
        let date = date(now);
        let (day, _) = date.split_at(8);
        set(headers, "x-amz-content-sha256", self.payload);
        set(headers, "x-amz-date", &date);
        let mut fields: Vec<(&str, &str)> = headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?.trim())))
            .collect();
        fields.sort_unstable();
        let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let lines: String = fields
            .iter()
            .map(|(name, value)| format!("{name}:{value}\n"))
            .collect();
        let (method, path, query) = (self.method, self.path, self.query);
        let canonical = format!(
            "{method}\n{path}\n{query}\n{lines}\n{names}\n{}",
            self.payload
        );
        let scope = format!("{day}/{region}/s3/aws4_request");
        let hash = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{hash}");
        let first = format!("AWS4{}", keys.secret);
        let key = [day, region, "s3", "aws4_request"]
            .into_iter()
            .fold(first.into_bytes(), |key, word| mac(&key, word));
        let signature = hex(&mac(&key, &text));
        let credential = format!("{}/{scope}", keys.id);
        let value = format!(
            "AWS4-HMAC-SHA256 Credential={credential},SignedHeaders={names},Signature={signature}"
        );
        set(headers, header::AUTHORIZATION.as_str(), &value);
        if let Some(value) = headers.get_mut(header::AUTHORIZATION) {
            value.set_sensitive(true);
        }
    }
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `YYYYMMDDTHHMMSSZ`.
fn date(now: SystemTime) -> String {
    let now = OffsetDateTime::from(now);
    let (year, month, day) = now.to_calendar_date();
    let (hour, minute, second) = now.to_hms();
    let month = u8::from(month);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// A path as it is signed and sent: everything but what is plain is encoded.
pub(super) fn encoded(path: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    path.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    /// The examples of the document: 24 May 2013, with their keys.
    fn check(signed: &Signed<'_>, fields: &[(&'static str, &str)], wanted: &str) {
        let keys = Keys::of(|name| {
            Some(match name {
                "AWS_ACCESS_KEY_ID" => "AKIAIOSFODNN7EXAMPLE".to_owned(),
                _ => "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
            })
        });
        let keys = keys.expect("both");
        assert_eq!(format!("{keys:?}"), "Keys");
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            set(&mut headers, name, value);
        }
        let then = UNIX_EPOCH + Duration::from_secs(1_369_353_600);
        signed.sign(&mut headers, &keys, "us-east-1", then);
        let value = headers[header::AUTHORIZATION].to_str().expect("text");
        assert!(value.ends_with(&format!("Signature={wanted}")), "{value}");
        assert_eq!(headers["x-amz-date"], "20130524T000000Z");
    }

    const HOST: (&str, &str) = ("host", "examplebucket.s3.amazonaws.com");
    const NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn signatures_are_those_of_the_document() {
        let object = Signed {
            method: &Method::GET,
            path: "/test.txt",
            query: "",
            payload: NOTHING,
        };
        check(
            &object,
            &[HOST, ("range", "bytes=0-9")],
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        );
        let put = Signed {
            method: &Method::PUT,
            path: &encoded("/test$file.text"),
            query: "",
            payload: "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
        };
        let fields = [
            HOST,
            ("date", "Fri, 24 May 2013 00:00:00 GMT"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ];
        check(
            &put,
            &fields,
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        );
        let list = Signed {
            method: &Method::GET,
            path: "/",
            query: "max-keys=2&prefix=J",
            payload: NOTHING,
        };
        check(
            &list,
            &[HOST],
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        );
    }

    #[test]
    fn keys_are_both_there_or_none() {
        let one = |name| (name == "AWS_ACCESS_KEY_ID").then(|| "id".to_owned());
        assert!(Keys::of(one).is_none());
        assert!(Keys::of(|_| Some("a\nb".to_owned())).is_none());
    }
}
