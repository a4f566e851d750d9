//! How domains end: by themselves, with a code, or because the host asks.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testbed::Reason;

use super::went_well;
use crate::image::{Image, guest};
use crate::launch::Launch;
use crate::process::Processes;
use crate::scenario::Scenario;
use crate::xen::{LIMIT, Xen};

const LIFECYCLE: Image = guest("lifecycle");
const SIGNALS: Image = guest("signals");

/// Within this an orderly shutdown is done. The issue asks for a second; a machine that emulates and
/// does other things at the same time gets ten, and the figure is printed.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(10);

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::on_xen("endings: exit code 0 is poweroff", &[LIFECYCLE], |xen| {
            code(xen, "exit 0", 0)
        })
        .and_as_process(|processes| code_of_process(processes, "exit 0", 0)),
        Scenario::on_xen("endings: exit code 3 is visible", &[LIFECYCLE], |xen| {
            code(xen, "exit 3", 3)
        })
        .and_as_process(|processes| code_of_process(processes, "exit 3", 3)),
        Scenario::on_xen(
            "endings: an error from main is visible",
            &[LIFECYCLE],
            |xen| code(xen, "return-error", 7),
        )
        .and_as_process(|processes| code_of_process(processes, "return-error", 7)),
        Scenario::on_xen("endings: xl shutdown is SIGTERM", &[SIGNALS], |xen| {
            asked(xen, "drain", "shutdown", Reason::Poweroff)
        })
        .and_as_process(drained_process),
        Scenario::on_xen("endings: xl reboot is SIGTERM", &[SIGNALS], |xen| {
            asked(xen, "drain", "reboot", Reason::Reboot)
        }),
        Scenario::on_xen(
            "endings: SIGTERM ends who does not handle it",
            &[SIGNALS],
            |xen| asked(xen, "default", "shutdown", Reason::Poweroff),
        ),
        Scenario::on_xen(
            "endings: xl shutdown before main listens",
            &[SIGNALS],
            asked_early,
        ),
        Scenario::on_xen("endings: an idle guest costs nothing", &[LIFECYCLE], idle),
        Scenario::on_xen(
            "endings: four megabytes on the console",
            &[LIFECYCLE],
            flood,
        ),
    ]
}

/// Code 0 is poweroff, anything else a crash that names the code.
fn code(xen: &Xen, arguments: &str, code: i32) -> Result<()> {
    let ending = xen.run(&Launch::of(LIFECYCLE).arguments(arguments))?;
    let expected = if code == 0 { "Poweroff" } else { "Crash" };
    ensure!(
        ending.how == expected,
        "ended with {}:\n{}",
        ending.how,
        ending.transcript
    );
    let named = format!("exit code {code}");
    ensure!(
        code == 0 || ending.transcript.contains(&named),
        "no `{named}` in:\n{}",
        ending.transcript
    );
    Ok(())
}

fn code_of_process(processes: &Processes, arguments: &str, code: i32) -> Result<()> {
    let launch = Launch::of(LIFECYCLE).arguments(arguments).memory_mib(1024);
    let ending = processes.run(&launch)?;
    ensure!(
        ending.how == format!("exit status: {code}"),
        "ended with {}",
        ending.how
    );
    Ok(())
}

/// The host asks for an end, the guest says that it drains, and ends as asked.
fn asked(xen: &Xen, mode: &str, request: &str, reason: Reason) -> Result<()> {
    let domain = xen.boot(&Launch::of(SIGNALS).arguments(mode))?;
    domain.wait_for_console("signals: ready", LIMIT)?;
    let start = Instant::now();
    domain.xl(request)?.ok()?;
    let end = domain.wait_for_end(SHUTDOWN_LIMIT)?;
    println!(
        "  {request} of `{mode}`: {:.2} s",
        start.elapsed().as_secs_f64()
    );
    ensure!(
        end.reason == reason,
        "ended with {:?}:\n{}",
        end.reason,
        end.console
    );
    if mode == "drain" {
        let (before, after) = end
            .console
            .split_once("signals: draining")
            .unwrap_or_default();
        ensure!(
            before.contains("ready") && after.contains("guest signals: ok"),
            "no order in:\n{}",
            end.console
        );
    }
    Ok(())
}

/// A request that comes while the guest boots is neither lost nor deadly for the host.
fn asked_early(xen: &Xen) -> Result<()> {
    let domain = xen.boot_paused(&Launch::of(SIGNALS).arguments("default"))?;
    xen.in_dom0(&format!(
        "xenstore-write /local/domain/{}/control/shutdown poweroff",
        domain.id()
    ))?;
    domain.unpause()?;
    let end = domain.wait_for_end(LIMIT)?;
    ensure!(
        end.reason == Reason::Poweroff,
        "ended with {:?}:\n{}",
        end.reason,
        end.console
    );
    Ok(())
}

fn drained_process(processes: &Processes) -> Result<()> {
    let launch = Launch::of(SIGNALS).arguments("drain").memory_mib(1024);
    let ending = processes.run_watched(&launch, |id, line| {
        if line == "signals: ready" {
            drop(
                Command::new("kill")
                    .args(["-TERM", &id.to_string()])
                    .status(),
            );
        }
    })?;
    went_well("signals", &ending)
}

/// The bound: under 0.1 s of processor in 30 s.
fn idle(xen: &Xen) -> Result<()> {
    let domain = xen.boot(&Launch::of(LIFECYCLE).arguments("idle 60"))?;
    domain.wait_for_console("lifecycle: idle", LIMIT)?;
    let before = domain.vcpu_time()?;
    ensure!(
        !before.is_zero(),
        "nobody counts the processor time of a guest"
    );
    std::thread::sleep(Duration::from_secs(30)); // What is measured is that nothing happens.
    let used = domain.vcpu_time()?.saturating_sub(before);
    println!("  idle for 30 s: {:.4} s of processor", used.as_secs_f64());
    ensure!(
        used < Duration::from_millis(100),
        "an idle guest used {used:?}"
    );
    Ok(())
}

/// Every line arrives in order, or the console says how many bytes it dropped because nobody read
/// it for long, which happens on a machine with too much to do: together they are all four megabytes.
fn flood(xen: &Xen) -> Result<()> {
    let ending = xen.run(&Launch::of(LIFECYCLE).arguments("flood 4"))?;
    ensure!(ending.succeeded, "ended with {}", ending.how);
    let (mut last, mut arrived, mut dropped) = (None, 0, 0);
    for line in ending.transcript.lines() {
        if let Some(rest) = line.strip_prefix("flood ") {
            let number: usize = rest.split(' ').next().unwrap_or_default().parse()?;
            ensure!(last < Some(number), "line {number} came after {last:?}");
            last = Some(number);
            arrived += line.len() + 1;
        } else if let Some(rest) = line.strip_prefix("[edgecloud: ") {
            let count = rest.strip_suffix(" bytes dropped, nobody read this console]");
            dropped += count
                .with_context(|| format!("unclear: {line}"))?
                .parse::<usize>()?;
        }
    }
    println!("  {arrived} bytes arrived, {dropped} were dropped");
    // A line that was cut counts neither way.
    let missing = (4_usize << 20).abs_diff(arrived + dropped);
    ensure!(
        missing <= 64 * 2 * ending.transcript.matches("bytes dropped").count(),
        "{missing} bytes vanished"
    );
    Ok(())
}
