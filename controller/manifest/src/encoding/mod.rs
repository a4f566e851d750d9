//! Deterministic CBOR (RFC 8949, 4.2.1): the form that is hashed and signed.
//!
//! A document is a map from small integers to values, written in ascending order, without floats,
//! tags or indefinite lengths. What is read is written again and compared to the byte, so each
//! document has exactly one encoding: no two hashes for one meaning, and none of the freedoms of
//! CBOR (unsorted keys, long integers, names in capitals) comes through.

pub(crate) mod rules;

use std::fmt::Display;
use std::str::FromStr;

pub use ciborium::Value;

/// Why bytes are not a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// More bytes than such a document may have.
    #[error("{length} bytes, where {max} are the limit")]
    TooLarge {
        /// How many came.
        length: usize,
        /// How many may come.
        max: usize,
    },
    /// Not CBOR.
    #[error("not CBOR")]
    Malformed,
    /// CBOR that is not written in the one deterministic way.
    #[error("not in the deterministic form that is signed: encode it with this library")]
    NotDeterministic,
    /// A field that must be there is not.
    #[error("field {0:?} is missing")]
    Missing(&'static str),
    /// A field that nobody knows.
    #[error("there is an unknown field in {0}")]
    Unknown(&'static str),
    /// A field has a value that it cannot have.
    #[error("field {field:?}: {problem}")]
    Field {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Fields that are each right, but do not fit together.
    #[error("{0}")]
    Inconsistent(String),
}

/// What has one deterministic encoding.
pub trait Encoding: Sized {
    /// Its CBOR, with the keys of each map in ascending order.
    fn to_value(&self) -> Value;

    /// The meaning of CBOR, which need not be deterministic: [`from_bytes`] checks that.
    ///
    /// # Errors
    /// What the fields are not.
    fn from_value(value: Value) -> Result<Self, DecodeError>;
}

/// The bytes that are hashed and signed.
pub fn to_bytes<T: Encoding>(document: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(&document.to_value(), &mut bytes).expect("memory takes all bytes");
    bytes
}

/// Reads exactly what [`to_bytes`] writes.
///
/// # Errors
/// Any other bytes, or more than `max`.
pub fn from_bytes<T: Encoding>(bytes: &[u8], max: usize) -> Result<T, DecodeError> {
    let length = bytes.len();
    if length > max {
        return Err(DecodeError::TooLarge { length, max });
    }
    let value: Value = ciborium::from_reader(bytes).map_err(|_| DecodeError::Malformed)?;
    let document = T::from_value(value)?;
    if to_bytes(&document) != bytes {
        return Err(DecodeError::NotDeterministic);
    }
    Ok(document)
}

/// A map by its fields; those without a value are left out.
pub(crate) fn map<const N: usize>(fields: [(i64, Option<Value>); N]) -> Value {
    let present = fields
        .into_iter()
        .filter_map(|(key, value)| Some((Value::from(key), value?)));
    Value::Map(present.collect())
}

/// A list of what has an encoding.
pub(crate) fn list<'a, T: Encoding + 'a>(items: impl IntoIterator<Item = &'a T>) -> Value {
    Value::Array(items.into_iter().map(Encoding::to_value).collect())
}

/// What is written as its text.
pub(crate) fn text(value: &impl Display) -> Value {
    Value::Text(value.to_string())
}

/// The fields of a map while it is read: each is taken once, and none may remain.
pub(crate) struct Fields {
    of: &'static str,
    entries: Vec<(Value, Value)>,
}

impl Fields {
    pub(crate) fn of(of: &'static str, value: Value) -> Result<Self, DecodeError> {
        match value {
            Value::Map(entries) => Ok(Self { of, entries }),
            _ => Err(wrong(of, "not a map")),
        }
    }

    /// The value of a field, if it is there.
    pub(crate) fn take(&mut self, key: i64) -> Option<Value> {
        let key = Value::from(key);
        let at = self.entries.iter().position(|(found, _)| *found == key)?;
        Some(self.entries.swap_remove(at).1)
    }

    pub(crate) fn need(&mut self, key: i64, field: &'static str) -> Result<Value, DecodeError> {
        self.take(key).ok_or(DecodeError::Missing(field))
    }

    pub(crate) fn parsed<T: FromStr<Err: Display>>(
        &mut self,
        key: i64,
        field: &'static str,
    ) -> Result<T, DecodeError> {
        parsed(self.need(key, field)?, field)
    }

    pub(crate) fn integer<T: TryFrom<i128>>(
        &mut self,
        key: i64,
        field: &'static str,
    ) -> Result<T, DecodeError> {
        integer(self.need(key, field)?, field)
    }

    pub(crate) fn bytes(&mut self, key: i64, field: &'static str) -> Result<Vec<u8>, DecodeError> {
        bytes(self.need(key, field)?, field)
    }

    pub(crate) fn decoded<T: Encoding>(
        &mut self,
        key: i64,
        field: &'static str,
    ) -> Result<T, DecodeError> {
        T::from_value(self.need(key, field)?)
    }

    pub(crate) fn items<T: Encoding>(
        &mut self,
        key: i64,
        field: &'static str,
    ) -> Result<Vec<T>, DecodeError> {
        let items = array(self.need(key, field)?, field)?;
        items.into_iter().map(T::from_value).collect()
    }

    pub(crate) fn end(self) -> Result<(), DecodeError> {
        if self.entries.is_empty() {
            return Ok(());
        }
        Err(DecodeError::Unknown(self.of))
    }
}

pub(crate) fn wrong(field: &'static str, problem: impl Display) -> DecodeError {
    DecodeError::Field {
        field,
        problem: problem.to_string(),
    }
}

pub(crate) fn array(value: Value, field: &'static str) -> Result<Vec<Value>, DecodeError> {
    value.into_array().map_err(|_| wrong(field, "not a list"))
}

pub(crate) fn bytes(value: Value, field: &'static str) -> Result<Vec<u8>, DecodeError> {
    value.into_bytes().map_err(|_| wrong(field, "not bytes"))
}

pub(crate) fn parsed<T: FromStr<Err: Display>>(
    value: Value,
    field: &'static str,
) -> Result<T, DecodeError> {
    let text = value.into_text().map_err(|_| wrong(field, "not text"))?;
    text.parse().map_err(|error| wrong(field, error))
}

pub(crate) fn integer<T: TryFrom<i128>>(
    value: Value,
    field: &'static str,
) -> Result<T, DecodeError> {
    let number = value
        .into_integer()
        .map_err(|_| wrong(field, "not an integer"))?;
    T::try_from(i128::from(number)).map_err(|_| wrong(field, "out of range"))
}

pub(crate) fn boolean(value: Value, field: &'static str) -> Result<bool, DecodeError> {
    value
        .into_bool()
        .map_err(|_| wrong(field, "neither true nor false"))
}
