//! Where in the switch a vif goes: what `bridge=` says in its line of the xl.cfg.
//!
//! It is written as for Xen's `vif-openvswitch`: `NAME`, or `NAME.TAG` for an access port of that VLAN,
//! or `NAME:TRUNK:TRUNK…`, or both, `NAME.TAG:TRUNK…`.

/// The longest name of an interface in Linux.
const NAME_MAX: usize = 15;
/// VLANs are numbered with twelve bits (IEEE 802.1Q, section 9.6); the last number is reserved.
const VLAN_MAX: u16 = 4094;

/// A bridge and the VLANs of a port there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The bridge's name, which is a name of an interface.
    pub(crate) bridge: String,
    /// The VLAN of untagged frames.
    pub(crate) tag: Option<u16>,
    /// The VLANs that may be tagged.
    pub(crate) trunks: Vec<u16>,
}

/// Why a text names no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlaceError {
    /// There is none.
    #[error("the vif names no bridge: add bridge=NAME to its line in the xl.cfg")]
    None,
    /// No interface can be called so.
    #[error("'{0}' is no name of a bridge")]
    Name(String),
    /// Not a number from 0 to [`VLAN_MAX`].
    #[error("'{0}' is no number of a VLAN: 0 to {VLAN_MAX}")]
    Vlan(String),
}

impl Place {
    pub(crate) fn parse(text: &str) -> Result<Place, PlaceError> {
        if text.is_empty() {
            return Err(PlaceError::None);
        }
        let (before, trunks) = match text.split_once(':') {
            Some((before, trunks)) => (before, trunks.split(':').map(vlan).collect()),
            None => (text, Ok(Vec::new())),
        };
        let (bridge, tag) = match before.split_once('.') {
            Some((bridge, tag)) => (bridge, Some(vlan(tag)?)),
            None => (before, None),
        };
        if !is_name(bridge) {
            return Err(PlaceError::Name(bridge.to_owned()));
        }
        Ok(Place {
            bridge: bridge.to_owned(),
            tag,
            trunks: trunks?,
        })
    }
}

/// Whether an interface may have the name; it becomes part of paths.
pub(crate) fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let dots = text.chars().all(|c| c == '.');
    (1..=NAME_MAX).contains(&text.len()) && !dots && text.chars().all(plain)
}

fn vlan(text: &str) -> Result<u16, PlaceError> {
    let number = text.parse().ok().filter(|number| *number <= VLAN_MAX);
    number.ok_or_else(|| PlaceError::Vlan(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(bridge: &str, tag: Option<u16>, trunks: &[u16]) -> Result<Place, PlaceError> {
        let (bridge, trunks) = (bridge.to_owned(), trunks.to_vec());
        Ok(Place {
            bridge,
            tag,
            trunks,
        })
    }

    #[test]
    fn places_are_written_as_for_xens_script() {
        assert_eq!(Place::parse("edgecloud"), place("edgecloud", None, &[]));
        assert_eq!(Place::parse("br0.7"), place("br0", Some(7), &[]));
        assert_eq!(Place::parse("br0:8:9"), place("br0", None, &[8, 9]));
        assert_eq!(Place::parse("br0.7:8:9"), place("br0", Some(7), &[8, 9]));
    }

    #[test]
    fn what_is_no_place_is_named() {
        let name = |text: &str| Err(PlaceError::Name(text.to_owned()));
        let vlan = |text: &str| Err(PlaceError::Vlan(text.to_owned()));
        assert_eq!(Place::parse(""), Err(PlaceError::None));
        for text in ["a/b", "a b", "sixteen-letters-", "brücke"] {
            assert_eq!(Place::parse(text), name(text));
        }
        assert_eq!(Place::parse(".7"), name(""));
        assert_eq!(Place::parse("..:7"), vlan("."));
        for (text, wrong) in [("br0.", ""), ("br0.x", "x"), ("br0:8:4095", "4095")] {
            assert_eq!(Place::parse(text), vlan(wrong));
        }
    }
}
