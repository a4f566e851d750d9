//! What an operator sets, in `[service]` of the document.

use std::path::PathBuf;

use http::uri::Authority;
use serde::{Deserialize, Deserializer, de::Error};

/// The cache's own settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Own {
    /// The origin, as `host:port`: the cache serves its name. Without it the cache intercepts, and
    /// asks whom the client meant.
    #[serde(default, deserialize_with = "authority")]
    pub origin: Option<Authority>,
    /// Mebibytes of memory for responses.
    #[serde(default = "memory")]
    pub memory_mib: u32,
    /// The disk tier: a block device, or a file with as many bytes as it may have. Without it responses
    /// are in memory only.
    #[serde(default)]
    pub disk: Option<PathBuf>,
    /// Seconds for which a 404 or 410 is kept whose origin says nothing of that.
    #[serde(default)]
    pub negative_seconds: u16,
    /// URLs that are fetched at the start, where there is an origin.
    #[serde(default)]
    pub prefetch: Vec<String>,
    /// Mebibytes that one response may have to be stored; at most a quarter of the memory.
    #[serde(default = "object")]
    pub object_mib: u32,
}

fn memory() -> u32 {
    64
}

fn object() -> u32 {
    16
}

fn authority<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Authority>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let authority: Authority = text.parse().map_err(D::Error::custom)?;
    match authority.host().is_empty() || text.contains('@') {
        true => Err(D::Error::custom("an origin is like origin.example:80")),
        false => Ok(Some(authority)),
    }
}

const MEBIBYTE: u64 = 1 << 20;

impl Own {
    /// Bytes of the memory tier.
    pub fn memory_bytes(&self) -> u64 {
        u64::from(self.memory_mib.max(1)) * MEBIBYTE
    }

    /// Bytes of the largest object: several must fit, or one would empty the cache.
    pub fn object_bytes_max(&self) -> u64 {
        (u64::from(self.object_mib) * MEBIBYTE).min(self.memory_bytes() / 4)
    }

    /// Bytes of memory that may know of what the disk holds: beside the tier, not of it.
    pub(crate) fn index_bytes(&self) -> u64 {
        self.memory_bytes() / 4
    }

    /// Whom the cache stands for.
    pub(crate) fn role(&self) -> Role {
        match &self.origin {
            Some(origin) => Role::Reverse {
                origin: origin.clone(),
            },
            None => Role::Intercept,
        }
    }
}

/// Whom the cache stands for.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    /// For one origin, whose name clients reach it by.
    Reverse { origin: Authority },
    /// For whomever the client meant.
    Intercept,
}
