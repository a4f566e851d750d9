//! Checked views of Ethernet and IP headers (RFC 791, RFC 8200).
//!
//! Parsing happens once and yields values; nothing later looks into the frame's headers again, so nothing
//! can trust a length that was not checked here.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::checksum::Sum;
use super::counters::DropReason;

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// All ones.
    pub const BROADCAST: Mac = Mac([0xff; 6]);

    /// Whether it names a group of stations.
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }
}

/// Length of an Ethernet header.
pub(crate) const ETHERNET_LEN: usize = 14;
/// Length of an IPv4 header without options.
pub(crate) const IPV4_LEN: usize = 20;
/// Length of an IPv6 header.
pub(crate) const IPV6_LEN: usize = 40;

/// EtherTypes (IEEE 802 numbers).
pub(crate) mod ethertype {
    pub(crate) const IPV4: u16 = 0x0800;
    pub(crate) const ARP: u16 = 0x0806;
    pub(crate) const IPV6: u16 = 0x86dd;
}

/// IP protocol numbers (IANA).
pub(crate) mod protocol {
    pub(crate) const ICMP: u8 = 1;
    pub(crate) const TCP: u8 = 6;
    pub(crate) const UDP: u8 = 17;
    pub(crate) const ICMPV6: u8 = 58;
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const DESTINATION_OPTIONS: u8 = 60;
}

/// Reads a big-endian `u16`; `None` past the end.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes([pair[0], pair[1]]))
}

/// Reads a big-endian `u32`; `None` past the end.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes([four[0], four[1], four[2], four[3]]))
}

fn mac_at(bytes: &[u8], at: usize) -> Option<Mac> {
    let six = bytes.get(at..at + 6)?;
    Some(Mac([six[0], six[1], six[2], six[3], six[4], six[5]]))
}

/// An Ethernet II frame.
pub(crate) struct Ethernet<'a> {
    pub(crate) dst: Mac,
    pub(crate) src: Mac,
    pub(crate) ethertype: u16,
    pub(crate) payload: &'a [u8],
}

impl<'a> Ethernet<'a> {
    pub(crate) fn parse(frame: &'a [u8]) -> Result<Ethernet<'a>, DropReason> {
        let parse = || {
            let (dst, src) = (mac_at(frame, 0)?, mac_at(frame, 6)?);
            Some(Ethernet {
                dst,
                src,
                ethertype: u16_at(frame, 12)?,
                payload: &frame[ETHERNET_LEN..],
            })
        };
        parse().ok_or(DropReason::Truncated)
    }

    /// Writes a header to the start of `frame`.
    pub(crate) fn emit(frame: &mut [u8], dst: Mac, src: Mac, ethertype: u16) {
        frame[..6].copy_from_slice(&dst.0);
        frame[6..12].copy_from_slice(&src.0);
        frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
    }
}

/// Where a fragment belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Fragment {
    pub(crate) id: u16,
    /// In bytes.
    pub(crate) offset: usize,
    pub(crate) more: bool,
}

/// An IP packet of either version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ip<'a> {
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    /// Of the payload: behind any extension headers.
    pub(crate) protocol: u8,
    pub(crate) hop_limit: u8,
    pub(crate) payload: &'a [u8],
    pub(crate) fragment: Option<Fragment>,
    /// The packet from its header on, for ICMP errors to quote.
    pub(crate) packet: &'a [u8],
}

impl<'a> Ip<'a> {
    /// RFC 791 §3.1. Options are skipped; source routes are thereby ignored.
    pub(crate) fn parse_v4(bytes: &'a [u8]) -> Result<Ip<'a>, DropReason> {
        let header = bytes.get(..IPV4_LEN).ok_or(DropReason::Truncated)?;
        let header_len = usize::from(header[0] & 0x0f) * 4;
        let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if header[0] >> 4 != 4 || header_len < IPV4_LEN || total_len < header_len {
            return Err(DropReason::BadHeader);
        }
        // The frame may be longer than the packet: Ethernet pads to 60 bytes.
        let packet = bytes.get(..total_len).ok_or(DropReason::Truncated)?;
        if Sum::default().add(&packet[..header_len]).complement() != 0 {
            return Err(DropReason::BadChecksum);
        }
        let flags = u16::from_be_bytes([header[6], header[7]]);
        let (offset, more) = (usize::from(flags & 0x1fff) * 8, flags & 0x2000 != 0);
        let id = u16::from_be_bytes([header[4], header[5]]);
        Ok(Ip {
            src: IpAddr::V4(Ipv4Addr::new(
                header[12], header[13], header[14], header[15],
            )),
            dst: IpAddr::V4(Ipv4Addr::new(
                header[16], header[17], header[18], header[19],
            )),
            protocol: header[9],
            hop_limit: header[8],
            payload: &packet[header_len..],
            fragment: (offset != 0 || more).then_some(Fragment { id, offset, more }),
            packet,
        })
    }

    /// RFC 8200 §3 and §4. Fragments are dropped: no peer of an appliance has a reason to send them, and
    /// TCP never does.
    pub(crate) fn parse_v6(bytes: &'a [u8]) -> Result<Ip<'a>, DropReason> {
        let header = bytes.get(..IPV6_LEN).ok_or(DropReason::Truncated)?;
        if header[0] >> 4 != 6 {
            return Err(DropReason::BadHeader);
        }
        let len = IPV6_LEN + usize::from(u16::from_be_bytes([header[4], header[5]]));
        let packet = bytes.get(..len).ok_or(DropReason::Truncated)?;
        let (protocol, payload) = skip_extensions(header[6], &packet[IPV6_LEN..])?;
        let address = |at: usize| {
            let octets: [u8; 16] = core::array::from_fn(|i| header[at + i]);
            IpAddr::V6(Ipv6Addr::from(octets))
        };
        let (src, dst) = (address(8), address(24));
        Ok(Ip {
            src,
            dst,
            protocol,
            hop_limit: header[7],
            payload,
            fragment: None,
            packet,
        })
    }
}

/// Most extension headers a packet may have. Real ones have one or two.
const EXTENSIONS_MAX: usize = 8;

fn skip_extensions(mut next: u8, mut rest: &[u8]) -> Result<(u8, &[u8]), DropReason> {
    for _ in 0..EXTENSIONS_MAX {
        match next {
            protocol::HOP_BY_HOP | protocol::DESTINATION_OPTIONS | protocol::ROUTING => {
                let &[following, units, _, segments_left, ..] = rest else {
                    return Err(DropReason::Truncated);
                };
                if next == protocol::ROUTING && segments_left != 0 {
                    return Err(DropReason::BadHeader); // RFC 5095: nobody forwards by source route
                }
                rest = rest
                    .get((usize::from(units) + 1) * 8..)
                    .ok_or(DropReason::Truncated)?;
                next = following;
            }
            protocol::FRAGMENT => return Err(DropReason::Fragment),
            _ => return Ok((next, rest)),
        }
    }
    Err(DropReason::BadHeader)
}

/// Length of the IP header that is sent for this destination.
pub(crate) fn ip_header_len(dst: IpAddr) -> usize {
    if dst.is_ipv4() { IPV4_LEN } else { IPV6_LEN }
}

/// The fields of an IP header that is sent.
#[derive(Clone, Copy)]
pub(crate) struct IpHeader {
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) protocol: u8,
    pub(crate) hop_limit: u8,
}

impl IpHeader {
    pub(crate) fn ethertype(&self) -> u16 {
        if self.dst.is_ipv4() {
            ethertype::IPV4
        } else {
            ethertype::IPV6
        }
    }

    /// Writes the header in front of `payload_len` bytes.
    ///
    /// IPv4 packets carry "don't fragment" and identification 0, which RFC 6864 allows for such.
    pub(crate) fn emit(&self, out: &mut [u8], payload_len: usize) {
        match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let total = (IPV4_LEN + payload_len) as u16;
                let header = &mut out[..IPV4_LEN];
                header[..4].copy_from_slice(&[0x45, 0, (total >> 8) as u8, total as u8]);
                header[4..12].copy_from_slice(&[
                    0,
                    0,
                    0x40,
                    0,
                    self.hop_limit,
                    self.protocol,
                    0,
                    0,
                ]);
                header[12..16].copy_from_slice(&src.octets());
                header[16..20].copy_from_slice(&dst.octets());
                let checksum = Sum::default().add(header).complement();
                header[10..12].copy_from_slice(&checksum.to_be_bytes());
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let len = payload_len as u16;
                let header = &mut out[..IPV6_LEN];
                header[..4].copy_from_slice(&[0x60, 0, 0, 0]);
                header[4..8].copy_from_slice(&[
                    (len >> 8) as u8,
                    len as u8,
                    self.protocol,
                    self.hop_limit,
                ]);
                header[8..24].copy_from_slice(&src.octets());
                header[24..40].copy_from_slice(&dst.octets());
            }
            _ => unreachable!("a packet's two addresses are of one family"),
        }
    }

    /// Writes the header of an IPv4 fragment in front of `payload_len` bytes, `offset` bytes into the whole.
    pub(crate) fn emit_fragment(
        &self,
        out: &mut [u8],
        payload_len: usize,
        id: u16,
        offset: usize,
        more: bool,
    ) {
        self.emit(out, payload_len);
        let header = &mut out[..IPV4_LEN];
        let flags = (offset / 8) as u16 | u16::from(more) << 13;
        header[4..6].copy_from_slice(&id.to_be_bytes());
        header[6..8].copy_from_slice(&flags.to_be_bytes());
        header[10..12].fill(0);
        let checksum = Sum::default().add(header).complement();
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; IPV4_LEN + payload.len()];
        let header = IpHeader {
            src: [10, 0, 0, 1].into(),
            dst: [10, 0, 0, 2].into(),
            protocol: protocol::UDP,
            hop_limit: 64,
        };
        header.emit(&mut packet, payload.len());
        packet[IPV4_LEN..].copy_from_slice(payload);
        packet
    }

    #[test]
    fn padding_is_not_payload() {
        let mut bytes = v4(b"abc");
        bytes.extend([0; 20]);
        assert_eq!(Ip::parse_v4(&bytes).unwrap().payload, b"abc");
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let bytes = v4(b"abc");
        assert_eq!(
            Ip::parse_v4(&bytes[..22]).unwrap_err(),
            DropReason::Truncated
        );
        let mut short = bytes.clone();
        short[3] = 10;
        assert_eq!(Ip::parse_v4(&short).unwrap_err(), DropReason::BadHeader);
        let mut flipped = bytes;
        flipped[12] ^= 1;
        assert_eq!(Ip::parse_v4(&flipped).unwrap_err(), DropReason::BadChecksum);
    }

    #[test]
    fn extension_headers_are_bounded_and_skipped() {
        let mut packet = vec![0; IPV6_LEN];
        let (src, dst) = (Ipv6Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
        IpHeader {
            src,
            dst,
            protocol: 0,
            hop_limit: 64,
        }
        .emit(&mut packet, 16);
        packet.extend([60, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0]);
        let ip = Ip::parse_v6(&packet).unwrap();
        assert_eq!((ip.protocol, ip.payload.len()), (17, 0));
        let endless = [60u8, 0, 1, 4, 0, 0, 0, 0].repeat(9);
        let mut packet = vec![0; IPV6_LEN];
        IpHeader {
            src,
            dst,
            protocol: 60,
            hop_limit: 64,
        }
        .emit(&mut packet, endless.len());
        packet.extend(endless);
        assert_eq!(Ip::parse_v6(&packet).unwrap_err(), DropReason::BadHeader);
    }
}
