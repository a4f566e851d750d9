//! Forms that only our pages make: a field that is a keyed hash of the client and the hour.
//!
//! Another site can have a browser send a form here, but cannot read our pages, so it does not know
//! the field. Nothing is kept for it; it is good for this hour and the next, and, because the key is on
//! the disk, after a restart.

use std::net::IpAddr;

use data_encoding::BASE64URL_NOPAD;
use ring::hmac;

/// How long a page can be left open, at least.
const PERIOD_SECONDS: u64 = 3600;

/// Makes and checks such fields.
#[derive(Clone, Debug)]
pub struct Forms(hmac::Key);

impl Forms {
    /// With a key of the appliance.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The field for a client's form.
    pub fn field(&self, client: IpAddr, now: u64) -> String {
        let message = message(client, now / PERIOD_SECONDS);
        BASE64URL_NOPAD.encode(hmac::sign(&self.0, &message).as_ref())
    }

    /// Whether a client sent a field of ours. The comparison takes the same time whatever was sent.
    pub fn is_ours(&self, field: &str, client: IpAddr, now: u64) -> bool {
        let Ok(tag) = BASE64URL_NOPAD.decode(field.as_bytes()) else {
            return false;
        };
        let period = now / PERIOD_SECONDS;
        let is = |period| hmac::verify(&self.0, &message(client, period), &tag).is_ok();
        is(period) || is(period.saturating_sub(1))
    }
}

fn message(client: IpAddr, period: u64) -> Vec<u8> {
    format!("form {client} {period}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_good_for_its_client_for_an_hour_at_least() {
        let forms = Forms::new(&[1; 32]);
        let client: IpAddr = [10, 0, 0, 1].into();
        let field = forms.field(client, 7199);
        for now in [7199, 7200, 10_799] {
            assert!(forms.is_ours(&field, client, now), "{now}");
        }
        assert!(!forms.is_ours(&field, client, 10_800));
        assert!(!forms.is_ours(&field, [10, 0, 0, 2].into(), 7199));
        assert!(!Forms::new(&[2; 32]).is_ours(&field, client, 7199));
        for wrong in ["", "x", "é", &field[1..]] {
            assert!(!forms.is_ours(wrong, client, 7199), "{wrong}");
        }
    }
}
