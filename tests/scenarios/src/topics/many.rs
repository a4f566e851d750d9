//! Many guests, one after the other and at once: dom0 must be as before.

use anyhow::{Result, ensure};

use super::went_well;
use crate::image::{GREETING, Image, guest};
use crate::launch::Launch;
use crate::scenario::Scenario;
use crate::xen::{LIMIT, Xen};

const LIFECYCLE: Image = guest("lifecycle");
const GUESTS: usize = 30;

/// Each figure of dom0 and how much more of it may be used in the end: Xen frees a domain's pages a
/// little after the domain, and xenstored's own count of connections wavers by one.
const FIGURES: [(&str, &str, f64); 5] = [
    (
        "MiB of Xen's memory in use",
        "xl info | awk '/^total_memory/{t=$3} /^free_memory/{print t-$3}'",
        2.0,
    ),
    ("nodes in xenstore", "xenstore-ls -f | wc -l", 2.0),
    (
        "files open in xenconsoled",
        "ls /proc/$(pidof xenconsoled)/fd | wc -l",
        0.0,
    ),
    ("xl processes", "pgrep -c '^xl$' || true", 0.0),
    ("domains", "xl list | wc -l", 0.0),
];

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::on_xen(
            "many: thirty guests in turn leave nothing behind",
            &[GREETING],
            |xen| leaving_nothing(xen, in_turn),
        ),
        Scenario::on_xen(
            "many: thirty guests at once, thirty consoles",
            &[LIFECYCLE],
            |xen| leaving_nothing(xen, at_once),
        ),
    ]
}

fn in_turn(xen: &Xen) -> Result<()> {
    for number in 0..GUESTS {
        let ending = xen.run(
            &Launch::of(GREETING)
                .arguments(&format!("number{number}"))
                .memory_mib(16),
        )?;
        ensure!(
            ending.succeeded,
            "guest {number} ended with {}:\n{}",
            ending.how,
            ending.transcript
        );
        let greeting = format!("Hello, number{number}!");
        ensure!(
            ending.transcript.contains(&greeting),
            "no `{greeting}` in:\n{}",
            ending.transcript
        );
    }
    Ok(())
}

/// All of them are there at the same time, each on a console of its own, and end when asked.
fn at_once(xen: &Xen) -> Result<()> {
    let launch = |number| {
        Launch::of(LIFECYCLE)
            .command_line(format!("idle 600 NUMBER={number}"))
            .memory_mib(16)
    };
    let domains: Vec<_> = (0..GUESTS)
        .map(|number| xen.boot(&launch(number)))
        .collect::<Result<_>>()?;
    for domain in &domains {
        domain.wait_for_console("lifecycle: idle", LIMIT)?;
    }
    for domain in &domains {
        domain.xl("shutdown")?.ok()?;
    }
    for domain in &domains {
        let end = domain.wait_for_end(LIMIT)?;
        let idle = end.console.matches("lifecycle: idle").count();
        ensure!(
            idle == 1,
            "{} has {idle} greetings on its console",
            domain.name()
        );
    }
    Ok(())
}

/// dom0's figures after `body` are those before it. A guest before the first reading fills the
/// caches that only the first guest fills.
fn leaving_nothing(xen: &Xen, body: fn(&Xen) -> Result<()>) -> Result<()> {
    went_well("lifecycle", &xen.run(&Launch::of(LIFECYCLE))?)?;
    let before = figures(xen)?;
    body(xen)?;
    let after = settled(xen, &before)?;
    for (((name, _, tolerance), before), after) in FIGURES.iter().zip(before).zip(after) {
        println!("  {name}: {before} before, {after} after");
        ensure!(
            after <= before + tolerance,
            "{name}: {before} before {GUESTS} guests, {after} after"
        );
    }
    Ok(())
}

/// The figures once they are down again, or after ten looks: xl's daemons take a moment to leave.
fn settled(xen: &Xen, before: &[f64]) -> Result<Vec<f64>> {
    let mut after = figures(xen)?;
    for _ in 0..10 {
        if FIGURES
            .iter()
            .zip(before)
            .zip(&after)
            .all(|((figure, before), after)| *after <= before + figure.2)
        {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(500));
        after = figures(xen)?;
    }
    Ok(after)
}

fn figures(xen: &Xen) -> Result<Vec<f64>> {
    FIGURES
        .iter()
        .map(|(_, command, _)| xen.number_in_dom0(command))
        .collect()
}
