//! Commands in dom0 and what became of them.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::Testbed;
use crate::connection::{Event, Running};
use crate::protocol::{Status, Stream};

/// What a command may take if nobody says otherwise.
const LIMIT: Duration = Duration::from_secs(60);

/// How much longer than a command's own limit the agent's word about it is waited for, before dom0
/// is taken for dead.
const GRACE: Duration = Duration::from_secs(30);

/// The most that [`Command::run`] collects of a command's outputs: more belongs into a stream.
const COLLECTED_MAX: usize = 512 * 1024 * 1024;

/// A command that is not started yet.
#[must_use = "nothing happens until it is run"]
pub struct Command<'t> {
    testbed: &'t Testbed,
    command: String,
    environment: Vec<(String, String)>,
    input: Vec<u8>,
    limit: Option<Duration>,
}

impl<'t> Command<'t> {
    pub(crate) fn new(testbed: &'t Testbed, command: &str) -> Self {
        Self {
            testbed,
            command: command.to_owned(),
            environment: Vec::new(),
            input: Vec::new(),
            limit: Some(LIMIT),
        }
    }

    /// Kill it after this time instead of 60 s.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Let it run for as long as it wants.
    pub fn without_timeout(mut self) -> Self {
        self.limit = None;
        self
    }

    /// Its standard input; empty otherwise.
    pub fn stdin(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// One more environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it, for a caller that wants to read and write while it runs. Input given by
    /// [`Command::stdin`] is not used: write to [`Running::stdin`].
    pub fn spawn(self) -> Result<Running> {
        self.testbed
            .connection()
            .start(&self.command, self.environment, self.limit)
    }

    /// Runs it to its end. That it fails is no error: ask [`Output::ok`].
    pub fn run(self) -> Result<Output> {
        let deadline = self.limit.map(|limit| Instant::now() + limit + GRACE);
        let (testbed, command, input) = (self.testbed, self.command.clone(), self.input.clone());
        let mut running = self.spawn()?;
        let mut stdin = running.stdin();
        std::thread::scope(|scope| {
            // A command that does not read all of its input is no error here, as in a shell.
            scope.spawn(move || {
                let _ = stdin.write_all(&input);
            });
            let output = collect(&mut running, command, deadline);
            drop(running);
            output.map_err(|error| testbed.explain(error))
        })
    }
}

fn collect(running: &mut Running, command: String, deadline: Option<Instant>) -> Result<Output> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    loop {
        match running.next(deadline)? {
            Some(Event::Output(Stream::Stdout, bytes)) => stdout.extend(bytes),
            Some(Event::Output(Stream::Stderr, bytes)) => stderr.extend(bytes),
            Some(Event::End(status)) => {
                return Ok(Output {
                    command,
                    status,
                    stdout,
                    stderr,
                });
            }
            None => bail!("dom0 does not answer: `{command}` should have ended long ago"),
        }
        if stdout.len() + stderr.len() > COLLECTED_MAX {
            bail!("`{command}` wrote more than {COLLECTED_MAX} bytes: read it as a stream instead");
        }
    }
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    command: String,
    /// How it ended.
    pub status: Status,
    /// What it wrote to its standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to its standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Whether its exit code was 0.
    pub fn success(&self) -> bool {
        self.status == Status::Exited(0)
    }

    /// Itself if it succeeded; otherwise an error with the command and everything it wrote.
    pub fn ok(self) -> Result<Self> {
        if self.success() {
            return Ok(self);
        }
        bail!(
            "in dom0, `{}`: {}\n{}{}",
            self.command,
            self.status,
            String::from_utf8_lossy(&self.stdout),
            String::from_utf8_lossy(&self.stderr),
        )
    }

    /// Its standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}
