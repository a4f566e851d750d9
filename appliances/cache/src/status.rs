//! `Cache-Status` (RFC 9211): what this cache did with a request.

use std::fmt::{self, Display};

use crate::storable::NotStored;

/// Why a request went to the origin (RFC 9211, section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarded {
    /// Never stored, by its method.
    Method,
    /// Nothing is stored under this address.
    Miss,
    /// What is stored has to be validated.
    Stale,
}

/// One member of the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheStatus {
    /// Served from the store; seconds of freshness that are left.
    Hit {
        /// Negative: stale.
        ttl: i64,
    },
    /// Went to the origin.
    Forwarded {
        /// Why.
        because: Forwarded,
        /// The status that came, where it is not the one that is sent on.
        status: Option<u16>,
        /// Whether it was stored, or why not.
        stored: Result<(), NotStored>,
        /// Whether another's request was joined.
        collapsed: bool,
    },
}

impl Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("edgecloud")?;
        match self {
            Self::Hit { ttl } => write!(f, "; hit; ttl={ttl}"),
            Self::Forwarded {
                because,
                status,
                stored,
                collapsed,
            } => {
                let because = match because {
                    Forwarded::Method => "method",
                    Forwarded::Miss => "uri-miss",
                    Forwarded::Stale => "stale",
                };
                write!(f, "; fwd={because}")?;
                if let Some(status) = status {
                    write!(f, "; fwd-status={status}")?;
                }
                if *collapsed {
                    f.write_str("; collapsed")?;
                }
                match stored {
                    Ok(()) => f.write_str("; stored"),
                    Err(reason) => write!(f, "; detail={}", reason.reason()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_as_in_the_specification() {
        assert_eq!(
            CacheStatus::Hit { ttl: -3 }.to_string(),
            "edgecloud; hit; ttl=-3"
        );
        let stale = CacheStatus::Forwarded {
            because: Forwarded::Stale,
            status: Some(304),
            stored: Ok(()),
            collapsed: false,
        };
        assert_eq!(
            stale.to_string(),
            "edgecloud; fwd=stale; fwd-status=304; stored"
        );
    }
}
