//! What needs nobody else: keys, descriptors of images, manifests.

use std::path::{Path, PathBuf};

use manifest::{Digest, ImageDescriptor, Manifest, Signed, SigningKey};
use serde_json::json;
use zeroize::Zeroizing;

use crate::arguments::Sign;
use crate::failure::Failure;
use crate::files;
use crate::report::Report;

/// Longest image: what no single-purpose program comes near.
const IMAGE_BYTES_MAX: u64 = 1 << 30;

pub(crate) fn keygen(file: &Path) -> Result<Report, Failure> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed)
        .map_err(|error| Failure::Wrong(format!("no random numbers: {error}")))?;
    let key = SigningKey::from_seed(&seed);
    files::write_key(file, &key)?;
    let public = key.public().to_string();
    let document = json!({ "public": public, "file": file });
    Ok(Report::new(document, public))
}

pub(crate) fn digest_of(elf: &Path) -> Result<Digest, Failure> {
    Ok(Digest::of(&files::read(elf, IMAGE_BYTES_MAX)?))
}

pub(crate) fn sign_image(sign: Sign) -> Result<Report, Failure> {
    let key = files::read_key(&sign.key)?;
    let descriptor = ImageDescriptor {
        name: sign.name,
        digest: digest_of(&sign.elf)?,
        publisher: key.public(),
        memory_mib: sign.memory_mib,
        devices: sign.device.into_iter().collect(),
        version: sign.image_version,
    };
    descriptor
        .check()
        .map_err(|error| Failure::Wrong(error.to_string()))?;
    let out = sign.out.unwrap_or_else(|| beside(&sign.elf, "descriptor"));
    let signed = Signed::sign(descriptor, &key);
    files::write(&out, signed.bytes())?;
    let digest = signed.document().digest.to_string();
    let text = format!("{}\ndigest {digest}", out.display());
    Ok(Report::new(json!({ "file": out, "digest": digest }), text))
}

/// The file of the same name with another ending.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    path.with_extension(ending)
}

pub(crate) fn inspect_image(path: &Path, elf: Option<&Path>) -> Result<Report, Failure> {
    let bytes = files::read_document(path)?;
    let signed = Signed::<ImageDescriptor>::open_self_signed(&bytes)
        .map_err(|error| files::document(path, error.to_string()))?;
    let descriptor = signed.document();
    if let Some(elf) = elf {
        let found = digest_of(elf)?;
        if found != descriptor.digest {
            let cause = format!(
                "is of the image {}, and this file is {found}; sign it again",
                descriptor.digest
            );
            return Err(files::document(path, cause));
        }
    }
    let devices: Vec<_> = descriptor
        .devices
        .iter()
        .map(|device| device.as_str())
        .collect();
    let text = format!(
        "name       {}\nversion    {}\ndigest     {}\npublisher  {}\nmemory     {} MiB\ndevices    {}",
        descriptor.name.as_str(),
        descriptor.version,
        descriptor.digest,
        descriptor.publisher,
        descriptor.memory_mib,
        devices.join(", "),
    );
    let document = json!({
        "name": descriptor.name.as_str(),
        "version": descriptor.version,
        "digest": descriptor.digest.to_string(),
        "publisher": descriptor.publisher.to_string(),
        "memory_mib": descriptor.memory_mib,
        "devices": devices,
        "image_checked": elf.is_some(),
    });
    Ok(Report::new(document, text))
}

/// A manifest of a file; what is wrong is named as `FILE: line L, column C: …`.
pub(crate) fn read_manifest(path: &Path) -> Result<Manifest, Failure> {
    let text = files::read_text(path)?;
    Manifest::from_toml(&text).map_err(|error| files::document(path, error.to_string()))
}

pub(crate) fn check_manifest(path: &Path) -> Result<Report, Failure> {
    let manifest = read_manifest(path)?;
    let rules: Vec<_> = manifest.rules().iter().map(ToString::to_string).collect();
    let numbered = rules.iter().enumerate();
    let lines: String = numbered
        .map(|(index, rule)| format!("  {index}  {rule}\n"))
        .collect();
    let text = format!(
        "{} of {}, until {}\nrules:\n{lines}paid by {}",
        manifest.name().as_str(),
        manifest.publisher(),
        manifest.expires(),
        manifest.bill().account.as_str(),
    );
    let document = json!({
        "name": manifest.name().as_str(),
        "publisher": manifest.publisher().to_string(),
        "expires": manifest.expires().to_string(),
        "rules": rules,
        "account": manifest.bill().account.as_str(),
    });
    Ok(Report::new(document, text))
}
