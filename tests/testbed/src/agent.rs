//! The programs that are built for dom0, and the initial RAM disk that brings them there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::host;
use crate::image::Image;
use crate::initrd::Archive;
use crate::peers;

const EARLY: &str = include_str!("../dom0/early");
const INIT: &str = include_str!("../dom0/init");

/// Where the agent is in dom0.
pub(crate) const PATH: &str = "/run/testbed/agent";

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What is built of this workspace for dom0.
pub(crate) struct Programs {
    agent: PathBuf,
    vif: PathBuf,
}

/// Builds the agent, and the program that plugs domains into the switch.
pub(crate) fn build(root: &Path, cache: &Path) -> Result<Programs> {
    Ok(Programs {
        agent: build_static(root, cache, "testbed", "testbed-agent")?,
        vif: build_static(root, cache, "vif-edgecloud", "vif-edgecloud")?,
    })
}

/// Builds a program of the workspace for any Linux of this architecture: linked statically, so that it
/// does not matter whether the host's Debian is dom0's.
pub(crate) fn build_static(
    root: &Path,
    cache: &Path,
    package: &str,
    program: &str,
) -> Result<PathBuf> {
    let folder = cache.join("agent");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(root)
        .args([
            "build",
            "--quiet",
            "--release",
            "--package",
            package,
            "--bin",
            program,
        ])
        .arg(format!("--target={TARGET}"))
        .arg("--target-dir")
        .arg(&folder)
        // The caller's flags are for the caller's programs.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_BUILD_RUSTFLAGS")
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    host::run(&mut command).with_context(|| format!("cannot build {program} for dom0"))?;
    let program = folder.join(TARGET).join("release").join(program);
    if !program.exists() {
        bail!("cargo built no {}", program.display());
    }
    Ok(program)
}

/// Dom0's initial RAM disk: the early modules, our programs, and what runs first.
pub(crate) fn initrd(image: &Image, programs: &Programs, smallest: &[u8]) -> Result<Vec<u8>> {
    let busybox = read(&image.busybox())?;
    let mut archive = Archive::new();
    for folder in [
        "bin",
        "proc",
        "sys",
        "dev",
        "root",
        "modules",
        "testbed",
        "testbed/peers",
    ] {
        archive = archive.folder(folder);
    }
    let mut order = String::new();
    for module in image.modules()? {
        let name = module
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        archive = archive.program(&format!("modules/{name}"), &read(&module)?);
        order += &format!("{name}\n");
    }
    Ok(archive
        .program("modules/order", order.as_bytes())
        .program("bin/busybox", &busybox)
        .program("init", EARLY.as_bytes())
        .program("testbed/init", INIT.as_bytes())
        .program("testbed/vif-edgecloud", &read(&programs.vif)?)
        .program("testbed/agent", &read(&programs.agent)?)
        .program("testbed/peers/initrd", &peers::debian_initrd(&busybox))
        .program("testbed/peers/smallest.elf", smallest)
        .program("testbed/peers/server", peers::SERVER_INIT.as_bytes())
        .program("testbed/peers/nginx.conf", peers::NGINX_CONF.as_bytes())
        .finish())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
