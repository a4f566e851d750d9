//! Patterns of HTTP paths: `/upload` alone, or `/upload*` with whatever follows.

use std::fmt;
use std::str::FromStr;

/// Longest pattern: longer ones name single objects, which is the appliance's affair.
pub const PATH_LENGTH_MAX: usize = 256;

/// A path as HTTP writes it, without the query; with a final `*` every path that starts so.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathPattern {
    start: String,
    open: bool,
}

/// Why a text is no [`PathPattern`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// It does not start with a slash.
    #[error("the path does not start with a slash: write one such as /upload*")]
    NoSlash,
    /// Longer than [`PATH_LENGTH_MAX`].
    #[error("the path has {0} characters, and may have {PATH_LENGTH_MAX}: end it earlier with *")]
    TooLong(usize),
    /// A `*` before the end.
    #[error("a * stands before the end of the path: it may only be the last character")]
    Wildcard,
    /// A character that a path of HTTP does not have.
    #[error("{0:?} is in the path: escape it as %XX, and leave out the query")]
    Character(char),
}

impl PathPattern {
    /// Whether a path is meant. What follows a `?` is no part of the path.
    pub fn matches(&self, path: &str) -> bool {
        let path = path.split('?').next().unwrap_or_default();
        if self.open {
            path.starts_with(&self.start)
        } else {
            path == self.start
        }
    }

    /// Whether every path of another pattern is meant by this one, too.
    pub fn covers(&self, other: &Self) -> bool {
        if self.open {
            other.start.starts_with(&self.start)
        } else {
            self == other
        }
    }
}

impl FromStr for PathPattern {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        if text.len() > PATH_LENGTH_MAX {
            return Err(PathError::TooLong(text.len()));
        }
        if !text.starts_with('/') {
            return Err(PathError::NoSlash);
        }
        let (start, open) = match text.strip_suffix('*') {
            Some(start) => (start, true),
            None => (text, false),
        };
        // RFC 3986, 3.3: what may stand in a path, without `*`, which has a meaning here.
        let allowed = |c: &char| c.is_ascii_alphanumeric() || "/-._~!$&'()+,;=:@%".contains(*c);
        match start.chars().find(|c| !allowed(c)) {
            Some('*') => Err(PathError::Wildcard),
            Some(other) => Err(PathError::Character(other)),
            None => Ok(Self {
                start: start.to_owned(),
                open,
            }),
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.open { "*" } else { "" };
        write!(f, "{}{star}", self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_read_and_match() {
        let open: PathPattern = "/upload*".parse().unwrap();
        let exact: PathPattern = "/upload".parse().unwrap();
        assert!(open.matches("/upload/1") && open.matches("/upload?a=b") && !open.matches("/"));
        assert!(exact.matches("/upload?a=b") && !exact.matches("/upload/1"));
        assert!(open.covers(&exact) && !exact.covers(&open) && open.covers(&open));
        let error = |text: &str| text.parse::<PathPattern>().unwrap_err();
        assert_eq!(error("upload"), PathError::NoSlash);
        assert_eq!(error(""), PathError::NoSlash);
        assert_eq!(error("/a*b"), PathError::Wildcard);
        assert_eq!(error("/a**"), PathError::Wildcard);
        assert_eq!(error("/a?b"), PathError::Character('?'));
        assert_eq!(error("/ü"), PathError::Character('ü'));
        assert_eq!(error(&"/".repeat(257)), PathError::TooLong(257));
    }
}
