//! One command: a shell, its three streams, its time limit. One thread serves it all, woken by
//! whichever of them has something to say.
//!
//! A command has ended when its shell has. What the shell left in the background lives on, but its
//! output is not waited for: everything the shell and its pipelines wrote is in the pipe by then.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::OFlags;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use testbed::protocol::{CHUNK, Message, Status, Stream, Window};

use crate::session::Outbox;

/// What to run.
pub(crate) struct Start {
    pub(crate) channel: u32,
    pub(crate) limit_ms: u64,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) command: String,
}

/// The shell's code for "cannot be executed", for what could not even be started.
const CANNOT_EXECUTE: i32 = 126;

/// Answers for a command that could not be run.
pub(crate) fn refuse(outbox: &Outbox, channel: u32, error: &anyhow::Error) {
    let bytes = format!("agent: {error:#}\n").into_bytes();
    outbox.send(&Message::Output {
        channel,
        stream: Stream::Stderr,
        bytes,
    });
    outbox.send(&Message::End {
        channel,
        status: Status::Exited(CANNOT_EXECUTE),
    });
}

/// What the host said to a command since the command last looked.
pub(crate) struct Inbox {
    news: Mutex<News>,
    bell: OwnedFd,
}

#[derive(Default)]
struct News {
    input: Vec<Vec<u8>>,
    input_end: bool,
    credit: u32,
    kill: bool,
}

impl Inbox {
    pub(crate) fn new() -> Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let bell = eventfd(0, flags).context("cannot make an eventfd")?;
        Ok(Self {
            news: Mutex::default(),
            bell,
        })
    }

    pub(crate) fn input(&self, bytes: Vec<u8>) {
        self.tell(|news| news.input.push(bytes));
    }

    pub(crate) fn input_end(&self) {
        self.tell(|news| news.input_end = true);
    }

    pub(crate) fn credit(&self, bytes: u32) {
        self.tell(|news| news.credit = news.credit.saturating_add(bytes));
    }

    pub(crate) fn kill(&self) {
        self.tell(|news| news.kill = true);
    }

    fn tell(&self, what: impl FnOnce(&mut News)) {
        what(&mut self.lock());
        // Fails only when the bell has rung 2^64 - 2 times unheard.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    fn take(&self) -> News {
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a command to its end.
pub(crate) fn run(start: Start, inbox: &Inbox, outbox: &Outbox) -> Result<Status> {
    Process::spawn(start, outbox)?.serve(inbox)
}

struct Process<'a> {
    channel: u32,
    outbox: &'a Outbox,
    child: Child,
    group: Pid,
    pidfd: OwnedFd,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    input: VecDeque<u8>,
    input_end: bool,
    window: Window,
    deadline: Option<Instant>,
    timed_out: bool,
    killed: bool,
}

impl<'a> Process<'a> {
    fn spawn(start: Start, outbox: &'a Outbox) -> Result<Self> {
        let mut child = Command::new("/bin/sh")
            .arg("-c")
            .arg(&start.command)
            .envs(start.environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("cannot start a shell")?;
        let group = Pid::from_child(&child);
        let pidfd = pidfd_open(group, PidfdFlags::empty()).context("cannot watch the shell")?;
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        for fd in [
            stdin.as_ref().map(AsFd::as_fd),
            stdout.as_ref().map(AsFd::as_fd),
            stderr.as_ref().map(AsFd::as_fd),
        ] {
            fd.map(set_nonblocking).transpose()?;
        }
        let deadline = (start.limit_ms > 0)
            .then(|| Instant::now().checked_add(Duration::from_millis(start.limit_ms)))
            .flatten();
        Ok(Self {
            channel: start.channel,
            outbox,
            child,
            group,
            pidfd,
            stdin,
            stdout,
            stderr,
            input: VecDeque::new(),
            input_end: false,
            window: Window::new(),
            deadline,
            timed_out: false,
            killed: false,
        })
    }

    fn serve(mut self, inbox: &Inbox) -> Result<Status> {
        let mut ended = false;
        while !ended {
            ended = self.sleep(inbox, false)?;
            self.hear(inbox);
            self.write_input();
            self.read_outputs()?;
        }
        let status = self.child.wait().context("cannot wait for the shell")?;
        self.drain(inbox)?;
        Ok(match (self.timed_out, status.code(), status.signal()) {
            (true, ..) => Status::TimedOut,
            (_, Some(code), _) => Status::Exited(code),
            (_, None, signal) => Status::Signalled(signal.unwrap_or(0)),
        })
    }

    /// Sends what the shell left in its pipes, as the host gives credit for it.
    fn drain(&mut self, inbox: &Inbox) -> Result<()> {
        self.deadline = None;
        while !self.read_outputs()? && !self.killed {
            self.sleep(inbox, true)?;
            self.hear(inbox);
        }
        Ok(())
    }

    /// Waits for something to happen; says whether the shell has ended.
    fn sleep(&mut self, inbox: &Inbox, shell_ended: bool) -> Result<bool> {
        let mut fds = vec![
            PollFd::new(&inbox.bell, PollFlags::IN),
            PollFd::new(
                &self.pidfd,
                if shell_ended {
                    PollFlags::empty()
                } else {
                    PollFlags::IN
                },
            ),
        ];
        if self.window.left() > 0 {
            fds.extend(self.stdout.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
            fds.extend(self.stderr.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
        }
        if !self.input.is_empty() {
            fds.extend(self.stdin.iter().map(|fd| PollFd::new(fd, PollFlags::OUT)));
        }
        if shell_ended {
            fds.truncate(1);
        }
        let timeout = self.deadline.map(until);
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot poll"),
        }
        let ended = fds
            .get(1)
            .is_some_and(|fd| fd.revents().contains(PollFlags::IN));
        if !ended
            && self
                .deadline
                .is_some_and(|deadline| Instant::now() >= deadline)
        {
            self.timed_out = true;
            self.kill();
        }
        Ok(ended)
    }

    fn hear(&mut self, inbox: &Inbox) {
        let news = inbox.take();
        self.input.extend(news.input.into_iter().flatten());
        self.input_end |= news.input_end;
        self.window.credit(news.credit);
        if news.kill {
            self.kill();
        }
    }

    /// The shell is not waited for yet, so its id cannot have become somebody else's.
    fn kill(&mut self) {
        self.deadline = None;
        self.killed = true;
        let _ = kill_process_group(self.group, Signal::KILL);
    }

    fn write_input(&mut self) {
        let mut used = 0;
        while let (Some(stdin), (head, _)) = (&mut self.stdin, self.input.as_slices())
            && !head.is_empty()
        {
            match stdin.write(head) {
                Ok(count) => {
                    self.input.drain(..count);
                    used += count;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.stdin = None, // nobody reads it any more
            }
        }
        if self.stdin.is_none() {
            used += self.input.len();
            self.input.clear();
        }
        if used > 0 {
            let (channel, bytes) = (self.channel, used as u32);
            self.outbox.send(&Message::Credit { channel, bytes });
        }
        if self.input_end && self.input.is_empty() {
            self.stdin = None;
        }
    }

    /// Sends what both outputs have; says whether nothing is left in them.
    fn read_outputs(&mut self) -> Result<bool> {
        let (outbox, channel) = (self.outbox, self.channel);
        let send = |stream, bytes| {
            outbox.send(&Message::Output {
                channel,
                stream,
                bytes,
            })
        };
        let out = read_all(&mut self.stdout, &mut self.window, |b| {
            send(Stream::Stdout, b)
        })?;
        let err = read_all(&mut self.stderr, &mut self.window, |b| {
            send(Stream::Stderr, b)
        })?;
        Ok(out && err)
    }
}

/// Reads until the pipe is empty or the window is closed; says whether the pipe is empty.
fn read_all<P: Read>(
    pipe: &mut Option<P>,
    window: &mut Window,
    mut send: impl FnMut(Vec<u8>),
) -> Result<bool> {
    let mut buffer = [0; CHUNK];
    while let Some(open) = pipe {
        let room = window.left().min(CHUNK);
        if room == 0 {
            return Ok(false);
        }
        match open.read(&mut buffer[..room]) {
            Ok(0) => *pipe = None,
            Ok(count) => {
                window.sent(count);
                send(buffer[..count].to_vec());
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("cannot read the command's output"),
        }
    }
    Ok(true)
}

fn set_nonblocking(fd: BorrowedFd<'_>) -> Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd).context("cannot read a pipe's flags")?;
    rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK).context("cannot set a pipe's flags")
}

fn until(deadline: Instant) -> Timespec {
    let left = deadline.saturating_duration_since(Instant::now());
    Timespec {
        tv_sec: left.as_secs() as i64,
        tv_nsec: i64::from(left.subsec_nanos()),
    }
}
