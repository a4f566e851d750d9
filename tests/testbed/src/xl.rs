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

/// The number of the domain that a log is about; a restart gives it another one.
pub fn id(log: &str) -> Option<u32> {
    let mut numbers = log.lines().filter_map(|line| {
        let (_, rest) = line
            .strip_prefix("Waiting for domain ")?
            .split_once("(domid ")?;
        rest.split_once(')')?.0.parse().ok()
    });
    numbers.next_back()
}

/// A log of Xen's without the lines that the building of every domain leaves in it, one for each
/// part of its state.
pub(crate) fn without_domain_building(log: &str) -> String {
    let building = |line: &str| {
        let state = line.strip_prefix("(XEN) HVM");
        state.is_some_and(|state| state.contains(" save: ") || state.contains(" restore: "))
    };
    log.lines()
        .filter(|line| !building(line))
        .fold(String::new(), |log, line| log + line + "\n")
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
        } else if line.starts_with("Waiting for domain ") {
            Progress::Running
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

#[cfg(test)]
mod tests {
    use super::*;

    const POWEROFF: &str = "Waiting for domain hello (domid 7) to die [pid 312]\n\
        Domain 7 has shut down, reason code 0 0x0\n\
        Action for shutdown reason code 0 is destroy\n\
        Domain 7 needs to be cleaned up: destroying the domain\n\
        Done. Exiting now\n";

    const REBOOT: &str = "Waiting for domain poc (domid 2) to die [pid 269]\n\
        Domain 2 has shut down, reason code 1 0x1\n\
        Action for shutdown reason code 1 is restart\n\
        Domain 2 needs to be cleaned up: destroying the domain\n\
        Done. Rebooting now\n";

    const DESTROYED: &str = "Waiting for domain poc (domid 3) to die [pid 269]\n\
        Domain 3 has been destroyed.\n";

    #[test]
    fn the_number_of_a_domain() {
        assert_eq!(id(POWEROFF), Some(7));
        assert_eq!(id(&format!("{REBOOT}{DESTROYED}")), Some(3));
        assert_eq!(id("Waiting for domain hello (dom"), None);
    }

    /// The log as it grows, line by line, and what it means after each.
    fn check(log: &str, expected: &[Progress], last_reason: Option<Reason>) {
        let mut so_far = String::new();
        for (line, expected) in log.lines().zip(expected) {
            so_far += &format!("{line}\n");
            assert_eq!(progress(&so_far), *expected, "after `{line}`");
        }
        assert_eq!(reason(log), last_reason);
    }

    #[test]
    fn a_domain_that_powers_off() {
        use Progress::{Gone, Running, ShutDown};
        let expected = [Running, ShutDown, ShutDown, ShutDown, Gone];
        check(POWEROFF, &expected, Some(Reason::Poweroff));
    }

    #[test]
    fn a_domain_that_is_destroyed_from_outside() {
        check(DESTROYED, &[Progress::Running, Progress::Gone], None);
    }

    #[test]
    fn a_domain_that_restarts_runs_again() {
        let log = format!("{REBOOT}{DESTROYED}");
        use Progress::{Gone, Running, ShutDown};
        let expected = [Running, ShutDown, ShutDown, ShutDown, Gone, Running, Gone];
        check(&log, &expected, Some(Reason::Reboot));
    }

    #[test]
    fn a_domain_that_is_preserved() {
        let log = "Domain 9 has shut down, reason code 3 0x3\n\
            Action for shutdown reason code 3 is preserve\n";
        check(
            log,
            &[Progress::ShutDown, Progress::Kept],
            Some(Reason::Crash),
        );
    }

    #[test]
    fn unknown_reasons_and_torn_lines() {
        assert_eq!(
            reason("Domain 9 has shut down, reason code 42 0x2a"),
            Some(Reason::Other(42))
        );
        assert_eq!(reason("Domain 9 has shut down, reason code "), None);
        assert_eq!(reason(""), None);
    }

    #[test]
    fn what_the_building_of_domains_leaves_is_left_out() {
        let log = "(XEN) HVM d2v0 save: CPU_MSR\n(XEN) HVM11 restore: MTRR 0\n(d5) save: us\n";
        assert_eq!(without_domain_building(log), "(d5) save: us\n");
    }
}
