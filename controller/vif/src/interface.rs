//! The vif as an interface of dom0's kernel, through its files in `/sys` and `/proc`.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::place::is_name;

/// What Ethernet has, and what a domain assumes unless it is told something else.
pub(crate) const MTU_USUAL: u32 = 1500;
/// `IFF_UP` of <linux/if.h>.
const UP: u32 = 1;

/// Why the interface cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InterfaceError {
    /// It cannot be the name of one.
    #[error("'{0}' is no name of an interface")]
    Name(String),
    /// The kernel knows no such bridge.
    #[error("there is no bridge {0}: ovs-vsctl add-br {0}")]
    NoBridge(String),
    /// What xenstore says is no number.
    #[error("'{0}' is no MTU")]
    NoMtu(String),
    /// netback refuses it.
    #[error("the vif does not take an MTU of {0}: {1}")]
    Mtu(u32, io::Error),
    /// It cannot be read or set up.
    #[error("the vif cannot be set up: {0}")]
    Up(io::Error),
}

/// The interfaces of a system.
pub(crate) struct Interfaces {
    class: PathBuf,
    ipv6: PathBuf,
}

impl Interfaces {
    pub(crate) fn of_this_system() -> Interfaces {
        Interfaces {
            class: "/sys/class/net".into(),
            ipv6: "/proc/sys/net/ipv6/conf".into(),
        }
    }

    /// Gives the vif the MTU that its configuration names, or else the bridge's, and returns it. The
    /// bridge must be there.
    pub(crate) fn prepare(
        &self,
        vif: &str,
        bridge: &str,
        wanted: Option<&str>,
    ) -> Result<u32, InterfaceError> {
        if !is_name(vif) {
            return Err(InterfaceError::Name(vif.to_owned()));
        }
        let of_bridge = fs::read_to_string(self.class.join(bridge).join("mtu"))
            .map_err(|_| InterfaceError::NoBridge(bridge.to_owned()))?;
        let text = wanted.unwrap_or(of_bridge.trim_end());
        let mtu = text.parse();
        let mtu = mtu.map_err(|_| InterfaceError::NoMtu(text.to_owned()))?;
        // A new vif has the usual one.
        if mtu != MTU_USUAL {
            fs::write(self.class.join(vif).join("mtu"), text)
                .map_err(|error| InterfaceError::Mtu(mtu, error))?;
        }
        Ok(mtu)
    }

    /// Sets the vif up. Dom0 itself is nobody there: it looks for no IPv6 neighbours through it.
    pub(crate) fn set_up(&self, vif: &str) -> Result<(), InterfaceError> {
        // A kernel without IPv6 has no such file.
        let _ = fs::write(self.ipv6.join(vif).join("disable_ipv6"), "1");
        let file = self.class.join(vif).join("flags");
        let flags = fs::read_to_string(&file).map_err(InterfaceError::Up)?;
        let digits = flags.trim_end().trim_start_matches("0x");
        let flags = u32::from_str_radix(digits, 16)
            .map_err(|error| InterfaceError::Up(io::Error::other(error)))?;
        fs::write(&file, format!("{:#x}", flags | UP)).map_err(InterfaceError::Up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that looks like the kernel's, with a bridge of this MTU and a vif.
    fn system(mtu: &str) -> (tempfile::TempDir, Interfaces) {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("br0/mtu", mtu),
            ("vif1.0/mtu", "1500\n"),
            ("vif1.0/flags", "0x1002\n"),
            ("vif1.0/disable_ipv6", "0\n"),
        ] {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let (class, ipv6) = (folder.path().into(), folder.path().into());
        (folder, Interfaces { class, ipv6 })
    }

    #[test]
    fn a_vif_takes_over_its_bridges_mtu_and_is_set_up() {
        let (folder, interfaces) = system("9000\n");
        let said = |file| fs::read_to_string(folder.path().join(file)).unwrap();
        assert_eq!(interfaces.prepare("vif1.0", "br0", None).unwrap(), 9000);
        assert_eq!(said("vif1.0/mtu"), "9000");
        let asked = interfaces.prepare("vif1.0", "br0", Some("1400"));
        assert_eq!(asked.unwrap(), 1400);
        assert_eq!(said("vif1.0/mtu"), "1400");
        interfaces.set_up("vif1.0").unwrap();
        assert_eq!(said("vif1.0/flags"), "0x1003");
        assert_eq!(said("vif1.0/disable_ipv6"), "1");
    }

    #[test]
    fn what_is_missing_is_named() {
        let (_folder, interfaces) = system("1500\n");
        let said = |vif: &str, bridge: &str, mtu| {
            let error = interfaces.prepare(vif, bridge, mtu).unwrap_err();
            error.to_string()
        };
        let none = "there is no bridge br1: ovs-vsctl add-br br1";
        assert_eq!(said("vif1.0", "br1", None), none);
        assert_eq!(said("vif1.0", "br0", Some("many")), "'many' is no MTU");
        assert_eq!(
            said("../br0", "br0", None),
            "'../br0' is no name of an interface"
        );
        assert!(interfaces.set_up("vif2.0").is_err());
    }
}
