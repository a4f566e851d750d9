//! What can be wrong with bytes, and with values that are to become bytes.

use std::fmt;

/// Why bytes are not the message that they claim to be.
///
/// Threat: the peer may be anybody who reaches the controller's port, so every parser returns this
/// and none panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseError {
    /// What was being read, in the specification's words.
    pub what: &'static str,
    /// The offset of its first byte in the message.
    pub offset: usize,
    /// What is wrong with it.
    pub cause: ParseCause,
}

/// What is wrong with the bytes at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseCause {
    /// Fewer bytes than the field needs.
    Truncated,
    /// A length that contradicts its surroundings or the field's alignment.
    Length(usize),
    /// A number that names nothing here.
    Value(u64),
    /// A version other than 1.3 and 1.5.
    Version(u8),
    /// The same field, instruction or property twice.
    Repeated,
    /// More elements, or deeper nesting, than any real message has.
    TooMany,
    /// A value with bits outside of its mask or wider than its field.
    Bits,
    /// A field that another field must precede.
    Prerequisite,
    /// Text that is not UTF-8.
    Text,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: ", self.what, self.offset)?;
        match self.cause {
            ParseCause::Truncated => f.write_str("the message ends too early"),
            ParseCause::Length(length) => write!(f, "a length of {length} cannot be"),
            ParseCause::Value(value) => write!(f, "{value:#x} is not known here"),
            ParseCause::Version(version) => {
                write!(
                    f,
                    "version {version:#04x} is neither 0x04 (1.3) nor 0x06 (1.5)"
                )
            }
            ParseCause::Repeated => f.write_str("it is there twice"),
            ParseCause::TooMany => f.write_str("there are too many"),
            ParseCause::Bits => f.write_str("bits are set where none can be"),
            ParseCause::Prerequisite => f.write_str("what it depends on does not precede it"),
            ParseCause::Text => f.write_str("it is not UTF-8"),
        }
    }
}

impl std::error::Error for ParseError {}

/// Why a value has no form in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EmitError {
    /// The part named would pass the 65535 bytes that a message or action can have: split it.
    TooLong(&'static str),
    /// The version spoken has no such thing.
    NotInVersion(&'static str),
    /// The match has the field named but not what the field depends on.
    Prerequisite(&'static str),
    /// The action or field named may not stand where it stands.
    NotAllowed(&'static str),
    /// A value is wider than the field named.
    Bits(&'static str),
}

impl fmt::Display for EmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EmitError::TooLong(what) => write!(f, "{what}: longer than a message can be, split it"),
            EmitError::NotInVersion(what) => write!(f, "{what}: not in this version of OpenFlow"),
            EmitError::Prerequisite(what) => {
                write!(
                    f,
                    "{what}: the match lacks what this field depends on (such as eth_type)"
                )
            }
            EmitError::NotAllowed(what) => write!(f, "{what}: not allowed at this place"),
            EmitError::Bits(what) => write!(f, "{what}: the value is wider than the field"),
        }
    }
}

impl std::error::Error for EmitError {}
