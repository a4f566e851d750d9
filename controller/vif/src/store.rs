//! xenstore, over xenstored's socket or the kernel's device, which speak the same.
//!
//! The wire is `xs_wire.h`'s (xen/include/public/io): a header of four 32-bit words in the machine's
//! order, namely type, request, transaction and length, and the payload. Requests are sent together and
//! answered in order, so a look at many nodes costs one round trip.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// `XS_READ`.
const READ: u32 = 2;
/// `XS_WRITE`.
const WRITE: u32 = 11;
/// `XS_ERROR`.
const ERROR: u32 = 16;
/// `XENSTORE_PAYLOAD_MAX`.
const PAYLOAD_MAX: usize = 4096;
const HEADER: usize = 16;
/// xenstored answers in milliseconds; one that does not would keep `xl create` waiting for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why xenstore did not do as asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The way there.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Path and reason, as xenstored names it.
    #[error("{0}: {1}")]
    Refused(String, String),
    /// An answer to something else, or a longer one than there can be.
    #[error("xenstored answers {0} to {1}")]
    Unexpected(u32, u32),
    /// More than a message holds.
    #[error("{0} is longer than {PAYLOAD_MAX} bytes")]
    Long(String),
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

/// A conversation with xenstored.
pub(crate) struct Store(Box<dyn ReadWrite>);

impl Store {
    /// With the xenstored that listens on a socket.
    pub(crate) fn open(socket: &str) -> Result<Store, StoreError> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Store(Box::new(stream)))
    }

    /// With the xenstored behind the kernel's device.
    pub(crate) fn open_device(path: &str) -> Result<Store, StoreError> {
        let device = File::options().read(true).write(true).open(path);
        Ok(Store(Box::new(device?)))
    }

    /// The values of nodes; `None` where there is no such node.
    pub(crate) fn read(&mut self, paths: &[String]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let requests = paths.iter().map(|path| [path.as_bytes(), b"\0"].concat());
        self.send(READ, requests.collect())?;
        let mut values = Vec::new();
        // All of them are taken, also after a refusal: what comes next must be the next answer.
        for path in paths {
            values.push(match self.answer(READ, path) {
                Ok(value) => Ok(Some(value)),
                Err(StoreError::Refused(_, why)) if why == "ENOENT" => Ok(None),
                Err(error @ StoreError::Refused(..)) => Err(error),
                Err(lost) => return Err(lost),
            });
        }
        values.into_iter().collect()
    }

    /// Sets nodes, in this order.
    pub(crate) fn write(&mut self, nodes: &[(String, String)]) -> Result<(), StoreError> {
        let requests = nodes
            .iter()
            .map(|(path, value)| [path.as_bytes(), b"\0", value.as_bytes()].concat());
        self.send(WRITE, requests.collect())?;
        nodes
            .iter()
            .try_for_each(|(path, _)| self.answer(WRITE, path).map(drop))
    }

    fn send(&mut self, kind: u32, payloads: Vec<Vec<u8>>) -> Result<(), StoreError> {
        let mut bytes = Vec::new();
        for payload in payloads {
            if payload.len() > PAYLOAD_MAX {
                let path = payload.split(|byte| *byte == 0).next().unwrap_or_default();
                return Err(StoreError::Long(String::from_utf8_lossy(path).into_owned()));
            }
            let length = payload.len() as u32;
            bytes.extend([kind, 0, 0, length].map(u32::to_ne_bytes).concat());
            bytes.extend(payload);
        }
        Ok(self.0.write_all(&bytes)?)
    }

    fn answer(&mut self, kind: u32, path: &str) -> Result<Vec<u8>, StoreError> {
        let mut header = [0; HEADER];
        self.0.read_exact(&mut header)?;
        let word = |index: usize| {
            let bytes = header.chunks_exact(4).nth(index);
            let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u32::from_ne_bytes)
        };
        let (answered, length) = (word(0), word(3) as usize);
        if length > PAYLOAD_MAX || ![kind, ERROR].contains(&answered) {
            return Err(StoreError::Unexpected(answered, kind));
        }
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload)?;
        match answered {
            ERROR => {
                let why = String::from_utf8_lossy(&payload);
                let why = why.trim_end_matches('\0').to_owned();
                Err(StoreError::Refused(path.to_owned(), why))
            }
            _ => Ok(payload),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::thread;

    /// A store whose other end answers with these messages, and what it was asked.
    fn with_answers(answers: &[(u32, &[u8])], ask: impl FnOnce(&mut Store)) -> Vec<u8> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut bytes = Vec::new();
        for (kind, payload) in answers {
            bytes.extend(message(*kind, payload));
        }
        theirs.write_all(&bytes).unwrap();
        let asked = thread::spawn(move || {
            let mut asked = Vec::new();
            // What we did not read of its answers resets the connection; what it was asked is there.
            let _ = theirs.read_to_end(&mut asked);
            asked
        });
        ask(&mut Store(Box::new(ours)));
        asked.join().unwrap()
    }

    fn message(kind: u32, payload: &[u8]) -> Vec<u8> {
        let header = [kind, 0, 0, payload.len() as u32].map(u32::to_ne_bytes);
        [&header.concat()[..], payload].concat()
    }

    #[test]
    fn nodes_are_read_in_one_round_trip() {
        let answers: [(u32, &[u8]); 2] = [(READ, b"edgecloud"), (ERROR, b"ENOENT\0")];
        let asked = with_answers(&answers, |store| {
            let values = store.read(&["/a/bridge".to_owned(), "/a/mtu".to_owned()]);
            assert_eq!(values.unwrap(), [Some(b"edgecloud".to_vec()), None]);
        });
        let expected = [message(READ, b"/a/bridge\0"), message(READ, b"/a/mtu\0")].concat();
        assert_eq!(asked, expected);
    }

    #[test]
    fn nodes_are_written_in_order() {
        let answers: [(u32, &[u8]); 2] = [(WRITE, b"OK\0"), (WRITE, b"OK\0")];
        let nodes = [("/a", "1"), ("/b", "2")].map(|(path, value)| (path.into(), value.into()));
        let asked = with_answers(&answers, |store| store.write(&nodes).unwrap());
        let expected = [message(WRITE, b"/a\x001"), message(WRITE, b"/b\x002")].concat();
        assert_eq!(asked, expected);
    }

    #[test]
    fn refusals_and_nonsense_are_told() {
        let refused = |answer: (u32, &[u8]), says: &str| {
            with_answers(&[answer], |store| {
                let error = store.read(&["/a".to_owned()]).unwrap_err();
                assert!(error.to_string().contains(says), "{error}");
            });
        };
        refused((ERROR, b"EACCES\0"), "/a: EACCES");
        refused((WRITE, b"OK\0"), "xenstored answers 11 to 2");
        refused((READ, &[0; PAYLOAD_MAX + 1]), "xenstored answers 2 to 2");
        with_answers(&[], |store| {
            let long = [("/a".to_owned(), "v".repeat(PAYLOAD_MAX))];
            let error = store.write(&long).unwrap_err().to_string();
            assert_eq!(error, "/a is longer than 4096 bytes");
        });
    }
}
