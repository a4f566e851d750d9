//! JSON values out of a stream: the database and `ovs-appctl`'s sockets put nothing between them.
//!
//! **Threats.** Whoever owns the socket may send a value without an end: it is cut off at
//! [`MESSAGE_MAX`]. Depth is serde_json's to bound.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// The longest value: all ports of a host are some hundred kilobytes, and a trace of a packet less.
pub const MESSAGE_MAX: usize = 16 << 20;
/// How much is read at once.
const READ: usize = 65_536;

/// What ends a stream.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// Not JSON.
    #[error("what came is no JSON: {0}")]
    Syntax(#[from] serde_json::Error),
    /// Longer than [`MESSAGE_MAX`].
    #[error("a message longer than {MESSAGE_MAX} bytes came")]
    Long,
    /// The other end closed it.
    #[error("the other end closed the connection")]
    Closed,
    /// The socket.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Bytes in, objects out.
#[derive(Debug, Default)]
pub struct Framer {
    bytes: Vec<u8>,
    /// How far the bytes were looked at.
    seen: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Framer {
    /// Takes bytes.
    ///
    /// # Errors
    /// More than [`MESSAGE_MAX`] wait for their end.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), JsonError> {
        if self.bytes.len() + bytes.len() > MESSAGE_MAX {
            return Err(JsonError::Long);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// The next whole object.
    ///
    /// # Errors
    /// It is none.
    pub fn next_value(&mut self) -> Result<Option<Value>, JsonError> {
        while let Some(byte) = self.bytes.get(self.seen).copied() {
            self.seen += 1;
            if self.ends_with(byte) {
                let whole: Vec<u8> = self.bytes.drain(..self.seen).collect();
                self.seen = 0;
                return Ok(Some(serde_json::from_slice(&whole)?));
            }
        }
        Ok(None)
    }

    /// Whether a byte is an object's last.
    fn ends_with(&mut self, byte: u8) -> bool {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.in_string => self.escaped = true,
            b'"' => self.in_string = !self.in_string,
            _ if self.in_string => {}
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }
}

/// A socket with values in both directions.
#[derive(Debug)]
pub(super) struct Stream {
    socket: UnixStream,
    framer: Framer,
}

impl Stream {
    pub(super) async fn connect(path: &std::path::Path) -> Result<Stream, JsonError> {
        let socket = UnixStream::connect(path).await?;
        let framer = Framer::default();
        Ok(Stream { socket, framer })
    }

    pub(super) async fn send(&mut self, value: &Value) -> Result<(), JsonError> {
        let text = value.to_string();
        Ok(self.socket.write_all(text.as_bytes()).await?)
    }

    pub(super) async fn receive(&mut self) -> Result<Value, JsonError> {
        let mut bytes = vec![0; READ];
        loop {
            if let Some(value) = self.framer.next_value()? {
                return Ok(value);
            }
            let count = self.socket.read(&mut bytes).await?;
            if count == 0 {
                return Err(JsonError::Closed);
            }
            self.framer.push(bytes.get(..count).unwrap_or_default())?;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_come_out_whole_however_they_are_cut() {
        let text = r#"{"a":"}\"{\\"} {"b":[{"c":[]}]}"#;
        for piece in 1..=text.len() {
            let mut framer = Framer::default();
            let mut values = Vec::new();
            for bytes in text.as_bytes().chunks(piece) {
                framer.push(bytes).unwrap();
                while let Some(value) = framer.next_value().unwrap() {
                    values.push(value);
                }
            }
            let expected = [json!({"a": "}\"{\\"}), json!({"b": [{"c": []}]})];
            assert_eq!(values, expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn what_has_no_end_or_is_no_json_is_refused() {
        let mut framer = Framer::default();
        let megabyte = vec![b'['; 1 << 20];
        let refused = (0..32).find(|_| framer.push(&megabyte).is_err());
        assert_eq!(refused, Some(MESSAGE_MAX >> 20));
        let mut framer = Framer::default();
        framer.push(b"{nonsense}").unwrap();
        assert!(framer.next_value().is_err());
        let mut framer = Framer::default();
        framer.push(&b"[".repeat(1000)).unwrap();
        framer.push(&b"]".repeat(1000)).unwrap();
        assert!(framer.next_value().is_err());
    }
}
