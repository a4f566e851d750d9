//! Varnish in a Linux guest.
//!
//! varnishd has a C compiler make a library of its configuration at each start, and a guest has no compiler: the
//! library is made here, and what the guest calls its compiler copies that.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use testbed::{LinuxGuest, Testbed};

use super::process::Folder;
use crate::bench::site;

/// Where dom0 has the program and the library.
const IN_DOM0: &str = "/run/bench-varnish";
/// Where Debian's dynamic linker looks, in dom0 as here.
const LIBRARIES: &str = "/lib/x86_64-linux-gnu";
/// One process for the one processor, as it comes but for the size of its store; it wants a shell and `cp`.
const COMMAND: &str = "/bin/busybox ln -s busybox /bin/sh; /bin/busybox ln -s busybox /bin/cp
varnishd -F -j none -n /run/varnish -a :80 -b ORIGIN -s malloc,64m -T none -p 'cc_command=cp /bin/vcl.so %o'";

/// The configuration of a guest with Varnish in front of an origin, if Varnish and a compiler are installed here.
pub(super) fn guest(testbed: &Testbed, origin: &str) -> Result<Option<String>> {
    let folder = Folder::make()?;
    let Some(library) = library(&folder.0, origin)? else {
        eprintln!("no Varnish here (apt-get install varnish gcc)");
        return Ok(None);
    };
    let varnishd = which("varnishd")?;
    testbed.exec(&format!("mkdir -p {IN_DOM0}"))?.ok()?;
    for (from, to) in [
        (library.as_str(), "vcl.so"),
        (varnishd.as_str(), "varnishd"),
    ] {
        testbed.put(Path::new(from), &format!("{IN_DOM0}/{to}"))?;
    }
    for library in libraries(&varnishd)? {
        let is_there = testbed.exec(&format!("test -e {LIBRARIES}/{library}"))?;
        if is_there.ok().is_err() {
            let place = format!("{LIBRARIES}/{library}");
            testbed.put(Path::new(&place), &place)?;
        }
    }
    testbed.exec(&format!("chmod +x {IN_DOM0}/*"))?.ok()?;
    let guest = testbed.linux_guest(&LinuxGuest {
        name: "varnish",
        programs: &[&format!("{IN_DOM0}/varnishd"), &format!("{IN_DOM0}/vcl.so")],
        modules: &["xen-netfront"],
        command: &site::restarted(&COMMAND.replace("ORIGIN", origin)),
        address: Some(site::SECOND_ADDRESS),
        device: "/sys/class/net/eth0",
    });
    guest.map(Some)
}

/// Makes the library of the configuration `-b ORIGIN`.
fn library(folder: &Path, origin: &str) -> Result<Option<String>> {
    let Ok(output) = Command::new("varnishd").args(["-C", "-b", origin]).output() else {
        return Ok(None);
    };
    // It writes the program to the stream for errors.
    let program = [output.stdout, output.stderr].concat();
    fs::write(folder.join("vcl.c"), program)?;
    let mut compile = Command::new("gcc");
    compile.args([
        "-O2", "-pthread", "-fpic", "-shared", "-Wl,-x", "-o", "vcl.so", "vcl.c",
    ]);
    let Ok(status) = compile.current_dir(folder).status() else {
        return Ok(None);
    };
    ensure!(
        status.success(),
        "Varnish's configuration cannot be compiled"
    );
    let path = folder.join("vcl.so");
    Ok(Some(
        path.to_str().context("a folder without a name")?.to_owned(),
    ))
}

fn which(program: &str) -> Result<String> {
    let output = Command::new("sh")
        .args(["-c", "command -v \"$0\"", program])
        .output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// The libraries of a program, by name.
fn libraries(program: &str) -> Result<Vec<String>> {
    let output = Command::new("ldd").arg(program).output()?;
    let text = String::from_utf8(output.stdout)?;
    let lines = text.lines().filter_map(|line| line.split_once(" => "));
    Ok(lines.map(|(name, _)| name.trim().to_owned()).collect())
}
