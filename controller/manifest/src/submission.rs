//! What a publisher sends to an operator's authority: a manifest, where it shall hold, and for what.

use crate::document::Manifest;
use crate::encoding::rules::MANIFEST_BYTES_MAX;
use crate::encoding::{self, DecodeError, Encoding, Fields, Value, list, map, wrong};
use crate::key::PublicKey;
use crate::name::Name;
use crate::signed::{Document, SelfSigned, Signed};
use crate::token::{Digest, HOSTS_MAX};

impl Document for Manifest {
    const CONTENT_TYPE: &'static str = "application/vnd.edgecloud.manifest+cbor";
    const BYTES_MAX: usize = MANIFEST_BYTES_MAX;
}

impl SelfSigned for Manifest {
    fn signer(&self) -> &PublicKey {
        self.publisher()
    }
}

/// A manifest under its publisher's signature.
pub type SignedManifest = Signed<Manifest>;

/// A wish for a token. It is signed as a whole, and not only the manifest in it: who copies a
/// signed manifest cannot ask for a token that names an image or a key of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    manifest: SignedManifest,
    hosts: Vec<Name>,
    image: Digest,
    holder: PublicKey,
}

/// A submission under its publisher's signature.
pub type SignedSubmission = Signed<Submission>;

/// Why there is no such submission.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a submission names 1 to {HOSTS_MAX} different hosts")]
pub struct HostsError;

impl Submission {
    /// Asks for a token for an image with this digest, at these hosts, for the owner of a key.
    ///
    /// # Errors
    /// No host, more than [`HOSTS_MAX`], or one twice.
    pub fn new(
        manifest: SignedManifest,
        mut hosts: Vec<Name>,
        image: Digest,
        holder: PublicKey,
    ) -> Result<Self, HostsError> {
        let count = hosts.len();
        hosts.sort_unstable();
        hosts.dedup();
        if hosts.len() != count || !(1..=HOSTS_MAX).contains(&count) {
            return Err(HostsError);
        }
        Ok(Self {
            manifest,
            hosts,
            image,
            holder,
        })
    }

    /// The manifest, whose signature is valid.
    pub fn manifest(&self) -> &Manifest {
        self.manifest.document()
    }

    /// The hosts, in alphabetical order.
    pub fn hosts(&self) -> &[Name] {
        &self.hosts
    }

    /// The digest of the ELF that shall use the token.
    pub fn image(&self) -> Digest {
        self.image
    }

    /// The key whose owner shall use it.
    pub fn holder(&self) -> &PublicKey {
        &self.holder
    }

    /// What offers and authorities know it by.
    pub fn digest(&self) -> Digest {
        Digest::of(&encoding::to_bytes(self))
    }
}

impl Encoding for Submission {
    fn to_value(&self) -> Value {
        map([
            (1, Some(Value::Bytes(self.manifest.bytes().to_vec()))),
            (2, Some(list(&self.hosts))),
            (3, Some(self.image.to_value())),
            (4, Some(self.holder.to_value())),
        ])
    }

    fn from_value(value: Value) -> Result<Self, DecodeError> {
        let mut fields = Fields::of("submission", value)?;
        let manifest = fields.bytes(1, "manifest")?;
        let manifest =
            Signed::open_self_signed(&manifest).map_err(|error| wrong("manifest", error))?;
        let hosts = fields.items(2, "hosts")?;
        let image = fields.decoded(3, "image")?;
        let holder = fields.decoded(4, "holder")?;
        fields.end()?;
        Self::new(manifest, hosts, image, holder).map_err(|error| wrong("hosts", error))
    }
}

impl Document for Submission {
    const CONTENT_TYPE: &'static str = "application/vnd.edgecloud.submission+cbor";
    /// The manifest, 64 names of hosts, and the rest.
    const BYTES_MAX: usize = MANIFEST_BYTES_MAX + HOSTS_MAX * 256 + 1024;
}

impl SelfSigned for Submission {
    fn signer(&self) -> &PublicKey {
        self.manifest().publisher()
    }
}
