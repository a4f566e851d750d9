//! Guests that are not ours, to compare ours with.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::host::{self, program};
use crate::initrd::Archive;

const SMALLEST: &str = include_str!("../peers/smallest.s");
const DEBIAN_INIT: &str = include_str!("../peers/init");

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
