//! The street: an access point between the clients and the operator's switch.
//!
//! All clients are addresses of one host; on the street each gets a MAC address of its own, so that the
//! operator's switch meets two hundred devices. The street is a switch with fixed flows, which also count
//! what each client exchanged with the far server: a figure that nobody of ours has made.

use anyhow::{Context as _, Result};
use site::{BRIDGE, ORIGIN, Place};

/// The street. Dropping it removes it.
pub(crate) struct Street<'p> {
    place: &'p Place<'p>,
    /// The clients' host.
    host_mac: String,
}

/// A client's MAC address.
fn mac(client: u8) -> String {
    format!("02:00:0a:00:00:{client:02x}")
}

impl<'p> Street<'p> {
    /// Puts it between the clients' host and the operator's switch, whose port keeps its name.
    pub(crate) fn between(place: &'p Place<'p>, clients: &[u8]) -> Result<Street<'p>> {
        let datapath = if place.is_xen() { "system" } else { "netdev" };
        let vsctl = "ovs-vsctl --timeout=20";
        place.run(&format!(
            "{vsctl} del-port {BRIDGE} access
             ip link set access down; ip link set access name street0; ip link set street0 up
             {vsctl} add-br street -- set bridge street datapath_type={datapath} fail_mode=secure \
                 protocols=OpenFlow15
             {vsctl} add-port street street0 -- set interface street0 ofport_request=1
             {vsctl} add-port street door -- set interface door ofport_request=2 type=patch \
                 options:peer=access -- add-port {BRIDGE} access -- set interface access type=patch \
                 options:peer=door"
        ))?;
        let host_mac = place.run("ip netns exec phone cat /sys/class/net/eth0/address")?;
        let street = Street {
            place,
            host_mac: host_mac.trim().to_owned(),
        };
        let mut flows = "priority=10,in_port=1,actions=output:2\n\
                         priority=10,in_port=2,actions=output:1\n"
            .to_owned();
        let mut addresses = String::new();
        for client in clients {
            flows += &street.flows(*client, &mac(*client));
            addresses += &format!("address add 10.0.0.{client}/24 dev eth0\n");
        }
        let flows = place.write("street.flows", flows.as_bytes())?;
        let addresses = place.write("street.addresses", addresses.as_bytes())?;
        place.run(&format!(
            "ip -n phone -batch {addresses}; ovs-ofctl -O OpenFlow15 add-flows street {flows}"
        ))?;
        Ok(street)
    }

    /// What becomes of a client's frames: those of its address have this MAC address.
    fn flows(&self, client: u8, mac: &str) -> String {
        let (own, host) = (format!("10.0.0.{client}"), &self.host_mac);
        let out = format!("set_field:{mac}->eth_src,output:2");
        let back = format!("set_field:{host}->eth_dst,output:1");
        format!(
            "priority=30,cookie={client},in_port=1,ip,nw_src={own},nw_dst={ORIGIN},actions={out}\n\
             priority=30,cookie={client},in_port=2,ip,dl_dst={mac},nw_src={ORIGIN},actions={back}\n\
             priority=20,in_port=1,ip,nw_src={own},actions={out}\n\
             priority=20,in_port=1,arp,arp_spa={own},actions=set_field:{mac}->arp_sha,{out}\n\
             priority=20,in_port=2,dl_dst={mac},actions={back}\n"
        )
    }

    /// Has a client speak from another's MAC address.
    pub(crate) fn lends(&self, client: u8, others: u8) -> Result<()> {
        self.replace(client, &mac(others))
    }

    /// Has a client speak from its own again.
    pub(crate) fn gives_back(&self, client: u8) -> Result<()> {
        self.replace(client, &mac(client))
    }

    /// Has a device that nobody knows speak from a client's address.
    pub(crate) fn steals(&self, client: u8) -> Result<()> {
        self.replace(client, "02:00:0b:ad:00:01")
    }

    /// A client's frames change alone: what others get back stays theirs.
    fn replace(&self, client: u8, mac: &str) -> Result<()> {
        let own = self.flows(client, mac);
        let sent: Vec<&str> = own
            .lines()
            .filter(|flow| flow.contains("in_port=1"))
            .collect();
        let flows = self
            .place
            .write("street.change", sent.join("\n").as_bytes())?;
        let change = format!("ovs-ofctl -O OpenFlow15 add-flows street {flows}");
        self.place.run(&change)?;
        self.place.settle_switch()
    }

    /// Bytes that a client and the far server exchanged so far, both directions, as the street saw them.
    pub(crate) fn bytes(&self, client: u8) -> Result<u64> {
        let said = self.place.run(&format!(
            "ovs-ofctl -O OpenFlow15 dump-flows street cookie={client}/-1"
        ))?;
        let counts = said.lines().filter_map(|line| {
            let (_, count) = line.split_once("n_bytes=")?;
            count.split(',').next()
        });
        let mut sum = 0;
        for count in counts {
            sum += count.parse::<u64>().context("a count of bytes")?;
        }
        Ok(sum)
    }
}

impl Drop for Street<'_> {
    fn drop(&mut self) {
        // In the fast world all goes with the place.
        if self.place.is_xen() {
            let delete = "ovs-vsctl --timeout=20 --if-exists del-br street";
            drop(self.place.run(delete));
        }
    }
}
