//! From a stream of bytes to messages: every message begins with its length.

use crate::error::{ParseCause, ParseError};
use crate::wire::HEADER;

/// Collects bytes and hands out whole messages.
///
/// It holds at most what was pushed and not taken; a caller that takes all messages after each push
/// never holds more than one message of 65535 bytes and one push.
#[derive(Debug)]
pub struct Deframer {
    bytes: Vec<u8>,
    /// How much at the beginning has been handed out.
    taken: usize,
    length_max: usize,
}

impl Default for Deframer {
    fn default() -> Deframer {
        Deframer::new(usize::from(u16::MAX))
    }
}

impl Deframer {
    /// Refuses messages longer than `length_max` bytes. No message can be longer than 65535; a peer
    /// that has not said who it is needs no more than a few hundred.
    pub const fn new(length_max: usize) -> Deframer {
        Deframer {
            bytes: Vec::new(),
            taken: 0,
            length_max,
        }
    }

    /// Allows longer messages, or no longer so long ones, from the next on.
    pub fn set_length_max(&mut self, length_max: usize) {
        self.length_max = length_max;
    }

    /// Takes bytes from the peer.
    pub fn push(&mut self, bytes: &[u8]) {
        // Whole messages are moved out of the way once per push, not once per message.
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message; None until more bytes come.
    ///
    /// # Errors
    /// A length that is shorter than the header or longer than allowed. The stream cannot be
    /// followed after that: close the connection.
    pub fn next_message(&mut self) -> Result<Option<&[u8]>, ParseError> {
        let rest = self.bytes.get(self.taken..).unwrap_or_default();
        let Some([_, _, high, low]) = rest.first_chunk() else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if length < HEADER || length > self.length_max {
            let cause = ParseCause::Length(length);
            return Err(ParseError {
                what: "message",
                offset: 2,
                cause,
            });
        }
        if rest.len() < length {
            return Ok(None);
        }
        let start = self.taken;
        self.taken += length;
        Ok(self.bytes.get(start..self.taken))
    }

    /// How many bytes wait for the rest of their message.
    pub fn waiting(&self) -> usize {
        self.bytes.len() - self.taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARRIER: [u8; 8] = [6, 20, 0, 8, 0, 0, 0, 1];
    const ECHO: [u8; 10] = [6, 2, 0, 10, 0, 0, 0, 2, 0xaa, 0xbb];

    #[test]
    fn messages_come_out_whole_however_they_are_cut() {
        let stream = [&BARRIER[..], &ECHO, &BARRIER].concat();
        for piece in 1..=stream.len() {
            let mut deframer = Deframer::default();
            let mut messages = Vec::new();
            for bytes in stream.chunks(piece) {
                deframer.push(bytes);
                while let Some(message) = deframer.next_message().unwrap() {
                    messages.push(message.to_vec());
                }
            }
            assert_eq!(
                messages,
                [&BARRIER[..], &ECHO, &BARRIER],
                "in pieces of {piece}"
            );
            assert_eq!(deframer.waiting(), 0);
        }
    }

    #[test]
    fn impossible_and_forbidden_lengths_end_the_stream() {
        let mut deframer = Deframer::new(9);
        deframer.push(&BARRIER);
        deframer.push(&ECHO);
        assert_eq!(deframer.next_message().unwrap(), Some(&BARRIER[..]));
        let error = deframer.next_message().unwrap_err();
        assert_eq!(error.cause, ParseCause::Length(10));
        let mut deframer = Deframer::default();
        deframer.push(&[6, 20, 0, 7]);
        assert_eq!(
            deframer.next_message().unwrap_err().cause,
            ParseCause::Length(7)
        );
    }
}
