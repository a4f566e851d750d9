//! Images as a user makes and boots them.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use testbed::Reason;

use crate::image::{GREETING, HELLO, artefact, text, xtask};
use crate::launch::Launch;
use crate::scenario::Scenario;
use crate::xen::{LIMIT, Xen, config};

/// A program by somebody who never heard of us, with the two dependencies of the issue.
const OUTSIDE: &str = r#"use std::io::Cursor;

#[tokio::main]
async fn main() {
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let picture = image::RgbImage::from_pixel(64, 48, image::Rgb([10, 20, 30]));
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    let again = image::load_from_memory(bytes.get_ref()).unwrap().into_rgb8();
    println!("outside: {}x{}, {:?}", again.width(), again.height(), again.get_pixel(5, 5).0);
}
"#;

/// `image` as its documentation says; the package's own defaults would also bring encoders that
/// need an assembler.
const OUTSIDE_DEPENDENCIES: &str = r#"
image = { version = "0.25", default-features = false, features = ["jpeg", "png"] }
tokio = { version = "1", features = ["full"] }
"#;

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::on_xen(
            "images: hello greets from its own configuration",
            &[HELLO],
            hello,
        ),
        Scenario::on_xen(
            "images: a plain program runs in 8 MiB",
            &[GREETING],
            smallest_memory,
        ),
        Scenario::on_xen("images: two builds are identical", &[HELLO], |_| {
            reproducible()
        }),
        Scenario::on_xen("images: a package outside the workspace", &[], outside),
    ]
}

/// What README says: `xl create` of the configuration that the builder wrote, which has no vif.
fn hello(xen: &Xen) -> Result<()> {
    xen.install(HELLO)?;
    let file = artefact("hello.cfg");
    let config = std::fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}", file.display()))?;
    let domain = xen.testbed.create(&xen.domain_name(HELLO), &config)?;
    for line in [
        "Hello from x86_64!",
        "no network interface",
        "https on [::]:443",
    ] {
        domain.wait_for_console(line, LIMIT)?;
    }
    domain.xl("shutdown")?.ok()?;
    let end = domain.wait_for_end(LIMIT)?;
    ensure!(
        end.reason == Reason::Poweroff && end.console.contains("hello: drained"),
        "it ended with {:?}:\n{}",
        end.reason,
        end.console
    );
    Ok(())
}

fn smallest_memory(xen: &Xen) -> Result<()> {
    let ending = xen.run(&Launch::of(GREETING).memory_mib(8))?;
    ensure!(ending.succeeded, "it ended with {}", ending.how);
    ensure!(
        ending.transcript.contains("Hello from x86_64!"),
        "no greeting: {}",
        ending.transcript
    );
    Ok(())
}

fn reproducible() -> Result<()> {
    let output = xtask(["image", "hello", "--reproducible"])
        .output()
        .context("cargo could not be started")?;
    ensure!(
        output.status.success(),
        "two builds differ:\n{}",
        text(&output)
    );
    Ok(())
}

fn outside(xen: &Xen) -> Result<()> {
    let directory = std::env::temp_dir().join(format!("edgecloud-outside-{}", std::process::id()));
    let result = make_package(&directory).and_then(|()| build_and_boot(xen, &directory));
    std::fs::remove_dir_all(&directory)
        .with_context(|| format!("cannot remove {}", directory.display()))?;
    result
}

fn make_package(directory: &Path) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut new = Command::new(cargo);
    new.args(["new", "--quiet", "--vcs", "none", "--name", "outside"])
        .arg(directory);
    let output = new
        .stdin(Stdio::null())
        .output()
        .context("cargo could not be started")?;
    ensure!(
        output.status.success(),
        "`cargo new` failed:\n{}",
        text(&output)
    );
    let manifest = directory.join("Cargo.toml");
    let mut toml = std::fs::read_to_string(&manifest)?;
    toml.push_str(OUTSIDE_DEPENDENCIES);
    std::fs::write(&manifest, toml)?;
    std::fs::write(directory.join("src/main.rs"), OUTSIDE)?;
    Ok(())
}

fn build_and_boot(xen: &Xen, directory: &Path) -> Result<()> {
    let manifest = directory.join("Cargo.toml");
    let mut build = xtask(["image", "--fast", "--package", "outside", "--manifest-path"]);
    let output = build
        .arg(manifest)
        .output()
        .context("cargo could not be started")?;
    ensure!(
        output.status.success(),
        "no image of a package outside:\n{}",
        text(&output)
    );
    let kernel = "/var/lib/edgecloud/images/outside.elf";
    xen.testbed.put(&artefact("outside.elf"), kernel)?;
    let domain = xen.testbed.create("outside", &config(kernel, 64, ""))?;
    let end = domain.wait_for_end(LIMIT)?;
    ensure!(
        end.reason == Reason::Poweroff,
        "it ended with {:?}:\n{}",
        end.reason,
        end.console
    );
    ensure!(
        end.console.contains("outside: 64x48, [10, 20, 30]"),
        "{}",
        end.console
    );
    Ok(())
}
