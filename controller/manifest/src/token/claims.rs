//! How a token is written: the claims of a CWT. Those of RFC 8392 and RFC 8747 have their numbers,
//! ours have private ones (below -65536).

use super::{ApplicationNumber, Claims, Grant, Serial, Token};
use crate::document::RULES_MAX;
use crate::encoding::rules::MANIFEST_BYTES_MAX;
use crate::encoding::{
    DecodeError, Encoding, Fields, Value, array, integer, list, map, text, wrong,
};
use crate::key::PublicKey;
use crate::rule::Rule;
use crate::signed::Document;

const ISS: i64 = 1;
const AUD: i64 = 3;
const EXP: i64 = 4;
const NBF: i64 = 5;
const CTI: i64 = 7;
const CNF: i64 = 8;
const PUBLISHER: i64 = -65537;
const APPLICATION: i64 = -65538;
const NUMBER: i64 = -65539;
const MANIFEST: i64 = -65540;
const IMAGE: i64 = -65541;
const GRANTS: i64 = -65542;
const ON_FAIL: i64 = -65543;
const LIMIT: i64 = -65544;
const BILL: i64 = -65545;

impl Encoding for Token {
    fn to_value(&self) -> Value {
        let claims = self.claims();
        map([
            (ISS, Some(text(&claims.issuer))),
            (AUD, Some(list(&claims.hosts))),
            (EXP, Some(claims.expires.to_value())),
            (NBF, Some(claims.not_before.to_value())),
            (
                CTI,
                Some(Value::Bytes(claims.serial.0.to_be_bytes().to_vec())),
            ),
            (CNF, Some(confirmation(&claims.holder))),
            (PUBLISHER, Some(claims.publisher.to_value())),
            (APPLICATION, Some(text(&claims.application))),
            (NUMBER, Some(Value::from(claims.number.get()))),
            (MANIFEST, Some(claims.manifest.to_value())),
            (IMAGE, Some(claims.image.to_value())),
            (GRANTS, Some(list(&claims.grants))),
            (ON_FAIL, Some(claims.on_fail.to_value())),
            (LIMIT, Some(claims.limit.to_value())),
            (BILL, Some(claims.bill.to_value())),
        ])
    }

    fn from_value(value: Value) -> Result<Self, DecodeError> {
        let mut fields = Fields::of("token", value)?;
        let serial: Result<[u8; 8], _> = fields.bytes(CTI, "cti")?.try_into();
        let serial = serial.map_err(|_| wrong("cti", "not 8 bytes"))?;
        let number = ApplicationNumber::new(fields.integer(NUMBER, "number")?);
        let claims = Claims {
            issuer: fields.parsed(ISS, "iss")?,
            hosts: fields.items(AUD, "aud")?,
            expires: fields.decoded(EXP, "exp")?,
            not_before: fields.decoded(NBF, "nbf")?,
            serial: Serial(u64::from_be_bytes(serial)),
            holder: holder(fields.need(CNF, "cnf")?)?,
            publisher: fields.decoded(PUBLISHER, "publisher")?,
            application: fields.parsed(APPLICATION, "application")?,
            number: number.ok_or_else(|| wrong("number", "out of range"))?,
            manifest: fields.decoded(MANIFEST, "manifest")?,
            image: fields.decoded(IMAGE, "image")?,
            grants: fields.items(GRANTS, "grants")?,
            on_fail: fields.decoded(ON_FAIL, "on-fail")?,
            limit: fields.decoded(LIMIT, "limit")?,
            bill: fields.decoded(BILL, "bill")?,
        };
        fields.end()?;
        Self::new(claims).map_err(|error| DecodeError::Inconsistent(error.to_string()))
    }
}

// COSE_Key (RFC 9052, 7) of an Ed25519 key (RFC 9053, 7.2), in `cnf` (RFC 8747, 3.2).
const COSE_KEY: i64 = 1;
const KTY: i64 = 1;
const KTY_OKP: i64 = 1;
const CRV: i64 = -1;
const CRV_ED25519: i64 = 6;
const X: i64 = -2;

fn confirmation(holder: &PublicKey) -> Value {
    let key = map([
        (KTY, Some(Value::from(KTY_OKP))),
        (CRV, Some(Value::from(CRV_ED25519))),
        (X, Some(holder.to_value())),
    ]);
    map([(COSE_KEY, Some(key))])
}

fn holder(value: Value) -> Result<PublicKey, DecodeError> {
    let mut confirmation = Fields::of("cnf", value)?;
    let mut key = Fields::of("cnf", confirmation.need(COSE_KEY, "cnf")?)?;
    confirmation.end()?;
    let (kty, crv): (i64, i64) = (key.integer(KTY, "cnf")?, key.integer(CRV, "cnf")?);
    let holder = key.decoded(X, "cnf")?;
    key.end()?;
    if (kty, crv) != (KTY_OKP, CRV_ED25519) {
        return Err(wrong("cnf", "not an Ed25519 key"));
    }
    Ok(holder)
}

impl Encoding for Grant {
    fn to_value(&self) -> Value {
        Value::Array(vec![Value::from(self.index), self.rule.to_value()])
    }

    fn from_value(value: Value) -> Result<Self, DecodeError> {
        let parts: Result<[Value; 2], _> = array(value, "grants")?.try_into();
        let [index, rule] = parts.map_err(|_| wrong("grants", "not an index and a rule"))?;
        let index: u16 = integer(index, "grants")?;
        let rule = Rule::from_value(rule)?;
        Ok(Self { index, rule })
    }
}

impl Document for Token {
    const CONTENT_TYPE: &'static str = "application/vnd.edgecloud.token+cwt";
    /// What it grants is no longer than what was asked for, with an index for each rule.
    const BYTES_MAX: usize = MANIFEST_BYTES_MAX + RULES_MAX * 8 + super::HOSTS_MAX * 256 + 1024;
}
