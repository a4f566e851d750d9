//! ARP (RFC 826): answered for own addresses only, so that an intercepting appliance does not take over
//! the addresses it speaks for.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use smoltcp::wire::{ArpOperation, ArpPacket, ArpRepr, EthernetAddress};

use super::counters::DropReason;
use super::network::Network;
use super::packet::{ETHERNET_LEN, Ethernet, Mac, ethertype};
use super::time::Instant;

impl Network {
    /// One ARP packet; returns the connections that can go on.
    pub(crate) fn receive_arp(
        &mut self,
        now: Instant,
        payload: &[u8],
    ) -> Result<Vec<u32>, DropReason> {
        let packet = ArpPacket::new_checked(payload).map_err(|_| DropReason::Truncated)?;
        let repr = ArpRepr::parse(&packet).map_err(|_| DropReason::BadHeader)?;
        let ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr,
            source_protocol_addr: source,
            ..
        } = repr
        else {
            return Err(DropReason::UnknownProtocol);
        };
        let ArpRepr::EthernetIpv4 {
            target_protocol_addr: target,
            ..
        } = repr
        else {
            return Err(DropReason::UnknownProtocol);
        };
        let mac = Mac(source_hardware_addr.0);
        let ours = !target.is_loopback() && self.routes.is_own(IpAddr::V4(target));
        if self.routes.is_own(IpAddr::V4(source)) || source.is_multicast() || source.is_broadcast()
        {
            return Err(DropReason::NotOurs); // somebody claims our address, or none
        }
        let asks = operation == ArpOperation::Request;
        if asks && ours {
            self.send_arp(ArpOperation::Reply, target, mac, source, mac);
        }
        if source.is_unspecified() {
            return Ok(Vec::new()); // RFC 5227: a probe tells nothing
        }
        Ok(self.learn(now, IpAddr::V4(source), mac, asks && ours))
    }

    /// Asks who has `target`: everybody, or the one who had it.
    pub(crate) fn ask_arp(&mut self, target: Ipv4Addr, mac: Option<Mac>) {
        let source = match self.routes.source_for(IpAddr::V4(target)) {
            Some(IpAddr::V4(source)) => source,
            _ => Ipv4Addr::UNSPECIFIED,
        };
        self.send_arp(
            ArpOperation::Request,
            source,
            Mac::default(),
            target,
            mac.unwrap_or(Mac::BROADCAST),
        );
    }

    /// Tells everybody our addresses (RFC 5227 §3): after the start, and after moving to another host.
    pub(crate) fn announce_arp(&mut self) {
        for &(address, _) in &self.routes.addresses().to_vec() {
            if let IpAddr::V4(own) = address {
                self.send_arp(
                    ArpOperation::Request,
                    own,
                    Mac::default(),
                    own,
                    Mac::BROADCAST,
                );
            }
        }
    }

    fn send_arp(
        &mut self,
        operation: ArpOperation,
        source: Ipv4Addr,
        target_mac: Mac,
        target: Ipv4Addr,
        to: Mac,
    ) {
        let repr = ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr: EthernetAddress(self.mac.0),
            source_protocol_addr: source,
            target_hardware_addr: EthernetAddress(target_mac.0),
            target_protocol_addr: target,
        };
        let mut frame = alloc::vec![0; ETHERNET_LEN + repr.buffer_len()];
        Ethernet::emit(&mut frame, to, self.mac, ethertype::ARP);
        repr.emit(&mut ArpPacket::new_unchecked(&mut frame[ETHERNET_LEN..]));
        self.enqueue(frame);
    }
}
