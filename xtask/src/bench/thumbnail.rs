//! `cargo xtask bench thumbnail`: a photograph of 12 megapixels to a thumbnail of 512 pixels at quality 80,
//! beside sharp (npm), each on one and the same processor, by turns. Memory is the most that each process
//! had resident, with node and the file in it; latency is of the whole service as a process, from the last
//! byte of an upload to the last byte of its thumbnail at the origin (`tests/pictures/src/service.rs`).
//!
//! The photograph is Debian's (`mate-backgrounds`), or `--photo`, brought to 4000 by 3000 pixels by sharp.
//! Quality is SSIMULACRA2 against a reference of neither (`tests/pictures/src/main.rs`).

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::{Better, Figure};

/// What the command line may say.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Turns of each
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// A photograph, instead of Debian's
    #[arg(long)]
    photo: Option<PathBuf>,
}

/// The peer, as npm has it.
const PEER: &str = "sharp@0.34";
const PEER_PROGRAM: &str = include_str!("sharp.mjs");
/// A package of photographs, and the one that is taken.
const PHOTOS: &str = "mate-backgrounds";
const PHOTO: &str = "usr/share/backgrounds/mate/abstract/Elephants_5640x3172.jpg";
/// Turns before those that count: code and data are in the caches then.
const WARM_UP: usize = 2;

/// Runs the benchmark.
pub(super) fn run(options: &Options) -> Result<()> {
    ensure!(options.rounds > 0, "--rounds 0 measures nothing");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask lies in the workspace")?;
    let folder = root.join("target/bench/thumbnail");
    fs::create_dir_all(&folder)?;
    let program = build(root)?;
    install_peer(&folder)?;
    let photo = photo(&folder, options.photo.as_deref())?;
    let (ours_file, peer_file) = (folder.join("ours.jpg"), folder.join("sharp.jpg"));
    let mut ours = Maker::start(Command::new(&program), &folder, &photo, &ours_file)?;
    let mut node = Command::new("node");
    node.arg("sharp.mjs");
    let mut peer = Maker::start(node, &folder, &photo, &peer_file)?;
    let mut service = Command::new(&program);
    service
        .arg("latency")
        .arg(root.join("target/release/thumbnail"))
        .arg(&photo);
    let mut service = Maker::start_with(&service, &folder)?;
    let (mut our_times, mut peer_times, mut latencies, mut memory) =
        (Vec::new(), Vec::new(), Vec::new(), 0.0);
    for round in 0..WARM_UP + options.rounds {
        let ((our_time, our_memory), (peer_time, _)) = (ours.make()?, peer.make()?);
        let (latency, _) = service.make()?;
        if round >= WARM_UP {
            our_times.push(1e9 / our_time);
            peer_times.push(1e9 / peer_time);
            latencies.push(latency / 1e6);
            memory = our_memory;
        }
    }
    let residents = [&ours, &peer].map(Maker::resident_max);
    service.end()?;
    ours.end()?;
    peer.end()?;
    let qualities = [&ours_file, &peer_file].map(|file| score(&program, &photo, file));
    let [our_quality, peer_quality] = qualities;
    let higher = Better::Higher;
    let megabytes = memory / 1e6;
    Figure::alone(
        Better::Lower,
        ("thumbnail", "estimated memory", "MB"),
        &[megabytes],
    )
    .print()?;
    let [our_resident, peer_resident] = residents;
    Figure::of_rounds(
        Better::Lower,
        ("thumbnail", "resident memory", "MB"),
        &[our_resident?],
        ("sharp", &[peer_resident?]),
    )
    .print()?;
    Figure::alone(
        Better::Lower,
        ("thumbnail", "last byte in to thumbnail out", "ms"),
        &latencies,
    )
    .print()?;
    Figure::of_rounds(
        higher,
        ("thumbnail", "quality", "SSIMULACRA2"),
        &[our_quality?],
        ("sharp", &[peer_quality?]),
    )
    .print()?;
    Figure::of_rounds(
        higher,
        ("thumbnail", "rate", "1/s"),
        &our_times,
        ("sharp", &peer_times),
    )
    .print()
}

fn build(root: &Path) -> Result<PathBuf> {
    eprintln!("building …");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args([
            "build",
            "--quiet",
            "--locked",
            "--release",
            "--package",
            "pictures",
            "--package",
            "thumbnail",
        ])
        .current_dir(root);
    succeed(&mut command)?;
    Ok(root.join("target/release/pictures"))
}

fn install_peer(folder: &Path) -> Result<()> {
    fs::write(folder.join("sharp.mjs"), PEER_PROGRAM)?;
    if folder.join("node_modules/sharp").exists() {
        return Ok(());
    }
    eprintln!("installing {PEER} …");
    let mut command = Command::new("npm");
    command
        .args(["install", "--silent", "--no-save", "--prefix", ".", PEER])
        .current_dir(folder);
    succeed(&mut command).context("npm and node must be installed: apt-get install npm")
}

/// One of 12 megapixels, made once.
fn photo(folder: &Path, given: Option<&Path>) -> Result<PathBuf> {
    let ready = folder.join("photo.jpg");
    let source = match given {
        Some(given) => {
            fs::canonicalize(given).with_context(|| format!("cannot read {}", given.display()))?
        }
        None => folder.join(PHOTO),
    };
    if !source.exists() {
        eprintln!("downloading {PHOTOS} …");
        succeed(
            Command::new("apt-get")
                .args(["download", PHOTOS])
                .current_dir(folder)
                .stdout(Stdio::null()),
        )?;
        let package = fs::read_dir(folder)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .context("apt-get downloaded nothing")?;
        succeed(Command::new("dpkg-deb").arg("-x").arg(&package).arg(folder))?;
    }
    let mut command = Command::new("node");
    command
        .args(["sharp.mjs", "prepare"])
        .arg(&source)
        .arg(&ready)
        .current_dir(folder);
    succeed(&mut command)?;
    Ok(ready)
}

fn score(program: &Path, photo: &Path, thumbnail: &Path) -> Result<f64> {
    let output = Command::new(program)
        .arg("score")
        .args([photo, thumbnail])
        .output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout)?;
    text.trim().parse().context("a score is a number")
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    ensure!(
        status.success(),
        "{} failed",
        command.get_program().display()
    );
    Ok(())
}

/// A process that makes a thumbnail when it is told. It ends when its input does.
struct Maker {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Maker {
    /// Starts a program that makes a file THUMBNAIL of a file PHOTO.
    fn start(program: Command, folder: &Path, photo: &Path, thumbnail: &Path) -> Result<Maker> {
        let mut program = program;
        program.arg("serve").args([photo, thumbnail]);
        Maker::start_with(&program, folder)
    }

    /// Starts a program with its arguments, on processor 0.
    fn start_with(program: &Command, folder: &Path) -> Result<Maker> {
        let mut command = Command::new("taskset");
        command
            .args(["--cpu-list", "0"])
            .arg(program.get_program())
            .args(program.get_args())
            .current_dir(folder);
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start taskset")?;
        let input = process.stdin.take();
        let output = process.stdout.take().context("it has an output")?;
        Ok(Maker {
            process,
            input,
            output: BufReader::new(output),
        })
    }

    /// The most memory that it had resident so far, in MB (proc(5), `VmHWM`).
    fn resident_max(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kibibytes: f64 = kibibytes.context("it has ended")?.parse()?;
        Ok(kibibytes * 1024.0 / 1e6)
    }

    /// Makes one; nanoseconds, and the memory that was estimated.
    fn make(&mut self) -> Result<(f64, f64)> {
        writeln!(self.input.as_mut().context("it listens")?)?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let (time, memory) = line
            .trim()
            .split_once(' ')
            .context("it has ended; its error is above")?;
        Ok((time.parse()?, memory.parse()?))
    }

    fn end(mut self) -> Result<()> {
        drop(self.input.take());
        ensure!(self.process.wait()?.success(), "a thumbnailer failed");
        Ok(())
    }
}
