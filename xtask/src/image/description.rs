//! `images/NAME.toml`: what an image is made of, what its domain gets, and how large it may be.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

/// One image's file. Unknown keys are errors: a misspelt budget would be none.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Description {
    /// The package of this workspace that the program is in.
    pub(super) package: String,
    /// The program, where the package has several.
    pub(super) bin: Option<String>,
    /// The domain's memory.
    #[serde(default = "Description::default_memory_mib")]
    pub(super) memory_mib: u32,
    /// The largest that the ELF file may become, in units of 1000 bytes.
    pub(super) size_kb_max: Option<u64>,
    #[serde(default)]
    pub(super) lto: LinkTimeOptimization,
    #[serde(default)]
    pub(super) devices: Vec<Device>,
    #[serde(default)]
    pub(super) defaults: Defaults,
}

/// Whether the program and everything it uses are optimised as one.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum LinkTimeOptimization {
    /// Small and fast, and a minute of building for a program of some size.
    #[default]
    Fat,
    /// For guests of tests, of which many are built.
    Off,
}

/// What the domain has beside its console.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Device {
    /// A virtual network interface on the host's switch.
    Network,
    /// A virtual disk, `/dev/xvda`.
    Disk,
}

/// What the program is started with where the host says nothing else.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Defaults {
    #[serde(default)]
    pub(super) arguments: Vec<String>,
    #[serde(default)]
    pub(super) environment: BTreeMap<EnvironmentName, String>,
}

impl Description {
    pub(super) fn read(file: &Path) -> Result<Description> {
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        Description::parse(&text)
            .with_context(|| format!("{} is not a description of an image", file.display()))
    }

    /// What a package without a description gets.
    pub(super) fn of_package(package: &str) -> Description {
        Description {
            package: package.to_owned(),
            bin: None,
            memory_mib: Description::default_memory_mib(),
            size_kb_max: None,
            lto: LinkTimeOptimization::default(),
            devices: Vec::new(),
            defaults: Defaults::default(),
        }
    }

    fn parse(text: &str) -> Result<Description> {
        let description: Description = toml::from_str(text)?;
        ensure!(description.memory_mib > 0, "memory-mib is 0");
        Ok(description)
    }

    /// Room for a program of some size with its buffers; small ones are described with less.
    const fn default_memory_mib() -> u32 {
        64
    }
}

impl fmt::Display for LinkTimeOptimization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LinkTimeOptimization::Fat => "optimised as a whole",
            LinkTimeOptimization::Off => "fast build",
        })
    }
}

/// The name of an image, which is also that of its files and its domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ImageName(String);

impl FromStr for ImageName {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<ImageName> {
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        ensure!(
            text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(known),
            "{text:?} cannot name an image: it may hold letters, digits, '-', '_' and '.', and begins with a letter or digit"
        );
        Ok(ImageName(text.to_owned()))
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A variable's name as the domain's command line can carry it: `[A-Z_][A-Z0-9_]*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct EnvironmentName(String);

impl TryFrom<String> for EnvironmentName {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<EnvironmentName> {
        let begins = text.starts_with(|c: char| c.is_ascii_uppercase() || c == '_');
        let known = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        if begins && text.chars().all(known) {
            return Ok(EnvironmentName(text));
        }
        bail!("{text:?} cannot name a variable of the environment: only [A-Z_][A-Z0-9_]* can")
    }
}

impl fmt::Display for EnvironmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The images that are described in a directory.
pub(super) fn names(directory: &Path) -> Result<Vec<String>> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            names.extend(
                path.file_stem()
                    .map(|stem| stem.to_string_lossy().into_owned()),
            );
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refused(text: &str, reason: &str) {
        let error = format!("{:#}", Description::parse(text).expect_err("refused"));
        assert!(error.contains(reason), "{error}");
    }

    #[test]
    fn everything_but_the_package_has_a_default() {
        let description = Description::parse("package = \"hello\"").expect("parsed");
        assert_eq!(description.package, "hello");
        assert_eq!(description.memory_mib, 64);
        assert_eq!(description.size_kb_max, None);
        assert_eq!(description.lto, LinkTimeOptimization::Fat);
        assert!(description.devices.is_empty());
    }

    #[test]
    fn a_full_description_is_read() {
        let text = r#"
            package = "cache"
            bin = "edge-cache"
            memory-mib = 128
            size-kb-max = 3000
            lto = "off"
            devices = ["network", "disk"]
            [defaults]
            arguments = ["--verbose"]
            environment = { RUST_BACKTRACE = "full" }
        "#;
        let description = Description::parse(text).expect("parsed");
        assert_eq!(description.bin.as_deref(), Some("edge-cache"));
        assert_eq!(description.memory_mib, 128);
        assert_eq!(description.size_kb_max, Some(3000));
        assert_eq!(description.lto, LinkTimeOptimization::Off);
        assert_eq!(description.devices, [Device::Network, Device::Disk]);
        assert_eq!(description.defaults.arguments, ["--verbose"]);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        check_refused("package = \"a\"\nsize-max = 3", "unknown field `size-max`");
        check_refused(
            "package = \"a\"\n[defaults]\nargs = []",
            "unknown field `args`",
        );
        check_refused(
            "package = \"a\"\ndevices = [\"tpm\"]",
            "unknown variant `tpm`",
        );
        check_refused("memory-mib = 8", "missing field `package`");
        check_refused("package = \"a\"\nmemory-mib = 0", "memory-mib is 0");
        check_refused(
            "package = \"a\"\n[defaults.environment]\nrust_log = \"x\"",
            "cannot name a variable",
        );
    }

    #[test]
    fn names_stay_inside_their_directory() {
        for good in ["hello", "edge-cache.2", "9p"] {
            assert_eq!(good.parse::<ImageName>().expect("a name").to_string(), good);
        }
        for bad in ["", ".hidden", "../hello", "a/b", "a b", "ä", "-x"] {
            assert!(bad.parse::<ImageName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_described_images_are_described_well() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images");
        for name in names(&directory).expect("images/") {
            Description::read(&directory.join(format!("{name}.toml"))).expect("a description");
            name.parse::<ImageName>().expect("a name");
        }
    }
}
