//! OpenFlow's side of a session, without I/O.

use std::collections::VecDeque;

use openflow::{Deframer, Header, Hello, Message, ParseError, Version};

use super::SessionError;

/// How many messages wait for whoever asks: an answer that comes in one read of the socket has a few
/// hundred parts at most, and a switch sends events of its own no faster than it is read.
pub const EVENTS_MAX: usize = 16_384;
/// How many bytes of answers to echoes may wait: a switch asks one every few seconds, of a few bytes.
const ECHOES_MAX: usize = 1 << 20;
/// The longest HELLO: who has not said which versions it speaks needs no more.
const HELLO_MAX: usize = 256;

/// Bytes in, messages out. After an error it must be dropped.
#[derive(Debug)]
pub struct Connection {
    deframer: Deframer,
    agreed: bool,
    /// What is to be sent, behind what was sent.
    out: Vec<u8>,
    /// How much at the beginning of `out` was sent.
    sent: usize,
    /// How much of `out` are answers to echoes, at most.
    echoes: usize,
    received: VecDeque<(u32, Message)>,
    next_xid: u32,
}

impl Default for Connection {
    fn default() -> Connection {
        Connection::new()
    }
}

impl Connection {
    const VERSION: Version = Version::V15;

    /// One that has its HELLO to send.
    pub fn new() -> Connection {
        let mut connection = Connection {
            deframer: Deframer::new(HELLO_MAX),
            agreed: false,
            out: Vec::new(),
            sent: 0,
            echoes: 0,
            received: VecDeque::new(),
            next_xid: 1,
        };
        // Only 1.5: the pipeline needs its groups and bundles. It cannot be too long.
        let bitmap = Some(1 << Connection::VERSION.wire());
        let highest = Connection::VERSION.wire();
        let _ = connection.send(&Message::Hello(Hello { highest, bitmap }));
        connection
    }

    /// Whether both have said that they speak 1.5.
    pub fn is_agreed(&self) -> bool {
        self.agreed
    }

    /// Queues a message, and says its number.
    ///
    /// # Errors
    /// The message cannot be written in 1.5.
    pub fn send(&mut self, message: &Message) -> Result<u32, SessionError> {
        let xid = self.next_xid;
        let header = Header {
            version: Connection::VERSION,
            xid,
        };
        message.emit_into(&mut self.out, header)?;
        // 0 is what a switch says unasked.
        self.next_xid = xid.checked_add(1).unwrap_or(1);
        Ok(xid)
    }

    /// What is to be sent.
    pub fn outgoing(&self) -> &[u8] {
        self.out.get(self.sent..).unwrap_or_default()
    }

    /// That so many bytes of it were sent.
    pub fn sent(&mut self, count: usize) {
        self.sent = self.sent.saturating_add(count).min(self.out.len());
        // A long bundle leaves in many pieces: what is left moves no more often than it halves.
        if self.sent >= self.out.len() / 2 {
            self.out.drain(..self.sent);
            self.sent = 0;
        }
        self.echoes = self.echoes.min(self.out.len() - self.sent);
    }

    /// The next message that came, with its number.
    pub fn next_message(&mut self) -> Option<(u32, Message)> {
        self.received.pop_front()
    }

    /// Takes bytes from the switch.
    ///
    /// # Errors
    /// Nonsense, another version, or more messages than [`EVENTS_MAX`].
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        self.deframer.push(bytes);
        while let Some(whole) = self.deframer.next_message()? {
            let (header, message) = Message::parse(whole)?;
            self.take(header, message)?;
        }
        Ok(())
    }

    fn take(&mut self, header: Header, message: Message) -> Result<(), SessionError> {
        // Those two may come in any version; all else would be read by another layout.
        let any = matches!(message, Message::Hello(_) | Message::Error(_));
        if self.agreed && !any && header.version != Connection::VERSION {
            return Err(SessionError::OtherVersion(header.version.wire()));
        }
        match message {
            Message::Hello(hello) if !self.agreed => {
                if hello.negotiate() != Some(Connection::VERSION) {
                    return Err(SessionError::Version(hello.highest));
                }
                self.agreed = true;
                self.deframer.set_length_max(usize::from(u16::MAX));
                Ok(())
            }
            Message::Error(error) if !self.agreed => Err(SessionError::Peer(error.to_string())),
            _ if !self.agreed => Err(SessionError::NoHello),
            Message::EchoRequest(bytes) => {
                let before = self.out.len();
                Message::EchoReply(bytes).emit_into(&mut self.out, header)?;
                self.echoes += self.out.len() - before;
                if self.echoes > ECHOES_MAX {
                    return Err(SessionError::Flood);
                }
                Ok(())
            }
            message if self.received.len() < EVENTS_MAX => {
                self.received.push_back((header.xid, message));
                Ok(())
            }
            _ => Err(SessionError::Flood),
        }
    }
}

impl From<ParseError> for SessionError {
    fn from(error: ParseError) -> SessionError {
        SessionError::Nonsense(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed() -> Connection {
        let mut connection = Connection::new();
        connection.receive(&[6, 0, 0, 8, 0, 0, 0, 1]).unwrap();
        connection
    }

    #[test]
    fn echoes_are_answered_with_their_bytes_and_number() {
        let mut connection = agreed();
        connection.sent(usize::MAX);
        connection.receive(&[6, 2, 0, 9, 0, 0, 0, 7, 0xaa]).unwrap();
        assert_eq!(connection.outgoing(), [6, 3, 0, 9, 0, 0, 0, 7, 0xaa]);
        assert_eq!(connection.next_message(), None);
    }

    #[test]
    fn bad_beginnings_have_names() {
        let refused = |bytes: &[u8]| Connection::new().receive(bytes).unwrap_err().to_string();
        let old = refused(&[4, 0, 0, 8, 0, 0, 0, 1]);
        assert!(old.contains("0x04"), "{old}");
        let early = refused(&[6, 20, 0, 8, 0, 0, 0, 1]);
        assert!(early.contains("HELLO"), "{early}");
        let long = refused(&[6, 0, 2, 0, 0, 0, 0, 1]);
        assert!(long.contains("length"), "{long}");
    }

    #[test]
    fn what_is_to_be_sent_leaves_in_order_whatever_the_socket_takes() {
        for piece in [1, 7, 100, 1_000_000] {
            let mut connection = agreed();
            let (mut queued, mut left) = (connection.outgoing().to_vec(), Vec::new());
            for _ in 0..50 {
                let before = connection.outgoing().len();
                connection.send(&Message::BarrierRequest).unwrap();
                queued.extend_from_slice(&connection.outgoing()[before..]);
                let taken = piece.min(connection.outgoing().len());
                left.extend_from_slice(&connection.outgoing()[..taken]);
                connection.sent(taken);
            }
            left.extend_from_slice(connection.outgoing());
            assert_eq!(left, queued, "in pieces of {piece}");
        }
    }

    #[test]
    fn a_message_of_a_version_that_was_not_agreed_on_ends_it() {
        let other = agreed().receive(&[4, 21, 0, 8, 0, 0, 0, 9]).unwrap_err();
        assert!(matches!(other, SessionError::OtherVersion(4)), "{other}");
        let unknown = agreed().receive(&[5, 21, 0, 8, 0, 0, 0, 9]).unwrap_err();
        assert!(unknown.to_string().contains("0x05"), "{unknown}");
    }

    #[test]
    fn a_flood_ends_it() {
        let mut connection = agreed();
        let barrier = [6, 21, 0, 8, 0, 0, 0, 9];
        for _ in 0..EVENTS_MAX {
            connection.receive(&barrier).unwrap();
        }
        let error = connection.receive(&barrier).unwrap_err();
        assert!(matches!(error, SessionError::Flood));
    }

    #[test]
    fn who_asks_for_echoes_and_does_not_read_them_is_cut_off() {
        let mut connection = agreed();
        let echo = [&[6, 2, 0xff, 0xff, 0, 0, 0, 7][..], &[0; 65_527]].concat();
        let cut = (0..100).find(|_| connection.receive(&echo).is_err());
        assert!(cut.is_some_and(|count| count < 20), "{cut:?}");
        assert!(connection.outgoing().len() < 2 * ECHOES_MAX);
    }
}
