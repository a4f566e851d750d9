//! What a build leaves in `target/images`: the image, its configuration for xl, its record, and its debug
//! information, which stays here.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::check::{self, Layout};
use super::description::Device;
use super::runtime::Runtime;
use super::{Order, Tree, tools, xl};

/// A finished image.
pub(super) struct Built {
    pub(super) elf: PathBuf,
    pub(super) digest: String,
    layout: Layout,
}

impl fmt::Display for Built {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}, sha256 {}",
            self.elf.display(),
            self.layout,
            self.digest
        )
    }
}

/// `NAME.image.toml`: what somebody who has only the files wants to know.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Record {
    name: String,
    package: String,
    version: String,
    bin: String,
    runtime_version: String,
    rustc_version: String,
    sha256: String,
    memory_mib: u32,
    devices: Vec<Device>,
    size_bytes: Sizes,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sizes {
    file: u64,
    text: u64,
    rodata: u64,
    data: u64,
    bss: u64,
}

/// Takes the linked program apart into the files of an image.
///
/// Everything is made under other names first: whoever boots `NAME.elf` meanwhile, or after a refusal,
/// gets the image of the last build that succeeded.
pub(super) fn write(tree: &Tree, order: &Order, runtime: &Runtime, linked: &Path) -> Result<Built> {
    let images = tree.images();
    fs::create_dir_all(&images).with_context(|| format!("cannot make {}", images.display()))?;
    let name = &order.name;
    let new_elf = images.join(format!(".{name}.elf.new"));
    let new_debug = images.join(format!(".{name}.debug.new"));
    tools::run(
        Command::new("objcopy")
            .arg("--only-keep-debug")
            .arg(linked)
            .arg(&new_debug),
    )?;
    tools::run(
        Command::new("strip")
            .arg("--strip-all")
            .arg("-o")
            .arg(&new_elf)
            .arg(linked),
    )?;

    let bytes = fs::read(&new_elf).with_context(|| format!("cannot read {}", new_elf.display()))?;
    let layout = check::check(&bytes)?;
    layout.fits(order.description.memory_mib)?;
    check_budget(order, &layout, linked)?;

    let digest = hexadecimal(&Sha256::digest(&bytes));
    let record = record(order, runtime, &layout, &digest)?;
    let elf = images.join(format!("{name}.elf"));
    fs::write(
        images.join(format!("{name}.cfg")),
        xl::render(name, &order.description),
    )?;
    fs::write(
        images.join(format!("{name}.image.toml")),
        toml::to_string(&record)?,
    )?;
    fs::rename(&new_debug, images.join(format!("{name}.debug")))?;
    fs::rename(&new_elf, &elf)?;
    Ok(Built {
        elf,
        digest,
        layout,
    })
}

fn check_budget(order: &Order, layout: &Layout, linked: &Path) -> Result<()> {
    // The budget is for the image that goes into production.
    let budget = match order.description.size_kb_max {
        Some(kb) if order.lto == order.description.lto => kb.saturating_mul(1000),
        _ => return Ok(()),
    };
    ensure!(
        layout.file <= budget,
        "{name} has {} bytes, and images/{name}.toml allows {budget}: \
         see what grew with `nm -C -S --size-sort {}`, or raise size-kb-max",
        layout.file,
        linked.display(),
        name = order.name,
    );
    Ok(())
}

fn record(order: &Order, runtime: &Runtime, layout: &Layout, digest: &str) -> Result<Record> {
    let Layout {
        text,
        rodata,
        data,
        bss,
        file,
        ..
    } = *layout;
    Ok(Record {
        name: order.name.to_string(),
        package: order.package.name.clone(),
        version: order.package.version.clone(),
        bin: order.package.bin.clone(),
        runtime_version: runtime.version.clone(),
        rustc_version: tools::ask(Command::new("rustc").arg("--version"))?,
        sha256: digest.to_owned(),
        memory_mib: order.description.memory_mib,
        devices: order.description.devices.clone(),
        size_bytes: Sizes {
            file,
            text,
            rodata,
            data,
            bss,
        },
    })
}

/// The memory that the record beside an image gives its domain, if there is a record.
pub(super) fn recorded_memory_mib(elf: &Path) -> Result<Option<u32>> {
    let file = elf.with_extension("image.toml");
    if !file.is_file() {
        return Ok(None);
    }
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let record: Record = toml::from_str(&text)
        .with_context(|| format!("{} is no record of an image", file.display()))?;
    Ok(Some(record.memory_mib))
}

/// Bytes as digests are written.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
