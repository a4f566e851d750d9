//! Every portable guest, in both worlds: the same program, the same transcript.

use anyhow::{Result, ensure};

use super::went_well;
use crate::image::guest;
use crate::launch::Launch;
use crate::process::Processes;
use crate::scenario::Scenario;

/// The guests, their arguments and the memory they get in MiB.
const PROGRAMS: [(&str, &str, u32); 10] = [
    ("collections", "", 128),
    ("threads", "", 64),
    ("panics", "", 64),
    ("tokio-basics", "", 64),
    ("codecs", "", 64),
    ("redb-memory", "", 64),
    ("memory", "128", 128),
    ("random", "", 64),
    ("lifecycle", "greeting", 64),
    ("sockets", "", 64),
];

/// Address space that a process wants beside the memory of a domain: 64 MiB of heap for each thread.
const PROCESS_MEMORY_MIB: u32 = 4096;

pub(crate) fn scenarios() -> Vec<Scenario> {
    PROGRAMS
        .into_iter()
        .map(|(program, arguments, memory_mib)| {
            let image = guest(program);
            let launch = Launch::of(image)
                .arguments(arguments)
                .memory_mib(memory_mib);
            let linux = match program {
                "memory" => launch.clone(),
                _ => launch.clone().memory_mib(PROCESS_MEMORY_MIB),
            };
            let reference = linux.clone();
            Scenario::on_xen(format!("guests: {program}"), &[image], move |xen| {
                let ending = xen.run(&launch)?;
                went_well(program, &ending)?;
                let expected = transcript_on_linux(&xen.processes, program, &reference)?;
                same_transcript(&expected, &ending.transcript)
            })
            .and_as_process(move |processes| {
                transcript_on_linux(processes, program, &linux).map(drop)
            })
        })
        .collect()
}

fn transcript_on_linux(processes: &Processes, program: &str, launch: &Launch) -> Result<String> {
    let ending = processes.run(launch)?;
    went_well(program, &ending)?;
    Ok(ending.transcript)
}

/// Every line about the guest's topics on Linux is on the domain's console too, in the same order.
/// What panics print goes to the same console and is passed over, as are measurements.
fn same_transcript(linux: &str, console: &str) -> Result<()> {
    let mut said = console.lines();
    for line in linux
        .lines()
        .take_while(|line| !line.starts_with("thread '"))
    {
        if line.is_empty() || line.starts_with("note ") {
            continue;
        }
        ensure!(
            said.any(|other| other == line),
            "the line `{line}`, said on Linux, is missing or elsewhere on the console:\n{console}"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transcripts_are_compared_line_by_line_in_order() {
        let linux = "a: one\n  12\nnote speed: 5\na: two\nguest a: ok\n\nthread 'main' panicked";
        let same = "a: one\r\nthread 'main' panicked\n  12\na: two\nnote speed: 7\nguest a: ok\n";
        assert!(same_transcript(linux, &same.replace('\r', "")).is_ok());
        assert!(same_transcript(linux, &same.replace("12", "13")).is_err());
        assert!(same_transcript(linux, "a: two\na: one\n  12\nguest a: ok").is_err());
    }
}
