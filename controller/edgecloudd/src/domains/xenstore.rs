//! Writing to xenstore, over xenstored's socket: values go over no command line.
//!
//! The wire is `xs_wire.h`'s: a header of four 32-bit words in the machine's order, type, request,
//! transaction and length, and the payload. Values are written into a domain's own directory, whose
//! entries take over its permissions: dom0 and that domain read them, nobody else.

use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use zeroize::Zeroizing;

use super::DomainsError;

/// Where xenstored listens in dom0.
pub(super) const SOCKET: &str = "/run/xenstored/socket";

/// `XS_WRITE`.
const WRITE: u32 = 11;
/// `XENSTORE_PAYLOAD_MAX`.
const PAYLOAD_MAX: usize = 4096;

/// Writes values to paths.
///
/// # Errors
/// No xenstored, or its refusal. No value is in an error.
pub(super) async fn write(
    socket: &Path,
    values: &[(String, Zeroizing<String>)],
) -> Result<(), DomainsError> {
    let wrong = |what: String| DomainsError(format!("xenstore: {what}"));
    let connected = UnixStream::connect(socket).await;
    let mut stream = connected.map_err(|e| wrong(format!("{}: {e}", socket.display())))?;
    for (path, value) in values {
        let payload = [path.as_bytes(), b"\0", value.as_bytes()].concat();
        if payload.len() > PAYLOAD_MAX {
            return Err(wrong(format!("{path} is longer than {PAYLOAD_MAX} bytes")));
        }
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let header = [WRITE, 0, 0, length].map(u32::to_ne_bytes).concat();
        let io = |error: std::io::Error| wrong(format!("{path}: {error}"));
        stream
            .write_all(&[header, payload].concat())
            .await
            .map_err(io)?;
        let mut header = [0; 16];
        stream.read_exact(&mut header).await.map_err(io)?;
        let word = |place: usize| {
            let bytes = header
                .get(place * 4..place * 4 + 4)
                .and_then(|b| b.try_into().ok());
            bytes.map_or(0, u32::from_ne_bytes)
        };
        let length = usize::try_from(word(3))
            .unwrap_or(usize::MAX)
            .min(PAYLOAD_MAX);
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer).await.map_err(io)?;
        if word(0) != WRITE {
            let why = String::from_utf8_lossy(&answer);
            return Err(wrong(format!("{path}: {}", why.trim_end_matches('\0'))));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `XS_ERROR`.
    const ERROR: u32 = 16;

    async fn answered(kind: u32, answer: &[u8]) -> (Vec<u8>, Result<(), DomainsError>) {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 16 + 10];
            stream.read_exact(&mut request).await.unwrap();
            let length = u32::try_from(answer.len()).unwrap();
            let header = [kind, 0, 0, length].map(u32::to_ne_bytes).concat();
            stream
                .write_all(&[&header[..], answer].concat())
                .await
                .unwrap();
            request
        };
        let values = [("/a/b".to_owned(), "value".to_owned().into())];
        tokio::join!(serve, write(&socket, &values))
    }

    #[tokio::test]
    async fn values_are_written_as_the_wire_has_them() {
        let (request, written) = answered(WRITE, b"OK\0").await;
        written.unwrap();
        let header = [11u32, 0, 0, 10].map(u32::to_ne_bytes).concat();
        assert_eq!(request, [&header[..], b"/a/b\0value"].concat());
    }

    #[tokio::test]
    async fn a_refusal_names_the_path_and_not_the_value() {
        let (_, written) = answered(ERROR, b"EACCES\0").await;
        let error = written.unwrap_err().to_string();
        assert_eq!(error, "xenstore: /a/b: EACCES");
        let long = [("/a".to_owned(), "v".repeat(PAYLOAD_MAX).into())];
        let nowhere = tempfile::tempdir().unwrap();
        let socket = nowhere.path().join("none");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let error = write(&socket, &long).await.unwrap_err();
        drop(listener);
        assert!(!error.to_string().contains("vvv"), "{error}");
        assert!(
            error.to_string().contains("longer than 4096 bytes"),
            "{error}"
        );
    }
}
