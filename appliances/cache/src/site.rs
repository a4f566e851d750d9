//! Which site a request is for, and the key under which its answer is stored.
//!
//! *Threats.* Two programs that read one request in two ways are how caches are poisoned. There is
//! therefore one Host, absolute targets must agree with it, and what is sent to the origin is made of
//! the same values as the key. In the intercepting role the address that the client meant is part of
//! the key: who sends another's name to its own server stores that for itself alone.

use std::net::SocketAddr;

use edgecloud_appliance::Ends;
use http::request::Parts;
use http::uri::Authority;
use http::{Uri, header};

use crate::limits::TARGET_BYTES_MAX;
use crate::refusal::Refused;
use crate::settings::Role;
use crate::store::Key;

/// A request's site and target.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// The name by which the client calls it, in small letters.
    pub(crate) authority: Authority,
    /// Where to connect.
    upstream: Authority,
    scheme: &'static str,
    meant: Option<SocketAddr>,
    /// Path and query.
    pub(crate) target: String,
}

impl Site {
    pub(crate) fn of(role: &Role, ends: &Ends, request: &Parts) -> Result<Self, Refused> {
        let authority = authority(request)?;
        let (upstream, meant) = match role {
            Role::Reverse { origin } => (origin.clone(), None),
            Role::Intercept => {
                let meant = ends.intended().ok_or(Refused::Unmeant)?;
                let upstream = meant.to_string().parse().map_err(|_| Refused::Unmeant)?;
                (upstream, Some(meant))
            }
        };
        let target = request
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str());
        if target.len() > TARGET_BYTES_MAX || !target.starts_with('/') && target != "*" {
            return Err(Refused::Target);
        }
        Ok(Self {
            authority,
            upstream,
            scheme: if ends.tls { "https" } else { "http" },
            meant,
            target: target.to_owned(),
        })
    }

    /// The site of a URL, where there is an origin to ask for it.
    pub(crate) fn of_url(role: &Role, url: &str) -> Result<Self, Refused> {
        let Role::Reverse { origin } = role else {
            return Err(Refused::Unmeant);
        };
        let url: Uri = url.parse().map_err(|_| Refused::Target)?;
        let scheme = match url.scheme_str() {
            Some("http") => "http",
            Some("https") => "https",
            _ => return Err(Refused::Target),
        };
        let authority = url.authority().ok_or(Refused::Host)?.as_str();
        let target = url.path_and_query().map_or("/", |target| target.as_str());
        if target.len() > TARGET_BYTES_MAX || authority.contains('@') {
            return Err(Refused::Target);
        }
        Ok(Self {
            authority: authority
                .to_ascii_lowercase()
                .parse()
                .map_err(|_| Refused::Host)?,
            upstream: origin.clone(),
            scheme,
            meant: None,
            target: target.to_owned(),
        })
    }

    /// The key of this target.
    pub(crate) fn key(&self) -> Key {
        self.key_of(&self.target)
    }

    /// The key of another target of the same site.
    pub(crate) fn key_of(&self, target: &str) -> Key {
        let (scheme, authority) = (self.scheme, &self.authority);
        match self.meant {
            Some(meant) => format!("{scheme}://{authority}{target} @{meant}").into(),
            None => format!("{scheme}://{authority}{target}").into(),
        }
    }

    /// Where to send a request: the upstream's address with the client's target.
    pub(crate) fn uri(&self) -> Result<Uri, Refused> {
        let builder = Uri::builder()
            .scheme("http")
            .authority(self.upstream.clone());
        let uri = builder.path_and_query(self.target.as_str()).build();
        uri.map_err(|_| Refused::Target)
    }
}

/// The one name that all of the request agrees on (RFC 9112, section 3.2; RFC 9113, section 8.3.1).
fn authority(request: &Parts) -> Result<Authority, Refused> {
    let mut hosts = request.headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return Err(Refused::Host),
        (Some(host), None) => Some(host.to_str().map_err(|_| Refused::Host)?),
        (None, None) => None,
    };
    let of_target = request.uri.authority().map(Authority::as_str);
    let name = match (host, of_target) {
        (Some(host), Some(target)) if !host.eq_ignore_ascii_case(target) => {
            return Err(Refused::Host);
        }
        (host, target) => host.or(target).ok_or(Refused::Host)?,
    };
    if name.contains('@') {
        return Err(Refused::Host);
    }
    name.to_ascii_lowercase().parse().map_err(|_| Refused::Host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(role: &Role, local: &str, uri: &str, hosts: &[&str]) -> Result<Site, Refused> {
        let mut request = http::Request::builder().uri(uri);
        for host in hosts {
            request = request.header("host", *host);
        }
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let ends = Ends {
            peer: "192.0.2.9:1".parse().expect("an address"),
            local: local.parse().ok(),
            tls: false,
        };
        Site::of(role, &ends, &parts)
    }

    #[test]
    fn there_is_one_host() {
        let role = Role::Reverse {
            origin: "192.0.2.1:80".parse().expect("an authority"),
        };
        let check = |uri: &str, hosts: &[&str], key: Result<&str, Refused>| {
            let got = site(&role, "192.0.2.2:80", uri, hosts).map(|site| site.key().to_string());
            assert_eq!(
                got.as_deref().map_err(|refused| *refused),
                key,
                "{uri} {hosts:?}"
            );
        };
        check("/a?b", &["A.example"], Ok("http://a.example/a?b"));
        check(
            "http://a.example/a",
            &["a.example"],
            Ok("http://a.example/a"),
        );
        check("http://b.example/a", &["a.example"], Err(Refused::Host));
        check("/a", &["a.example", "a.example"], Err(Refused::Host));
        for bad in ["", "a b", "a/b", "u@a", "a.example, b.example"] {
            check("/a", &[bad], Err(Refused::Host));
        }
        check("/a", &[], Err(Refused::Host));
    }

    #[test]
    fn publishers_are_apart_by_the_address_that_was_meant() {
        let key = |local| {
            site(&Role::Intercept, local, "/a", &["a.example"])
                .expect("a site")
                .key()
        };
        assert_ne!(key("192.0.2.1:80"), key("192.0.2.2:80"));
        let site = site(&Role::Intercept, "[2001:db8::1]:80", "/a", &["a.example"]);
        assert_eq!(
            site.expect("a site").uri().expect("a URI"),
            "http://[2001:db8::1]:80/a"
        );
    }
}
