//! `cargo xtask testbed`: the Xen machine, kept running between calls.

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use testbed::{Event, Status, Stdin, Stream, Testbed, Up};

/// What the command line said.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Start the machine and leave it running
    Up,
    /// Run a shell command in dom0, with this command's input, outputs and exit code
    Exec {
        /// The words of the command
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Copy a file into dom0
    Put {
        /// The file here
        file: PathBuf,
        /// Its path there; /root/ and its name if not given
        remote: Option<String>,
    },
    /// Copy a file out of dom0
    Get {
        /// Its path there
        remote: String,
        /// The file here; its name in this folder if not given
        local: Option<PathBuf>,
    },
    /// End the machine
    Down,
}

/// Runs the command.
pub(crate) fn run(options: Options) -> Result<()> {
    let root = workspace();
    match options.action {
        Action::Up => up(root)?,
        Action::Exec { command } => {
            let code = exec(&Testbed::connect(root)?, &command.join(" "))?;
            std::process::exit(code);
        }
        Action::Put { file, remote } => put(&Testbed::connect(root)?, &file, remote)?,
        Action::Get { remote, local } => get(&Testbed::connect(root)?, &remote, local)?,
        Action::Down if testbed::down(root)? => eprintln!("testbed: down"),
        Action::Down => eprintln!("testbed: none was running"),
    }
    Ok(())
}

/// The folder above this crate's.
fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

fn up(root: &Path) -> Result<()> {
    let start = Instant::now();
    match testbed::up(root, &mut |line: &str| eprintln!("{line}"))? {
        Up::Started => eprintln!("testbed: up after {:.1} s", start.elapsed().as_secs_f32()),
        Up::Already => eprintln!("testbed: it is up already"),
    }
    Ok(())
}

fn exec(testbed: &Testbed, command: &str) -> Result<i32> {
    let mut running = testbed.command(command).without_timeout().spawn()?;
    let stdin = running.stdin();
    // Not joined: reading the terminal must not outlive the command.
    std::thread::spawn(move || forward_input(stdin));
    while let Some(event) = running.next(None)? {
        match event {
            Event::Output(Stream::Stdout, bytes) => write(&mut std::io::stdout(), &bytes)?,
            Event::Output(Stream::Stderr, bytes) => write(&mut std::io::stderr(), &bytes)?,
            Event::End(status) => return Ok(exit_code(status)),
        }
    }
    bail!("the command's end was not heard")
}

fn write(out: &mut impl Write, bytes: &[u8]) -> Result<()> {
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .context("cannot write the command's output")
}

/// The shell's way to tell an exit code from a signal, and timeout(1)'s.
fn exit_code(status: Status) -> i32 {
    match status {
        Status::Exited(code) => code,
        Status::Signalled(signal) => 128 + signal,
        Status::TimedOut => 124,
    }
}

fn forward_input(mut stdin: Stdin) {
    let mut input = std::io::stdin();
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = input.read(&mut buffer) {
        if stdin.write_all(&buffer[..count]).is_err() {
            return; // the command has ended
        }
    }
}

fn put(testbed: &Testbed, file: &Path, remote: Option<String>) -> Result<()> {
    let name = file
        .file_name()
        .context("this is no file")?
        .to_string_lossy();
    let remote = remote.unwrap_or_else(|| format!("/root/{name}"));
    testbed.put(file, &remote)?;
    if std::io::stderr().is_terminal() {
        eprintln!("testbed: {remote}");
    }
    Ok(())
}

fn get(testbed: &Testbed, remote: &str, local: Option<PathBuf>) -> Result<()> {
    let name = Path::new(remote).file_name().context("this is no file")?;
    testbed.get(remote, &local.unwrap_or_else(|| name.into()))
}
