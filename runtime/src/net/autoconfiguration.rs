//! Addresses from a DHCPv4 server (RFC 2131) and from IPv6 routers (RFC 4862): smoltcp's clients, each
//! frame of theirs passed through two queues.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::IpAddr;

use smoltcp::iface::{Config as InterfaceConfig, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::dhcpv4;
use smoltcp::time::Instant as SmolInstant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};

use super::config::Config;
use super::counters::DropReason;
use super::packet::{Ip, Mac};
use super::route::link_local;
use super::time::{Instant, SECOND};

/// Frames that wait for the client: they are read at once, so more is a flood.
const WAITING_MAX: usize = 16;

/// What changed.
#[derive(Default, PartialEq, Eq, Debug)]
pub(crate) struct News {
    pub(crate) addresses: Vec<(IpAddr, u8)>,
    pub(crate) gateways: Vec<IpAddr>,
    pub(crate) dns: Vec<IpAddr>,
    pub(crate) lost_addresses: Vec<(IpAddr, u8)>,
    pub(crate) lost_gateways: Vec<IpAddr>,
}

/// Both clients.
pub(crate) struct Autoconfiguration {
    interface: Box<Interface>,
    sockets: SocketSet<'static>,
    dhcp: Option<SocketHandle>,
    queues: Queues,
    /// What smoltcp had when we last looked.
    addresses: Vec<(IpAddr, u8)>,
    gateways: Vec<IpAddr>,
    deadline: Option<Instant>,
}

impl Autoconfiguration {
    pub(crate) fn new(
        mac: Mac,
        mtu: u16,
        config: &Config,
        seed: u64,
        now: Instant,
    ) -> Autoconfiguration {
        let mut queues = Queues {
            received: VecDeque::new(),
            to_send: Vec::new(),
            mtu,
        };
        let mut settings = InterfaceConfig::new(HardwareAddress::Ethernet(EthernetAddress(mac.0)));
        settings.random_seed = seed;
        settings.slaac = config.slaac;
        let mut interface = Box::new(Interface::new(settings, &mut queues, convert(now)));
        let own = IpCidr::new(IpAddr::V6(link_local(mac)).into(), 64);
        interface.update_ip_addrs(|addresses| {
            let _ = addresses.push(own); // the list is empty and has room for eight
        });
        let mut sockets = SocketSet::new(Vec::new());
        let dhcp = config.dhcp.then(|| sockets.add(dhcpv4::Socket::new()));
        let addresses = alloc::vec![(IpAddr::V6(link_local(mac)), 64)];
        Autoconfiguration {
            interface,
            sockets,
            dhcp,
            queues,
            addresses,
            gateways: Vec::new(),
            deadline: Some(now),
        }
    }

    /// A frame that may be for the clients.
    pub(crate) fn offer(&mut self, now: Instant, frame: &[u8]) {
        if self.queues.received.len() < WAITING_MAX {
            self.queues.received.push_back(frame.to_vec());
            self.deadline = Some(now);
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Lets the clients work if something is due.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<News> {
        if self.deadline.is_none_or(|at| now < at) {
            return None;
        }
        let time = convert(now);
        self.interface
            .poll(time, &mut self.queues, &mut self.sockets);
        self.interface.poll_maintenance(time); // what a router said takes effect here
        let mut dns = Vec::new();
        if let Some(handle) = self.dhcp {
            match self.sockets.get_mut::<dhcpv4::Socket>(handle).poll() {
                Some(dhcpv4::Event::Configured(lease)) => {
                    dns.extend(lease.dns_servers.iter().map(|&server| IpAddr::V4(server)));
                    let (address, router) = (lease.address, lease.router);
                    self.set_v4(Some(IpCidr::Ipv4(address)));
                    let routes = self.interface.routes_mut();
                    routes.remove_default_ipv4_route();
                    if let Some(router) = router {
                        // There is room: the only other routes are IPv6's.
                        let _ = routes.add_default_ipv4_route(router);
                    }
                }
                Some(dhcpv4::Event::Deconfigured) => {
                    self.set_v4(None);
                    self.interface.routes_mut().remove_default_ipv4_route();
                }
                None => {}
            }
        }
        let next = self.interface.poll_at(time, &self.sockets);
        let next = next.map(|at| Instant((at.total_micros().max(0) as u64) * 1000));
        self.deadline = match next {
            // When no router answers, smoltcp names the time of its last question for ever.
            Some(past) if past <= now => self.dhcp.map(|_| now.after(10 * SECOND)),
            next => next,
        };
        self.compare(dns)
    }

    fn set_v4(&mut self, address: Option<IpCidr>) {
        self.interface.update_ip_addrs(|addresses| {
            addresses.retain(|held| !matches!(held, IpCidr::Ipv4(_)));
            if let Some(address) = address {
                let _ = addresses.push(address); // one of eight, beside IPv6's few
            }
        });
    }

    fn compare(&mut self, dns: Vec<IpAddr>) -> Option<News> {
        let held = self.interface.ip_addrs().iter();
        let addresses: Vec<_> = held
            .map(|cidr| (IpAddr::from(cidr.address()), cidr.prefix_len()))
            .collect();
        let mut gateways = Vec::new();
        self.interface.routes_mut().update(|routes| {
            gateways.extend(
                routes
                    .iter()
                    .filter(|r| r.cidr.prefix_len() == 0)
                    .map(|r| IpAddr::from(r.via_router)),
            );
        });
        let minus = |a: &[(IpAddr, u8)], b: &[(IpAddr, u8)]| {
            a.iter().filter(|x| !b.contains(x)).copied().collect()
        };
        let without =
            |a: &[IpAddr], b: &[IpAddr]| a.iter().filter(|x| !b.contains(x)).copied().collect();
        let news = News {
            addresses: minus(&addresses, &self.addresses),
            gateways: without(&gateways, &self.gateways),
            dns,
            lost_addresses: minus(&self.addresses, &addresses),
            lost_gateways: without(&self.gateways, &gateways),
        };
        (self.addresses, self.gateways) = (addresses, gateways);
        (news != News::default()).then_some(news)
    }

    /// What the clients want to send.
    pub(crate) fn take_frames(&mut self) -> Vec<Vec<u8>> {
        core::mem::take(&mut self.queues.to_send)
    }
}

/// Whether a router's advertisement is one: from the link (RFC 4861 §6.1.2), with prefixes in which
/// addresses can be formed. smoltcp panics over a prefix of more than 128 bits, and over the
/// address that it makes of a multicast one.
pub(crate) fn check_advertisement(ip: &Ip) -> Result<(), DropReason> {
    let from_link = matches!(ip.src, IpAddr::V6(router) if router.is_unicast_link_local());
    if !from_link || ip.hop_limit != 255 {
        return Err(DropReason::BadHeader);
    }
    let mut options = ip.payload.get(ADVERTISEMENT_LEN..).unwrap_or_default();
    while let &[kind, units, ..] = options {
        let (option, rest) = options
            .split_at_checked(usize::from(units) * 8)
            .ok_or(DropReason::Truncated)?;
        let impossible = option.get(2).is_some_and(|&length| length > 128)
            || option
                .get(16)
                .is_some_and(|&first| first == 0 || first == 0xff);
        if option.is_empty() || (kind == PREFIX_INFORMATION && impossible) {
            return Err(DropReason::BadHeader);
        }
        options = rest;
    }
    Ok(())
}

/// Bytes of a router advertisement in front of its options (RFC 4861 §4.2).
const ADVERTISEMENT_LEN: usize = 16;
/// The option with a prefix: its length in byte 2, itself from byte 16 (RFC 4861 §4.6.2).
const PREFIX_INFORMATION: u8 = 3;

fn convert(now: Instant) -> SmolInstant {
    SmolInstant::from_micros(now.micros() as i64)
}

/// smoltcp's device: two queues.
struct Queues {
    received: VecDeque<Vec<u8>>,
    to_send: Vec<Vec<u8>>,
    mtu: u16,
}

struct Received(Vec<u8>);

struct ToSend<'a>(&'a mut Vec<Vec<u8>>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for ToSend<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = alloc::vec![0; len];
        let result = f(&mut frame);
        self.0.push(frame);
        result
    }
}

impl Device for Queues {
    type RxToken<'a> = Received;
    type TxToken<'a> = ToSend<'a>;

    fn receive(&mut self, _: SmolInstant) -> Option<(Received, ToSend<'_>)> {
        let frame = self.received.pop_front()?;
        Some((Received(frame), ToSend(&mut self.to_send)))
    }

    fn transmit(&mut self, _: SmolInstant) -> Option<ToSend<'_>> {
        (self.to_send.len() < WAITING_MAX).then_some(ToSend(&mut self.to_send))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = usize::from(self.mtu) + super::packet::ETHERNET_LEN;
        capabilities
    }
}
