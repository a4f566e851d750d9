//! Plugs a domain's vif into Open vSwitch: `script=vif-edgecloud` in the `vif` line of an xl.cfg.
//!
//! Xen's toolstack runs a "hotplug script" between building a domain and letting it run, so whatever
//! that takes, every launch takes. Xen's own `vif-openvswitch` starts some thirty processes; this one
//! starts none. It speaks with xenstored ([`store`]) and with Open vSwitch's database ([`switch`]) itself.
//!
//! libxl calls it with `online` or `offline` (`add` or `remove` for an emulated interface) and the
//! variables `vif`, the interface's name, and `XENBUS_PATH`, the backend's directory in xenstore
//! (docs/misc/block-scripts.txt and tools/hotplug/Linux/vif-common.sh in Xen's tree). What went wrong is
//! left in `hotplug-error` beside the status, which `xl` shows.

mod interface;
mod place;
mod store;
mod switch;

use std::process::ExitCode;

use interface::Interfaces;
use place::Place;
use store::Store;
use switch::Switch;

/// Where xenstored listens in dom0.
const STORE: &str = "/run/xenstored/socket";
/// The same, where xenstored is a domain of its own or the kernel stands between.
const STORE_DEVICE: &str = "/dev/xen/xenbus";
/// Open vSwitch's database, as Debian has it.
const DATABASE: &str = "/run/openvswitch/db.sock";
const USAGE: &str =
    "usage: vif=NAME XENBUS_PATH=PATH vif-edgecloud online|offline|add|remove (libxl calls it)";

/// Why a vif is not plugged in.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Place(#[from] place::PlaceError),
    #[error(transparent)]
    Interface(#[from] interface::InterfaceError),
    #[error(transparent)]
    Switch(#[from] switch::SwitchError),
    #[error("xenstore: {0}")]
    Store(#[from] store::StoreError),
    #[error("{0} in xenstore is not text")]
    Text(&'static str),
    #[error("vifname= is not supported here: leave it out, or use script=vif-openvswitch")]
    Renamed,
}

fn main() -> ExitCode {
    let action = std::env::args().nth(1).unwrap_or_default();
    let variable = |name| std::env::var(name).unwrap_or_default();
    let (name, backend) = (variable("vif"), variable("XENBUS_PATH"));
    if name.is_empty() || backend.is_empty() {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    let switch = Switch::new(DATABASE);
    match &action[..] {
        // The port may be gone already, with the interface: there is nobody to tell.
        "offline" | "remove" => {
            if let Err(error) = switch.unplug(&name) {
                eprintln!("vif-edgecloud: {name}: {error}");
            }
            ExitCode::SUCCESS
        }
        "online" | "add" => match online(&name, &backend, &switch, action == "online") {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("vif-edgecloud: {name}: {error}");
                ExitCode::FAILURE
            }
        },
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// Plugs the vif in, and says how that went where libxl and netback look.
fn online(name: &str, backend: &str, switch: &Switch, tell: bool) -> Result<(), Refusal> {
    let mut store = Store::open(STORE).or_else(|_| Store::open_device(STORE_DEVICE))?;
    let plugged = plug(name, backend, &mut store, switch);
    let at = |node: &str| format!("{backend}/{node}");
    match &plugged {
        Ok(mtu) if tell => {
            let mut nodes = Vec::new();
            nodes.extend(mtu.clone());
            // The last one: netback connects when it sees it.
            nodes.push((at("hotplug-status"), "connected".to_owned()));
            store.write(&nodes)?;
        }
        Ok(_) => {}
        Err(error) => store.write(&[
            (at("hotplug-error"), format!("vif-edgecloud: {error}")),
            (at("hotplug-status"), "error".to_owned()),
        ])?,
    }
    plugged.map(drop)
}

/// Plugs the vif in; gives the node that tells the domain its MTU, if that is not what it assumes.
fn plug(
    name: &str,
    backend: &str,
    store: &mut Store,
    switch: &Switch,
) -> Result<Option<(String, String)>, Refusal> {
    const NODES: [&str; 6] = ["bridge", "mac", "frontend-id", "frontend", "mtu", "vifname"];
    let paths = NODES.map(|node| format!("{backend}/{node}"));
    let mut values = store.read(&paths)?.into_iter();
    let mut next = |node| match values.next().flatten() {
        None => Ok(None),
        Some(value) => match String::from_utf8(value) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(Refusal::Text(node)),
        },
    };
    let [bridge, mac, domain, frontend, mtu, vifname] = NODES.map(&mut next);
    if vifname?.is_some() {
        return Err(Refusal::Renamed);
    }
    let place = Place::parse(&bridge?.unwrap_or_default())?;
    let interfaces = Interfaces::of_this_system();
    let mtu = interfaces.prepare(name, &place.bridge, mtu?.as_deref())?;
    let mac = mac?.unwrap_or_default();
    switch.plug(name, &place, &mac, &domain?.unwrap_or_default())?;
    interfaces.set_up(name)?;
    let told = frontend?.filter(|_| mtu != interface::MTU_USUAL);
    Ok(told.map(|frontend| (format!("{frontend}/mtu"), mtu.to_string())))
}
