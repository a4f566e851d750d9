//! What the stack sends, read by somebody else: smoltcp's wire formats.

use edgecloud_runtime::net::{Capabilities, GsoKind, TxChecksum, TxMeta};
use smoltcp::wire::{
    ArpPacket, EthernetFrame, EthernetProtocol, Icmpv4Packet, Icmpv6Packet, IpAddress, IpProtocol,
    Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket,
};

use super::victim::VICTIM_MAC;

const HEADER: usize = 14;

/// Panics if the frame is not one that any receiver would take.
pub(super) fn check(frame: &[u8], meta: TxMeta, capabilities: Capabilities) {
    let ethernet = EthernetFrame::new_checked(frame).expect("an Ethernet frame");
    assert_eq!(ethernet.src_addr().0, VICTIM_MAC, "sent in another's name");
    assert!(!(ethernet.dst_addr().is_multicast() && meta.gso.is_some()));
    match meta.gso {
        None => {
            let most = usize::from(capabilities.mtu) + HEADER;
            assert!(frame.len() <= most, "a packet of {} bytes", frame.len());
        }
        Some(gso) => {
            assert!(gso.kind == GsoKind::TcpV4 && gso.size > 0, "{gso:?}");
            assert!(frame.len() <= capabilities.frame_max);
        }
    }
    match ethernet.ethertype() {
        EthernetProtocol::Arp => drop(ArpPacket::new_checked(ethernet.payload()).expect("ARP")),
        EthernetProtocol::Ipv4 => ipv4(ethernet.payload(), meta),
        EthernetProtocol::Ipv6 => ipv6(ethernet.payload(), meta),
        other => panic!("EtherType {other}"),
    }
}

fn ipv4(bytes: &[u8], meta: TxMeta) {
    let packet = Ipv4Packet::new_checked(bytes).expect("an IPv4 packet");
    assert_eq!(usize::from(packet.total_len()), bytes.len());
    assert!(packet.verify_checksum(), "the header's checksum");
    assert!(!packet.src_addr().is_multicast() && !packet.src_addr().is_broadcast());
    if packet.more_frags() || packet.frag_offset() != 0 {
        return; // the transport header is in another one
    }
    if packet.next_header() == IpProtocol::Icmp {
        let icmp = Icmpv4Packet::new_checked(packet.payload()).expect("ICMP");
        return assert!(icmp.verify_checksum());
    }
    let addresses = (packet.src_addr().into(), packet.dst_addr().into());
    transport(packet.next_header(), packet.payload(), addresses, meta);
}

fn ipv6(bytes: &[u8], meta: TxMeta) {
    let packet = Ipv6Packet::new_checked(bytes).expect("an IPv6 packet");
    assert_eq!(packet.total_len(), bytes.len());
    assert!(!packet.src_addr().is_multicast());
    let addresses = (packet.src_addr().into(), packet.dst_addr().into());
    match packet.next_header() {
        IpProtocol::Icmpv6 => {
            let icmp = Icmpv6Packet::new_checked(packet.payload()).expect("ICMPv6");
            assert!(icmp.verify_checksum(&packet.src_addr(), &packet.dst_addr()));
        }
        // Reports of group membership carry the router alert in front.
        IpProtocol::HopByHop => {}
        protocol => transport(protocol, packet.payload(), addresses, meta),
    }
}

fn transport(protocol: IpProtocol, bytes: &[u8], (src, dst): (IpAddress, IpAddress), meta: TxMeta) {
    let left_to_device = match meta.checksum {
        TxChecksum::Complete => false,
        TxChecksum::Partial { start, offset } => {
            let field = if protocol == IpProtocol::Tcp { 16 } else { 6 };
            let headers = if src.version() == smoltcp::wire::IpVersion::Ipv4 {
                34
            } else {
                54
            };
            assert_eq!(
                (start, offset),
                (headers, field),
                "where the checksum belongs"
            );
            true
        }
    };
    match protocol {
        IpProtocol::Tcp => {
            let segment = TcpPacket::new_checked(bytes).expect("a TCP segment");
            assert!(left_to_device || segment.verify_checksum(&src, &dst));
            assert!(segment.src_port() != 0 && segment.dst_port() != 0);
            assert!(!segment.syn() || !(segment.fin() || segment.rst()));
        }
        IpProtocol::Udp => {
            let datagram = UdpPacket::new_checked(bytes).expect("a UDP datagram");
            assert!(left_to_device || datagram.verify_checksum(&src, &dst));
            assert_eq!(usize::from(datagram.len()), bytes.len());
        }
        other => panic!("protocol {other}"),
    }
}
