//! Whether guests really boot under KVM here. Only trying tells: there are machines whose
//! `/dev/kvm` cannot run an unmodified kernel, and machines without nested virtualisation, where
//! Xen boots and its guests do not.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::Testbed;
use crate::machine::Accelerator;
use crate::xl::Reason;

/// The remembered verdict.
pub(crate) struct Probe {
    file: PathBuf,
}

impl Probe {
    pub(crate) fn new(cache: &Path) -> Self {
        Self {
            file: cache.join("accelerator"),
        }
    }

    /// What to use, if that is known.
    pub(crate) fn verdict(&self) -> Option<Accelerator> {
        if OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/kvm")
            .is_err()
        {
            return Some(Accelerator::Emulation);
        }
        parse(&fs::read_to_string(&self.file).ok()?, &host_identity())
    }

    pub(crate) fn remember(&self, accelerator: Accelerator) -> Result<()> {
        fs::write(&self.file, emit(accelerator, &host_identity()))
            .context("cannot remember which accelerator works")
    }
}

fn emit(accelerator: Accelerator, host: &str) -> String {
    format!("{}\n{host}", accelerator.name())
}

fn parse(text: &str, host: &str) -> Option<Accelerator> {
    [Accelerator::Kvm, Accelerator::Emulation]
        .into_iter()
        .find(|&accelerator| emit(accelerator, host) == text)
}

/// The verdict holds for one boot of one kernel.
fn host_identity() -> String {
    ["/proc/sys/kernel/random/boot_id", "/proc/version"]
        .map(|file| fs::read_to_string(file).unwrap_or_default())
        .concat()
}

/// Fails if the machine cannot run a guest.
pub(crate) fn runs_a_guest(testbed: &Testbed) -> Result<()> {
    let guest = testbed.create("probe", &testbed.peers().smallest)?;
    let end = guest.wait_for_end(Duration::from_secs(20))?;
    ensure!(
        end.reason == Reason::Poweroff,
        "a guest that powers off ended by {}",
        end.reason
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_for_one_host() {
        for accelerator in [Accelerator::Kvm, Accelerator::Emulation] {
            let text = emit(accelerator, "boot 1");
            assert_eq!(parse(&text, "boot 1"), Some(accelerator));
            assert_eq!(parse(&text, "boot 2"), None);
        }
        assert_eq!(parse("", ""), None);
    }
}
