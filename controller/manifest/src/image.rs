//! The descriptor that a publisher signs for an image: which ELF, by whom, and what its domain gets.

use std::collections::BTreeSet;
use std::str::FromStr;

use crate::encoding::{DecodeError, Encoding, Fields, Value, array, map, parsed, text, wrong};
use crate::key::PublicKey;
use crate::label::ApplicationName;
use crate::signed::{Document, SelfSigned, Signed};
use crate::token::Digest;

/// The least memory of a domain: that of the smallest image.
pub const MEMORY_MIB_MIN: u32 = 1;
/// The most memory of a domain: a single-purpose appliance is not a database server.
pub const MEMORY_MIB_MAX: u32 = 65_536;
/// Longest text of a version, in bytes.
pub const VERSION_LENGTH_MAX: usize = 64;

/// A device of a domain, beside its console.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Device {
    /// A virtual network interface on the host's switch.
    Network,
    /// A virtual disk, `/dev/xvda`.
    Disk,
}

impl Device {
    /// The word that descriptions of images use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Disk => "disk",
        }
    }
}

/// A text is no [`Device`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no device: write network or disk")]
pub struct DeviceError;

impl FromStr for Device {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        match text {
            "network" => Ok(Self::Network),
            "disk" => Ok(Self::Disk),
            _ => Err(DeviceError),
        }
    }
}

/// What a publisher says of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageDescriptor {
    /// What the publisher calls it.
    pub name: ApplicationName,
    /// The digest of the ELF.
    pub digest: Digest,
    /// Whose image it is.
    pub publisher: PublicKey,
    /// The domain's memory, [`MEMORY_MIB_MIN`] to [`MEMORY_MIB_MAX`].
    pub memory_mib: u32,
    /// The domain's devices.
    pub devices: BTreeSet<Device>,
    /// The publisher's word for this build, at most [`VERSION_LENGTH_MAX`] visible ASCII characters.
    pub version: String,
}

/// A descriptor under its publisher's signature.
pub type SignedImageDescriptor = Signed<ImageDescriptor>;

/// Why a descriptor cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DescriptorError {
    /// Too little or too much memory.
    #[error("{0} MiB of memory: give from {MEMORY_MIB_MIN} to {MEMORY_MIB_MAX}")]
    Memory(u32),
    /// No version, or one that is none.
    #[error("a version has 1 to {VERSION_LENGTH_MAX} visible ASCII characters")]
    Version,
}

impl ImageDescriptor {
    /// Checks what the types leave open; reading a signed one does it, too.
    ///
    /// # Errors
    /// Memory or version out of their bounds.
    pub fn check(&self) -> Result<(), DescriptorError> {
        if !(MEMORY_MIB_MIN..=MEMORY_MIB_MAX).contains(&self.memory_mib) {
            return Err(DescriptorError::Memory(self.memory_mib));
        }
        let length = self.version.len();
        let visible = self.version.bytes().all(|byte| byte.is_ascii_graphic());
        if !(1..=VERSION_LENGTH_MAX).contains(&length) || !visible {
            return Err(DescriptorError::Version);
        }
        Ok(())
    }
}

impl Encoding for ImageDescriptor {
    fn to_value(&self) -> Value {
        let devices = self.devices.iter().map(|device| text(&device.as_str()));
        map([
            (1, Some(text(&self.name))),
            (2, Some(self.digest.to_value())),
            (3, Some(self.publisher.to_value())),
            (4, Some(Value::from(self.memory_mib))),
            (5, Some(Value::Array(devices.collect()))),
            (6, Some(text(&self.version))),
        ])
    }

    fn from_value(value: Value) -> Result<Self, DecodeError> {
        let mut fields = Fields::of("image", value)?;
        let devices = array(fields.need(5, "devices")?, "devices")?;
        let devices: Result<BTreeSet<Device>, _> = devices
            .into_iter()
            .map(|device| parsed(device, "devices"))
            .collect();
        let descriptor = Self {
            name: fields.parsed(1, "name")?,
            digest: fields.decoded(2, "digest")?,
            publisher: fields.decoded(3, "publisher")?,
            memory_mib: fields.integer(4, "memory-mib")?,
            devices: devices?,
            version: fields.parsed(6, "version")?,
        };
        fields.end()?;
        descriptor.check().map_err(|error| wrong("image", error))?;
        Ok(descriptor)
    }
}

impl Document for ImageDescriptor {
    const CONTENT_TYPE: &'static str = "application/vnd.edgecloud.image+cbor";
    const BYTES_MAX: usize = 1024;
}

impl SelfSigned for ImageDescriptor {
    fn signer(&self) -> &PublicKey {
        &self.publisher
    }
}
