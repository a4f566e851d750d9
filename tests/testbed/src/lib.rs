//! The Xen machine that tests run on: Debian's Xen and a small Debian dom0 with `xl`, xenstored,
//! xenconsoled and Open vSwitch's kernel datapath, in QEMU.
//!
//! [`Testbed::start`] boots one for the caller, [`Testbed::connect`] uses the one that `cargo xtask
//! testbed up` left running. Either way a `Testbed` executes shell commands in dom0, moves files,
//! and creates domains:
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use std::time::Duration;
//! let testbed = testbed::Testbed::connect(std::path::Path::new("."))?;
//! testbed.put("target/images/hello.elf".as_ref(), "/tmp/hello.elf")?;
//! let hello = testbed.create("hello", "type = 'pvh'\nkernel = '/tmp/hello.elf'\nmemory = 8\n")?;
//! hello.wait_for_console("Hello", Duration::from_secs(10))?;
//! let end = hello.wait_for_end(Duration::from_secs(10))?;
//! assert_eq!(end.reason, testbed::Reason::Poweroff);
//! # Ok(())
//! # }
//! ```
//!
//! From the host to a domain it is: [`Testbed`] → [`protocol`] over a virtio serial port → the
//! agent in dom0 (`src/bin/agent`) → `xl`. No network is involved; the machine has none.
//!
//! Limits: [`protocol::PORTS`] host processes at once, any number of threads in each.

mod agent;
mod command;
mod connection;
pub mod console;
mod domain;
mod host;
mod image;
mod initrd;
mod kept;
mod machine;
mod peers;
mod probe;
mod progress;
pub mod protocol;
mod testbed;
pub mod xl;

pub use command::{Command, Output};
pub use connection::{Connection, Event, Running, Stdin};
pub use domain::{Domain, End};
pub use peers::{DEBIAN_LINE, LinuxGuest, NGINX, Peers};
pub use progress::Progress;
pub use protocol::{Status, Stream};
pub use testbed::{Testbed, Up, down, up};
pub use xl::Reason;
