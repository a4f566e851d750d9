//! Which photographs are shown.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use photo::Photo;

use crate::World;

/// More take too long for a demo, at 2 Mbit/s.
const PHOTOS_MAX: usize = 20;
/// Photographs of that package, small ones first.
const CHOICE: [&str; 5] = [
    "nature/Storm.jpg",
    "nature/TwoWings.jpg",
    "nature/Dune.jpg",
    "nature/Blinds.jpg",
    "nature/RainDrops.jpg",
];
/// Those that take minutes on the backhaul.
const LARGE: [&str; 2] = [
    "abstract/Elephants_3840x2160.jpg",
    "abstract/Elephants_5640x3172.jpg",
];

/// The photographs of a directory, or Debian's.
pub(crate) fn choose(directory: Option<&Path>, output: &Path, world: World) -> Result<Vec<Photo>> {
    let files = match directory {
        Some(directory) => of_directory(directory)?,
        None => of_debian(output, world)?,
    };
    files.iter().map(|file| Photo::read(file)).collect()
}

fn of_directory(directory: &Path) -> Result<Vec<PathBuf>> {
    let listed = std::fs::read_dir(directory)
        .with_context(|| format!("cannot read {}", directory.display()))?;
    let mut files = Vec::new();
    for entry in listed {
        let file = entry?.path();
        let extension = file.extension().unwrap_or_default().to_ascii_lowercase();
        if extension == "jpg" || extension == "jpeg" {
            files.push(file);
        }
    }
    files.sort();
    ensure!(
        !files.is_empty(),
        "{} has no .jpg: give a directory with photographs",
        directory.display()
    );
    ensure!(
        files.len() <= PHOTOS_MAX,
        "{} has {} photographs, which would take too long: give at most {PHOTOS_MAX}",
        directory.display(),
        files.len()
    );
    Ok(files)
}

fn of_debian(output: &Path, world: World) -> Result<Vec<PathBuf>> {
    let mut names = CHOICE.to_vec();
    if world == World::Xen {
        names.extend(LARGE);
    }
    let folder = photo::debian(&output.join("debian"))?;
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}
