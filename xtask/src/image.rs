//! `cargo xtask image`: an ordinary Rust program becomes a bootable image.
//!
//! The way of a program: [`package`] finds it, [`runtime`] prepares what it is linked with in place of
//! libc, [`program`] compiles and links it ([`missing`] explains the symbols that the runtime lacks),
//! [`check`] reads the result as Xen's domain builder will, and [`files`] writes what a user takes to
//! a host. [`reproducible`] does it all again in another directory and compares.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

mod check;
mod description;
mod files;
pub(crate) mod function_names;
mod missing;
mod package;
mod program;
mod reproducible;
mod runtime;
pub(crate) mod source_names;
mod tools;
mod xl;

use description::{Description, Device, ImageName, LinkTimeOptimization};
use package::{Package, Workspace};

/// What the command line said.
#[derive(clap::Args)]
#[command(
    after_help = "Results: target/images/NAME.elf, NAME.cfg for `xl create`, NAME.image.toml (sizes, digest)\n\
    and NAME.debug, which `cargo xtask symbolize NAME` reads."
)]
pub(crate) struct Options {
    /// The image that images/NAME.toml describes
    #[arg(value_name = "NAME", required_unless_present_any = ["package", "manifest_path", "check"])]
    image: Option<String>,
    /// Build the image of this package, of this workspace or of --manifest-path's
    #[arg(long, conflicts_with = "image")]
    package: Option<String>,
    /// The program, where the package has several
    #[arg(long, conflicts_with = "image")]
    bin: Option<String>,
    /// The Cargo.toml of a package or workspace elsewhere on this machine
    #[arg(long, value_name = "FILE", conflicts_with = "image")]
    manifest_path: Option<PathBuf>,
    /// What to call the image (default: the name of its program)
    #[arg(long = "name", value_name = "NAME", conflicts_with = "image")]
    image_name: Option<String>,
    /// Without link-time optimisation: builds sooner, runs slower, for the guests of tests
    #[arg(long)]
    fast: bool,
    /// Build a second time in a copy of the tree, and compare to the byte
    #[arg(long, conflicts_with = "manifest_path")]
    reproducible: bool,
    /// Build nothing: say whether this file would boot
    #[arg(long, value_name = "FILE", conflicts_with_all = ["image", "package", "manifest_path"])]
    check: Option<PathBuf>,
    /// The domain's memory that --check assumes (default: what the image's description says)
    #[arg(long, value_name = "MIB", requires = "check")]
    memory: Option<u32>,
}

/// Runs the command.
pub(crate) fn run(options: Options) -> Result<()> {
    if let Some(file) = &options.check {
        return check_file(file, options.memory);
    }
    let tree = Tree::of_this_command();
    let built = build(&tree, &options)?;
    println!("{built}");
    if options.reproducible {
        reproducible::compare(&tree, &built, |copy| build(copy, &options))?;
    }
    Ok(())
}

/// A checkout of EdgeCloud: where images are described, and where they go.
pub(crate) struct Tree {
    root: PathBuf,
}

impl Tree {
    /// The checkout that this command was compiled from.
    pub(crate) fn of_this_command() -> Tree {
        let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
        Tree {
            root: xtask.parent().unwrap_or(xtask).to_owned(),
        }
    }

    /// Where finished images are.
    pub(crate) fn images(&self) -> PathBuf {
        self.root.join("target/images")
    }

    fn description_file(&self, name: &ImageName) -> PathBuf {
        self.root.join("images").join(format!("{name}.toml"))
    }

    /// Apart from the host's builds, whose flags differ: neither rebuilds the other's work.
    fn guest_builds(&self) -> PathBuf {
        self.root.join("target/guest")
    }
}

/// One image to build.
struct Order {
    name: ImageName,
    description: Description,
    package: Package,
    lto: LinkTimeOptimization,
    /// Whether it may open disks: a described image says so, any other may.
    disks: bool,
}

fn build(tree: &Tree, options: &Options) -> Result<files::Built> {
    let own = Workspace::load(&tree.root.join("Cargo.toml"))?;
    let order = order(tree, &own, options)?;
    let _lock = lock(tree)?;
    let runtime = runtime::build(tree, &own)?;
    let label = format!("building {} ({})", order.name, order.lto);
    let linked = step(&label, || {
        program::build(
            tree,
            &order.package,
            order.lto,
            &runtime,
            &program::Image {
                name: order.name.to_string(),
                disks: order.disks,
            },
        )
    })?;
    files::write(tree, &order, &runtime, &linked)
}

fn order(tree: &Tree, own: &Workspace, options: &Options) -> Result<Order> {
    let mut order = match &options.image {
        Some(name) => described(tree, own, name.parse()?)?,
        None => undescribed(tree, own, options)?,
    };
    if options.fast {
        order.lto = LinkTimeOptimization::Off;
    }
    Ok(order)
}

/// An image by name: the file `images/NAME.toml` says what it is.
fn described(tree: &Tree, own: &Workspace, name: ImageName) -> Result<Order> {
    let file = tree.description_file(&name);
    ensure!(
        file.is_file(),
        "no image is called {name}: images/ describes {}. Describe it in images/{name}.toml, or build a package with --package",
        description::names(&tree.root.join("images"))?.join(", "),
    );
    let description = Description::read(&file)?;
    let package = own.package(Some(&description.package), description.bin.as_deref())?;
    let lto = description.lto;
    let disks = description.devices.contains(&Device::Disk);
    Ok(Order {
        name,
        description,
        package,
        lto,
        disks,
    })
}

/// An image of a package: described where `images/` has a file for it, with defaults otherwise.
fn undescribed(tree: &Tree, own: &Workspace, options: &Options) -> Result<Order> {
    let elsewhere = options
        .manifest_path
        .as_deref()
        .map(Workspace::load)
        .transpose()?;
    let workspace = elsewhere.as_ref().unwrap_or(own);
    let package = workspace.package(options.package.as_deref(), options.bin.as_deref())?;
    let name: ImageName = match &options.image_name {
        Some(name) => name.parse()?,
        None => package.bin.parse()?,
    };
    let file = tree.description_file(&name);
    if elsewhere.is_none() && file.is_file() {
        let order = described(tree, own, name.clone())?;
        ensure!(
            (&order.package.name, &order.package.bin) == (&package.name, &package.bin),
            "images/{name}.toml describes {} of package {}, not {} of {}: choose another name with --name",
            order.package.bin,
            order.package.name,
            package.bin,
            package.name,
        );
        return Ok(order);
    }
    let description = Description::of_package(&package.name);
    let lto = description.lto;
    Ok(Order {
        name,
        description,
        package,
        lto,
        disks: true,
    })
}

/// One build at a time: they share the runtime's object and the program's place in `target/guest`.
fn lock(tree: &Tree) -> Result<fs::File> {
    let directory = tree.guest_builds();
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let path = directory.join("lock");
    let file =
        fs::File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    if file.try_lock().is_err() {
        eprintln!("waiting for another build of an image");
        file.lock()
            .with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(file)
}

/// Runs one step, and says on standard error what it is and how long it took.
fn step<T>(label: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprint!("{label} … ");
    let begin = Instant::now();
    let result = work();
    match &result {
        Ok(_) => eprintln!("{:.1} s", begin.elapsed().as_secs_f64()),
        Err(_) => eprintln!("failed"),
    }
    result
}

fn check_file(file: &Path, memory_mib: Option<u32>) -> Result<()> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let layout =
        check::check(&bytes).with_context(|| format!("{} would not boot", file.display()))?;
    let memory_mib = match memory_mib {
        Some(mib) => Some(mib),
        None => files::recorded_memory_mib(file)?,
    };
    if let Some(mib) = memory_mib
        && let Err(refusal) = layout.fits(mib)
    {
        bail!("{} would not boot: {refusal}", file.display());
    }
    println!("{}: {layout}", file.display());
    Ok(())
}
