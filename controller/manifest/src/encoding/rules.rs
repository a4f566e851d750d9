//! How manifests and their rules are written in CBOR: this file is the format. A number, once given
//! to a field, is never given to another.

use super::{
    DecodeError, Encoding, Fields, Value, array, boolean, integer, list, map, parsed, text, wrong,
};
use crate::document::{Bill, Limit, Manifest, ManifestParts};
use crate::key::PublicKey;
use crate::name::Name;
use crate::ports::{Ports, Services};
use crate::rate::Rate;
use crate::rule::{
    Admit, Call, Condition, Intercept, OnFail, Peer, Protocol, Rule, Serve, Source, Speak,
};
use crate::time::Timestamp;
use crate::token::Digest;

/// Longest manifest in bytes: [`crate::document::RULES_MAX`] rules with names and paths of usual length.
pub(crate) const MANIFEST_BYTES_MAX: usize = 256 * 1024;

impl Manifest {
    /// The bytes that are hashed and signed.
    pub fn to_bytes(&self) -> Vec<u8> {
        super::to_bytes(self)
    }

    /// The manifest with these bytes.
    ///
    /// # Errors
    /// Anything but a manifest's one deterministic encoding.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        super::from_bytes(bytes, MANIFEST_BYTES_MAX)
    }

    /// What tokens and offers know it by.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_bytes())
    }
}

impl Encoding for Manifest {
    fn to_value(&self) -> Value {
        map([
            (1, Some(text(self.name()))),
            (2, Some(self.publisher().to_value())),
            (3, Some(self.expires().to_value())),
            (4, Some(self.on_fail().to_value())),
            (5, Some(list(self.rules()))),
            (6, Some(self.limit().to_value())),
            (7, Some(self.bill().to_value())),
        ])
    }

    fn from_value(value: Value) -> Result<Self, DecodeError> {
        let mut fields = Fields::of("manifest", value)?;
        let parts = ManifestParts {
            name: fields.parsed(1, "name")?,
            publisher: fields.decoded(2, "publisher")?,
            expires: fields.decoded(3, "expires")?,
            on_fail: fields.decoded(4, "on-fail")?,
            rules: fields.items(5, "rules")?,
            limit: fields.decoded(6, "limit")?,
            bill: fields.decoded(7, "bill")?,
        };
        fields.end()?;
        Self::new(parts).map_err(|error| DecodeError::Inconsistent(error.to_string()))
    }
}

impl Encoding for PublicKey {
    fn to_value(&self) -> Value {
        Value::Bytes(self.as_bytes().to_vec())
    }

    fn from_value(value: Value) -> Result<Self, DecodeError> {
        let bytes = super::bytes(value, "key")?;
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| wrong("key", "not 32 bytes"))?;
        Self::from_bytes(&bytes).map_err(|error| wrong("key", error))
    }
}

impl Encoding for Digest {
    fn to_value(&self) -> Value {
        Value::Bytes(self.0.to_vec())
    }

    fn from_value(value: Value) -> Result<Self, DecodeError> {
        let bytes = super::bytes(value, "digest")?;
        let bytes: [u8; 32] = bytes
            .try_into()
            .map_err(|_| wrong("digest", "not 32 bytes"))?;
        Ok(Self(bytes))
    }
}

impl Encoding for Name {
    fn to_value(&self) -> Value {
        text(self)
    }

    fn from_value(value: Value) -> Result<Self, DecodeError> {
        parsed(value, "name")
    }
}

impl Encoding for Timestamp {
    fn to_value(&self) -> Value {
        Value::from(self.seconds())
    }

    fn from_value(value: Value) -> Result<Self, DecodeError> {
        let seconds = integer(value, "time")?;
        Self::from_seconds(seconds).ok_or_else(|| wrong("time", "after the year 9999"))
    }
}

impl Encoding for OnFail {
    fn to_value(&self) -> Value {
        Value::Text(self.as_str().to_owned())
    }

    fn from_value(value: Value) -> Result<Self, DecodeError> {
        parsed(value, "on-fail")
    }
}

impl Encoding for Limit {
    fn to_value(&self) -> Value {
        map([(1, self.rate.map(|rate| Value::from(rate.kbit())))])
    }

    fn from_value(value: Value) -> Result<Self, DecodeError> {
        let mut fields = Fields::of("limit", value)?;
        let rate = match fields.take(1) {
            None => None,
            Some(kbit) => {
                let rate = Rate::from_kbit(integer(kbit, "rate")?);
                Some(rate.ok_or_else(|| wrong("rate", "out of range"))?)
            }
        };
        fields.end()?;
        Ok(Self { rate })
    }
}

impl Encoding for Bill {
    fn to_value(&self) -> Value {
        map([
            (1, Some(text(&self.account))),
            (2, Some(Value::Bool(self.free_to_client))),
        ])
    }

    fn from_value(value: Value) -> Result<Self, DecodeError> {
        let mut fields = Fields::of("bill", value)?;
        let bill = Self {
            account: fields.parsed(1, "account")?,
            free_to_client: boolean(fields.need(2, "free-to-client")?, "free-to-client")?,
        };
        fields.end()?;
        Ok(bill)
    }
}

/// A rule is a list of its kind and its fields.
impl Encoding for Rule {
    fn to_value(&self) -> Value {
        let (kind, fields) = match self {
            Self::Speak(rule) => (1, rule.to_value()),
            Self::Intercept(rule) => (2, rule.to_value()),
            Self::Call(rule) => (3, rule.to_value()),
            Self::Serve(rule) => (4, rule.to_value()),
            Self::Admit(rule) => (5, rule.to_value()),
        };
        Value::Array(vec![Value::from(kind), fields])
    }

    fn from_value(value: Value) -> Result<Self, DecodeError> {
        let parts = array(value, "rule")?;
        let [kind, fields]: [Value; 2] = parts
            .try_into()
            .map_err(|_| wrong("rule", "not a kind and its fields"))?;
        match integer::<u8>(kind, "rule")? {
            1 => Speak::from_value(fields).map(Self::Speak),
            2 => Intercept::from_value(fields).map(Self::Intercept),
            3 => Call::from_value(fields).map(Self::Call),
            4 => Serve::from_value(fields).map(Self::Serve),
            5 => Admit::from_value(fields).map(Self::Admit),
            _ => Err(wrong("rule", "of an unknown kind")),
        }
    }
}

impl Encoding for Speak {
    fn to_value(&self) -> Value {
        let words = self.protocols().map(|protocol| text(&protocol.as_str()));
        map([(1, Some(Value::Array(words.collect())))])
    }

    fn from_value(value: Value) -> Result<Self, DecodeError> {
        let mut fields = Fields::of("speak", value)?;
        let words = array(fields.need(1, "protocols")?, "protocols")?;
        fields.end()?;
        let protocols: Result<Vec<Protocol>, _> = words
            .into_iter()
            .map(|word| parsed(word, "protocols"))
            .collect();
        Self::new(protocols?).ok_or_else(|| wrong("protocols", "empty"))
    }
}

impl Encoding for Intercept {
    fn to_value(&self) -> Value {
        map([
            (1, Some(text(&self.from()))),
            (2, Some(self.to().to_value())),
            (3, Some(self.services().to_value())),
            (4, self.condition().map(Encoding::to_value)),
            (5, self.on_fail().map(|on_fail| on_fail.to_value())),
        ])
    }

    fn from_value(value: Value) -> Result<Self, DecodeError> {
        let mut fields = Fields::of("intercept", value)?;
        let from: Source = fields.parsed(1, "from")?;
        let to = fields.decoded(2, "to")?;
        let services = fields.decoded(3, "ports")?;
        let condition = fields.take(4).map(Condition::from_value).transpose()?;
        let on_fail = fields.take(5).map(OnFail::from_value).transpose()?;
        fields.end()?;
        Self::new(from, to, services, condition, on_fail)
            .ok_or_else(|| wrong("where", "needs a TCP port"))
    }
}

impl Encoding for Call {
    fn to_value(&self) -> Value {
        map([
            (1, Some(self.to.to_value())),
            (2, Some(self.services.to_value())),
        ])
    }

    fn from_value(value: Value) -> Result<Self, DecodeError> {
        let mut fields = Fields::of("call", value)?;
        let call = Self {
            to: fields.decoded(1, "to")?,
            services: fields.decoded(2, "ports")?,
        };
        fields.end()?;
        Ok(call)
    }
}

impl Encoding for Serve {
    fn to_value(&self) -> Value {
        map([
            (1, Some(text(&self.name))),
            (2, Some(self.services.to_value())),
            (3, Some(text(&self.from))),
        ])
    }

    fn from_value(value: Value) -> Result<Self, DecodeError> {
        let mut fields = Fields::of("serve", value)?;
        let serve = Self {
            name: fields.parsed(1, "as")?,
            services: fields.decoded(2, "ports")?,
            from: fields.parsed(3, "from")?,
        };
        fields.end()?;
        Ok(serve)
    }
}

impl Encoding for Admit {
    fn to_value(&self) -> Value {
        map([
            (1, Some(text(&self.from))),
            (2, self.to.as_ref().map(|(to, _)| to.to_value())),
            (3, self.to.as_ref().map(|(_, ports)| ports.to_value())),
        ])
    }

    fn from_value(value: Value) -> Result<Self, DecodeError> {
        let mut fields = Fields::of("admit", value)?;
        let from = fields.parsed(1, "from")?;
        let to = fields.take(2).map(Peer::from_value).transpose()?;
        let services = fields.take(3).map(Services::from_value).transpose()?;
        fields.end()?;
        let to = match (to, services) {
            (None, None) => None,
            (Some(to), Some(services)) => Some((to, services)),
            _ => return Err(wrong("to", "needs ports, and ports need it")),
        };
        Ok(Self { from, to })
    }
}

impl Encoding for Peer {
    fn to_value(&self) -> Value {
        match self {
            Self::Name(pattern) => map([(1, Some(text(pattern)))]),
            Self::Net(range) => map([(2, Some(text(range)))]),
        }
    }

    fn from_value(value: Value) -> Result<Self, DecodeError> {
        let mut fields = Fields::of("to", value)?;
        let peer = match fields.take(1) {
            Some(name) => Self::Name(parsed(name, "name")?),
            None => Self::Net(fields.parsed(2, "net")?),
        };
        fields.end()?;
        Ok(peer)
    }
}

impl Encoding for Services {
    fn to_value(&self) -> Value {
        let present = |ports: &Ports| (!ports.is_empty()).then(|| ports.to_value());
        map([(1, present(self.tcp())), (2, present(self.udp()))])
    }

    fn from_value(value: Value) -> Result<Self, DecodeError> {
        let mut fields = Fields::of("ports", value)?;
        let mut ports = |key| match fields.take(key) {
            Some(ports) => Ports::from_value(ports),
            None => Ok(Ports::default()),
        };
        let services = Self::new(ports(1)?, ports(2)?);
        fields.end()?;
        services.ok_or_else(|| wrong("ports", "empty"))
    }
}

/// Ports are a list of numbers, two for each range: its first and its last.
impl Encoding for Ports {
    fn to_value(&self) -> Value {
        let ends = self
            .ranges()
            .iter()
            .flat_map(|&(first, last)| [first, last]);
        Value::Array(ends.map(Value::from).collect())
    }

    fn from_value(value: Value) -> Result<Self, DecodeError> {
        let ends: Result<Vec<u16>, _> = array(value, "ports")?
            .into_iter()
            .map(|end| integer(end, "ports"))
            .collect();
        let ends = ends?;
        let (pairs, rest) = ends.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(wrong("ports", "a range without an end"));
        }
        let ranges = pairs.iter().map(|&[first, last]| (first, last));
        Self::new(ranges).map_err(|error| wrong("ports", error))
    }
}

impl Encoding for Condition {
    fn to_value(&self) -> Value {
        map([(1, self.host().map(text)), (2, self.path().map(text))])
    }

    fn from_value(value: Value) -> Result<Self, DecodeError> {
        let mut fields = Fields::of("where", value)?;
        let host = fields
            .take(1)
            .map(|host| parsed(host, "host"))
            .transpose()?;
        let path = fields
            .take(2)
            .map(|path| parsed(path, "path"))
            .transpose()?;
        fields.end()?;
        Self::new(host, path).ok_or_else(|| wrong("where", "empty"))
    }
}
