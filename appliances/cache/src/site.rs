//! Which site a request is for, and the key under which its answer is stored.
//!
//! *Threats.* Two programs that read one request in two ways are how caches are poisoned. There is
//! therefore one Host, absolute targets must agree with it, and what is sent to the origin is made of
//! the same values as the key. In the intercepting role the address that the client meant is part of
//! the key: who sends another's name to its own server stores that for itself alone.

use std::net::SocketAddr;
use std::sync::Arc;

use edgecloud_appliance::Ends;
use http::request::Parts;
use http::uri::Authority;
use http::{Uri, header};
use rustls::pki_types::ServerName;

use crate::limits::TARGET_BYTES_MAX;
use crate::origin::{Server, Upstream};
use crate::refusal::Refused;
use crate::share::{Share, Shares};
use crate::store::Key;

/// A request's site and target.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// The name by which the client calls it, in small letters.
    pub(crate) authority: Authority,
    /// Where requests go.
    upstream: Upstream,
    scheme: &'static str,
    meant: Option<SocketAddr>,
    /// Path and query.
    pub(crate) target: String,
}

impl Site {
    /// The site of a request, and whose part of the cache it has.
    pub(crate) fn of(
        shares: &Shares,
        ends: &Ends,
        request: &Parts,
    ) -> Result<(Self, Arc<Share>), Refused> {
        let authority = authority(request)?;
        let target = request
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str());
        if target.len() > TARGET_BYTES_MAX || !target.starts_with('/') && target != "*" {
            return Err(Refused::Target);
        }
        let meant = ends.intended();
        let share = shares.find(&authority, meant).ok_or(Refused::Unmeant)?;
        let (upstream, meant) = match &share.upstream {
            Some(upstream) => (upstream.clone(), None),
            None => {
                let meant = meant.ok_or(Refused::Unmeant)?;
                (asked(&authority, meant, ends.tls)?, Some(meant))
            }
        };
        let site = Self {
            authority,
            upstream,
            scheme: if ends.tls { "https" } else { "http" },
            meant,
            target: target.to_owned(),
        };
        Ok((site, Arc::clone(share)))
    }

    /// The site of a URL, where there is an origin to ask for it.
    pub(crate) fn of_url(shares: &Shares, url: &str) -> Result<(Self, Arc<Share>), Refused> {
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
        let authority = authority.to_ascii_lowercase();
        let authority: Authority = authority.parse().map_err(|_| Refused::Host)?;
        let share = shares.find(&authority, None).ok_or(Refused::Unmeant)?;
        let site = Self {
            authority,
            upstream: share.upstream.clone().ok_or(Refused::Unmeant)?,
            scheme,
            meant: None,
            target: target.to_owned(),
        };
        Ok((site, Arc::clone(share)))
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
        self.upstream.uri(&self.target).map_err(|_| Refused::Target)
    }
}

/// Whom the client meant. Who came with TLS is answered by TLS alone, from the one who proves to have the
/// name that the client said.
fn asked(authority: &Authority, meant: SocketAddr, tls: bool) -> Result<Upstream, Refused> {
    if !tls {
        let at = meant.to_string().parse().map_err(|_| Refused::Unmeant)?;
        return Ok(Upstream::Plain(at));
    }
    let name = authority.host().trim_matches(['[', ']']).to_owned();
    Ok(Upstream::Tls {
        server: Server::At(meant),
        name: ServerName::try_from(name).map_err(|_| Refused::Host)?,
    })
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

    fn parts(uri: &str, hosts: &[&str]) -> Parts {
        let mut request = http::Request::builder().uri(uri);
        for host in hosts {
            request = request.header("host", *host);
        }
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn there_is_one_host() {
        let check = |uri: &str, hosts: &[&str], name: Result<&str, Refused>| {
            let got = authority(&parts(uri, hosts));
            assert_eq!(
                got.as_ref().map(Authority::as_str).map_err(|no| *no),
                name,
                "{uri} {hosts:?}"
            );
        };
        check("/a?b", &["A.example"], Ok("a.example"));
        check("http://a.example/a", &["a.example"], Ok("a.example"));
        check("http://b.example/a", &["a.example"], Err(Refused::Host));
        check("/a", &["a.example", "a.example"], Err(Refused::Host));
        for bad in ["", "a b", "a/b", "u@a", "a.example, b.example"] {
            check("/a", &[bad], Err(Refused::Host));
        }
        check("/a", &[], Err(Refused::Host));
    }

    #[test]
    fn who_is_meant_is_asked_in_the_way_he_was_meant() {
        let meant = |address: &str, tls| {
            let authority = Authority::from_static("a.example");
            asked(&authority, address.parse().expect("an address"), tls).expect("an upstream")
        };
        let plain = meant("[2001:db8::1]:80", false);
        assert_eq!(plain.uri("/a").expect("a URI"), "http://[2001:db8::1]:80/a");
        let Upstream::Tls { server, name } = meant("192.0.2.1:443", true) else {
            panic!("without TLS")
        };
        assert_eq!(
            server,
            Server::At("192.0.2.1:443".parse().expect("an address"))
        );
        assert_eq!(name.to_str(), "a.example");
    }
}
