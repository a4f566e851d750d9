//! The handshake of a frontend with its backend (`io/xenbus.h`): states in two directories of xenstore.

/// `enum xenbus_state`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[allow(missing_docs, reason = "the names are Xen's")]
pub enum State {
    Unknown = 0,
    Initialising = 1,
    InitWait = 2,
    Initialised = 3,
    Connected = 4,
    Closing = 5,
    Closed = 6,
}

impl State {
    /// The state that a node's value says; what is no state is unknown.
    pub fn parse(value: &[u8]) -> Self {
        match value {
            b"1" => Self::Initialising,
            b"2" => Self::InitWait,
            b"3" => Self::Initialised,
            b"4" => Self::Connected,
            b"5" => Self::Closing,
            b"6" => Self::Closed,
            _ => Self::Unknown,
        }
    }

    /// The node's value.
    pub fn value(self) -> &'static [u8] {
        [b"0", b"1", b"2", b"3", b"4", b"5", b"6"][self as usize]
    }
}

/// An unsigned decimal number in a node.
pub fn number(value: &[u8]) -> Option<u64> {
    core::str::from_utf8(value).ok()?.trim().parse().ok()
}

/// An Ethernet address as xl writes it: six hexadecimal bytes with colons between.
pub fn mac(value: &[u8]) -> Option<[u8; 6]> {
    let mut bytes = [0; 6];
    let mut parts = core::str::from_utf8(value).ok()?.trim().split(':');
    for byte in &mut bytes {
        let part = parts.next().filter(|part| part.len() == 2)?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_as_they_are_written() {
        for state in [
            State::InitWait,
            State::Connected,
            State::Closed,
            State::Unknown,
        ] {
            assert_eq!(State::parse(state.value()), state);
        }
        assert_eq!(State::parse(b"7"), State::Unknown);
        assert_eq!(State::parse(b""), State::Unknown);
    }

    #[test]
    fn values_of_nodes() {
        assert_eq!(number(b"42"), Some(42));
        assert_eq!(number(b"-1"), None);
        assert_eq!(number(b"\xff"), None);
        assert_eq!(
            mac(b"00:16:3e:0a:FF:01"),
            Some([0, 0x16, 0x3e, 0x0a, 0xff, 1])
        );
        for bad in [
            "",
            "00:16:3e:0a:ff",
            "00:16:3e:0a:ff:01:02",
            "0:16:3e:0a:ff:1",
            "00-16-3e-0a-ff-01",
        ] {
            assert_eq!(mac(bad.as_bytes()), None, "{bad}");
        }
    }
}
