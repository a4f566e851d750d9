//! A host: a network namespace with a cable to the switch.

use std::process::Command;

use crate::switch::{BRIDGE, Switch};
use crate::world::{WorldError, finish};

/// A host. It goes with its switch's world.
#[derive(Debug)]
pub struct Host<'a> {
    switch: &'a Switch,
    name: String,
}

impl<'a> Host<'a> {
    /// Makes a host and plugs it into the bridge. In it the cable's end is `eth0`.
    ///
    /// `name` is also the name of the switch's port: a word of up to 12 letters. `port` is its
    /// OpenFlow number. `address` is with its prefix's length, such as `10.0.0.1/24`.
    ///
    /// # Errors
    /// What `ip`, `ethtool` or `ovs-vsctl` wrote.
    pub fn plug(
        switch: &'a Switch,
        name: &str,
        port: u16,
        address: &str,
    ) -> Result<Host<'a>, WorldError> {
        let world = switch.world();
        world.run(&["ip", "netns", "add", name])?;
        let ends = ["type", "veth", "peer", "name", "eth0", "netns", name];
        world.run(&[&["ip", "link", "add", name], &ends[..]].concat())?;
        world.run(&["ip", "link", "set", name, "up"])?;
        let host = Host {
            switch,
            name: name.to_string(),
        };
        host.run(&["ip", "link", "set", "lo", "up"])?;
        host.run(&["ip", "address", "add", address, "dev", "eth0"])?;
        // The userspace datapath passes on checksums that the kernel left to a device.
        host.run(&["ethtool", "-K", "eth0", "tx", "off"])?;
        host.run(&["ip", "link", "set", "eth0", "up"])?;
        let number = format!("ofport_request={port}");
        let plug = ["--", "set", "interface", name, &number];
        switch.vsctl(&[&["add-port", BRIDGE, name], &plug[..]].concat())?;
        Ok(host)
    }

    /// Its name, which is the switch's port's too.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command on the host, not yet started.
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.switch.world().command("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Runs a command on the host to its end, and returns what it wrote.
    ///
    /// # Errors
    /// What it wrote, if it did not succeed.
    pub fn run(&self, command: &[&str]) -> Result<String, WorldError> {
        let [program, arguments @ ..] = command else {
            return Err(WorldError("no command".to_string()));
        };
        finish(self.command(program).args(arguments), command)
    }
}
