//! Dependencies point down only (ARCHITECTURE.md).

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::{nothing_breaks, root};

/// A package of ours: its name, its directory, and the packages of ours that it depends on.
struct Package {
    name: String,
    directory: String,
    depends_on: Vec<String>,
}

fn packages() -> Vec<Package> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["metadata", "--no-deps", "--format-version=1", "--offline"];
    let output = Command::new(cargo)
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("cargo starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    packages.iter().map(package).collect()
}

fn package(description: &Value) -> Package {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let manifest = text(&description["manifest_path"]);
    let directory = Path::new(&manifest).parent().expect("a directory");
    let directory = directory.strip_prefix(root()).expect("in the workspace");
    let dependencies = description["dependencies"]
        .as_array()
        .expect("a list of dependencies");
    Package {
        name: text(&description["name"]),
        directory: directory.to_str().expect("text").to_owned(),
        // Only a dependency of ours has a path.
        depends_on: dependencies
            .iter()
            .filter(|on| on["path"].is_string())
            .map(|on| text(&on["name"]))
            .collect(),
    }
}

/// What a package in a directory may depend on, by the directory of the other.
fn may_depend(from: &str, on: &str) -> bool {
    let within = |directory: &str, parent: &str| {
        directory == parent || directory.starts_with(&format!("{parent}/"))
    };
    let any_of = |allowed: &[&str]| allowed.iter().any(|parent| within(on, parent));
    match from.split('/').next().unwrap_or_default() {
        "runtime" => false,
        "appliances" => any_of(&["appliances/common"]),
        "controller" => any_of(&[
            "controller/full-disk",
            "controller/manifest",
            "controller/openflow",
        ]),
        // These two take the runtime as the ordinary library that it is without its C symbols.
        "tests" => ["tests/fuzz", "tests/tcp"].contains(&from) || !within(on, "runtime"),
        "xtask" => any_of(&["tests/testbed", "controller"]),
        _ => false,
    }
}

#[test]
fn dependencies_point_down() {
    let packages = packages();
    let mut broken = Vec::new();
    for package in &packages {
        for dependency in &package.depends_on {
            let on = packages
                .iter()
                .find(|other| other.name == *dependency)
                .expect("a package of ours");
            if !may_depend(&package.directory, &on.directory) {
                broken.push(format!("{} depends on {}", package.directory, on.directory));
            }
        }
    }
    nothing_breaks("a dependency points up or sideways", &broken);
}

#[test]
fn the_rule_knows_up_from_down() {
    assert!(may_depend("appliances/cache", "appliances/common"));
    assert!(!may_depend("appliances/cache", "appliances/hello"));
    assert!(!may_depend("appliances/hello", "runtime"));
    assert!(may_depend("controller/authority", "controller/manifest"));
    assert!(!may_depend("controller/manifest", "controller/authority"));
    assert!(may_depend("tests/scenarios", "tests/testbed"));
    assert!(!may_depend("tests/scenarios", "runtime"));
    assert!(may_depend("tests/fuzz", "runtime"));
}
