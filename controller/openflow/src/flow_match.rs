//! What a flow matches: fields with values and masks.
//!
//! A `Match` has one form: fields in [`Field`]'s order, no bit of a value outside of its mask, no
//! empty mask, wide registers taken apart. So two matches that mean the same are equal, whatever
//! order and form they came in, and a dump can be compared with what is desired.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::error::EmitError;
use crate::field::{Field, Prerequisite, conntrack_state};
use crate::port_number::PortNumber;

/// One field's part in a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldMatch {
    /// The field.
    pub field: Field,
    /// The value that it must have, right-aligned; zero where the mask is.
    pub value: u128,
    /// The bits that count; never zero.
    pub mask: u128,
}

impl FieldMatch {
    /// Whether all bits of the field count.
    pub fn is_exact(&self) -> bool {
        self.mask == self.field.full_mask()
    }
}

/// A field that this crate does not know, as a switch sent it: kept, so that a flow that somebody
/// else made can be shown, compared and deleted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnknownField {
    /// Its class: 0xffff for experimenters, whose number then begins the body.
    pub class: u16,
    /// Its number in the class, times two, and the bit that says that there is a mask.
    pub number: u8,
    /// Value and mask, 255 bytes at most.
    pub body: Vec<u8>,
}

/// A packet's conditions, all of which must hold. Empty, it matches every packet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Match {
    fields: Vec<FieldMatch>,
    unknown: Vec<UnknownField>,
}

impl Match {
    /// Matches every packet.
    pub const fn new() -> Match {
        Match {
            fields: Vec::new(),
            unknown: Vec::new(),
        }
    }

    /// The fields, in order.
    pub fn fields(&self) -> &[FieldMatch] {
        &self.fields
    }

    /// The fields that this crate does not know, in order of their numbers.
    pub fn unknown(&self) -> &[UnknownField] {
        &self.unknown
    }

    /// Adds a field that this crate does not know. False where it is there.
    pub(crate) fn add_unknown(&mut self, field: UnknownField) -> bool {
        let key = |field: &UnknownField| (field.class, field.number & !1);
        // Experimenters' fields have their vendor in the body: one may come several times.
        if field.class != 0xffff && self.unknown.iter().any(|other| key(other) == key(&field)) {
            return false;
        }
        let place = self.unknown.partition_point(|other| *other < field);
        self.unknown.insert(place, field);
        true
    }

    /// Whether it matches every packet.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.unknown.is_empty()
    }

    /// What is asked of a field, if anything.
    pub fn get(&self, field: Field) -> Option<FieldMatch> {
        let place = self.fields.binary_search_by_key(&field, |f| f.field).ok()?;
        self.fields.get(place).copied()
    }

    /// Asks for a field's value at the bits of a mask, in place of what was asked of it before.
    ///
    /// # Errors
    /// `Bits` where the value or mask is wider than the field, `NotAllowed` where the field cannot
    /// be masked or not be matched.
    pub fn set(&mut self, field: Field, value: u128, mask: u128) -> Result<(), EmitError> {
        if value & !field.full_mask() != 0 || mask & !field.full_mask() != 0 {
            return Err(EmitError::Bits(field.name()));
        }
        if let Some(registers) = field.registers() {
            let bits = field.bits() / registers.len() as u32;
            for (place, register) in registers.iter().rev().enumerate() {
                let part = |whole: u128| whole >> (place as u32 * bits) & register.full_mask();
                self.put(*register, part(value), part(mask));
            }
            return Ok(());
        }
        let partial = mask != 0 && mask != field.full_mask();
        match field {
            Field::NxmInPort if !partial => {
                // Nicira's 16-bit reserved numbers are the 32-bit ones cut off.
                let wide = if value >= 0xff00 {
                    0xffff_0000 | value
                } else {
                    value
                };
                let mask = if mask == 0 {
                    0
                } else {
                    Field::InPort.full_mask()
                };
                self.put(Field::InPort, wide, mask);
            }
            Field::VlanTci | Field::NxmInPort => return Err(EmitError::NotAllowed(field.name())),
            _ if partial && !field.is_maskable() => {
                return Err(EmitError::NotAllowed(field.name()));
            }
            _ => self.put(field, value, mask),
        }
        Ok(())
    }

    fn put(&mut self, field: Field, value: u128, mask: u128) {
        let new = FieldMatch {
            field,
            value: value & mask,
            mask,
        };
        match self.fields.binary_search_by_key(&field, |f| f.field) {
            Ok(place) if mask == 0 => {
                self.fields.remove(place);
            }
            Ok(place) => self.fields[place] = new,
            Err(_) if mask == 0 => {}
            Err(place) => self.fields.insert(place, new),
        }
    }

    /// Asks for a field's exact value.
    ///
    /// # Panics
    /// Where the value is wider than the field; [`Match::set`] is for values from outside.
    #[must_use]
    pub fn with(self, field: Field, value: impl Into<u128>) -> Match {
        self.with_masked(field, value.into(), field.full_mask())
    }

    /// Asks for a field's value at the bits of a mask.
    ///
    /// # Panics
    /// As [`Match::set`] fails, which is for values from outside.
    #[must_use]
    pub fn with_masked(mut self, field: Field, value: u128, mask: u128) -> Match {
        if let Err(error) = self.set(field, value, mask) {
            panic!("a match that cannot be: {error}");
        }
        self
    }

    /// Came in at this port.
    #[must_use]
    pub fn in_port(self, port: PortNumber) -> Match {
        self.with(Field::InPort, port.0)
    }

    /// Has this Ethernet type.
    #[must_use]
    pub fn eth_type(self, number: u16) -> Match {
        self.with(Field::EthType, number)
    }

    /// Has this source MAC address.
    #[must_use]
    pub fn eth_src(self, address: [u8; 6]) -> Match {
        self.with(Field::EthSrc, mac(address))
    }

    /// Has this destination MAC address.
    #[must_use]
    pub fn eth_dst(self, address: [u8; 6]) -> Match {
        self.with(Field::EthDst, mac(address))
    }

    /// Is tagged with this VLAN.
    ///
    /// # Panics
    /// Where the identifier has more than 12 bits.
    #[must_use]
    pub fn vlan(self, identifier: u16) -> Match {
        assert!(identifier < VLAN_PRESENT, "a VLAN has 12 bits");
        self.with(Field::VlanVid, VLAN_PRESENT | identifier)
    }

    /// Has no VLAN tag.
    #[must_use]
    pub fn no_vlan(self) -> Match {
        self.with(Field::VlanVid, 0u16)
    }

    /// Is IPv4; its other fields depend on this.
    #[must_use]
    pub fn ipv4(self) -> Match {
        self.eth_type(ETH_IPV4)
    }

    /// Is IPv6; its other fields depend on this.
    #[must_use]
    pub fn ipv6(self) -> Match {
        self.eth_type(ETH_IPV6)
    }

    /// Is ARP; its other fields depend on this.
    #[must_use]
    pub fn arp(self) -> Match {
        self.eth_type(ETH_ARP)
    }

    /// Carries this protocol in IP.
    #[must_use]
    pub fn ip_proto(self, number: u8) -> Match {
        self.with(Field::IpProto, number)
    }

    /// Comes from this IPv4 network.
    ///
    /// # Panics
    /// Where the prefix is longer than 32.
    #[must_use]
    pub fn ipv4_src(self, address: Ipv4Addr, prefix: u32) -> Match {
        self.prefix(Field::Ipv4Src, u128::from(u32::from(address)), prefix)
    }

    /// Goes to this IPv4 network.
    ///
    /// # Panics
    /// Where the prefix is longer than 32.
    #[must_use]
    pub fn ipv4_dst(self, address: Ipv4Addr, prefix: u32) -> Match {
        self.prefix(Field::Ipv4Dst, u128::from(u32::from(address)), prefix)
    }

    /// Comes from this IPv6 network.
    ///
    /// # Panics
    /// Where the prefix is longer than 128.
    #[must_use]
    pub fn ipv6_src(self, address: Ipv6Addr, prefix: u32) -> Match {
        self.prefix(Field::Ipv6Src, u128::from(address), prefix)
    }

    /// Goes to this IPv6 network.
    ///
    /// # Panics
    /// Where the prefix is longer than 128.
    #[must_use]
    pub fn ipv6_dst(self, address: Ipv6Addr, prefix: u32) -> Match {
        self.prefix(Field::Ipv6Dst, u128::from(address), prefix)
    }

    /// Has an address field within a prefix.
    ///
    /// # Panics
    /// Where the prefix is longer than the field.
    #[must_use]
    pub fn prefix(self, field: Field, address: u128, prefix: u32) -> Match {
        assert!(
            prefix <= field.bits(),
            "a prefix longer than {}",
            field.name()
        );
        let hosts = u128::MAX
            .checked_shr(128 - (field.bits() - prefix))
            .unwrap_or(0);
        let mask = field.full_mask() & !hosts;
        self.with_masked(field, address & mask, mask)
    }

    /// Has these bits of the connection tracker's state set, and those clear.
    #[must_use]
    pub fn ct_state(self, set: u32, clear: u32) -> Match {
        self.with_masked(Field::CtState, u128::from(set), u128::from(set | clear))
    }

    /// Checks that every field's prerequisites are there.
    ///
    /// # Errors
    /// `Prerequisite` with the name of the first field that lacks something.
    pub fn check(&self) -> Result<(), EmitError> {
        let lacking = self.fields.iter().find(|f| !self.allows(f.field));
        lacking.map_or(Ok(()), |f| Err(EmitError::Prerequisite(f.field.name())))
    }

    fn exactly(&self, field: Field) -> Option<u128> {
        self.get(field)
            .filter(FieldMatch::is_exact)
            .map(|f| f.value)
    }

    fn allows(&self, field: Field) -> bool {
        let ethernet = |types: &[u16]| {
            self.exactly(Field::EthType)
                .is_some_and(|t| types.iter().any(|known| u128::from(*known) == t))
        };
        // A later fragment has no header of what IP carries.
        let later = self
            .get(Field::IpFrag)
            .is_some_and(|fragment| fragment.value & 2 != 0);
        let ip = |number: u8| {
            ethernet(&[ETH_IPV4, ETH_IPV6])
                && self.exactly(Field::IpProto) == Some(number.into())
                && !later
        };
        let icmpv6 = ethernet(&[ETH_IPV6]) && ip(58);
        let discovery = |types: &[u8]| {
            let code = self.exactly(Field::Icmpv6Code).unwrap_or(0);
            let kind = self.exactly(Field::Icmpv6Type);
            icmpv6 && code == 0 && types.iter().any(|known| kind == Some(u128::from(*known)))
        };
        match field.prerequisite() {
            Prerequisite::Nothing => true,
            Prerequisite::Vlan => self
                .get(Field::VlanVid)
                .is_some_and(|vlan| vlan.value & u128::from(VLAN_PRESENT) != 0),
            Prerequisite::Ipv4 => ethernet(&[ETH_IPV4]),
            Prerequisite::Ipv6 => ethernet(&[ETH_IPV6]),
            Prerequisite::Ip => ethernet(&[ETH_IPV4, ETH_IPV6]),
            Prerequisite::Arp => ethernet(&[ETH_ARP, 0x8035]),
            Prerequisite::Mpls => ethernet(&[0x8847, 0x8848]),
            Prerequisite::Pbb => ethernet(&[0x88e7]),
            Prerequisite::Tcp => ip(6),
            Prerequisite::Udp => ip(17),
            Prerequisite::Sctp => ip(132),
            Prerequisite::Icmpv4 => ethernet(&[ETH_IPV4]) && ip(1),
            Prerequisite::Icmpv6 => icmpv6,
            Prerequisite::NeighbourDiscovery => discovery(&[135, 136]),
            Prerequisite::NeighbourSolicitation => discovery(&[135]),
            Prerequisite::NeighbourAdvertisement => discovery(&[136]),
            Prerequisite::Connection => self.has_connection(),
            Prerequisite::ConnectionPorts => {
                self.has_connection() && self.exactly(Field::CtNwProto).is_some()
            }
            Prerequisite::ConnectionV4 => self.has_connection() && ethernet(&[ETH_IPV4]),
            Prerequisite::ConnectionV6 => self.has_connection() && ethernet(&[ETH_IPV6]),
        }
    }

    /// Open vSwitch's `is_ct_valid`: a bit that only a valid connection has, or "not invalid".
    fn has_connection(&self) -> bool {
        use conntrack_state::{INVALID, TRACKED};
        let Some(state) = self.get(Field::CtState) else {
            return false;
        };
        let valid = !u128::from(INVALID | TRACKED);
        let tracked = state.value & u128::from(TRACKED) != 0;
        let invalid = u128::from(INVALID);
        state.value & valid != 0
            || (tracked && state.mask & invalid != 0 && state.value & invalid == 0)
    }
}

/// The bit of [`Field::VlanVid`] that says that there is a tag (`OFPVID_PRESENT`).
pub const VLAN_PRESENT: u16 = 0x1000;
/// Ethernet's type of IPv4.
pub const ETH_IPV4: u16 = 0x0800;
/// Ethernet's type of ARP.
pub const ETH_ARP: u16 = 0x0806;
/// Ethernet's type of IPv6.
pub const ETH_IPV6: u16 = 0x86dd;

/// A MAC address as a field's value.
pub fn mac(address: [u8; 6]) -> u128 {
    address
        .iter()
        .fold(0, |value, byte| value << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_that_mean_the_same_are_equal() {
        let one = Match::new()
            .with(Field::Reg0, 7u8)
            .with(Field::Reg1, 9u8)
            .arp();
        let other = Match::new().arp().with(Field::Xreg0, 7u128 << 32 | 9);
        assert_eq!(one, other);
        let half = Match::new().with_masked(Field::Xxreg1, 5, 0xff);
        assert_eq!(half, Match::new().with_masked(Field::Reg7, 5, 0xff));
        let empty = Match::new().arp().with_masked(Field::EthType, 0, 0);
        assert_eq!(empty, Match::new());
        let dirty = Match::new().with_masked(Field::Metadata, 0xff, 0x0f);
        assert_eq!(dirty, Match::new().with_masked(Field::Metadata, 0x0f, 0x0f));
        let narrow = Match::new().with(Field::NxmInPort, 0xfffeu16);
        assert_eq!(narrow, Match::new().in_port(PortNumber::LOCAL));
    }

    #[test]
    fn prefixes_become_masks() {
        let network = Match::new().ipv4().ipv4_src([10, 1, 2, 3].into(), 8);
        let field = network.get(Field::Ipv4Src).unwrap();
        assert_eq!((field.value, field.mask), (0x0a00_0000, 0xff00_0000));
        assert_eq!(Match::new().ipv6_src(Ipv6Addr::LOCALHOST, 0), Match::new());
        let host = Match::new().ipv6_src(Ipv6Addr::LOCALHOST, 128);
        assert!(host.get(Field::Ipv6Src).unwrap().is_exact());
    }

    #[test]
    fn what_a_field_depends_on_is_checked() {
        let lacking = |m: Match| m.check().err();
        assert_eq!(
            lacking(Match::new().ip_proto(6)),
            Some(EmitError::Prerequisite("nw_proto"))
        );
        let web = Match::new().ipv6().ip_proto(6).with(Field::TcpDst, 80u16);
        assert_eq!(lacking(web.clone()), None);
        assert_eq!(
            lacking(web.ip_proto(17)),
            Some(EmitError::Prerequisite("tcp_dst"))
        );
        let solicitation = Match::new()
            .ipv6()
            .ip_proto(58)
            .with(Field::Icmpv6Type, 135u8)
            .with(Field::NdTarget, 1u8);
        assert_eq!(lacking(solicitation.clone()), None);
        let wrong = solicitation.with(Field::NdTll, 1u8);
        assert_eq!(lacking(wrong), Some(EmitError::Prerequisite("nd_tll")));
        let tuple = Match::new().with(Field::CtNwProto, 6u8);
        assert_eq!(
            lacking(tuple.clone()),
            Some(EmitError::Prerequisite("ct_nw_proto"))
        );
        use conntrack_state::{ESTABLISHED, INVALID, TRACKED};
        assert_eq!(
            lacking(tuple.clone().ct_state(TRACKED | ESTABLISHED, 0)),
            None
        );
        assert_eq!(lacking(tuple.clone().ct_state(TRACKED, INVALID)), None);
        assert!(lacking(tuple.ct_state(TRACKED, 0)).is_some());
    }

    #[test]
    fn values_that_no_field_can_have_are_refused() {
        let mut m = Match::new();
        assert_eq!(
            m.set(Field::EthType, 0x1_0000, 0xffff),
            Err(EmitError::Bits("eth_type"))
        );
        assert_eq!(
            m.set(Field::EthType, 0, 0xff),
            Err(EmitError::NotAllowed("eth_type"))
        );
        assert_eq!(
            m.set(Field::VlanTci, 0, 0xffff),
            Err(EmitError::NotAllowed("vlan_tci"))
        );
        assert!(m.is_empty());
    }
}
