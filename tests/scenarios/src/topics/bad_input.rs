//! Bad input: each has a clear message from the builder, from xl or on the console, and no hang.

use anyhow::{Context, Result, ensure};
use testbed::console;

use crate::image::{HELLO, Image, guest, text, xtask};
use crate::launch::Launch;
use crate::scenario::Scenario;
use crate::xen::{LIMIT, Xen, config};

const ARGUMENTS: Image = guest("arguments");

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::on_xen(
            "bad input: an image without the note",
            &[HELLO],
            without_note,
        ),
        Scenario::on_xen("bad input: a truncated image", &[HELLO], truncated),
        Scenario::on_xen(
            "bad input: an image for another processor",
            &[HELLO],
            wrong_machine,
        ),
        Scenario::on_xen(
            "bad input: an image larger than its memory",
            &[HELLO],
            too_large,
        ),
        Scenario::on_xen(
            "bad input: a command line of 4 kB",
            &[ARGUMENTS],
            long_command_line,
        ),
        Scenario::on_xen(
            "bad input: a command line that is not UTF-8",
            &[ARGUMENTS],
            not_utf8,
        ),
        Scenario::on_xen(
            "bad input: a quote that is not closed",
            &[ARGUMENTS],
            unclosed_quote,
        ),
        Scenario::on_xen(
            "bad input: nonsense in xenstore",
            &[ARGUMENTS],
            nonsense_in_xenstore,
        ),
    ]
}

/// The builder's check says what is wrong before anybody boots it, and the toolstack refuses it.
fn refused(xen: &Xen, name: &str, elf: &[u8], memory_mib: u32, says: &str) -> Result<()> {
    objected_to(name, elf, memory_mib, says)?;
    let path = format!("/var/lib/edgecloud/images/{name}.elf");
    xen.testbed.put_bytes(elf, &path)?;
    match xen.testbed.create(name, &config(&path, memory_mib, "")) {
        Err(error) => ensure!(
            format!("{error:#}").contains("xc: "),
            "xl is unclear: {error:#}"
        ),
        Ok(_) => anyhow::bail!("xl boots it"),
    }
    Ok(())
}

/// `cargo xtask image --check` fails and says why.
fn objected_to(name: &str, elf: &[u8], memory_mib: u32, says: &str) -> Result<()> {
    let file = std::env::temp_dir().join(format!("edgecloud-{name}-{}.elf", std::process::id()));
    std::fs::write(&file, elf).with_context(|| format!("cannot write {}", file.display()))?;
    let mut check = xtask(["image", "--memory", &memory_mib.to_string(), "--check"]);
    let checked = check.arg(&file).output();
    std::fs::remove_file(&file)?;
    let checked = checked.context("cargo could not be started")?;
    let message = text(&checked);
    ensure!(
        !checked.status.success(),
        "`cargo xtask image --check` has no objection:\n{message}"
    );
    ensure!(
        message.to_lowercase().contains(says),
        "the check does not say `{says}`:\n{message}"
    );
    Ok(())
}

fn without_note(xen: &Xen) -> Result<()> {
    let mut elf = xen.elf(HELLO)?;
    // The note's header: name of 4 bytes, descriptor of 4 bytes, type 18, name "Xen".
    let header = [4, 0, 0, 0, 4, 0, 0, 0, 18, 0, 0, 0, b'X', b'e', b'n', 0];
    let at = elf
        .windows(header.len())
        .position(|window| window == header);
    elf[at.context("the image has no such note")? + 12] = b'Y';
    refused(xen, "without-note", &elf, 64, "note")
}

fn truncated(xen: &Xen) -> Result<()> {
    let elf = xen.elf(HELLO)?;
    refused(xen, "truncated", &elf[..elf.len() / 2], 64, "truncated")?;
    refused(xen, "headless", &elf[..40], 64, "elf")
}

fn wrong_machine(xen: &Xen) -> Result<()> {
    const E_MACHINE: usize = 18;
    const EM_AARCH64: u8 = 183;
    let mut elf = xen.elf(HELLO)?;
    elf[E_MACHINE] = EM_AARCH64;
    // Xen's domain builder does not look at this field, so only the check can tell.
    objected_to("wrong-machine", &elf, 64, "x86")
}

/// An image that asks for a gigabyte of `.bss`.
fn too_large(xen: &Xen) -> Result<()> {
    let mut elf = xen.elf(HELLO)?;
    let segment = last_load_segment(&elf).context("the image has no segments")?;
    const P_MEMSZ: usize = 40;
    elf[segment + P_MEMSZ..][..8].copy_from_slice(&(1_u64 << 30).to_le_bytes());
    refused(xen, "too-large", &elf, 64, "memory")
}

/// Where the program header of the last PT_LOAD is (ELF-64, System V ABI chapter 5).
fn last_load_segment(elf: &[u8]) -> Option<usize> {
    let number = |at: usize, bytes: usize| {
        elf.get(at..at + bytes)?
            .iter()
            .rev()
            .try_fold(0_usize, |sum, &byte| Some(sum << 8 | usize::from(byte)))
    };
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    (0..count)
        .map(|index| table + index * size)
        .rfind(|&at| number(at, 4) == Some(1))
}

/// Either xl says that it is too long, or the guest gets all of it.
fn long_command_line(xen: &Xen) -> Result<()> {
    let words: Vec<String> = (0..512).map(|number| format!("word{number:03}")).collect();
    let line = words.join(" ");
    assert!(line.len() >= 4090, "four kilobytes are meant");
    match xen.boot(&Launch::of(ARGUMENTS).command_line(line)) {
        Err(error) => {
            let message = format!("{error:#}").to_lowercase();
            ensure!(
                message.contains("too long") || message.contains("command line"),
                "unclear: {message}"
            );
        }
        Ok(domain) => {
            let console = domain.wait_for_end(LIMIT)?.console;
            ensure!(
                console.contains("argument 512: \"word511\""),
                "words were lost:\n{console}"
            );
        }
    }
    Ok(())
}

/// Bytes are bytes, as on Linux; `std::env::args_os` has them as they came.
fn not_utf8(xen: &Xen) -> Result<()> {
    let line = "good b\u{1}d \u{2} NAME=\u{3}";
    let config = xen.config(&Launch::of(ARGUMENTS).command_line(line))? + "name = \"not-utf8\"\n";
    let config = config.bytes().flat_map(|byte| match byte {
        1 => vec![0xff],
        2 => vec![0xc3],
        3 => vec![0xf0, 0x9f],
        byte => vec![byte],
    });
    let file = "/run/not-utf8.cfg";
    xen.testbed.put_bytes(&config.collect::<Vec<_>>(), file)?;
    // In the foreground, xl stays until the domain has ended.
    xen.testbed
        .command(&format!("xl create -q -F {file}"))
        .timeout(LIMIT)
        .run()?
        .ok()?;
    let log = testbed::xl::console_log("not-utf8");
    let console = console::clean(&xen.testbed.get_bytes(&log.to_string_lossy())?);
    for expected in [
        "argument 1: \"good\"",
        r#"argument 2: "b\xFFd""#,
        r#"argument 3: "\xC3""#,
        r#"environment "NAME": "\xF0\x9F""#,
        "guest arguments: ok",
    ] {
        ensure!(console.contains(expected), "no `{expected}` in:\n{console}");
    }
    Ok(())
}

fn unclosed_quote(xen: &Xen) -> Result<()> {
    let ending = xen.run(&Launch::of(ARGUMENTS).command_line("good 'never closed"))?;
    ensure!(
        ending.how == "Crash",
        "ended with {}:\n{}",
        ending.how,
        ending.transcript
    );
    ensure!(
        ending.transcript.contains("never closed"),
        "no reason on the console:\n{}",
        ending.transcript
    );
    Ok(())
}

/// Names that are no names, arguments that are no words, a request nobody knows: the guest says so
/// or goes on, and ends.
fn nonsense_in_xenstore(xen: &Xen) -> Result<()> {
    let domain = xen.boot_paused(&Launch::of(ARGUMENTS))?;
    let home = format!("/local/domain/{}", domain.id());
    xen.in_dom0(&format!(
        "xenstore-write {home}/edgecloud/environment/lower-case x {home}/control/shutdown nonsense"
    ))?;
    domain.unpause()?;
    let end = domain.wait_for_end(LIMIT)?;
    ensure!(
        end.console.contains("guest arguments: ok"),
        "ended with {:?}:\n{}",
        end.reason,
        end.console
    );

    let domain = xen.boot_paused(&Launch::of(ARGUMENTS))?;
    xen.in_dom0(&format!(
        "xenstore-write /local/domain/{}/edgecloud/arguments '\"open'",
        domain.id()
    ))?;
    domain.unpause()?;
    let end = domain.wait_for_end(LIMIT)?;
    ensure!(
        end.console.contains("never closed"),
        "no reason on the console:\n{}",
        end.console
    );
    Ok(())
}
