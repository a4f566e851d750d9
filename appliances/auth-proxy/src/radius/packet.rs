//! RADIUS packets (RFC 2865, section 3; RFC 2866; RFC 5176): bytes and their meaning, without I/O.
//!
//! *Threats.* MD5 is what the protocol has. Who can choose a prefix can forge an answer to a request
//! without Message-Authenticator (CVE-2024-3596), so each request has one, first, and answers to
//! Access-Requests must have one unless the operator's server has none.

use hmac::{Hmac, Mac as _};
use md5::{Digest as _, Md5};
use subtle::ConstantTimeEq as _;

/// Longest packet (RFC 2865, section 3).
pub const PACKET_BYTES_MAX: usize = 4096;
const HEADER: usize = 20;

/// What a packet is.
pub mod code {
    #![allow(missing_docs)]
    pub const ACCESS_REQUEST: u8 = 1;
    pub const ACCESS_ACCEPT: u8 = 2;
    pub const ACCESS_REJECT: u8 = 3;
    pub const ACCOUNTING_REQUEST: u8 = 4;
    pub const ACCOUNTING_RESPONSE: u8 = 5;
    pub const ACCESS_CHALLENGE: u8 = 11;
    pub const DISCONNECT_REQUEST: u8 = 40;
    pub const DISCONNECT_ACK: u8 = 41;
    pub const DISCONNECT_NAK: u8 = 42;
    pub const COA_REQUEST: u8 = 43;
    pub const COA_ACK: u8 = 44;
    pub const COA_NAK: u8 = 45;
}

/// Attributes by their numbers.
pub mod attribute {
    #![allow(missing_docs)]
    pub const USER_NAME: u8 = 1;
    pub const USER_PASSWORD: u8 = 2;
    pub const SERVICE_TYPE: u8 = 6;
    pub const FRAMED_IP_ADDRESS: u8 = 8;
    pub const CLASS: u8 = 25;
    pub const VENDOR_SPECIFIC: u8 = 26;
    pub const SESSION_TIMEOUT: u8 = 27;
    pub const NAS_IDENTIFIER: u8 = 32;
    pub const ACCT_STATUS_TYPE: u8 = 40;
    pub const ACCT_DELAY_TIME: u8 = 41;
    pub const ACCT_INPUT_OCTETS: u8 = 42;
    pub const ACCT_OUTPUT_OCTETS: u8 = 43;
    pub const ACCT_SESSION_ID: u8 = 44;
    pub const ACCT_SESSION_TIME: u8 = 46;
    pub const ACCT_TERMINATE_CAUSE: u8 = 49;
    pub const ACCT_INPUT_GIGAWORDS: u8 = 52;
    pub const ACCT_OUTPUT_GIGAWORDS: u8 = 53;
    pub const EVENT_TIMESTAMP: u8 = 55;
    pub const NAS_PORT_TYPE: u8 = 61;
    pub const MESSAGE_AUTHENTICATOR: u8 = 80;
    pub const ACCT_INTERIM_INTERVAL: u8 = 85;
    pub const FRAMED_IPV6_ADDRESS: u8 = 168;
    pub const ERROR_CAUSE: u8 = 101;
}

/// A packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// What it is: [`code`].
    pub code: u8,
    /// What an answer repeats.
    pub identifier: u8,
    /// The authenticator.
    pub authenticator: [u8; 16],
    /// Numbers and values, in order.
    pub attributes: Vec<(u8, Vec<u8>)>,
}

/// Why bytes are no packet, or not from who shares the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Bad {
    /// Lengths that do not fit.
    #[error("it is malformed")]
    Malformed,
    /// Another authenticator than the secret makes.
    #[error("its authenticator does not hold; is the secret the same?")]
    Authenticator,
    /// A Message-Authenticator that does not hold, stands twice, or is missing where it must be.
    #[error("its Message-Authenticator does not hold or is missing")]
    MessageAuthenticator,
}

/// What two ends share. It is in no message.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// Of its text.
    pub fn new(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }

    fn md5(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mut md5 = Md5::new();
        parts.iter().for_each(|part| md5.update(part));
        md5.update(&self.0);
        md5.finalize().into()
    }

    fn hmac(&self, bytes: &[u8]) -> [u8; 16] {
        // HMAC takes keys of any length.
        let keyed = Hmac::<Md5>::new_from_slice(&self.0);
        keyed.map_or([0; 16], |mut hmac| {
            hmac.update(bytes);
            hmac.finalize().into_bytes().into()
        })
    }

    /// A password as it travels (RFC 2865, section 5.2).
    pub fn hide(&self, password: &[u8], authenticator: &[u8; 16]) -> Vec<u8> {
        let blocks = password.len().div_ceil(16).max(1);
        let mut hidden = password.to_vec();
        hidden.resize(blocks * 16, 0);
        let mut before = *authenticator;
        for block in hidden.chunks_exact_mut(16) {
            let mut md5 = Md5::new();
            md5.update(&self.0);
            md5.update(before);
            let pad: [u8; 16] = md5.finalize().into();
            block
                .iter_mut()
                .zip(pad)
                .for_each(|(byte, pad)| *byte ^= pad);
            before.copy_from_slice(block);
        }
        hidden
    }
}

impl Packet {
    /// The packet of these bytes; what follows it is padding.
    ///
    /// # Errors
    /// Lengths that do not fit.
    pub fn parse(bytes: &[u8]) -> Result<Self, Bad> {
        let head = bytes.get(..HEADER).ok_or(Bad::Malformed)?;
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let fits = (HEADER..=PACKET_BYTES_MAX).contains(&length);
        let mut rest = bytes
            .get(HEADER..length)
            .filter(|_| fits)
            .ok_or(Bad::Malformed)?;
        let mut attributes = Vec::new();
        while let [number, length, ..] = *rest {
            let length = usize::from(length);
            let value = rest.get(2..length).ok_or(Bad::Malformed)?;
            attributes.push((number, value.to_vec()));
            rest = &rest[length..];
        }
        if !rest.is_empty() {
            return Err(Bad::Malformed);
        }
        let mut authenticator = [0; 16];
        authenticator.copy_from_slice(&head[4..]);
        Ok(Self {
            code: head[0],
            identifier: head[1],
            authenticator,
            attributes,
        })
    }

    /// The bytes, as they are: signatures come by [`Packet::request`] and [`Packet::answer`].
    pub fn emit(&self) -> Vec<u8> {
        let mut bytes = vec![self.code, self.identifier, 0, 0];
        bytes.extend(self.authenticator);
        for (number, value) in &self.attributes {
            // What is longer has no place in an attribute; ours are not.
            let value = &value[..value.len().min(253)];
            bytes.push(*number);
            bytes.push(u8::try_from(value.len() + 2).unwrap_or(u8::MAX));
            bytes.extend(value);
        }
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        bytes
    }

    /// The first value of an attribute.
    pub fn get(&self, number: u8) -> Option<&[u8]> {
        let found = self.attributes.iter().find(|(n, _)| *n == number);
        found.map(|(_, value)| value.as_slice())
    }

    /// The first value of an attribute that is a number.
    pub fn number(&self, attribute: u8) -> Option<u32> {
        let bytes = <[u8; 4]>::try_from(self.get(attribute)?).ok()?;
        Some(u32::from_be_bytes(bytes))
    }

    /// A number of a vendor's (RFC 2865, section 5.26).
    pub fn vendor_number(&self, vendor: u32, attribute: u8) -> Option<u32> {
        let specific = |(number, _): &&(u8, Vec<u8>)| *number == attribute::VENDOR_SPECIFIC;
        let mut values = self.attributes.iter().filter(specific);
        values.find_map(|(_, value)| {
            let inside = value.strip_prefix(vendor.to_be_bytes().as_slice())?;
            let number = inside.strip_prefix([attribute, 6].as_slice())?;
            Some(u32::from_be_bytes(
                <[u8; 4]>::try_from(number.get(..4)?).ok()?,
            ))
        })
    }

    /// Adds the Message-Authenticator before all others (RFC 3579, section 3.2), and, where the kind of
    /// packet has it, the authenticator that the secret makes; the bytes.
    pub fn request(mut self, secret: &Secret) -> Vec<u8> {
        let is_access = self.code == code::ACCESS_REQUEST;
        if !is_access {
            self.authenticator = [0; 16];
        }
        // Accounting has none (RFC 2866, section 5); FreeRADIUS takes one all the same, others may not.
        if self.code != code::ACCOUNTING_REQUEST {
            self.sign(secret);
        }
        if !is_access {
            self.authenticator = secret.md5(&[&self.emit()]);
        }
        self.emit()
    }

    fn sign(&mut self, secret: &Secret) {
        let number = attribute::MESSAGE_AUTHENTICATOR;
        self.attributes.insert(0, (number, vec![0; 16]));
        let signature = secret.hmac(&self.emit());
        self.attributes[0].1 = signature.to_vec();
    }

    /// The bytes of an answer to a request.
    pub fn answer(mut self, request: &Packet, secret: &Secret) -> Vec<u8> {
        self.identifier = request.identifier;
        self.authenticator = request.authenticator;
        self.sign(secret);
        self.authenticator = secret.md5(&[&self.emit()]);
        self.emit()
    }

    /// Whether this answers a request and comes from who shares the secret.
    ///
    /// # Errors
    /// It does not.
    pub fn check_answer(
        &self,
        request: &[u8; 16],
        secret: &Secret,
        must_sign: bool,
    ) -> Result<(), Bad> {
        let as_asked = Self {
            authenticator: *request,
            ..self.clone()
        };
        let made = secret.md5(&[&as_asked.emit()]);
        if !bool::from(made.ct_eq(&self.authenticator)) {
            return Err(Bad::Authenticator);
        }
        as_asked.check_signature(secret, must_sign)
    }

    /// Whether a request of RFC 5176 comes from who shares the secret.
    ///
    /// # Errors
    /// It does not.
    pub fn check_request(&self, secret: &Secret) -> Result<(), Bad> {
        let empty = Self {
            authenticator: [0; 16],
            ..self.clone()
        };
        let made = secret.md5(&[&empty.emit()]);
        if !bool::from(made.ct_eq(&self.authenticator)) {
            return Err(Bad::Authenticator);
        }
        empty.check_signature(secret, false)
    }

    fn check_signature(&self, secret: &Secret, must: bool) -> Result<(), Bad> {
        let number = attribute::MESSAGE_AUTHENTICATOR;
        let mut places = self.attributes.iter().enumerate();
        let mut places = places.by_ref().filter(|(_, (n, _))| *n == number);
        let (place, given) = match (places.next(), places.next()) {
            (None, _) if must => return Err(Bad::MessageAuthenticator),
            (None, _) => return Ok(()),
            (Some((place, (_, value))), None) => (place, value.clone()),
            _ => return Err(Bad::MessageAuthenticator),
        };
        let mut unsigned = self.clone();
        unsigned.attributes[place].1 = vec![0; 16];
        let made = secret.hmac(&unsigned.emit());
        match given.len() == 16 && bool::from(made.as_slice().ct_eq(&given)) {
            true => Ok(()),
            false => Err(Bad::MessageAuthenticator),
        }
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER_PERMISSIVE;

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: String = text.split_whitespace().collect();
        HEXLOWER_PERMISSIVE
            .decode(digits.as_bytes())
            .expect("digits")
    }

    /// RFC 2865, section 7.1.
    const REQUEST: &str = "01 00 00 38 0f 40 3f 94 73 97 80 57 bd 83 d5 cb 98 f4 22 7a 01 06 6e 65 6d 6f \
         02 12 0d be 70 8d 93 d4 13 ce 31 96 e4 3f 78 2a 0a ee 04 06 c0 a8 01 10 05 06 00 00 00 03";
    const ACCEPT: &str = "02 00 00 26 86 fe 22 0e 76 24 ba 2a 10 05 f6 bf 9b 55 e0 b2 06 06 00 00 00 01 \
         0f 06 00 00 00 00 0e 06 c0 a8 01 03";

    #[test]
    fn the_rfcs_example_is_read_and_made() {
        let secret = Secret::new("xyzzy5461");
        let request = Packet::parse(&hex(REQUEST)).expect("a request");
        assert_eq!(request.get(attribute::USER_NAME), Some(b"nemo".as_slice()));
        let hidden = secret.hide(b"arctangent", &request.authenticator);
        assert_eq!(
            request.get(attribute::USER_PASSWORD),
            Some(hidden.as_slice())
        );
        assert_eq!(request.emit(), hex(REQUEST));
        let accept = Packet::parse(&hex(ACCEPT)).expect("an answer");
        let check = |must| accept.check_answer(&request.authenticator, &secret, must);
        assert_eq!(check(false), Ok(()));
        assert_eq!(check(true), Err(Bad::MessageAuthenticator));
        let other = accept.check_answer(&request.authenticator, &Secret::new("x"), false);
        assert_eq!(other, Err(Bad::Authenticator));
    }

    #[test]
    fn what_is_signed_holds_and_what_was_changed_does_not() {
        let secret = Secret::new("s");
        let request = Packet {
            code: code::DISCONNECT_REQUEST,
            identifier: 7,
            authenticator: [0; 16],
            attributes: vec![(attribute::USER_NAME, b"ada".to_vec())],
        };
        let bytes = request.request(&secret);
        let read = Packet::parse(&bytes).expect("a packet");
        assert_eq!(read.check_request(&secret), Ok(()));
        let answer = Packet {
            code: code::DISCONNECT_ACK,
            ..read.clone()
        };
        let answer = Packet {
            attributes: vec![],
            ..answer
        }
        .answer(&read, &secret);
        let answer = Packet::parse(&answer).expect("a packet");
        assert_eq!(
            answer.check_answer(&read.authenticator, &secret, true),
            Ok(())
        );
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let result = Packet::parse(&changed).and_then(|p| p.check_request(&secret));
            assert!(result.is_err(), "byte {at}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let good = hex(ACCEPT);
        for length in 0..good.len() {
            assert_eq!(Packet::parse(&good[..length]), Err(Bad::Malformed));
        }
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            Packet::parse(&bytes).map(drop)
        };
        for (at, byte) in [(21, 0), (21, 1), (21, 255), (3, 19), (2, 255), (3, 37)] {
            assert_eq!(with(at, byte), Err(Bad::Malformed), "{at}");
        }
        let padded = [good.as_slice(), &[9, 9, 9]].concat();
        assert_eq!(Packet::parse(&padded).map(|p| p.emit()), Ok(good.clone()));
    }

    #[test]
    fn numbers_of_vendors_are_found() {
        let wispr = [
            &14122u32.to_be_bytes()[..],
            &[8, 6],
            &2_000_000u32.to_be_bytes(),
        ]
        .concat();
        let packet = Packet {
            code: 2,
            identifier: 0,
            authenticator: [0; 16],
            attributes: vec![(26, vec![1, 2]), (26, wispr)],
        };
        assert_eq!(packet.vendor_number(14122, 8), Some(2_000_000));
        assert_eq!(packet.vendor_number(14122, 7), None);
    }
}
