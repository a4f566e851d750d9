//! What a frame means.
//!
//! ```text
//!  0       4      5         9
//! +--------+------+---------+------------------+
//! | length | kind | channel | body             |   integers are little-endian;
//! +--------+------+---------+------------------+   `length` is that of the body
//! ```

use std::fmt;

/// One message. `channel` is a command's number, chosen by the host and never used twice in a
/// session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Host: here I am. Ends whatever session the port had.
    Hello {
        /// What tells this session from an earlier one.
        nonce: u64,
        /// The host's [`super::VERSION`].
        version: u32,
    },
    /// Agent: the answer to [`Message::Hello`].
    Welcome {
        /// The nonce of the host's message.
        nonce: u64,
        /// The agent's [`super::VERSION`].
        version: u32,
    },
    /// Host: run a command with `sh -c`.
    Start {
        /// The new command's number.
        channel: u32,
        /// Its process group is killed after this many milliseconds; 0 is never.
        limit_ms: u64,
        /// Added to the agent's environment.
        environment: Vec<(String, String)>,
        /// The shell's text.
        command: String,
    },
    /// Host: more of the command's standard input.
    Input {
        /// Whose.
        channel: u32,
        /// At most [`super::CHUNK`] bytes.
        bytes: Vec<u8>,
    },
    /// Host: the end of the command's standard input.
    InputEnd {
        /// Whose.
        channel: u32,
    },
    /// Host: kill the command's process group.
    Kill {
        /// Whose.
        channel: u32,
    },
    /// Either: `bytes` of what you sent on this channel are used.
    Credit {
        /// Whose.
        channel: u32,
        /// How many.
        bytes: u32,
    },
    /// Agent: the command wrote something.
    Output {
        /// Which.
        channel: u32,
        /// Where to.
        stream: Stream,
        /// At most [`super::CHUNK`] bytes.
        bytes: Vec<u8>,
    },
    /// Agent: the command has ended, and everything it wrote was sent before.
    End {
        /// Which.
        channel: u32,
        /// How.
        status: Status,
    },
}

/// One of a command's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It called `exit` with this code.
    Exited(i32),
    /// A signal ended it.
    Signalled(i32),
    /// It was killed because its time was up.
    TimedOut,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit code {code}"),
            Self::Signalled(signal) => write!(f, "signal {signal}"),
            Self::TimedOut => write!(f, "killed: its time was up"),
        }
    }
}

/// A frame that is no message: the rest of a connection that broke.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

mod kind {
    pub(super) const HELLO: u8 = 1;
    pub(super) const WELCOME: u8 = 2;
    pub(super) const START: u8 = 3;
    pub(super) const INPUT: u8 = 4;
    pub(super) const INPUT_END: u8 = 5;
    pub(super) const KILL: u8 = 6;
    pub(super) const CREDIT: u8 = 7;
    pub(super) const STDOUT: u8 = 8;
    pub(super) const STDERR: u8 = 9;
    pub(super) const EXITED: u8 = 10;
    pub(super) const SIGNALLED: u8 = 11;
    pub(super) const TIMED_OUT: u8 = 12;
}

const HEADER: usize = 9;

impl Message {
    /// The message's bytes, as the payload of a frame.
    pub fn emit(&self) -> Vec<u8> {
        let (kind, channel) = self.head();
        let mut out = vec![0; HEADER];
        out[4] = kind;
        out[5..HEADER].copy_from_slice(&channel.to_le_bytes());
        self.emit_body(&mut out);
        let length = (out.len() - HEADER) as u32;
        out[..4].copy_from_slice(&length.to_le_bytes());
        out
    }

    fn head(&self) -> (u8, u32) {
        match self {
            Self::Hello { .. } => (kind::HELLO, 0),
            Self::Welcome { .. } => (kind::WELCOME, 0),
            Self::Start { channel, .. } => (kind::START, *channel),
            Self::Input { channel, .. } => (kind::INPUT, *channel),
            Self::InputEnd { channel } => (kind::INPUT_END, *channel),
            Self::Kill { channel } => (kind::KILL, *channel),
            Self::Credit { channel, .. } => (kind::CREDIT, *channel),
            Self::Output {
                channel,
                stream: Stream::Stdout,
                ..
            } => (kind::STDOUT, *channel),
            Self::Output {
                channel,
                stream: Stream::Stderr,
                ..
            } => (kind::STDERR, *channel),
            Self::End { channel, status } => match status {
                Status::Exited(_) => (kind::EXITED, *channel),
                Status::Signalled(_) => (kind::SIGNALLED, *channel),
                Status::TimedOut => (kind::TIMED_OUT, *channel),
            },
        }
    }

    fn emit_body(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello { nonce, version } | Self::Welcome { nonce, version } => {
                out.extend(nonce.to_le_bytes());
                out.extend(version.to_le_bytes());
            }
            Self::Start {
                limit_ms,
                environment,
                command,
                ..
            } => {
                out.extend(limit_ms.to_le_bytes());
                out.extend((environment.len() as u32).to_le_bytes());
                for (name, value) in environment {
                    emit_text(name, out);
                    emit_text(value, out);
                }
                emit_text(command, out);
            }
            Self::Input { bytes, .. } | Self::Output { bytes, .. } => out.extend(bytes),
            Self::Credit { bytes, .. } => out.extend(bytes.to_le_bytes()),
            Self::End {
                status: Status::Exited(n) | Status::Signalled(n),
                ..
            } => {
                out.extend(n.to_le_bytes());
            }
            Self::End {
                status: Status::TimedOut,
                ..
            }
            | Self::InputEnd { .. }
            | Self::Kill { .. } => {}
        }
    }

    /// The message that a frame's payload is.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let mut body = Body(payload);
        let length = body.u32()?;
        let [kind] = body.array()?;
        let channel = body.u32()?;
        if body.0.len() != length as usize {
            return Err(Malformed);
        }
        let message = match kind {
            kind::HELLO => Self::Hello {
                nonce: body.u64()?,
                version: body.u32()?,
            },
            kind::WELCOME => Self::Welcome {
                nonce: body.u64()?,
                version: body.u32()?,
            },
            kind::START => body.start(channel)?,
            kind::INPUT => Self::Input {
                channel,
                bytes: body.rest(),
            },
            kind::INPUT_END => Self::InputEnd { channel },
            kind::KILL => Self::Kill { channel },
            kind::CREDIT => Self::Credit {
                channel,
                bytes: body.u32()?,
            },
            kind::STDOUT => Self::Output {
                channel,
                stream: Stream::Stdout,
                bytes: body.rest(),
            },
            kind::STDERR => Self::Output {
                channel,
                stream: Stream::Stderr,
                bytes: body.rest(),
            },
            kind::EXITED => Self::End {
                channel,
                status: Status::Exited(body.i32()?),
            },
            kind::SIGNALLED => Self::End {
                channel,
                status: Status::Signalled(body.i32()?),
            },
            kind::TIMED_OUT => Self::End {
                channel,
                status: Status::TimedOut,
            },
            _ => return Err(Malformed),
        };
        if body.0.is_empty() {
            Ok(message)
        } else {
            Err(Malformed)
        }
    }
}

fn emit_text(text: &str, out: &mut Vec<u8>) {
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
}

/// What is left to parse.
struct Body<'a>(&'a [u8]);

impl Body<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*head)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let length = self.u32()? as usize;
        let (head, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        String::from_utf8(head.to_vec()).map_err(|_| Malformed)
    }

    fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0).to_vec()
    }

    fn start(&mut self, channel: u32) -> Result<Message, Malformed> {
        let limit_ms = self.u64()?;
        let mut environment = Vec::new();
        for _ in 0..self.u32()? {
            environment.push((self.text()?, self.text()?));
        }
        Ok(Message::Start {
            channel,
            limit_ms,
            environment,
            command: self.text()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Message> {
        let channel = 0x0102_0304;
        vec![
            Message::Hello {
                nonce: u64::MAX - 1,
                version: 7,
            },
            Message::Welcome {
                nonce: 5,
                version: 1,
            },
            Message::Start {
                channel,
                limit_ms: 60_000,
                environment: vec![("LANG".into(), "C".into()), ("EMPTY".into(), String::new())],
                command: "echo 'ü' | wc -c".into(),
            },
            Message::Input {
                channel,
                bytes: vec![0, 1, 2, 0],
            },
            Message::InputEnd { channel },
            Message::Kill { channel },
            Message::Credit {
                channel,
                bytes: 4096,
            },
            Message::Output {
                channel,
                stream: Stream::Stdout,
                bytes: b"out".to_vec(),
            },
            Message::Output {
                channel,
                stream: Stream::Stderr,
                bytes: Vec::new(),
            },
            Message::End {
                channel,
                status: Status::Exited(-1),
            },
            Message::End {
                channel,
                status: Status::Signalled(9),
            },
            Message::End {
                channel,
                status: Status::TimedOut,
            },
        ]
    }

    #[test]
    fn parse_undoes_emit() {
        for message in samples() {
            assert_eq!(Message::parse(&message.emit()), Ok(message));
        }
    }

    /// What a broken connection leaves must never look like a shorter message.
    #[test]
    fn a_message_cut_or_continued_is_none() {
        for message in samples() {
            let bytes = message.emit();
            for cut in 0..bytes.len() {
                assert_eq!(
                    Message::parse(&bytes[..cut]),
                    Err(Malformed),
                    "{message:?} cut at {cut}"
                );
            }
            assert_eq!(Message::parse(&[&bytes[..], &[0]].concat()), Err(Malformed));
        }
    }

    #[test]
    fn absurd_counts_are_refused() {
        let mut bytes = Message::Start {
            channel: 1,
            limit_ms: 0,
            environment: Vec::new(),
            command: String::new(),
        }
        .emit();
        bytes[HEADER + 8..HEADER + 12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Message::parse(&bytes), Err(Malformed));
    }
}
