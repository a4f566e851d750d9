//! The namespaces that hold one world.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Output, Stdio};

/// Why a world could not be made, or a command in it failed.
#[derive(Debug)]
pub struct WorldError(pub(crate) String);

impl fmt::Display for WorldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WorldError {}

/// A process-id, mount and network namespace, with an empty `/run` and loopback up.
#[derive(Debug)]
pub struct World {
    holder: Child,
    /// Held for its end only: closing it ends the world.
    pipe: Option<ChildStdin>,
}

impl World {
    /// Makes one. Its first process is a shell, for that collects what daemons leave when they end.
    ///
    /// # Errors
    /// What the computer refused; most often that this is not root.
    pub fn new() -> Result<World, WorldError> {
        let namespaces = ["--net", "--mount", "--pid", "--fork", "--mount-proc"];
        let mut holder = Command::new("unshare")
            .args(namespaces)
            .args(["--kill-child", "--", "sh", "-c", "cat; exit"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| WorldError(format!("unshare: {error}; install util-linux")))?;
        let (pipe, echo) = (holder.stdin.take(), holder.stdout.take());
        let mut world = World { holder, pipe };
        // What comes back says that the namespaces exist.
        let mut line = String::new();
        if let (Some(pipe), Some(echo)) = (&mut world.pipe, echo) {
            // A closed pipe shows as nothing coming back.
            let _ = writeln!(pipe, "made");
            let _ = BufReader::new(echo).read_line(&mut line);
        }
        if line != "made\n" {
            let why = "no namespaces: run as root, and allow unshare";
            return Err(WorldError(why.to_string()));
        }
        world.run(&["mount", "-t", "tmpfs", "tmpfs", "/run"])?;
        world.run(&["ip", "link", "set", "lo", "up"])?;
        Ok(world)
    }

    /// A command in the world, not yet started. It sees the computer's files.
    pub fn command(&self, program: &str) -> Command {
        let process = self.holder.id();
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--pid=/proc/{process}/ns/pid_for_children"))
            .arg(format!("--net=/proc/{process}/ns/net"))
            .arg(format!("--mount=/proc/{process}/ns/mnt"))
            .args(["--", program])
            .stdin(Stdio::null());
        command
    }

    /// Runs a command in the world to its end, and returns what it wrote.
    ///
    /// # Errors
    /// It could not be started, or did not succeed: what it wrote to both outputs.
    pub fn run(&self, command: &[&str]) -> Result<String, WorldError> {
        let [program, arguments @ ..] = command else {
            return Err(WorldError("no command".to_string()));
        };
        finish(self.command(program).args(arguments), command)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.pipe.take());
        // It ends because its input has; there is nothing to do about an error here.
        let _ = self.holder.wait();
    }
}

/// Runs to the end; success or an error that shows everything.
pub(crate) fn finish(command: &mut Command, name: &[&str]) -> Result<String, WorldError> {
    let name = name.join(" ");
    let ended = command.output();
    let Output {
        status,
        stdout,
        stderr,
    } = ended.map_err(|error| WorldError(format!("{name}: {error}")))?;
    let text = String::from_utf8_lossy(&stdout).into_owned();
    if status.success() {
        return Ok(text);
    }
    let complaint = String::from_utf8_lossy(&stderr);
    Err(WorldError(format!("{name}: {status}\n{text}{complaint}")))
}
