//! Values and matches as `ovs-ofctl` writes them: what operators read and type.
//!
//! The order and the spellings are those of Open vSwitch's `match_format` and `mf_format`, so that
//! a line can be found in a dump of the switch.

use std::fmt::{self, Display, Formatter};
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::action::Subfield;
use crate::field::Field;
use crate::flow_match::{
    ETH_ARP, ETH_IPV4, ETH_IPV6, FieldMatch, Match, UnknownField, VLAN_PRESENT,
};
use crate::port_number::PortNumber;

/// How a field's values are written.
enum Form {
    Decimal,
    Hexadecimal,
    Port,
    NarrowPort,
    Ethernet,
    Ipv4,
    Ipv6,
    Flags(fn(u128) -> Option<&'static str>, u128),
}

/// The bits of a connection's state that Open vSwitch compares with "all".
const CT_STATE_ALL: u128 = 0xff;

fn form(field: Field) -> Form {
    use Field as F;
    match field {
        F::InPort | F::InPhyPort | F::ActsetOutput => Form::Port,
        F::NxmInPort => Form::NarrowPort,
        F::EthSrc | F::EthDst | F::ArpSha | F::ArpTha | F::NdSll | F::NdTll => Form::Ethernet,
        F::Ipv4Src
        | F::Ipv4Dst
        | F::ArpSpa
        | F::ArpTpa
        | F::TunIpv4Src
        | F::TunIpv4Dst
        | F::CtNwSrc
        | F::CtNwDst => Form::Ipv4,
        F::Ipv6Src
        | F::Ipv6Dst
        | F::NdTarget
        | F::TunIpv6Src
        | F::TunIpv6Dst
        | F::CtIpv6Src
        | F::CtIpv6Dst => Form::Ipv6,
        F::CtState => Form::Flags(ct_state_name, CT_STATE_ALL),
        F::TcpFlags => Form::Flags(tcp_flag_name, 0xfff),
        F::VlanVid
        | F::VlanPcp
        | F::IpDscp
        | F::IpEcn
        | F::IpProto
        | F::IpTtl
        | F::TcpSrc
        | F::TcpDst
        | F::UdpSrc
        | F::UdpDst
        | F::SctpSrc
        | F::SctpDst
        | F::Icmpv4Type
        | F::Icmpv4Code
        | F::Icmpv6Type
        | F::Icmpv6Code
        | F::ArpOp
        | F::MplsLabel
        | F::MplsTc
        | F::MplsBos
        | F::ConjId
        | F::CtNwProto
        | F::CtTpSrc
        | F::CtTpDst => Form::Decimal,
        _ => Form::Hexadecimal,
    }
}

fn ct_state_name(bit: u128) -> Option<&'static str> {
    let names = ["new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"];
    names.get(bit.trailing_zeros() as usize).copied()
}

fn tcp_flag_name(bit: u128) -> Option<&'static str> {
    let names = [
        "fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns", "[200]", "[400]", "[800]",
    ];
    names.get(bit.trailing_zeros() as usize).copied()
}

/// A field's value at the bits of a mask.
pub(crate) struct Value {
    pub(crate) field: Field,
    pub(crate) value: u128,
    pub(crate) mask: u128,
}

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Value { field, value, mask } = *self;
        let exact = mask == field.full_mask();
        match form(field) {
            Form::Flags(name, all) => write_flags(f, name, value, mask & all, all),
            Form::Port if exact => write!(f, "{}", PortNumber(value as u32)),
            Form::NarrowPort if exact => {
                let wide = if value >= 0xff00 { 0xffff_0000 } else { 0 };
                write!(f, "{}", PortNumber(value as u32 | wide))
            }
            Form::Ethernet => {
                write!(f, "{}", Mac(value))?;
                if exact {
                    Ok(())
                } else {
                    write!(f, "/{}", Mac(mask))
                }
            }
            // These fields have 32 bits.
            Form::Ipv4 => write_address(f, field, value, mask, |v| Ipv4Addr::from(v as u32)),
            Form::Ipv6 => write_address(f, field, value, mask, Ipv6Addr::from),
            Form::Decimal => {
                write!(f, "{value}")?;
                if exact {
                    Ok(())
                } else {
                    write!(f, "/{}", Hex(mask))
                }
            }
            _ => {
                write!(f, "{}", Hex(value))?;
                if exact {
                    Ok(())
                } else {
                    write!(f, "/{}", Hex(mask))
                }
            }
        }
    }
}

fn write_address<A: Display>(
    f: &mut Formatter<'_>,
    field: Field,
    value: u128,
    mask: u128,
    address: impl Fn(u128) -> A,
) -> fmt::Result {
    write!(f, "{}", address(value))?;
    if mask == field.full_mask() {
        return Ok(());
    }
    let hosts = field.full_mask() & !mask;
    if hosts & (hosts.wrapping_add(1)) == 0 {
        return write!(f, "/{}", mask.count_ones());
    }
    write!(f, "/{}", address(mask))
}

fn write_flags(
    f: &mut Formatter<'_>,
    name: fn(u128) -> Option<&'static str>,
    value: u128,
    mask: u128,
    all: u128,
) -> fmt::Result {
    let bits = || {
        (0..u128::BITS)
            .map(|place| 1u128 << place)
            .filter(move |bit| mask & bit != 0)
    };
    let known = |bit| name(bit).unwrap_or("[Unknown]");
    if mask != all {
        return bits().try_for_each(|bit| {
            write!(
                f,
                "{}{}",
                if value & bit != 0 { '+' } else { '-' },
                known(bit)
            )
        });
    }
    if value == 0 {
        return f.write_str("0");
    }
    let set: Vec<_> = bits().filter(|bit| value & bit != 0).map(known).collect();
    f.write_str(&set.join("|"))
}

/// A number in hexadecimal, as C's `%#x`: 0 has no prefix.
pub(crate) struct Hex(pub(crate) u128);

impl Display for Hex {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            f.write_str("0")
        } else {
            write!(f, "{:#x}", self.0)
        }
    }
}

struct Mac(u128);

impl Display for Mac {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let [.., a, b, c, d, e, g] = self.0.to_be_bytes();
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// As `ovs-ofctl` writes it: `NXM_NX_REG0[0..15]`.
impl Display for Subfield {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.field().nxm_name())?;
        let (first, last) = (self.offset(), self.offset() + self.bits() - 1);
        match (first, last) {
            _ if u32::from(self.bits()) == self.field().bits() => f.write_str("[]"),
            _ if first == last => write!(f, "[{first}]"),
            _ => write!(f, "[{first}..{last}]"),
        }
    }
}

/// As `ovs-ofctl` writes it: `tcp,in_port=1,nw_dst=192.0.2.0/24,tp_dst=80`. Empty for every packet.
impl Display for Match {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&Words::of(self).join(","))
    }
}

/// The words of a match, in Open vSwitch's order.
struct Words<'a> {
    of: &'a Match,
    words: Vec<String>,
}

impl Words<'_> {
    fn of(matching: &Match) -> Vec<String> {
        let mut words = Words {
            of: matching,
            words: Vec::new(),
        };
        words.metadata();
        let (names_type, names_protocol) = words.kind();
        words.registers_and_tunnel();
        words.ethernet(names_type);
        words.network(names_protocol);
        words.transport();
        // What Open vSwitch does not know.
        for field in [Field::InPhyPort, Field::PbbIsid, Field::Ipv6Exthdr] {
            words.named(field, field.name());
        }
        for UnknownField {
            class,
            number,
            body,
        } in matching.unknown()
        {
            let digits: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
            words.words.push(format!(
                "unknown(class={class:#x},number={})={digits}",
                number >> 1
            ));
        }
        words.words
    }

    fn named(&mut self, field: Field, name: &str) {
        if let Some(FieldMatch { field, value, mask }) = self.of.get(field) {
            self.words
                .push(format!("{name}={}", Value { field, value, mask }));
        }
    }

    /// 16 bits: decimal, but hexadecimal where masked.
    fn short(&mut self, field: Field, name: &str) {
        match self.of.get(field) {
            Some(part) if !part.is_exact() => {
                self.words
                    .push(format!("{name}={:#x}/{:#x}", part.value, part.mask));
            }
            _ => self.named(field, name),
        }
    }

    fn metadata(&mut self) {
        self.named(Field::PktMark, "pkt_mark");
        self.named(Field::ConjId, "conj_id");
        self.named(Field::ActsetOutput, "actset_output");
        self.named(Field::CtState, "ct_state");
        if let Some(zone) = self.of.get(Field::CtZone) {
            self.words.push(format!("ct_zone={}", zone.value));
        }
        self.named(Field::CtMark, "ct_mark");
        self.named(Field::CtLabel, "ct_label");
        self.named(Field::CtNwSrc, "ct_nw_src");
        self.named(Field::CtIpv6Src, "ct_ipv6_src");
        self.named(Field::CtNwDst, "ct_nw_dst");
        self.named(Field::CtIpv6Dst, "ct_ipv6_dst");
        self.named(Field::CtNwProto, "ct_nw_proto");
        self.short(Field::CtTpSrc, "ct_tp_src");
        self.short(Field::CtTpDst, "ct_tp_dst");
    }

    fn ethernet_type(&self) -> Option<u16> {
        // The field has 16 bits.
        self.of.get(Field::EthType).map(|field| field.value as u16)
    }

    /// One word for type and protocol; whether it says the type, and the protocol.
    fn kind(&mut self) -> (bool, bool) {
        let protocol = self.of.get(Field::IpProto).map(|field| field.value);
        let (word, names_protocol) = match (self.ethernet_type(), protocol) {
            (Some(ETH_IPV4), Some(1)) => ("icmp", true),
            (Some(ETH_IPV4), Some(6)) => ("tcp", true),
            (Some(ETH_IPV4), Some(17)) => ("udp", true),
            (Some(ETH_IPV4), Some(132)) => ("sctp", true),
            (Some(ETH_IPV4), _) => ("ip", false),
            (Some(ETH_IPV6), Some(58)) => ("icmp6", true),
            (Some(ETH_IPV6), Some(6)) => ("tcp6", true),
            (Some(ETH_IPV6), Some(17)) => ("udp6", true),
            (Some(ETH_IPV6), Some(132)) => ("sctp6", true),
            (Some(ETH_IPV6), _) => ("ipv6", false),
            (Some(ETH_ARP), _) => ("arp", false),
            (Some(0x8035), _) => ("rarp", false),
            (Some(0x8847), _) => ("mpls", false),
            (Some(0x8848), _) => ("mplsm", false),
            _ => return (false, false),
        };
        self.words.push(word.to_owned());
        (true, names_protocol)
    }

    fn registers_and_tunnel(&mut self) {
        for register in Field::REGISTERS {
            self.named(register, register.name());
        }
        self.named(Field::TunnelId, "tun_id");
        self.named(Field::TunIpv4Src, "tun_src");
        self.named(Field::TunIpv4Dst, "tun_dst");
        self.named(Field::TunIpv6Src, "tun_ipv6_src");
        self.named(Field::TunIpv6Dst, "tun_ipv6_dst");
        self.named(Field::Metadata, "metadata");
        self.named(Field::InPort, "in_port");
    }

    fn ethernet(&mut self, names_type: bool) {
        self.vlan();
        self.named(Field::EthSrc, "dl_src");
        self.named(Field::EthDst, "dl_dst");
        if let (false, Some(number)) = (names_type, self.ethernet_type()) {
            self.words.push(format!("dl_type=0x{number:04x}"));
        }
    }

    /// Open vSwitch sees the tag as one field of 16 bits.
    fn vlan(&mut self) {
        let vid = self
            .of
            .get(Field::VlanVid)
            .map_or((0, 0), |vid| (vid.value, vid.mask));
        let pcp = self.of.get(Field::VlanPcp).map(|pcp| pcp.value);
        let whole_vid = 0xfff;
        let present = u128::from(VLAN_PRESENT);
        let vid_mask = vid.1 & whole_vid;
        let is_tagged = vid.0 & present != 0;
        if is_tagged && (vid_mask == 0 || vid_mask == whole_vid) && (vid_mask != 0 || pcp.is_some())
        {
            if vid_mask != 0 {
                self.words.push(format!("dl_vlan={}", vid.0 & whole_vid));
            }
            self.words
                .extend(pcp.map(|pcp| format!("dl_vlan_pcp={pcp}")));
            return;
        }
        let value = vid.0 | pcp.unwrap_or(0) << 13;
        let mask = vid.1 | if pcp.is_some() { 7 << 13 } else { 0 };
        match mask {
            0 => {}
            0xffff => self.words.push(format!("vlan_tci=0x{value:04x}")),
            _ => self
                .words
                .push(format!("vlan_tci=0x{value:04x}/0x{mask:04x}")),
        }
    }

    fn network(&mut self, names_protocol: bool) {
        self.named(Field::Ipv6Src, "ipv6_src");
        self.named(Field::Ipv6Dst, "ipv6_dst");
        if let Some(label) = self.of.get(Field::Ipv6FlowLabel) {
            let mask = if label.is_exact() {
                String::new()
            } else {
                format!("/0x{:05x}", label.mask)
            };
            self.words
                .push(format!("ipv6_label=0x{:05x}{mask}", label.value));
        }
        self.named(Field::ArpSpa, "arp_spa");
        self.named(Field::ArpTpa, "arp_tpa");
        self.named(Field::Ipv4Src, "nw_src");
        self.named(Field::Ipv4Dst, "nw_dst");
        if !names_protocol {
            self.named(Field::IpProto, "nw_proto");
        }
        self.named(Field::ArpOp, "arp_op");
        self.named(Field::ArpSha, "arp_sha");
        self.named(Field::ArpTha, "arp_tha");
        if let Some(dscp) = self.of.get(Field::IpDscp) {
            self.words.push(format!("nw_tos={}", dscp.value << 2));
        }
        self.named(Field::IpEcn, "nw_ecn");
        self.named(Field::IpTtl, "nw_ttl");
        self.named(Field::MplsLabel, "mpls_label");
        self.named(Field::MplsTc, "mpls_tc");
        self.named(Field::MplsBos, "mpls_bos");
        if let Some(fragment) = self.of.get(Field::IpFrag) {
            self.words
                .push(format!("nw_frag={}", fragment_name(fragment)));
        }
    }

    fn transport(&mut self) {
        self.named(Field::Icmpv4Type, "icmp_type");
        self.named(Field::Icmpv4Code, "icmp_code");
        self.named(Field::Icmpv6Type, "icmp_type");
        self.named(Field::Icmpv6Code, "icmp_code");
        self.named(Field::NdTarget, "nd_target");
        self.named(Field::NdSll, "nd_sll");
        self.named(Field::NdTll, "nd_tll");
        for field in [Field::TcpSrc, Field::UdpSrc, Field::SctpSrc] {
            self.short(field, "tp_src");
        }
        for field in [Field::TcpDst, Field::UdpDst, Field::SctpDst] {
            self.short(field, "tp_dst");
        }
        self.named(Field::TcpFlags, "tcp_flags");
    }
}

fn fragment_name(part: FieldMatch) -> &'static str {
    match (part.mask, part.value) {
        (3, 0) | (1, 0) => "no",
        (3, 1) => "first",
        (3, 3) | (2, 2) => "later",
        (1, 1) => "yes",
        (2, 0) => "not_later",
        _ => "<error>",
    }
}
