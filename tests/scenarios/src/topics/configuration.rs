//! What a program is told: arguments and environment from the command line and from xenstore.

use anyhow::{Result, ensure};

use super::went_well;
use crate::image::{Image, guest};
use crate::launch::Launch;
use crate::scenario::Scenario;
use crate::xen::{LIMIT, Xen};

const ARGUMENTS: Image = guest("arguments");

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::on_xen(
            "configuration: the command line",
            &[ARGUMENTS],
            command_line,
        ),
        Scenario::on_xen("configuration: no command line", &[ARGUMENTS], nothing),
        Scenario::on_xen("configuration: xenstore", &[ARGUMENTS], xenstore),
        Scenario::on_xen(
            "configuration: the command line goes before xenstore",
            &[ARGUMENTS],
            both,
        ),
    ]
}

/// The lines about arguments and environment, which must be exactly these, and what every program
/// finds in its environment: that panics are to show where they come from.
fn told(transcript: &str, expected: &[&str]) -> Result<()> {
    let told: Vec<&str> = transcript
        .lines()
        .filter(|line| line.starts_with("argument ") || line.starts_with("environment "))
        .collect();
    let panics = r#"environment "RUST_BACKTRACE": "full""#;
    ensure!(
        told.contains(&panics),
        "panics would not show where they come from: {told:#?}"
    );
    let told: Vec<&str> = told.into_iter().filter(|&line| line != panics).collect();
    ensure!(told == expected, "expected {expected:#?}\nfound {told:#?}");
    Ok(())
}

fn command_line(xen: &Xen) -> Result<()> {
    let line = r#"plain "two words" 'single $x' back\ slash COLOUR=blue NAME_2="a b" lower=case "QUOTED=word" "" Grüße -- LATE=argument"#;
    let ending = xen.run(&Launch::of(ARGUMENTS).command_line(line))?;
    went_well("arguments", &ending)?;
    told(
        &ending.transcript,
        &[
            r#"argument 1: "plain""#,
            r#"argument 2: "two words""#,
            r#"argument 3: "single $x""#,
            r#"argument 4: "back slash""#,
            r#"argument 5: "lower=case""#,
            r#"argument 6: "QUOTED=word""#,
            r#"argument 7: """#,
            r#"argument 8: "Grüße""#,
            r#"argument 9: "LATE=argument""#,
            r#"environment "COLOUR": "blue""#,
            r#"environment "NAME_2": "a b""#,
        ],
    )
}

fn nothing(xen: &Xen) -> Result<()> {
    let ending = xen.run(&Launch::of(ARGUMENTS))?;
    went_well("arguments", &ending)?;
    told(&ending.transcript, &[])?;
    let name = format!("note program: {}", ARGUMENTS.name());
    ensure!(
        ending.transcript.lines().any(|line| line == name),
        "no line `{name}`:\n{}",
        ending.transcript
    );
    Ok(())
}

fn xenstore(xen: &Xen) -> Result<()> {
    let ending = with_xenstore(
        xen,
        "",
        &[
            ("environment/COLOUR", "blue and green"),
            ("environment/EMPTY", ""),
            ("arguments", r#"one "two three""#),
        ],
    )?;
    told(
        &ending,
        &[
            r#"argument 1: "one""#,
            r#"argument 2: "two three""#,
            r#"environment "COLOUR": "blue and green""#,
            r#"environment "EMPTY": """#,
        ],
    )
}

/// Arguments of both are taken; of two values of one name the command line's counts, so that one
/// who launches a domain by hand can override what is stored for it.
fn both(xen: &Xen) -> Result<()> {
    let ending = with_xenstore(
        xen,
        "first COLOUR=red SHAPE=round",
        &[("environment/COLOUR", "blue"), ("arguments", "second")],
    )?;
    told(
        &ending,
        &[
            r#"argument 1: "first""#,
            r#"argument 2: "second""#,
            r#"environment "COLOUR": "red""#,
            r#"environment "SHAPE": "round""#,
        ],
    )
}

/// Runs the guest with nodes written under `/local/domain/ID/edgecloud` before it starts.
fn with_xenstore(xen: &Xen, command_line: &str, nodes: &[(&str, &str)]) -> Result<String> {
    let domain = xen.boot_paused(&Launch::of(ARGUMENTS).command_line(command_line))?;
    for (node, value) in nodes {
        let path = format!("/local/domain/{}/edgecloud/{node}", domain.id());
        xen.in_dom0(&format!("xenstore-write {path} '{value}'"))?;
    }
    domain.unpause()?;
    let end = domain.wait_for_end(LIMIT)?;
    ensure!(
        end.console.contains("guest arguments: ok"),
        "ended with {:?}:\n{}",
        end.reason,
        end.console
    );
    Ok(end.console)
}
