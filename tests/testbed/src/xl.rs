//! What `xl` leaves behind in dom0: where, and what it means.

use std::fmt;
use std::path::PathBuf;

/// Where the `xl` that looks after a domain writes `xl-NAME.log`.
pub const LOG_DIR: &str = "/var/log/xen";

/// Where xenconsoled writes `guest-NAME.log`.
pub const CONSOLE_DIR: &str = "/var/log/xen/console";

/// The exit code of `agent console` when the domain ended without writing the text.
pub const ENDED_WITHOUT: u8 = 3;

/// The log of a domain's console.
pub fn console_log(name: &str) -> PathBuf {
    format!("{CONSOLE_DIR}/guest-{name}.log").into()
}

/// The log of the `xl` that looks after a domain.
pub fn xl_log(name: &str) -> PathBuf {
    format!("{LOG_DIR}/xl-{name}.log").into()
}

/// Why a domain shut down: `SHUTDOWN_*` of Xen's `sched.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It ended as it should.
    Poweroff,
    /// It asked to be started again.
    Reboot,
    /// It is saved, or moves to another host.
    Suspend,
    /// It crashed.
    Crash,
    /// Its watchdog was not fed.
    Watchdog,
    /// A reason that this list does not have.
    Other(u8),
}

impl Reason {
    fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Poweroff,
            1 => Self::Reboot,
            2 => Self::Suspend,
            3 => Self::Crash,
            4 => Self::Watchdog,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Poweroff => f.write_str("poweroff"),
            Self::Reboot => f.write_str("reboot"),
            Self::Suspend => f.write_str("suspend"),
            Self::Crash => f.write_str("crash"),
            Self::Watchdog => f.write_str("watchdog"),
            Self::Other(code) => write!(f, "shutdown reason {code}"),
        }
    }
}

/// How far the last life of a domain is, by the log of its `xl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// It has not shut down.
    Running,
    /// It has, and `xl` is doing what the configuration says for that.
    ShutDown,
    /// It stays, stopped, to be looked at.
    Kept,
    /// It is destroyed.
    Gone,
}

/// How far the domain is.
pub fn progress(log: &str) -> Progress {
    log.lines().fold(Progress::Running, |progress, line| {
        if reason_in(line).is_some() {
            Progress::ShutDown
        } else if line.contains("Action for shutdown reason code") && line.ends_with(" preserve") {
            Progress::Kept
        } else if line.starts_with("Done. ") || line.contains("has been destroyed") {
            Progress::Gone
        } else {
            progress
        }
    })
}

/// The reason of the domain's last shutdown. A domain that was destroyed from outside has none.
pub fn reason(log: &str) -> Option<Reason> {
    log.lines().filter_map(reason_in).next_back()
}

/// `Domain 5 has shut down, reason code 0 0x0`
fn reason_in(line: &str) -> Option<Reason> {
    let (_, code) = line.split_once(" has shut down, reason code ")?;
    let code = code.split_whitespace().next()?;
    code.parse().ok().map(Reason::from_code)
}
