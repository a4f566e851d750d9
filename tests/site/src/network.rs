//! The hosts and links around the switch.

use anyhow::Result;

use crate::place::{Place, Service};

/// The client's address on the access side.
pub const CLIENT: &str = "10.0.0.5";
/// Dom0's address on the bridge.
pub const DOM0: &str = "10.0.1.1";
/// The origin's address, behind the backhaul.
pub const ORIGIN: &str = "203.0.113.7";
/// The Internet's name server, behind the backhaul.
pub const NAMES: &str = "203.0.113.53";
/// The client's address of IPv6.
pub const CLIENT_V6: &str = "fd00:a::5";
/// Dom0's address of IPv6 on the bridge.
pub const DOM0_V6: &str = "fd00:d::1";
/// The origin's address of IPv6.
pub const ORIGIN_V6: &str = "2001:db8:7::7";
/// The router's Ethernet address on the switch.
pub const ROUTER_MAC: &str = "02:00:00:00:00:02";

/// The bridge that the daemon owns.
pub const BRIDGE: &str = "edgecloud";

/// Frames that wait or are on their way, each way.
const FRAMES_MAX: u32 = 200;

/// A poor link.
#[derive(Debug, Clone, Copy)]
pub struct Backhaul {
    /// Each way.
    pub kbit_per_s: u32,
    /// There and back.
    pub round_trip_ms: u32,
    /// Of the packets, each way.
    pub loss_percent: f32,
}

impl Backhaul {
    /// In the fast world, whose kernel may lack netem, the link is a program between two TAP devices,
    /// `left` and `right`; returns when they are there.
    fn emulated<'p>(&self, place: &'p Place<'p>) -> Result<Option<Service<'p>>> {
        if place.is_xen() {
            return Ok(None);
        }
        let Backhaul {
            kbit_per_s,
            round_trip_ms,
            loss_percent,
        } = self;
        let program = place.program("poor-link", "poor-link")?;
        let link = place.start(
            "link",
            &format!(
                "exec {program} left right --kbit-per-s {kbit_per_s} --delay-ms {} \
                     --loss-percent {loss_percent} --frames-max {FRAMES_MAX}",
                round_trip_ms / 2
            ),
        )?;
        place.run(
            "for i in $(seq 100); do ip link show right >/dev/null 2>&1 && exit; sleep 0.05; done
             cat \"$HERE/link.log\" >&2; exit 1",
        )?;
        Ok(Some(link))
    }

    /// The commands that put it between `eth1` of the router and `eth0` of the origin.
    fn connection(&self, place: &Place<'_>) -> String {
        if !place.is_xen() {
            return "ip link set left netns router name eth1; ip link set right netns origin name eth0"
                .to_owned();
        }
        let Backhaul {
            kbit_per_s,
            round_trip_ms,
            loss_percent,
        } = self;
        let netem = format!(
            "root netem limit {FRAMES_MAX} rate {kbit_per_s}kbit delay {}ms loss {loss_percent}%",
            round_trip_ms / 2
        );
        format!(
            "ip -n router link add eth1 type veth peer name eth0 netns origin
             modprobe sch_netem
             tc -n router qdisc replace dev eth1 {netem}
             tc -n origin qdisc replace dev eth0 {netem}"
        )
    }
}

/// Hosts and links. Dropping it removes them.
pub struct Network<'p> {
    place: &'p Place<'p>,
    /// The backhaul in the fast world.
    _link: Option<Service<'p>>,
}

impl<'p> Network<'p> {
    /// Makes it: the client in namespace `phone`, the router in `router`, servers in `origin`.
    ///
    /// # Errors
    /// What `ip`, `tc` or `ovs-vsctl` say.
    pub fn make(place: &'p Place<'p>, backhaul: &Backhaul) -> Result<Network<'p>> {
        let datapath = if place.is_xen() { "system" } else { "netdev" };
        let network = Network {
            place,
            _link: backhaul.emulated(place)?,
        };
        place.run(&format!(
            "ovs-vsctl --timeout=20 --may-exist add-br {BRIDGE} -- set bridge {BRIDGE} \
                 datapath_type={datapath} fail_mode=secure protocols=OpenFlow15
             for host in phone router origin; do ip netns add $host; ip -n $host link set lo up; done
             ip link add access type veth peer name eth0 netns phone
             ip link add backhaul type veth peer name eth0 netns router
             {}
             ip -n router link set eth0 address {ROUTER_MAC}
             for host in phone router origin; do ip -n $host link set eth0 up; done
             ip link set access up; ip link set backhaul up; ip -n router link set eth1 up
             ovs-vsctl --timeout=20 add-port {BRIDGE} access -- add-port {BRIDGE} backhaul
             ip address add {DOM0}/24 dev {BRIDGE}; ip link set {BRIDGE} up
             ip route add 203.0.113.0/24 via 10.0.1.254; ip route add 10.0.0.0/24 dev {BRIDGE}
             ip -n phone address add {CLIENT}/24 dev eth0
             ip -n phone route add default via 10.0.0.254
             ip -n router address add 10.0.0.254/24 dev eth0
             ip -n router address add 10.0.1.254/24 dev eth0
             ip -n router address add 203.0.113.1/24 dev eth1
             ip netns exec router sysctl -qw net.ipv4.ip_forward=1
             ip -n origin address add {ORIGIN}/24 dev eth0
             ip -n origin address add {NAMES}/24 dev eth0
             ip -n origin route add default via 203.0.113.1",
            backhaul.connection(place)
        ))?;
        network.speak_v6()?;
        if !place.is_xen() {
            // The userspace datapath passes on checksums that the kernel left to a device.
            place.run(&format!(
                "ip netns exec phone ethtool -K eth0 tx off >/dev/null
                 ip netns exec router ethtool -K eth0 tx off >/dev/null
                 ethtool -K {BRIDGE} tx off >/dev/null"
            ))?;
        }
        Ok(network)
    }

    /// Gives everybody addresses of IPv6, too. The switch's ends of the cables have none: in the
    /// fast world they are dom0's interfaces, and nobody but the bridge speaks for dom0.
    fn speak_v6(&self) -> Result<()> {
        self.place.run(&format!(
            "for port in access backhaul; do
                 sysctl -qw net.ipv6.conf.$port.disable_ipv6=1
             done
             ip address add {DOM0_V6}/64 dev {BRIDGE} nodad
             ip -n phone address add {CLIENT_V6}/64 dev eth0 nodad
             ip -n router address add fd00:a::fe/64 dev eth0 nodad
             ip -n router address add fd00:d::fe/64 dev eth0 nodad
             ip -n router address add 2001:db8:7::1/64 dev eth1 nodad
             ip netns exec router sysctl -qw net.ipv6.conf.all.forwarding=1
             ip -n origin address add {ORIGIN_V6}/64 dev eth0 nodad
             ip -n phone route add default via fd00:a::fe
             ip -n origin route add default via 2001:db8:7::1
             ip route add 2001:db8:7::/64 via fd00:d::fe; ip route add fd00:a::/64 dev {BRIDGE}"
        ))?;
        Ok(())
    }

    /// Serves names behind the backhaul with dnsmasq: `zone` is lines of its configuration, such as
    /// `address=/www.photos.example/203.0.113.7`.
    ///
    /// # Errors
    /// It does not start.
    pub fn serve_names(&self, zone: &str) -> Result<Service<'p>> {
        let config = format!(
            "no-resolv\nno-hosts\nbind-interfaces\nlisten-address={NAMES}\nlocal-ttl=60\n\
             user=root\npid-file=\n{zone}\n"
        );
        let config = self.place.write("dnsmasq.conf", config.as_bytes())?;
        let command =
            format!("exec ip netns exec origin dnsmasq --keep-in-foreground --conf-file={config}");
        self.place.start("dnsmasq", &command)
    }

    /// Bytes that went through a host's interface: received and sent.
    ///
    /// # Errors
    /// There is no such host.
    pub fn bytes(&self, host: &str, interface: &str) -> Result<(u64, u64)> {
        let statistics = format!("/sys/class/net/{interface}/statistics");
        // `ip netns exec` mounts the host's own /sys.
        let said = self.place.run(&format!(
            "ip netns exec {host} cat {statistics}/rx_bytes {statistics}/tx_bytes"
        ))?;
        let mut numbers = said.split_whitespace().map(str::parse);
        let mut next = || numbers.next().unwrap_or(Ok(0)).map_err(anyhow::Error::from);
        Ok((next()?, next()?))
    }
}

impl Drop for Network<'_> {
    fn drop(&mut self) {
        // In the fast world all goes with the place.
        if self.place.is_xen() {
            drop(self.place.run(&format!(
                "set +e; for host in phone router origin; do ip netns del $host; done
                 ovs-vsctl --timeout=20 --if-exists del-br {BRIDGE}; ip link del access; \
                 ip link del backhaul; true"
            )));
        }
    }
}
