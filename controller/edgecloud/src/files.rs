//! Keys and documents on disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use manifest::SigningKey;
use zeroize::Zeroizing;

use crate::failure::Failure;

/// Longest file of a key, and of a document: far more than any has.
const KEY_BYTES_MAX: u64 = 16 * 1024;
pub(crate) const DOCUMENT_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Reads a file, which may not be endless.
pub(crate) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Failure> {
    let file = File::open(path).map_err(at(path))?;
    let mut bytes = Vec::new();
    file.take(bytes_max + 1)
        .read_to_end(&mut bytes)
        .map_err(at(path))?;
    if bytes.len() as u64 > bytes_max {
        let cause = format!("more than {bytes_max} bytes; give the right file");
        return Err(document(path, cause));
    }
    Ok(bytes)
}

/// Reads a document.
pub(crate) fn read_document(path: &Path) -> Result<Vec<u8>, Failure> {
    read(path, DOCUMENT_BYTES_MAX)
}

/// Reads text.
pub(crate) fn read_text(path: &Path) -> Result<String, Failure> {
    String::from_utf8(read_document(path)?)
        .map_err(|_| document(path, "not UTF-8; write it again".to_owned()))
}

/// Writes a document whole, or not at all.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let beside = Path::new(&name);
    fs::write(beside, bytes).map_err(at(beside))?;
    fs::rename(beside, path).map_err(at(path))
}

/// The PEM text of a private key, from a file that only its owner can read.
pub(crate) fn read_key_text(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let file = File::open(path).map_err(at(path))?;
    if file.metadata().map_err(at(path))?.mode() & 0o077 != 0 {
        return Err(Failure::OpenKey(path.to_owned()));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(KEY_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(at(path))?;
    Ok(text)
}

/// A private key.
pub(crate) fn read_key(path: &Path) -> Result<SigningKey, Failure> {
    let text = read_key_text(path)?;
    SigningKey::from_pem(&text).map_err(|error| document(path, error.to_string()))
}

/// Writes a new private key, and nothing over what is there.
pub(crate) fn write_key(path: &Path, key: &SigningKey) -> Result<(), Failure> {
    let pem = key
        .to_pem()
        .map_err(|error| Failure::Wrong(error.to_string()))?;
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let written = file.and_then(|mut file| {
        file.write_all(pem.as_bytes())?;
        file.sync_all()
    });
    written.map_err(at(path))
}

fn at(path: &Path) -> impl Fn(io::Error) -> Failure {
    let path = path.to_owned();
    move |source| Failure::File {
        path: path.clone(),
        source,
    }
}

/// A file whose content is wrong.
pub(crate) fn document(path: &Path, cause: String) -> Failure {
    let path = path.to_owned();
    Failure::Document { path, cause }
}
