//! The world of Linux processes: the guests are programs like any other.

use std::io::{self, BufRead as _, BufReader};
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::image::{text, workspace};
use crate::launch::{Ending, Launch, Words};

/// A process that takes longer than this many seconds hangs, and is ended by timeout(1), which
/// passes signals on.
const LIMIT_S: u32 = 120;

/// Starts guests as processes.
#[derive(Clone)]
pub(crate) struct Processes {
    /// Where cargo puts executables: beside this one.
    executables: PathBuf,
}

impl Processes {
    /// Builds the guests.
    pub(crate) fn prepare() -> Result<Processes> {
        let here = std::env::current_exe().context("the runner does not know where it lies")?;
        let executables = here.parent().context("the runner lies nowhere")?.to_owned();
        if netns::programs_are_built() {
            return Ok(Processes { executables });
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let arguments = [
            "build",
            "--quiet",
            "--package",
            "guests",
            "--package",
            "faults",
            "--package",
            "cache",
            "--package",
            "uploader",
        ];
        let output = Command::new(cargo)
            .args(arguments)
            .current_dir(workspace())
            .output();
        let output = output.context("cargo could not be started")?;
        ensure!(
            output.status.success(),
            "the guests cannot be built:\n{}",
            text(&output)
        );
        Ok(Processes { executables })
    }

    /// Runs a program to its end.
    pub(crate) fn run(&self, launch: &Launch) -> Result<Ending> {
        self.run_watched(launch, |_, _| ())
    }

    /// Runs a program to its end; `seen` gets its process id and each line that it prints.
    pub(crate) fn run_watched(
        &self,
        launch: &Launch,
        mut seen: impl FnMut(u32, &str),
    ) -> Result<Ending> {
        let mut command = self.command(launch)?;
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let (stdout, mut stderr) = child
            .stdout
            .take()
            .zip(child.stderr.take())
            .context("no pipes")?;
        let errors = std::thread::spawn(move || io::read_to_string(&mut stderr));
        let mut transcript = String::new();
        for line in BufReader::new(stdout).lines() {
            let line = line.context("the guest printed what is not UTF-8")?;
            seen(child.id(), &line);
            transcript += &(line + "\n");
        }
        let status = child.wait()?;
        transcript += &errors.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        Ok(Ending {
            succeeded: status.success(),
            how: status.to_string(),
            transcript,
        })
    }

    /// Starts a program in a network namespace; it is killed when the result is dropped.
    pub(crate) fn start(&self, launch: &Launch, namespace: &str) -> Result<Started> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace]);
        self.finish(&mut command, launch)?;
        let mut child = command
            .stderr(Stdio::inherit())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let lines = child.stdout.take().context("no pipe")?;
        Ok(Started {
            child,
            lines: BufReader::new(lines),
        })
    }

    /// The program with its arguments, no environment, and its memory as address space. A process
    /// needs half as much again for its libraries and the stacks of its threads.
    fn command(&self, launch: &Launch) -> Result<Command> {
        let mut command = Command::new("timeout");
        command.arg("--signal=KILL").arg(LIMIT_S.to_string());
        self.finish(&mut command, launch)?;
        Ok(command)
    }

    /// Everything behind the words that a command begins with.
    fn finish(&self, command: &mut Command, launch: &Launch) -> Result<()> {
        let Words::Arguments(arguments) = &launch.words else {
            bail!("a process has arguments, no command line");
        };
        command.arg("prlimit").arg(format!(
            "--as={}",
            u64::from(launch.memory_mib) * 3 / 2 * (1 << 20)
        ));
        command
            .arg(self.executables.join(launch.image.program))
            .args(arguments);
        command
            .env_clear()
            .envs(launch.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Ok(())
    }
}

/// A program that runs. All that starts it become it, so its process id is its own.
pub(crate) struct Started {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Started {
    /// Reads what it prints, up to a line that contains this.
    pub(crate) fn wait_for(&mut self, text: &str) -> Result<()> {
        let mut transcript = String::new();
        loop {
            let before = transcript.len();
            if self.lines.read_line(&mut transcript)? == 0 {
                bail!("it ended before it said {text:?}:\n{transcript}");
            }
            if transcript[before..].contains(text) {
                return Ok(());
            }
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
