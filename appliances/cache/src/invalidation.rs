//! What a successful unsafe request makes invalid (RFC 9111, section 4.4).

use http::uri::{Authority, Uri};
use http::{HeaderMap, Method, StatusCode, header};

/// Whether the answer invalidates what is stored: an unsafe or unknown method, and no error.
pub fn invalidates(method: &Method, status: StatusCode) -> bool {
    !method.is_safe() && (status.is_success() || status.is_redirection())
}

/// The paths beside the request's own whose responses become invalid: those of `Location` and
/// `Content-Location`, where they are of the same origin. Others' are none of the answerer's business.
pub fn also(authority: &Authority, path: &str, response: &HeaderMap) -> Vec<String> {
    let fields = [header::LOCATION, header::CONTENT_LOCATION];
    let values = fields
        .iter()
        .filter_map(|name| response.get(name)?.to_str().ok());
    values
        .filter_map(|value| resolved(authority, path, value))
        .collect()
}

fn resolved(authority: &Authority, path: &str, reference: &str) -> Option<String> {
    let reference = reference.split('#').next().unwrap_or_default();
    if reference.starts_with("//") || reference.contains("://") {
        let absolute = match reference.starts_with("//") {
            true => format!("http:{reference}"),
            false => reference.to_owned(),
        };
        let uri: Uri = absolute.parse().ok()?;
        let same = uri
            .authority()?
            .as_str()
            .eq_ignore_ascii_case(authority.as_str());
        return same.then(|| {
            uri.path_and_query()
                .map_or("/", |target| target.as_str())
                .to_owned()
        });
    }
    if reference.starts_with('/') {
        return Some(reference.to_owned());
    }
    // RFC 3986, section 5.2.3, of which dot segments are left out: such a path is no key of ours.
    let base = path.split('?').next().unwrap_or_default();
    let folder = &base[..=base.rfind('/')?];
    (!reference.is_empty()).then(|| format!("{folder}{reference}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(location: &str, paths: &[&str]) {
        let mut headers = HeaderMap::new();
        headers.insert(header::LOCATION, location.parse().expect("a value"));
        let authority = Authority::from_static("a.example:80");
        assert_eq!(also(&authority, "/x/y?z", &headers), paths, "{location}");
    }

    #[test]
    fn only_the_same_origin_is_invalidated() {
        check("/b", &["/b"]);
        check("b?c#d", &["/x/b?c"]);
        check("http://A.example:80/b", &["/b"]);
        check("//a.example:80/b", &["/b"]);
        check("http://b.example/b", &[]);
        check("//b.example/b", &[]);
        check("", &[]);
    }

    #[test]
    fn only_success_invalidates() {
        assert!(invalidates(&Method::POST, StatusCode::OK));
        assert!(!invalidates(
            &Method::POST,
            StatusCode::INTERNAL_SERVER_ERROR
        ));
        assert!(!invalidates(&Method::GET, StatusCode::OK));
    }
}
