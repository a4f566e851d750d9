//! Where an upload goes, from its metadata to a type that cannot be wrong.

use std::net::SocketAddr;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};

use crate::metadata::{self, Metadata};
use crate::refusal::Refused;
use crate::schedule::Priority;
use crate::settings::{Origins, Protocol, Settings};

/// A URL of HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) is_tls: bool,
    /// `HOST`, or `HOST:PORT` as the client wrote it: the `Host` field.
    pub(crate) authority: String,
    /// In small letters, without brackets and port.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// With the query.
    pub(crate) path: String,
}

/// A request that must be made.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    pub(crate) place: Place,
    /// What is connected to, if it is not what the name resolves to.
    pub(crate) address: Option<SocketAddr>,
    pub(crate) protocol: Protocol,
    /// Where tus uploads are made, and what S3's objects are below.
    pub(crate) endpoint: Option<String>,
    /// Where a store that speaks S3 says that it is.
    pub(crate) region: Option<String>,
    pub(crate) method: Method,
    /// The phone's own fields.
    pub(crate) fields: HeaderMap,
    /// As the metadata have it.
    pub(crate) idempotency_key: Option<String>,
}

impl Place {
    /// Reads `http://` or `https://` URLs, without a user in them.
    pub(crate) fn parse(url: &str) -> Option<Place> {
        let uri: Uri = url.parse().ok()?;
        let is_tls = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let authority = uri.authority()?;
        let host = authority
            .host()
            .trim_matches(['[', ']'])
            .to_ascii_lowercase();
        if host.is_empty() || authority.as_str().contains('@') {
            return None;
        }
        Some(Place {
            is_tls,
            authority: authority.as_str().to_owned(),
            host,
            port: authority
                .port_u16()
                .unwrap_or(if is_tls { 443 } else { 80 }),
            path: uri
                .path_and_query()
                .map_or("/", |path| path.as_str())
                .to_owned(),
        })
    }
}

/// Fields that come from metadata.
const FIELDS: [(&str, HeaderName); 4] = [
    (metadata::CONTENT_TYPE, header::CONTENT_TYPE),
    (metadata::AUTHORIZATION, header::AUTHORIZATION),
    (metadata::COOKIE, header::COOKIE),
    (metadata::LINK, header::LINK),
];

impl Destination {
    /// What the metadata and the operator say.
    pub(crate) fn of(metadata: &Metadata, origins: &Origins) -> Result<Destination, Refused> {
        let url = metadata.text(metadata::URL).ok_or(Refused::Destination)?;
        let place = Place::parse(url).ok_or(Refused::Destination)?;
        let origin = origins.get(&place.host).ok_or(Refused::Origin)?;
        let address = match metadata.text(metadata::ADDRESS) {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| Refused::Destination)?),
        };
        let method = match (origin.protocol, metadata.text(metadata::METHOD)) {
            (Protocol::Put, _) | (_, Some("PUT")) => Method::PUT,
            (_, None | Some("POST")) => Method::POST,
            (_, Some("PATCH")) => Method::PATCH,
            _ => return Err(Refused::Destination),
        };
        let mut fields = HeaderMap::new();
        for (key, name) in FIELDS {
            if let Some(value) = metadata.bytes(key) {
                let value = HeaderValue::from_bytes(value).map_err(|_| Refused::Destination)?;
                fields.insert(name, value);
            }
        }
        let idempotency_key = metadata.text(metadata::IDEMPOTENCY_KEY).map(str::to_owned);
        let is_plain = |key: &String| {
            key.bytes()
                .all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
        };
        if idempotency_key.as_ref().is_some_and(|key| !is_plain(key)) {
            return Err(Refused::Destination);
        }
        Ok(Destination {
            address: origin.address.or(address),
            protocol: origin.protocol,
            endpoint: origin.endpoint,
            region: origin.region,
            place,
            method,
            fields,
            idempotency_key,
        })
    }
}

/// What a client said, completed by what the operator says for those that say nothing.
pub(crate) fn complete(metadata: &mut Metadata, settings: &Settings) {
    if let Some(url) = &settings.destination {
        let is_named = metadata.bytes(metadata::URL).is_some();
        if !is_named {
            metadata.default_to(metadata::URL, url);
            if let Some(kind) = metadata.text("filetype").map(str::to_owned) {
                metadata.default_to(metadata::CONTENT_TYPE, &kind);
            }
        }
    }
}

/// How urgent an upload is.
pub(crate) fn priority(metadata: &Metadata) -> Priority {
    match metadata.text(metadata::PRIORITY) {
        Some("thumbnail") => Priority::Thumbnail,
        _ => Priority::Original,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Result<Destination, Refused> {
        let mut metadata = Metadata::default();
        pairs
            .iter()
            .for_each(|(key, value)| metadata.default_to(key, value));
        Destination::of(&metadata, &Origins::default())
    }

    #[test]
    fn a_request_is_made_of_metadata() {
        let made = of(&[
            ("url", "https://Photos.example:8443/upload?a=b"),
            ("address", "10.0.0.1:443"),
            ("method", "PUT"),
            ("cookie", "who=me"),
        ])
        .expect("good");
        assert_eq!(made.place.authority, "Photos.example:8443");
        assert_eq!(
            (made.place.host.as_str(), made.place.port),
            ("photos.example", 8443)
        );
        assert_eq!(
            (made.place.path.as_str(), made.place.is_tls),
            ("/upload?a=b", true)
        );
        assert_eq!(
            (made.method, made.address),
            (Method::PUT, "10.0.0.1:443".parse().ok())
        );
        assert_eq!(made.fields[header::COOKIE], "who=me");
        assert_eq!(Place::parse("http://[::1]/").expect("good").host, "::1");
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let url = ("url", "http://a/");
        for wrong in [
            &[][..],
            &[("url", "a")],
            &[("url", "ftp://a/")],
            &[("url", "http://u@a/")],
            &[url, ("address", "a:80")],
            &[url, ("method", "DELETE")],
            &[url, ("cookie", "a\r\nb")],
            &[url, ("idempotency-key", "a\"b")],
        ] {
            assert!(matches!(of(wrong), Err(Refused::Destination)), "{wrong:?}");
        }
    }
}
