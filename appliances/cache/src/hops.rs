//! Fields of one connection, which are neither stored nor forwarded (RFC 9110, section 7.6.1;
//! RFC 9111, section 3.1), and fields by which clients could pretend to be somebody.

use http::{HeaderMap, HeaderName, header};

/// Fields of one connection, whether `Connection` names them or not.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Stored by nobody: what a proxy said of its own authentication.
const PROXY_AUTHENTICATION_INFO: HeaderName = HeaderName::from_static("proxy-authentication-info");

/// What a client says of who it is and where it wants to go: origins believe a proxy in this, so a
/// client's own must not reach them, nor choose a response that others get.
const IDENTITY: [&str; 31] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-scheme",
    "x-forwarded-prefix",
    "x-original-url",
    "x-rewrite-url",
    "x-real-ip",
    "x-forwarded",
    "x-forwarded-by",
    "x-forwarded-server",
    "x-forwarded-ssl",
    "x-host",
    "x-original-host",
    "x-http-host-override",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-url-scheme",
    "x-envoy-original-path",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-proxyuser-ip",
    "client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
    "forwarded-for",
    "front-end-https",
];

/// The fields that go further than one connection.
pub(crate) fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    for value in headers.get_all(header::CONNECTION) {
        let names = value.to_str().unwrap_or_default().split(',');
        for name in names.filter_map(|name| name.trim().parse::<HeaderName>().ok()) {
            kept.remove(name);
        }
    }
    for name in HOP_BY_HOP {
        kept.remove(name);
    }
    kept.remove(PROXY_AUTHENTICATION_INFO);
    kept
}

/// The fields of a request that an origin is sent. Programs behind CGI (RFC 3875, section 4.1.18) take `_` for
/// `-`: a name with it would be another's, so there is none, as with nginx.
pub(crate) fn forwarded(headers: &HeaderMap) -> HeaderMap {
    let mut kept = end_to_end(headers);
    let ambiguous = headers.keys().filter(|name| name.as_str().contains('_'));
    for name in ambiguous {
        kept.remove(name);
    }
    for name in IDENTITY {
        kept.remove(name);
    }
    kept.remove(header::EXPECT);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_connection_and_of_identity_stay_here() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "a, close"),
            ("a", "1"),
            ("keep-alive", "5"),
            ("transfer-encoding", "chunked"),
            ("x-forwarded-host", "evil.example"),
            ("x_forwarded_host", "evil.example"),
            ("x-forwarded_host", "evil.example"),
            ("cookie", "b"),
        ] {
            headers.append(name, value.parse().expect("a value"));
        }
        let kept = forwarded(&headers);
        assert_eq!(kept.len(), 1, "{kept:?}");
        assert_eq!(kept["cookie"], "b");
        assert!(end_to_end(&headers).contains_key("x-forwarded-host"));
    }
}
