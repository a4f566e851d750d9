//! Which program an image is made of: what `cargo metadata` says of packages and their binaries.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::source_names::{self, SourceNames};
use super::tools::{self, TARGET};

/// A cargo workspace on this machine, with everything its packages depend on.
pub(super) struct Workspace {
    /// Where its root Cargo.toml is.
    pub(super) root: PathBuf,
    /// The Cargo.toml that was asked for.
    manifest: PathBuf,
    packages: Vec<MetadataPackage>,
    members: Vec<String>,
}

/// One binary of one package: the program.
#[derive(Clone, Debug)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) bin: String,
    pub(super) manifest: PathBuf,
    pub(super) workspace: PathBuf,
    pub(super) source_names: SourceNames,
}

impl Workspace {
    /// Asks cargo, which brings the dependencies along where they are not there yet.
    pub(super) fn load(manifest: &Path) -> Result<Workspace> {
        let manifest = if manifest.is_dir() {
            manifest.join("Cargo.toml")
        } else {
            manifest.to_owned()
        };
        let manifest = manifest.canonicalize().with_context(|| {
            format!(
                "no package at {}: --manifest-path names its Cargo.toml",
                manifest.display()
            )
        })?;
        let output = tools::run(
            tools::cargo()
                .args([
                    "metadata",
                    "--format-version",
                    "1",
                    "--filter-platform",
                    TARGET,
                ])
                .arg("--manifest-path")
                .arg(&manifest),
        )?;
        let metadata: Metadata =
            serde_json::from_slice(&output.stdout).context("cargo metadata is not understood")?;
        Ok(Workspace {
            root: metadata.workspace_root,
            manifest,
            packages: metadata.packages,
            members: metadata.workspace_members,
        })
    }

    /// Finds one binary; what is not clear is an error that lists what there is.
    pub(super) fn package(&self, name: Option<&str>, bin: Option<&str>) -> Result<Package> {
        let package = self.member(name)?;
        let bins: Vec<&str> = package.bins().collect();
        let bin = match (bin.or(package.default_run.as_deref()), bins.as_slice()) {
            (Some(bin), _) if bins.contains(&bin) => bin,
            (Some(bin), _) => {
                bail!(
                    "package {} has no program {bin}: it has {}",
                    package.name,
                    list(&bins)
                )
            }
            (None, [bin]) => bin,
            (None, []) => bail!(
                "package {} is a library: it has no program to boot",
                package.name
            ),
            (None, _) => bail!(
                "package {} has {} programs: choose one with --bin, of {}",
                package.name,
                bins.len(),
                list(&bins)
            ),
        };
        Ok(Package {
            name: package.name.clone(),
            version: package.version.clone(),
            bin: bin.to_owned(),
            manifest: package.manifest_path.clone(),
            workspace: self.root.clone(),
            source_names: self.source_names()?,
        })
    }

    /// A member's version.
    pub(super) fn version(&self, name: &str) -> Result<&str> {
        Ok(&self.member(Some(name))?.version)
    }

    fn member(&self, name: Option<&str>) -> Result<&MetadataPackage> {
        let members = || {
            self.packages
                .iter()
                .filter(|package| self.members.contains(&package.id))
        };
        let found = match name {
            Some(name) => members().find(|package| package.name == name),
            None => members().find(|package| package.manifest_path == self.manifest),
        };
        found.with_context(|| {
            let names: Vec<&str> = members().map(|package| package.name.as_str()).collect();
            match name {
                Some(name) => format!(
                    "no package {name} in {}: it has {}",
                    self.root.display(),
                    list(&names)
                ),
                None => format!(
                    "{} is a workspace: choose one with --package, of {}",
                    self.manifest.display(),
                    list(&names)
                ),
            }
        })
    }

    /// The names that source files go by inside images.
    pub(super) fn source_names(&self) -> Result<SourceNames> {
        let mut names = SourceNames::of_toolchain()?;
        let registries = self
            .packages
            .iter()
            .filter(|package| package.is_from_registry());
        for package in registries {
            if let Some(registry) = package.directory().and_then(Path::parent) {
                names.add(registry, source_names::REGISTRY);
            }
        }
        let elsewhere = |package: &&MetadataPackage| {
            package.source.is_none() && !package.manifest_path.starts_with(&self.root)
        };
        for package in self.packages.iter().filter(elsewhere) {
            if let Some(directory) = package.directory() {
                names.add(directory, &format!("/package/{}", package.name));
            }
        }
        names.add(&self.root, source_names::WORKSPACE);
        Ok(names)
    }
}

fn list(names: &[&str]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<MetadataPackage>,
    workspace_members: Vec<String>,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct MetadataPackage {
    id: String,
    default_run: Option<String>,
    name: String,
    version: String,
    source: Option<String>,
    manifest_path: PathBuf,
    targets: Vec<MetadataTarget>,
}

#[derive(Deserialize)]
struct MetadataTarget {
    name: String,
    kind: Vec<String>,
}

impl MetadataPackage {
    fn bins(&self) -> impl Iterator<Item = &str> {
        let bins = self
            .targets
            .iter()
            .filter(|target| target.kind.iter().any(|kind| kind == "bin"));
        bins.map(|target| target.name.as_str())
    }

    fn directory(&self) -> Option<&Path> {
        self.manifest_path.parent()
    }

    fn is_from_registry(&self) -> bool {
        self.source
            .as_ref()
            .is_some_and(|source| source.contains("registry+") || source.starts_with("sparse+"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace() -> Workspace {
        let package = |name: &str, bins: &[&str]| MetadataPackage {
            default_run: None,
            id: format!("path+file:///w/{name}#1.0.0"),
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            source: None,
            manifest_path: format!("/w/{name}/Cargo.toml").into(),
            targets: bins
                .iter()
                .map(|bin| MetadataTarget {
                    name: (*bin).to_owned(),
                    kind: vec!["bin".to_owned()],
                })
                .collect(),
        };
        let packages = vec![
            package("hello", &["hello"]),
            package("guests", &["clocks", "memory"]),
            package("library", &[]),
        ];
        let members = packages.iter().map(|package| package.id.clone()).collect();
        Workspace {
            root: "/w".into(),
            manifest: "/w/Cargo.toml".into(),
            packages,
            members,
        }
    }

    #[track_caller]
    fn check(name: Option<&str>, bin: Option<&str>, expected: &str) {
        let answer = match workspace().package(name, bin) {
            Ok(package) => format!("{} of {}", package.bin, package.name),
            Err(error) => format!("{error}"),
        };
        assert_eq!(answer, expected);
    }

    #[test]
    fn one_binary_needs_no_name() {
        check(Some("hello"), None, "hello of hello");
        check(Some("guests"), Some("memory"), "memory of guests");
    }

    #[test]
    fn what_is_not_clear_lists_what_there_is() {
        check(
            Some("hallo"),
            None,
            "no package hallo in /w: it has hello, guests, library",
        );
        check(
            Some("guests"),
            None,
            "package guests has 2 programs: choose one with --bin, of clocks, memory",
        );
        check(
            Some("guests"),
            Some("clock"),
            "package guests has no program clock: it has clocks, memory",
        );
        check(
            Some("library"),
            None,
            "package library is a library: it has no program to boot",
        );
        check(
            None,
            None,
            "/w/Cargo.toml is a workspace: choose one with --package, of hello, guests, library",
        );
    }
}
