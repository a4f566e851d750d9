//! DNS names, and the patterns that may stand where a rule speaks of several names at once.
//!
//! Names are kept in lower case, without the final dot, in the ASCII form of RFC 1123 hosts: what
//! DNS, HTTP and TLS compare. Internationalised names are written in their `xn--` form, so that a
//! name that looks like another's is not taken for it.

use std::fmt;
use std::str::FromStr;

/// Longest name as text: 255 octets on the wire (RFC 1035, 3.1) less the root and the first length.
pub const NAME_LENGTH_MAX: usize = 253;
/// Longest label (RFC 1035, 2.3.4).
pub const LABEL_LENGTH_MAX: usize = 63;
/// Labels that must follow `*.`: fewer would take in a whole top-level domain.
pub const WILDCARD_LABELS_MIN: usize = 2;

/// One DNS name of a host or service, such as `www.photos.example`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

/// Why a text is no [`Name`] or [`NamePattern`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing was given.
    #[error("a name is empty: write one such as www.photos.example")]
    Empty,
    /// Longer than DNS can carry.
    #[error("a name has {0} characters, and DNS carries {NAME_LENGTH_MAX}: shorten it")]
    TooLong(usize),
    /// A label is empty, as in `a..b`, or the name ends with a dot.
    #[error("a name has an empty label: remove the dot that is too much")]
    EmptyLabel,
    /// A label is longer than DNS can carry.
    #[error(
        "a label of the name has {0} characters, and DNS carries {LABEL_LENGTH_MAX}: shorten it"
    )]
    LabelTooLong(usize),
    /// A character that names of hosts do not have.
    #[error("{0:?} is in a name: use letters, digits and hyphens, and the xn-- form of others")]
    Character(char),
    /// A label starts or ends with a hyphen.
    #[error("a label starts or ends with a hyphen: remove it")]
    Hyphen,
    /// The last label is a number, so the whole would be read as an address.
    #[error("the name ends with a number, like an address: write the address with `net`")]
    Number,
    /// A `*` anywhere but as the whole first label of a pattern.
    #[error("a wildcard stands where none may: write `*.` once, at the start of a pattern")]
    Wildcard,
    /// A pattern such as `*.example`.
    #[error("the wildcard covers a whole top-level domain: name {WILDCARD_LABELS_MIN} labels")]
    TooWide,
}

impl Name {
    /// The name in lower case, without a final dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its labels, from the left.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }

    /// Whether this name lies below another: at least one label more.
    pub fn is_below(&self, parent: &Self) -> bool {
        self.0
            .strip_suffix(&parent.0)
            .is_some_and(|rest| rest.ends_with('.'))
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > NAME_LENGTH_MAX {
            return Err(NameError::TooLong(text.len()));
        }
        text.split('.').try_for_each(check_label)?;
        let last = text.rsplit('.').next().unwrap_or_default();
        if last.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NameError::Number);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

fn check_label(label: &str) -> Result<(), NameError> {
    let allowed = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
    match label.chars().find(|c| !allowed(c)) {
        Some('*') => return Err(NameError::Wildcard),
        Some(other) => return Err(NameError::Character(other)),
        None => {}
    }
    match label.len() {
        0 => Err(NameError::EmptyLabel),
        length if length > LABEL_LENGTH_MAX => Err(NameError::LabelTooLong(length)),
        _ if label.starts_with('-') || label.ends_with('-') => Err(NameError::Hyphen),
        _ => Ok(()),
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name, or `*.` and a name: all names below it, of any depth, and not itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NamePattern {
    /// This name alone.
    Exactly(Name),
    /// Every name below this one.
    Below(Name),
}

impl NamePattern {
    /// Whether a name is meant.
    pub fn matches(&self, name: &Name) -> bool {
        match self {
            Self::Exactly(exactly) => exactly == name,
            Self::Below(parent) => name.is_below(parent),
        }
    }

    /// Whether every name that `other` means is meant by this one, too.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Exactly(name)) => self.matches(name),
            (Self::Exactly(_), Self::Below(_)) => false,
            (Self::Below(mine), Self::Below(theirs)) => mine == theirs || theirs.is_below(mine),
        }
    }

    /// The name without the wildcard.
    pub fn base(&self) -> &Name {
        match self {
            Self::Exactly(name) | Self::Below(name) => name,
        }
    }
}

impl FromStr for NamePattern {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let Some(parent) = text.strip_prefix("*.") else {
            return text.parse().map(Self::Exactly);
        };
        let parent: Name = parent.parse()?;
        if parent.labels().count() < WILDCARD_LABELS_MIN {
            return Err(NameError::TooWide);
        }
        Ok(Self::Below(parent))
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(name) => write!(f, "{name}"),
            Self::Below(name) => write!(f, "*.{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, NameError>) {
        let pattern = text.parse::<NamePattern>().map(|found| found.to_string());
        assert_eq!(pattern, expected.map(str::to_owned), "{text}");
    }

    #[test]
    fn names_are_normalised_or_refused() {
        check("WWW.Photos.Example", Ok("www.photos.example"));
        check("xn--bcher-kva.example", Ok("xn--bcher-kva.example"));
        check("*.photos.example", Ok("*.photos.example"));
        check("1.example", Ok("1.example"));
        check("", Err(NameError::Empty));
        check("a..b", Err(NameError::EmptyLabel));
        check("a.", Err(NameError::EmptyLabel));
        check("a_b.example", Err(NameError::Character('_')));
        check("bücher.example", Err(NameError::Character('ü')));
        check("-a.example", Err(NameError::Hyphen));
        check("192.0.2.1", Err(NameError::Number));
        check("*", Err(NameError::Wildcard));
        check("a.*.example", Err(NameError::Wildcard));
        check("*.*.example", Err(NameError::Wildcard));
        check("*.example", Err(NameError::TooWide));
        check(
            &format!("{}.example", "a".repeat(64)),
            Err(NameError::LabelTooLong(64)),
        );
        check(&"a.".repeat(127), Err(NameError::TooLong(254)));
    }

    #[test]
    fn a_wildcard_means_what_is_below() {
        let pattern: NamePattern = "*.photos.example".parse().unwrap();
        let matches = |name: &str| pattern.matches(&name.parse().unwrap());
        assert!(matches("www.photos.example") && matches("a.b.photos.example"));
        assert!(!matches("photos.example") && !matches("evilphotos.example"));
        let covers = |other: &str| pattern.covers(&other.parse().unwrap());
        assert!(
            covers("*.photos.example")
                && covers("*.eu.photos.example")
                && covers("a.photos.example")
        );
        assert!(!covers("*.vphotos.example"));
    }
}
