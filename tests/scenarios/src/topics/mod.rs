//! The scenarios by topic.

pub(crate) mod bad_input;
pub(crate) mod cache;
pub(crate) mod clocks;
pub(crate) mod configuration;
pub(crate) mod controller;
pub(crate) mod disk;
mod edge;
pub(crate) mod endings;
pub(crate) mod faults;
pub(crate) mod images;
pub(crate) mod many;
pub(crate) mod memory;
pub(crate) mod network;
pub(crate) mod photo;
pub(crate) mod programs;
pub(crate) mod random;
pub(crate) mod service;
pub(crate) mod station;
pub(crate) mod uploader;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::launch::Ending;

/// A guest ended well and said so.
fn went_well(guest: &str, ending: &Ending) -> Result<()> {
    let last = format!("guest {guest}: ok");
    let transcript = &ending.transcript;
    ensure!(
        ending.succeeded,
        "{guest} ended with {}:\n{transcript}",
        ending.how
    );
    ensure!(
        transcript.lines().any(|line| line == last),
        "no line `{last}` in:\n{transcript}"
    );
    Ok(())
}

/// The value of a line `note NAME: VALUE`.
fn note(transcript: &str, name: &str) -> Result<f64> {
    let start = format!("note {name}: ");
    let value = transcript
        .lines()
        .find_map(|line| line.strip_prefix(&start));
    let value = value.ok_or_else(|| anyhow::anyhow!("no line `{start}…` in:\n{transcript}"))?;
    Ok(value.parse()?)
}

/// Asks until it is so: what is asked tells nobody of itself.
fn until_within(limit: Duration, what: &str, mut so: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + limit;
    while !so()? {
        ensure!(
            Instant::now() < deadline,
            "not within {} s: {what}",
            limit.as_secs()
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}
