//! Short names that people give: of applications and of accounts.

use std::fmt;
use std::str::FromStr;

use crate::name::LABEL_LENGTH_MAX;

/// A text is neither the name of an application nor of an account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no name: use up to {LABEL_LENGTH_MAX} lower-case letters, digits and hyphens, and start and end with a letter or digit"
)]
pub struct LabelError(String);

fn check(text: &str) -> Result<(), LabelError> {
    let character = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let fits = !text.is_empty()
        && text.len() <= LABEL_LENGTH_MAX
        && text.bytes().all(character)
        && !text.starts_with('-')
        && !text.ends_with('-');
    if fits {
        return Ok(());
    }
    // What is quoted is bounded: the text may be anything.
    Err(LabelError(text.chars().take(LABEL_LENGTH_MAX).collect()))
}

macro_rules! label {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The name as text: a DNS label in lower case.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = LabelError;

            fn from_str(text: &str) -> Result<Self, LabelError> {
                check(text).map(|()| Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

label! {
    /// What a publisher calls its application. With the publisher's key it is unique at an operator.
    ApplicationName
}

label! {
    /// The operator's account that pays for what an application uses.
    Account
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_dns_labels() {
        for text in ["photos-edge", "a", "7", &"x".repeat(LABEL_LENGTH_MAX)] {
            assert_eq!(text.parse::<Account>().unwrap().as_str(), text);
        }
        for text in ["", "Photos", "-a", "a-", "a b", "ü", &"x".repeat(64)] {
            assert!(text.parse::<ApplicationName>().is_err(), "{text}");
        }
        let long = "é".repeat(10_000).parse::<Account>().unwrap_err();
        assert!(long.to_string().len() < 400);
    }
}
