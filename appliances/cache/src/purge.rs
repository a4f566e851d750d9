//! What is to be used no longer: one address, all that begin alike, or all that carry a tag.

use std::fmt::{self, Display};
use std::str::FromStr;

use http::{HeaderMap, HeaderName, StatusCode};

use crate::limits::{PURGES_MAX, TARGET_BYTES_MAX};

/// Fields in which origins name tags: Cloudflare's and Akamai's, and Fastly's.
const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");

/// Which responses are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ban {
    /// Those to this URL.
    Url(String),
    /// Those to URLs that begin so.
    Prefix(String),
    /// Those whose origin gave them this tag.
    Tag(String),
}

/// It is none of the three, or too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoBan;

impl Ban {
    /// Whether a response under this key, with these fields, is meant.
    pub fn means(&self, key: &str, headers: &HeaderMap) -> bool {
        match self {
            // Behind the URL stand the address that clients meant, in the intercepting role, and which
            // slice it is.
            Self::Url(url) => match key.strip_prefix(url.as_str()) {
                Some(rest) => rest.is_empty() || rest.starts_with(' '),
                None => false,
            },
            Self::Prefix(prefix) => key.starts_with(prefix.as_str()),
            Self::Tag(tag) => tags(headers).any(|other| other == tag),
        }
    }
}

/// What an order is made of.
pub(crate) const FORM: &str = "write lines like `url http://a.example/b`, `prefix http://a.example/` or \
                               `tag news`, no more than 256";

/// The bans of an order, one a line; None if one is none, or there are none or too many.
pub(crate) fn orders(body: &[u8]) -> Option<Vec<Ban>> {
    let lines = std::str::from_utf8(body).ok()?.lines();
    let bans: Result<Vec<Ban>, _> = lines.map(|line| line.trim().parse()).collect();
    bans.ok()
        .filter(|bans| (1..=PURGES_MAX).contains(&bans.len()))
}

/// What who ordered is told: how many addresses were in memory, and whether it outlasts a restart.
pub(crate) fn told(count: usize, is_kept: bool) -> (StatusCode, String) {
    match is_kept {
        true => (
            StatusCode::OK,
            format!("purged; {count} addresses were in memory\n"),
        ),
        false => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "purged until the next start: the disk did not take it; see the log\n".to_owned(),
        ),
    }
}

fn tags(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = [CACHE_TAG, SURROGATE_KEY].map(|name| headers.get_all(name));
    let values = values.into_iter().flatten();
    let texts = values.filter_map(|value| value.to_str().ok());
    texts
        .flat_map(|text| text.split([',', ' ', '\t']))
        .filter(|tag| !tag.is_empty())
}

impl Display for Ban {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => write!(f, "url {url}"),
            Self::Prefix(prefix) => write!(f, "prefix {prefix}"),
            Self::Tag(tag) => write!(f, "tag {tag}"),
        }
    }
}

impl FromStr for Ban {
    type Err = NoBan;

    fn from_str(text: &str) -> Result<Self, NoBan> {
        let (kind, what) = text.split_once(' ').ok_or(NoBan)?;
        let is_word = !what.is_empty()
            && what.len() <= TARGET_BYTES_MAX
            && what.bytes().all(|byte| byte.is_ascii_graphic());
        match kind {
            _ if !is_word => Err(NoBan),
            "url" => Ok(Self::Url(what.to_owned())),
            "prefix" => Ok(Self::Prefix(what.to_owned())),
            "tag" => Ok(Self::Tag(what.to_owned())),
            _ => Err(NoBan),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(ban: &str, key: &str, tags: &str, means: bool) {
        let ban: Ban = ban.parse().expect("a ban");
        let mut headers = HeaderMap::new();
        headers.insert("cache-tag", tags.parse().expect("a value"));
        assert_eq!(ban.means(key, &headers), means, "{ban} {key} {tags}");
        assert_eq!(ban.to_string().parse(), Ok(ban));
    }

    #[test]
    fn a_ban_means_what_it_says() {
        check("url http://a/b", "http://a/b", "", true);
        check("url http://a/b", "http://a/b @192.0.2.1:80", "", true);
        check("url http://a/b", "http://a/b #\"1\" 7", "", true);
        check("url http://a/b", "http://a/bc", "", false);
        check("prefix http://a/b", "http://a/bc", "", true);
        check("prefix http://a/b", "http://a/c", "", false);
        check("tag news", "http://a/b", "sport, news", true);
        check("tag news", "http://a/b", "newspaper", false);
        for bad in ["", "url", "url ", "all http://a/", "tag a b", "url a\nb"] {
            assert_eq!(bad.parse::<Ban>(), Err(NoBan), "{bad:?}");
        }
    }
}
