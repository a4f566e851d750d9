//! Domains: created by `xl`, watched by the agent, destroyed when they are dropped.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::Testbed;
use crate::agent;
use crate::command::Output;
use crate::console;
use crate::protocol::Status;
use crate::testbed::quote;
use crate::xl::{self, Reason};

/// Creating a domain builds its memory; a big one on a busy machine takes a while.
const CREATE_LIMIT: Duration = Duration::from_secs(120);

/// The lines of `xl dmesg` that an error shows.
const HYPERVISOR_LINES: usize = 20;

/// Of all tools in dom0 only this binding shows the time unrounded.
const VCPU_TIME: &str = "\
import glob, os, sys
sys.path += glob.glob('/usr/lib/xen-[0-9]*/lib/python')
from xen.lowlevel import xc
number = int(os.environ['ID'])
try:
    domains = xc.xc().domain_getinfo(number, 1)
except xc.Error:
    domains = []
print(*[domain['cpu_time'] for domain in domains if domain['domid'] == number])
";

/// A domain. Dropping it destroys the domain, if it still exists.
pub struct Domain<'t> {
    testbed: &'t Testbed,
    name: String,
    id: u32,
}

/// How a domain ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Why.
    pub reason: Reason,
    /// Everything it wrote.
    pub console: String,
}

pub(crate) fn create<'t>(
    testbed: &'t Testbed,
    name: &str,
    config: &str,
    flags: &str,
) -> Result<Domain<'t>> {
    let file = prepare(testbed, name, config)?;
    let command = format!("{} create {name} {file} {flags}", agent::PATH);
    let output = testbed.command(&command).timeout(CREATE_LIMIT).run()?;
    let id = succeeded(testbed, name, output)?;
    Ok(Domain {
        testbed,
        name: name.to_owned(),
        id,
    })
}

pub(crate) fn create_timed<'t>(
    testbed: &'t Testbed,
    name: &str,
    config: &str,
    what: &str,
    limit: Duration,
) -> Result<(Duration, Domain<'t>)> {
    let file = prepare(testbed, name, config)?;
    let command = format!("{} {what} {file}", agent::PATH);
    let output = testbed.command(&command).timeout(limit).run()?;
    // A domain that has ended has no id any more; its name is enough to look after it.
    let domain = Domain {
        testbed,
        name: name.to_owned(),
        id: 0,
    };
    let nanoseconds = succeeded(testbed, name, output)?;
    Ok((Duration::from_nanos(nanoseconds), domain))
}

/// Puts the configuration into dom0 and the logs of an earlier domain of this name aside; gives
/// the configuration's file.
fn prepare(testbed: &Testbed, name: &str, config: &str) -> Result<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    ensure!(
        !name.is_empty() && name.chars().all(plain),
        "`{name}` cannot be a domain's name"
    );
    testbed.note_domain(name);
    let file = format!("/run/testbed/{name}.cfg");
    let mut command = format!("cat >{file}");
    for log in [xl::console_log(name), xl::xl_log(name)] {
        let log = log.display();
        command += &format!("; [ ! -e {log} ] || mv {log} {log}.before");
    }
    // The last setting of a name counts.
    let config = format!("{config}\nname = \"{name}\"\n");
    testbed.command(&command).stdin(config).run()?.ok()?;
    Ok(file)
}

/// The number that a successful command printed.
fn succeeded<N: std::str::FromStr>(testbed: &Testbed, name: &str, output: Output) -> Result<N> {
    let output = output.ok().with_context(|| {
        let log = testbed.hypervisor_log().unwrap_or_default();
        let log = console::tail(&xl::without_domain_building(&log), HYPERVISOR_LINES);
        let said = console(testbed, name).unwrap_or_default();
        let said = match said.trim_end() {
            "" => String::new(),
            said => format!("; it said:\n{}\n", console::tail(said, HYPERVISOR_LINES)),
        };
        format!("cannot create the domain {name}{said}; the end of `xl dmesg`:\n{log}\n")
    })?;
    let text = output.text();
    text.trim()
        .parse()
        .ok()
        .with_context(|| format!("expected a number, got `{text}`"))
}

pub(crate) fn console(testbed: &Testbed, name: &str) -> Result<String> {
    let log = xl::console_log(name);
    let read = format!("[ ! -e {log} ] || cat {log}", log = log.display());
    Ok(console::clean(&testbed.exec(&read)?.ok()?.stdout))
}

impl Domain<'_> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Lets a domain made by [`Testbed::create_paused`] run.
    pub fn unpause(&self) -> Result<()> {
        self.xl("unpause")?.ok()?;
        Ok(())
    }

    /// Everything it has written to its console.
    pub fn console(&self) -> Result<String> {
        console(self.testbed, &self.name)
    }

    /// Waits until its console has `text` (plain text, no pattern); gives the console so far.
    /// That the domain ends without writing it is an error at once.
    pub fn wait_for_console(&self, text: &str, limit: Duration) -> Result<String> {
        let command = format!("{} console {} {}", agent::PATH, self.name, quote(text));
        let output = self.testbed.command(&command).timeout(limit).run()?;
        let console = self.console()?;
        match output.status {
            Status::Exited(0) => Ok(console),
            Status::TimedOut => {
                bail!(
                    "{} did not write `{text}` within {limit:?}; {}",
                    self.name,
                    so_far(&console)
                )
            }
            Status::Exited(code) if code == i32::from(xl::ENDED_WITHOUT) => {
                let reason = self
                    .last_reason()?
                    .map_or("from outside".into(), |r| r.to_string());
                bail!(
                    "{} ended ({reason}) without writing `{text}`; {}",
                    self.name,
                    so_far(&console)
                )
            }
            _ => Err(output.ok().expect_err("its status is a failure")),
        }
    }

    /// Waits until it has ended and everything it wrote is in the console's log. A domain that
    /// its configuration starts again does not end: wait for what its next life writes.
    pub fn wait_for_end(&self, limit: Duration) -> Result<End> {
        let command = format!("{} end {}", agent::PATH, self.name);
        let output = self.testbed.command(&command).timeout(limit).run()?;
        let console = self.console()?;
        if output.status == Status::TimedOut {
            bail!(
                "{} did not end within {limit:?}; {}",
                self.name,
                so_far(&console)
            );
        }
        let log = output.ok()?.text();
        let reason = xl::reason(&log).with_context(|| {
            format!("{} was destroyed from outside; xl's log:\n{log}", self.name)
        })?;
        Ok(End { reason, console })
    }

    /// Runs `xl` on it: `xl SUBCOMMAND NAME`, or the name in the place of `{}`.
    pub fn xl(&self, subcommand: &str) -> Result<Output> {
        let command = if subcommand.contains("{}") {
            subcommand.replace("{}", &self.name)
        } else {
            format!("{subcommand} {}", self.name)
        };
        self.testbed.exec(&format!("xl {command}"))
    }

    /// The time its vCPUs have run, as the hypervisor counts it, to the nanosecond.
    pub fn vcpu_time(&self) -> Result<Duration> {
        let command = self
            .testbed
            .command("exec python3 -")
            .env("ID", &self.id.to_string());
        let output = command.stdin(VCPU_TIME).run()?.ok()?;
        let nanoseconds = output.text().trim().parse().ok();
        let nanoseconds =
            nanoseconds.with_context(|| format!("{} does not exist any more", self.name))?;
        Ok(Duration::from_nanos(nanoseconds))
    }

    fn last_reason(&self) -> Result<Option<Reason>> {
        let log = self
            .testbed
            .get_bytes(&xl::xl_log(&self.name).to_string_lossy())?;
        Ok(xl::reason(&console::clean(&log)))
    }
}

fn so_far(console: &str) -> String {
    format!("its console so far:\n{console}")
}

impl Drop for Domain<'_> {
    fn drop(&mut self) {
        // It is gone in most cases, and there is nobody to tell in the others.
        let _ = self.xl("destroy");
    }
}
