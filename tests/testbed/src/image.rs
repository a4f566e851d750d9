//! Dom0's disk, and what is taken out of it to boot it: built from Debian's packages, kept under
//! `target/testbed/image/`, built again when the recipe changes.
//!
//! An image is built beside its place and renamed into it, so that an interrupted build is never
//! taken for a finished one, and under a lock, so that two processes do not build at once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::host::{self, program};
use crate::progress::{Progress, step};

/// Everything that decides what an image is. Nothing else does: what changes more often, the
/// agent, the peers and dom0's init, is in the initial RAM disk that is made at each start.
#[derive(Debug)]
struct Recipe {
    /// Changed when the code below makes something else of the same lists.
    version: u32,
    suite: &'static str,
    packages: &'static [&'static str],
    /// Files of those packages that are left out: nobody reads them here, and they are most of
    /// what would have to be written.
    left_out: &'static [&'static str],
    /// Of the file system; the file is sparse. Room for the images of 200 guests and their disks.
    size: &'static str,
}

const RECIPE: Recipe = Recipe {
    version: 1,
    suite: "bookworm",
    packages: &[
        // The hypervisor, its toolstack and a kernel.
        "linux-image-amd64",
        "xen-hypervisor-4.17-amd64",
        "xen-utils-4.17",
        "xenstore-utils",
        // The switch.
        "openvswitch-switch",
        "bridge-utils",
        "conntrack",
        "dnsmasq-base",
        "ethtool",
        "iproute2",
        // What tests look and poke with. The busybox has no dynamic linker: it is the user space
        // of the initial RAM disks, too.
        "busybox-static",
        "curl",
        "freeradius",
        "iperf3",
        "iputils-ping",
        "kmod",
        "nmap",
        "procps",
        "python3-scapy",
        "tcpdump",
        // What benchmarks load guests with, and the server that the Linux guest runs.
        "nghttp2-client",
        "nginx",
        "wrk",
    ],
    left_out: &[
        "/usr/share/doc/*",
        "/usr/share/info/*",
        "/usr/share/locale/*",
        "/usr/share/man/*",
        // Makes an initial RAM disk, which takes longer than all the rest; ours is another one.
        "/etc/kernel/postinst.d/initramfs-tools",
        "/lib/modules/*/kernel/drivers/gpu/*",
        "/lib/modules/*/kernel/drivers/infiniband/*",
        "/lib/modules/*/kernel/drivers/media/*",
        "/lib/modules/*/kernel/drivers/net/ethernet/*",
        "/lib/modules/*/kernel/drivers/net/wireless/*",
        "/lib/modules/*/kernel/drivers/scsi/*",
        "/lib/modules/*/kernel/drivers/staging/*",
        "/lib/modules/*/kernel/drivers/usb/*",
        "/lib/modules/*/kernel/sound/*",
    ],
    size: "8G",
};

impl Recipe {
    /// The name of the images that this recipe makes.
    fn key(&self) -> String {
        let Self {
            version,
            suite,
            packages,
            left_out,
            size,
        } = self;
        let made_of = format!("{version} {suite} {packages:?} {left_out:?} {size}");
        let digest = Sha256::digest(made_of);
        digest[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// The modules that are loaded before the root file system is there.
const EARLY_MODULES: &[&str] = &[
    "virtio_pci",
    "virtio_blk",
    "virtio_console",
    "ext4",
    "crc32c_generic",
];

/// A finished image.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    folder: PathBuf,
}

impl Image {
    /// The image of the recipe, built now if it is not there.
    pub(crate) fn prepare(cache: &Path, log: &mut dyn Progress) -> Result<Self> {
        let images = cache.join("image");
        fs::create_dir_all(&images)
            .with_context(|| format!("cannot make the folder {}", images.display()))?;
        let folder = images.join(RECIPE.key());
        let image = Self { folder };
        if image.folder.exists() {
            return Ok(image);
        }
        let lock = File::create(images.join("lock")).context("cannot make the image's lock")?;
        lock.lock().context("cannot lock the image")?;
        // Another process may have built it while this one waited.
        if !image.folder.exists() {
            image.build(&images, log)?;
        }
        Ok(image)
    }

    pub(crate) fn xen(&self) -> PathBuf {
        self.folder.join("xen")
    }

    pub(crate) fn kernel(&self) -> PathBuf {
        self.folder.join("vmlinuz")
    }

    pub(crate) fn disk(&self) -> PathBuf {
        self.folder.join("disk.img")
    }

    pub(crate) fn busybox(&self) -> PathBuf {
        self.folder.join("busybox")
    }

    /// The early modules in the order in which they must be loaded.
    pub(crate) fn modules(&self) -> Result<Vec<PathBuf>> {
        let order = fs::read_to_string(self.folder.join("modules/order"))?;
        Ok(order
            .lines()
            .map(|name| self.folder.join("modules").join(name))
            .collect())
    }

    fn build(&self, images: &Path, log: &mut dyn Progress) -> Result<()> {
        if !host::is_root() {
            bail!(
                "the testbed's image has to be built once, as root: \
                 run `sudo cargo xtask testbed up`, then `sudo cargo xtask testbed down`"
            );
        }
        host::install_missing(log)?;
        remove_others(images)?;
        let partial = images.join("partial");
        fs::create_dir(&partial).context("cannot make a folder for the image")?;
        let root = partial.join("root");
        step(
            log,
            "made dom0's file system from Debian's packages",
            || bootstrap(&root),
        )?;
        step(log, "took out Xen, kernel and modules", || {
            extract(&root, &partial)
        })?;
        step(log, "made dom0's disk", || {
            make_disk(&root, &partial.join("disk.img"))
        })?;
        fs::remove_dir_all(&root).context("cannot remove the image's file system")?;
        fs::rename(&partial, &self.folder).context("cannot put the image into its place")
    }
}

/// Removes images of other recipes and what an interrupted build left. A machine that runs on one
/// keeps its files open.
fn remove_others(images: &Path) -> Result<()> {
    for entry in fs::read_dir(images)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())
                .with_context(|| format!("cannot remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

fn bootstrap(root: &Path) -> Result<()> {
    let mut command = program("mmdebstrap");
    command.args(["--variant=minbase", "--mode=root", "--format=directory"]);
    command.arg(format!("--include={}", RECIPE.packages.join(",")));
    for pattern in RECIPE.left_out {
        command.arg(format!("--dpkgopt=path-exclude={pattern}"));
    }
    host::run(command.arg(RECIPE.suite).arg(root))?;
    Ok(())
}

fn extract(root: &Path, partial: &Path) -> Result<()> {
    let boot = root.join("boot");
    let kernel = only(&boot, "vmlinuz-")?;
    let version = file_name(&kernel).trim_start_matches("vmlinuz-").to_owned();
    fs::copy(&kernel, partial.join("vmlinuz"))?;
    fs::copy(root.join("bin/busybox"), partial.join("busybox"))?;
    // QEMU's multiboot loader wants the bare ELF file.
    let xen = host::run(program("gzip").args(["-dc".as_ref(), only_gz(&boot)?.as_os_str()]))?;
    fs::write(partial.join("xen"), xen.stdout)?;
    let modules = root.join("lib/modules").join(version);
    let dependencies = fs::read_to_string(modules.join("modules.dep"))
        .context("the kernel's modules have no modules.dep")?;
    fs::create_dir(partial.join("modules"))?;
    let mut order = String::new();
    for path in load_order(&dependencies, EARLY_MODULES)? {
        let name = file_name(Path::new(path));
        fs::copy(modules.join(path), partial.join("modules").join(&name))
            .with_context(|| format!("cannot copy the module {path}"))?;
        order += &format!("{name}\n");
    }
    Ok(fs::write(partial.join("modules/order"), order)?)
}

fn only_gz(boot: &Path) -> Result<PathBuf> {
    let gz = |path: &Path| path.extension().is_some_and(|extension| extension == "gz");
    find(boot, |path| {
        file_name(path).starts_with("xen-4.17") && gz(path)
    })
}

fn only(folder: &Path, prefix: &str) -> Result<PathBuf> {
    find(folder, |path| file_name(path).starts_with(prefix))
        .with_context(|| format!("looking for {prefix}*"))
}

fn find(folder: &Path, wanted: impl Fn(&Path) -> bool) -> Result<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        found.push(entry?.path());
    }
    found.retain(|path| wanted(path));
    match &found[..] {
        [one] => Ok(one.clone()),
        several => bail!("{} has {} such files", folder.display(), several.len()),
    }
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// The paths of some modules and everything they need, each after what it needs itself.
/// `modules.dep` lists, for each module, its whole closure, with the deepest last.
fn load_order<'d>(dependencies: &'d str, wanted: &[&str]) -> Result<Vec<&'d str>> {
    let closures: Vec<(&str, Vec<&str>)> = dependencies
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(path, needs)| (path, needs.split_whitespace().collect()))
        .collect();
    let mut order = Vec::new();
    for name in wanted {
        let file = format!("{name}.ko");
        let (path, needs) = closures
            .iter()
            .find(|(path, _)| file_name(Path::new(path)) == file)
            .with_context(|| format!("the kernel has no module {name}"))?;
        visit(path, needs, &closures, &mut order);
    }
    Ok(order)
}

fn visit<'d>(
    path: &'d str,
    needs: &[&'d str],
    closures: &[(&'d str, Vec<&'d str>)],
    order: &mut Vec<&'d str>,
) {
    if order.contains(&path) {
        return;
    }
    for need in needs {
        let deeper = closures.iter().find(|(path, _)| path == need);
        visit(
            need,
            deeper.map_or(&[], |(_, needs)| needs),
            closures,
            order,
        );
    }
    order.push(path);
}

fn make_disk(root: &Path, disk: &Path) -> Result<()> {
    // No journal: every machine writes to a scratch copy that ends with it.
    let mut command = program("mke2fs");
    command.args([
        "-q",
        "-F",
        "-t",
        "ext4",
        "-O",
        "^has_journal",
        "-E",
        "lazy_itable_init=1",
    ]);
    host::run(command.arg("-d").arg(root).arg(disk).arg(RECIPE.size))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_come_after_what_they_need() {
        let dependencies = "k/virtio.ko: k/ring.ko\n\
                            k/pci.ko: k/legacy.ko k/virtio.ko k/ring.ko\n\
                            k/ring.ko:\n\
                            k/legacy.ko:\n\
                            k/blk.ko: k/virtio.ko k/ring.ko\n";
        let order = load_order(dependencies, &["pci", "blk"]).unwrap();
        assert_eq!(
            order,
            [
                "k/legacy.ko",
                "k/ring.ko",
                "k/virtio.ko",
                "k/pci.ko",
                "k/blk.ko"
            ]
        );
        assert!(
            load_order(dependencies, &["absent"])
                .unwrap_err()
                .to_string()
                .contains("absent")
        );
    }

    #[test]
    fn the_key_changes_with_the_recipe_and_only_then() {
        let changed = [
            Recipe {
                version: 2,
                ..RECIPE
            },
            Recipe {
                packages: &["linux-image-amd64"],
                ..RECIPE
            },
            Recipe {
                left_out: &[],
                ..RECIPE
            },
            Recipe {
                size: "1G",
                ..RECIPE
            },
        ];
        assert_eq!(RECIPE.key(), Recipe { ..RECIPE }.key());
        for recipe in changed {
            assert_ne!(RECIPE.key(), recipe.key(), "{recipe:?}");
        }
    }
}
