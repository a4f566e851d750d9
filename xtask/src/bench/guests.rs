//! What benchmarks boot: images built as a user would build them, on the machine that runs already or
//! on one of their own.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use testbed::{Domain, Testbed};

/// The folder above this crate's.
pub(super) fn workspace() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask lies in the workspace")
}

/// The machine that `cargo xtask testbed up` keeps, or one for this benchmark.
pub(super) fn machine(root: &Path) -> Result<Testbed> {
    match Testbed::connect(root) {
        Ok(testbed) => Ok(testbed),
        Err(_) => Testbed::start(root, &mut |line: &str| eprintln!("{line}")),
    }
}

/// Builds an image with this same program; what it prints is progress here.
pub(super) fn build(root: &Path, arguments: &str) -> Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments.split(' ')).current_dir(root);
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    eprint!("{}", String::from_utf8_lossy(&output.stdout));
    ensure!(output.status.success(), "`cargo xtask {arguments}` failed");
    Ok(())
}

/// Puts an image into dom0; gives the configuration that the image builder wrote.
pub(super) fn install(testbed: &Testbed, root: &Path, name: &str) -> Result<String> {
    let images = root.join("target/images");
    let remote = format!("/var/lib/edgecloud/images/{name}.elf");
    testbed.put(&images.join(format!("{name}.elf")), &remote)?;
    let config = images.join(format!("{name}.cfg"));
    std::fs::read_to_string(&config).with_context(|| format!("cannot read {}", config.display()))
}

/// The counters of a domain of ours at one moment.
pub(super) struct Counters(String);

impl Counters {
    /// Asks a running domain. The first event of the watch is its registration, the second what the
    /// domain writes.
    pub(super) fn read(testbed: &Testbed, domain: &Domain<'_>) -> Result<Counters> {
        let name = domain.name();
        let command = testbed.command(&format!(
            "home=/local/domain/$(xl domid {name})
             timeout 30 xenstore-watch -n 2 $home/data/counters >/dev/null & \
             xenstore-write $home/edgecloud/counters 1; wait $!; \
             xenstore-read $home/data/counters"
        ));
        let told = command.run()?.ok()?.text();
        // `xenstore-read` writes the ends of the lines as escapes.
        Ok(Counters(told.replace("\\n", "\n")))
    }

    /// One of them, by its name.
    pub(super) fn get(&self, name: &str) -> Result<f64> {
        let value = self.0.lines().find_map(|line| {
            let (other, value) = line.split_once(' ')?;
            (other == name).then_some(value)
        });
        let value = value.and_then(|value| value.trim().parse().ok());
        value.with_context(|| format!("no counter {name} in:\n{}", self.0))
    }

    /// How much the counter of this name grew since `earlier`.
    pub(super) fn since(&self, earlier: &Counters, name: &str) -> Result<f64> {
        Ok(self.get(name)? - earlier.get(name)?)
    }
}
