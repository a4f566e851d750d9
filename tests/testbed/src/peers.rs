//! Guests that are not ours, to compare ours with.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::Testbed;
use crate::host::{self, program};
use crate::initrd::Archive;

const SMALLEST: &str = include_str!("../peers/smallest.s");
const DEBIAN_INIT: &str = include_str!("../peers/init");
const ASSEMBLE: &str = include_str!("../peers/assemble");
pub(crate) const SERVER_INIT: &str = include_str!("../peers/server");
pub(crate) const NGINX_CONF: &str = include_str!("../peers/nginx.conf");

/// Where the peers' files are in dom0.
const FOLDER: &str = "/run/testbed/peers";

/// The line that the Debian peer prints first.
pub const DEBIAN_LINE: &str = "peer: user space runs";

/// The configurations of the peers, as text for [`crate::Testbed::create`].
#[derive(Clone, Debug)]
pub struct Peers {
    /// Debian's kernel with a user space that prints [`DEBIAN_LINE`] and powers off.
    pub debian: String,
    /// A kernel of 20 instructions that powers off: the physical limit of this toolstack.
    pub smallest: String,
}

impl Peers {
    pub(crate) fn new() -> Self {
        let common = "type = \"pvh\"\nvcpus = 1\ntsc_mode = \"native\"\non_crash = \"destroy\"\n";
        let debian = format!(
            "{common}memory = 256\nkernel = \"{FOLDER}/vmlinuz\"\nramdisk = \"{FOLDER}/initrd\"\n\
             cmdline = \"console=hvc0 quiet\"\n"
        );
        let smallest = format!("{common}memory = 8\nkernel = \"{FOLDER}/smallest.elf\"\n");
        Self { debian, smallest }
    }
}

/// A Linux guest that runs one program: what is to be in its RAM disk, and how it is started.
#[derive(Clone, Copy, Debug)]
pub struct LinuxGuest<'a> {
    /// Names the RAM disk.
    pub name: &'a str,
    /// Programs of dom0's, by name or path; their libraries come with them.
    pub programs: &'a [&'a str],
    /// Modules of Debian's kernel.
    pub modules: &'a [&'a str],
    /// The shell command that it runs; the guest ends with it.
    pub command: &'a str,
    /// The address of its interface, as in `10.0.0.2/24`.
    pub address: Option<&'a str>,
    /// The file by which the guest knows that its device is there.
    pub device: &'a str,
}

/// The command of a server of `/bytes/1024`, a file of that size, on port 80.
pub const NGINX: &str = "nginx -c /etc/nginx.conf";

impl LinuxGuest<'_> {
    /// Puts its RAM disk together in dom0; gives its configuration without devices and memory.
    pub(crate) fn install(&self, testbed: &Testbed) -> Result<String> {
        let folder = format!("{FOLDER}/{}", self.name);
        testbed
            .command(&format!("set -e; mkdir -p $FOLDER\n{ASSEMBLE}"))
            .env("FOLDER", &folder)
            .env("PROGRAMS", &self.programs.join(" "))
            .env("MODULES", &self.modules.join(" "))
            .stdin(format!("{}\n", self.command))
            .run()?
            .ok()?;
        let address = self
            .address
            .map_or_else(String::new, |address| format!(" peer_address={address}"));
        Ok(format!(
            "type = \"pvh\"\nvcpus = 1\ntsc_mode = \"native\"\non_crash = \"destroy\"\n\
             kernel = \"{FOLDER}/vmlinuz\"\nramdisk = \"{folder}/initrd\"\n\
             cmdline = \"console=hvc0 quiet peer_device={}{address}\"\n",
            self.device
        ))
    }
}

/// The Debian peer's initial RAM disk.
pub(crate) fn debian_initrd(busybox: &[u8]) -> Vec<u8> {
    Archive::new()
        .folder("bin")
        .program("bin/busybox", busybox)
        .program("init", DEBIAN_INIT.as_bytes())
        .finish()
}

/// Assembles and links the smallest peer, in a folder made for it.
pub(crate) fn smallest(folder: &Path) -> Result<Vec<u8>> {
    let file = |name| folder.join(name);
    fs::write(file("smallest.s"), SMALLEST).context("cannot write the smallest peer's source")?;
    let mut assemble = program("as");
    host::run(
        assemble
            .args(["--32", "-o", "smallest.o", "smallest.s"])
            .current_dir(folder),
    )?;
    let mut link = program("ld");
    link.args([
        "-m",
        "elf_i386",
        "-static",
        "--build-id=none",
        "-z",
        "noexecstack",
    ]);
    link.args([
        "-Ttext-segment=0x100000",
        "-o",
        "smallest.elf",
        "smallest.o",
    ]);
    host::run(link.current_dir(folder))?;
    fs::read(file("smallest.elf")).context("cannot read the smallest peer")
}
