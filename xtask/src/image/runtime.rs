//! The runtime as one object file, and what else a program is linked with in place of libc.
//!
//! Two Rust libraries in one executable collide on core's symbols and on the panic machinery's, so the
//! runtime's archive is first linked with itself, keeping what its C interface needs, and then every
//! symbol but that interface becomes local. The interface is read from the archive: the unmangled
//! symbols that the runtime's own members define.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use object::read::archive::ArchiveFile;
use object::{Object, ObjectSymbol};
use sha2::{Digest, Sha256};

use super::package::Workspace;
use super::tools::{self, TARGET};
use super::{Tree, program, step};

/// The runtime's package.
const PACKAGE: &str = "edgecloud-runtime";
/// Its crate: the names of its members in the archive begin with it.
const CRATE: &str = "edgecloud_runtime";

/// std asks for these; all but the first stand empty, for the runtime has what is in them.
const EMPTY_LIBRARIES: [&str; 6] = ["c", "m", "util", "rt", "pthread", "dl"];

/// An archive without members. (An empty linker script is a syntax error.)
const EMPTY_ARCHIVE: &[u8] = b"!<arch>\n";

/// What a program is linked with. The directory's name is a digest of what is in it: cargo sees
/// changed linker arguments when the runtime changed, and only then.
pub(super) struct Runtime {
    directory: PathBuf,
    pub(super) version: String,
}

impl Runtime {
    pub(super) fn object(&self) -> PathBuf {
        self.directory.join("runtime.o")
    }

    pub(super) fn linker_script(&self) -> PathBuf {
        self.directory.join("link.ld")
    }

    /// What stands in for libc and its company, to be searched first.
    pub(super) fn libraries(&self) -> PathBuf {
        self.directory.join("libraries")
    }
}

/// Builds the runtime.
pub(super) fn build(tree: &Tree, own: &Workspace) -> Result<Runtime> {
    step("building runtime", || {
        let archive = compile(tree, own)?;
        let work = tree.guest_builds().join("link/new");
        if work.exists() {
            fs::remove_dir_all(&work)?;
        }
        fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
        let script = tree.root.join("runtime/link.ld");
        let script = fs::read_to_string(&script)
            .with_context(|| format!("cannot read {}", script.display()))?;
        fs::write(work.join("link.ld"), &script)?;
        link(&archive, &work)?;
        check_open_symbols(&fs::read(work.join("runtime.o"))?, &script)?;
        write_libraries(&work.join("libraries"))?;
        let directory = name_by_content(&work)?;
        Ok(Runtime {
            directory,
            version: own.version(PACKAGE)?.to_owned(),
        })
    })
}

fn compile(tree: &Tree, own: &Workspace) -> Result<PathBuf> {
    let target_directory = tree.guest_builds();
    let mut names = own.source_names()?;
    names.add(&target_directory, "/target");
    let flags = [
        "-Crelocation-model=static",
        "-Cembed-bitcode=no",
        "-Cforce-frame-pointers=yes",
    ];
    let mut cargo = tools::cargo();
    cargo
        .args([
            "rustc",
            "--quiet",
            "--package",
            PACKAGE,
            "--lib",
            "--profile",
            "runtime",
        ])
        .args(["--crate-type", "staticlib", "--target", TARGET])
        .arg("--target-dir")
        .arg(&target_directory)
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            program::rustflags(&flags, &names),
        )
        .current_dir(&tree.root);
    tools::run(&mut cargo)?;
    Ok(target_directory
        .join(TARGET)
        .join("runtime")
        .join(format!("lib{CRATE}.a")))
}

/// Makes `runtime.o` of the archive.
fn link(archive: &Path, work: &Path) -> Result<()> {
    let bytes = fs::read(archive).with_context(|| format!("cannot read {}", archive.display()))?;
    let interface = interface(&bytes)?;
    ensure!(
        !interface.is_empty(),
        "the runtime defines no C symbol: nothing could be linked with it"
    );
    let object = work.join("runtime.o");
    let mut ld = Command::new("ld.bfd");
    ld.args(["-r", "--gc-sections", "-o"]).arg(&object);
    for symbol in &interface {
        ld.args(["-u", symbol]);
    }
    tools::run(ld.arg(archive))?;
    let list = work.join("interface");
    fs::write(
        &list,
        interface
            .into_iter()
            .map(|symbol| symbol + "\n")
            .collect::<String>(),
    )?;
    // The members from the toolchain hold bitcode, which ld has put together into no bitcode at all:
    // binutils with LLVM's plugin abort on it.
    let mut objcopy = Command::new("objcopy");
    objcopy.args(["--remove-section=.llvmbc", "--remove-section=.llvmcmd"]);
    tools::run(
        objcopy
            .arg(format!("--keep-global-symbols={}", list.display()))
            .arg(&object),
    )?;
    Ok(())
}

/// The C symbols that the runtime's own members of the archive define.
fn interface(archive: &[u8]) -> Result<BTreeSet<String>> {
    let mut interface = BTreeSet::new();
    for member in ArchiveFile::parse(archive)?.members() {
        let member = member?;
        if !member.name().starts_with(format!("{CRATE}-").as_bytes()) {
            continue;
        }
        let object = object::File::parse(member.data(archive)?)?;
        let defined = object
            .symbols()
            .filter(|symbol| symbol.is_definition() && symbol.is_global());
        interface.extend(defined.filter_map(|symbol| symbol.name().ok().map(str::to_owned)));
    }
    interface.retain(|name| is_c_symbol(name));
    Ok(interface)
}

/// Everything but mangled names and the names by which rustc's own libraries find each other.
fn is_c_symbol(name: &str) -> bool {
    !["_R", "_ZN", "__rust", "rust_", "__rdl_", "__rg_"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

/// Everything that the runtime leaves open must come from the program or from the linker script:
/// otherwise the message would come with every program, and late.
fn check_open_symbols(object: &[u8], script: &str) -> Result<()> {
    let object = object::File::parse(object)?;
    let open = object.symbols().filter(|symbol| symbol.is_undefined());
    let open: BTreeSet<&str> = open
        .filter_map(|symbol| symbol.name().ok())
        .filter(|name| !name.is_empty())
        .collect();
    let unknown: Vec<&str> = open
        .into_iter()
        .filter(|name| !comes_with_a_program(name) && !script_defines(script, name))
        .collect();
    ensure!(
        unknown.is_empty(),
        "the runtime uses symbols that nothing defines: {}. Define them in runtime/, or in runtime/link.ld",
        unknown.join(", ")
    );
    Ok(())
}

/// rustc makes `main`, libgcc_eh unwinds, and std brings the personality that core's precompiled code
/// names for unwinding.
fn comes_with_a_program(name: &str) -> bool {
    name == "main" || name == "rust_eh_personality" || name.starts_with("_Unwind_")
}

fn script_defines(script: &str, symbol: &str) -> bool {
    script.match_indices(symbol).any(|(at, _)| {
        let before = script[..at].chars().next_back();
        let whole_word = !before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        let after = script[at + symbol.len()..].trim_start();
        whole_word && after.starts_with('=') && !after.starts_with("==")
    })
}

/// rustc passes `-lgcc_s -lutil -lrt -lpthread -lm -ldl -lc`, and the linker would bind the host's
/// libraries dynamically without a word. Answered first, with static unwinding and with nothing, every
/// symbol that is missing becomes an error.
fn write_libraries(directory: &Path) -> Result<()> {
    fs::create_dir(directory)?;
    let unwinding = tools::compiler_library("libgcc_eh.a")?;
    let arithmetic = tools::compiler_library("libgcc.a")?;
    let script = format!("GROUP({} {})\n", unwinding.display(), arithmetic.display());
    fs::write(directory.join("libgcc_s.so"), script)?;
    for library in EMPTY_LIBRARIES {
        fs::write(directory.join(format!("lib{library}.a")), EMPTY_ARCHIVE)?;
    }
    Ok(())
}

/// Renames the directory to the digest of what the linker will read, and removes the one before it.
fn name_by_content(work: &Path) -> Result<PathBuf> {
    let mut digest = Sha256::new();
    for file in ["runtime.o", "link.ld", "libraries/libgcc_s.so"] {
        digest.update(fs::read(work.join(file))?);
    }
    let name = super::files::hexadecimal(&digest.finalize()[..8]);
    let directory = work.with_file_name(name);
    for entry in fs::read_dir(work.parent().context("link/ has a parent")?)? {
        let path = entry?.path();
        if path != work {
            fs::remove_dir_all(path)?;
        }
    }
    fs::rename(work, &directory)?;
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interface_is_what_c_could_call() {
        for name in [
            "malloc",
            "_start32",
            "__errno_location",
            "_dl_find_object",
            "pthread_self",
        ] {
            assert!(is_c_symbol(name), "{name}");
        }
        for name in [
            "_RNvCs1_4core3fmt",
            "_ZN4core3fmt17h0E",
            "rust_begin_unwind",
            "__rust_alloc",
        ] {
            assert!(!is_c_symbol(name), "{name}");
        }
    }

    #[test]
    fn the_linker_script_is_asked_for_its_symbols() {
        let script = include_str!("../../../runtime/link.ld");
        for name in [
            "__image_start",
            "__tls_align",
            "__init_array_end",
            "__eh_frame_hdr_start",
            "__bss_end",
        ] {
            assert!(script_defines(script, name), "{name}");
        }
        for name in ["image_start", "__image", "_start32", "SIZEOF", "text"] {
            assert!(!script_defines(script, name), "{name}");
        }
    }
}
