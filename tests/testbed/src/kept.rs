//! The machine that `cargo xtask testbed up` leaves running.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Where its folder, its process id and the lock on both are.
pub(crate) struct Place {
    cache: PathBuf,
}

/// What the pid file tells.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The machine runs as this process.
    Running(i32),
    /// There is none.
    Absent,
}

/// How long QEMU may take to end after it was asked to; it has nothing to write back.
const END_LIMIT: Timespec = Timespec {
    tv_sec: 10,
    tv_nsec: 0,
};

impl Place {
    pub(crate) fn new(cache: &Path) -> Self {
        Self {
            cache: cache.to_owned(),
        }
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.cache.join("machine")
    }

    pub(crate) fn pid_file(&self) -> PathBuf {
        self.cache.join("machine.pid")
    }

    /// Keeps others from starting or ending the machine meanwhile.
    pub(crate) fn lock(&self) -> Result<File> {
        fs::create_dir_all(&self.cache)
            .with_context(|| format!("cannot make the folder {}", self.cache.display()))?;
        let lock = File::create(self.cache.join("machine.lock"))?;
        lock.lock().context("cannot lock the testbed")?;
        Ok(lock)
    }

    /// Whether the machine runs.
    pub(crate) fn state(&self) -> State {
        let Ok(text) = fs::read_to_string(self.pid_file()) else {
            return State::Absent;
        };
        let command_line = |pid| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        state(&text, &self.pid_file(), command_line)
    }

    /// Ends the machine, if there is one; says whether there was.
    pub(crate) fn end(&self) -> Result<bool> {
        let State::Running(pid) = self.state() else {
            return Ok(false);
        };
        let pid = Pid::from_raw(pid).context("the pid file has no process id")?;
        let process = pidfd_open(pid, PidfdFlags::empty()).context("cannot watch QEMU")?;
        // Looked at again: the id may have become somebody else's before it was pinned.
        if self.state() == State::Absent {
            return Ok(true);
        }
        for signal in [Signal::TERM, Signal::KILL] {
            pidfd_send_signal(&process, signal).context("cannot end QEMU")?;
            let mut fds = [PollFd::new(&process, PollFlags::IN)];
            if poll(&mut fds, Some(&END_LIMIT)).context("cannot wait for QEMU")? > 0 {
                return Ok(true);
            }
        }
        bail!("QEMU (process {}) does not end", pid.as_raw_nonzero())
    }
}

/// A process is the machine only if its command line has our pid file in it: after a restart of
/// the host the same id is anybody's.
fn state(text: &str, pid_file: &Path, command_line: impl Fn(i32) -> Vec<u8>) -> State {
    let Ok(pid) = text.trim().parse() else {
        return State::Absent;
    };
    let expected = pid_file.as_os_str().as_encoded_bytes();
    if command_line(pid)
        .split(|&byte| byte == 0)
        .any(|argument| argument == expected)
    {
        State::Running(pid)
    } else {
        State::Absent
    }
}

/// How long `connect` waits for a machine that runs: its agent answers at once, unless dom0 is
/// very busy.
pub(crate) const CONNECT_LIMIT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, command_line: &[u8], expected: State) {
        let found = state(text, Path::new("/t/machine.pid"), |_| command_line.to_vec());
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn a_pid_file_counts_only_while_its_process_is_the_machine() {
        let qemu = b"qemu-system-x86_64\0-pidfile\0/t/machine.pid\0";
        check("123\n", qemu, State::Running(123));
        check("123\n", b"", State::Absent); // no such process
        check("123\n", b"vi\0/t/machine.pid.old\0", State::Absent);
        check(
            "123\n",
            b"qemu-system-x86_64\0-pidfile\0/u/machine.pid\0",
            State::Absent,
        );
        check("", qemu, State::Absent);
        check("rubbish", qemu, State::Absent);
    }
}
