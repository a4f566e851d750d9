//! The uploader between phones and origins that fail, on a disk that outlives it: in both worlds from one
//! source.

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::edge::{APPLIANCE, Edge, ORIGIN, Running};
use super::until_within;
use crate::image::UPLOADER;
use crate::launch::Launch;
use crate::scenario::Scenario;

/// The memory that images/uploader.toml gives it.
const MEMORY_MIB: u32 = 128;
const DISK_MIB: u32 = 64;
const PORT: u16 = 8080;
/// Where the uploader tells the operator what it has.
const STATUS_PORT: u16 = 8009;
/// A photograph, in bytes.
const PHOTOGRAPH: u32 = 3_000_000;
/// One of those that fill the disk.
const LARGE: u32 = 10_000_000;
/// More of these than the disk has room for.
const LARGE_MAX: u32 = 7;
/// For what happens by itself: an emulated, busy machine needs some seconds.
const PATIENCE: Duration = Duration::from_secs(150);
const DAY_S: i64 = 86_400;

/// How origins take uploads that are not as the phone sends them.
const BY_TUS: &str = "origin = [{host = \"held.example\", protocol = \"tus\", endpoint = \"/files\"}, \
                      {host = \"liar.example\", protocol = \"tus\", endpoint = \"/files\"}, \
                      {host = \"plain.example\"}, {host = \"broken.example\"}, {host = \"busy.example\"}, \
                      {host = \"slow.example\"}, {host = \"silent.example\"}]";

type Body = fn(&Edge<'_>) -> Result<()>;

pub(crate) fn scenarios() -> Vec<Scenario> {
    let both: [(&str, Body); 3] = [
        (
            "uploader: destroyed at each stage of an upload, which comes to its origin whole and once",
            destroyed,
        ),
        (
            "uploader: origins that are down, slow, broken, busy, silent or lie, and a disk that fills",
            rough,
        ),
        (
            "uploader: a clock that jumps days ahead and back, and a link that is dear",
            jumps,
        ),
    ];
    let both = both.into_iter().map(|(name, body)| {
        Scenario::on_xen(name, &[UPLOADER], move |xen| body(&Edge::on_xen(xen)?))
            .and_as_process(move |processes| body(&Edge::of_processes(processes)?))
    });
    both.collect()
}

/// At each stage the power goes: half of it has come, it waits, the origin has made it, has half of it, has
/// all of it and has not said so, has said so.
fn destroyed(edge: &Edge<'_>) -> Result<()> {
    prepare(edge)?;
    let uploader = boot(edge, BY_TUS, &[])?;
    let photo = format!("1 {PHOTOGRAPH}");
    edge.viewer(&format!(
        "sh -c '{} stop held.example {photo} >stopped 2>&1 &'",
        phone()
    ))?;
    until("a third is acknowledged", || {
        Ok(edge.shell("cat stopped")?.starts_with("204 "))
    })?;
    until("the next third is on its way", || {
        let came = figure(edge, "uploader_received_bytes_total")?;
        Ok(came > u64::from(PHOTOGRAPH / 3))
    })?;
    drop(uploader);

    let uploader = boot(edge, BY_TUS, &[])?;
    let place = edge.shell("cut -d' ' -f2 stopped")?;
    let said = phones(edge, &format!("finish {place} {photo}"))?;
    ensure!(said.starts_with("204 "), "the phone is answered {said}");
    drop(uploader); // It waits: there is no origin yet.

    open_origin(edge)?;
    for stage in ["made", "half", "whole"] {
        edge.shell(&format!("touch hold-{stage}"))?;
        let uploader = boot(edge, BY_TUS, &[])?;
        until(&format!("the origin is at the stage {stage:?}"), || {
            Ok(edge.shell("ls")?.contains(&format!("held-{stage}")))
        })?;
        drop(uploader);
    }
    let digest = phones(edge, &format!("digest {photo}"))?;
    let one = format!("held.example {digest} first");
    for _ in 0..2 {
        let uploader = boot(edge, BY_TUS, &[])?;
        until("it is delivered", || all_delivered(edge))?;
        let have = edge.shell("cat have")?;
        ensure!(have == one, "not once and whole, {one}:\n{have}");
        drop(uploader);
    }
    Ok(())
}

/// Each has its upload whole and once in the end, and what does not fit is refused before a byte of it comes.
fn rough(edge: &Edge<'_>) -> Result<()> {
    const HOSTS: [&str; 6] = ["plain", "broken", "busy", "slow", "silent", "liar"];
    prepare(edge)?;
    let _uploader = boot(edge, &format!("originals-at-once = 6, {BY_TUS}"), &[])?;
    let mut sent = Vec::new();
    for (seed, host) in HOSTS.iter().enumerate() {
        let photo = format!("{seed} {PHOTOGRAPH}");
        let said = phones(edge, &format!("all {host}.example {photo}"))?;
        ensure!(said.starts_with("204 "), "the phone is answered {said}");
        sent.push((*host, phones(edge, &format!("digest {photo}"))?));
        if sent.len() == 1 {
            until("the uploader has seen that the origins are down", || {
                Ok(figure(edge, "uploader_attempts_total{outcome=\"later\"}")? >= 2)
            })?;
            open_origin(edge)?;
        }
    }
    until("all is delivered", || all_delivered(edge))?;
    for (host, digest) in &sent {
        // It has answered nothing, so it was asked again, by the same key.
        let twice = if *host == "silent" { 1 } else { 0 };
        has_once(edge, host, digest, twice)?;
    }
    ensure!(
        !edge.shell("cat have")?.contains("early"),
        "the busy origin was asked before it wanted to"
    );

    close_origin(edge)?;
    let mut large = Vec::new();
    let refused = loop {
        let photo = format!("{} {LARGE}", 100 + large.len());
        let said = phones(edge, &format!("all plain.example {photo}"))?;
        match said.starts_with("204 ") {
            true => large.push(photo),
            false => break said,
        }
        ensure!(
            large.len() < LARGE_MAX as usize,
            "{} of {LARGE} bytes on {DISK_MIB} MiB",
            large.len()
        );
    };
    ensure!(
        refused == "507" && large.len() > 1,
        "after {} the phone is answered {refused}",
        large.len()
    );
    open_origin(edge)?;
    until("what filled the disk is delivered", || all_delivered(edge))?;
    large.push(format!("200 {LARGE}"));
    let said = phones(edge, &format!("all plain.example 200 {LARGE}"))?;
    ensure!(
        said.starts_with("204 "),
        "the disk has room again, and the phone is answered {said}"
    );
    until("the last one is delivered", || all_delivered(edge))?;
    for photo in &large {
        has_once(edge, "plain", &phones(edge, &format!("digest {photo}"))?, 0)?;
    }
    Ok(())
}

/// Three days ahead everything has waited long enough; three days back nothing is forgotten.
fn jumps(edge: &Edge<'_>) -> Result<()> {
    prepare(edge)?;
    open_origin(edge)?;
    let dear = format!("timetable = [\"00:00 price=8\"], patience-hours = 24, {BY_TUS}");
    let clock = Clock::of(edge)?;
    let uploader = boot(edge, &dear, &clock.variables)?;
    let photo = |seed: u32| format!("{seed} {PHOTOGRAPH}");
    let began = phones(edge, &format!("part plain.example {}", photo(1)))?;
    let place = began.strip_prefix("204 ").context(began.clone())?;
    phones(edge, &format!("all plain.example {}", photo(2)))?;
    let has = |seed: u32, times: usize| -> Result<bool> {
        let digest = phones(edge, &format!("digest {}", photo(seed)))?;
        let have = edge.shell("cat have 2>/dev/null || true")?;
        Ok(have.matches(&digest).count() == times)
    };
    ensure!(has(2, 0)?, "it went though the link is dear");
    clock.jump(3 * DAY_S)?;
    until("what has waited for three days has gone", || has(2, 1))?;
    clock.jump(-6 * DAY_S)?;
    let said = phones(edge, &format!("all plain.example {}", photo(3)))?;
    ensure!(said.starts_with("204 "), "the phone is answered {said}");
    // Longer than between two looks at what waits.
    edge.shell("sleep 35")?;
    ensure!(has(3, 0)?, "it went though the link is dear");
    drop(uploader);
    clock.jump(3 * DAY_S)?;
    let _uploader = boot(edge, BY_TUS, &clock.variables)?;
    let said = phones(edge, &format!("finish {place} {}", photo(1)))?;
    ensure!(said.starts_with("204 "), "the phone is answered {said}");
    until("all is delivered", || all_delivered(edge))?;
    ensure!(
        has(1, 1)? && has(2, 1)? && has(3, 1)?,
        "not each once:\n{}",
        edge.shell("cat have")?
    );
    Ok(())
}

/// The wall clock that the uploader reads: dom0's, or one that libfaketime shows it. Dropped, it is right again.
struct Clock<'e, 'w> {
    edge: &'e Edge<'w>,
    /// What a process needs to be shown it.
    variables: Vec<(&'static str, String)>,
    ahead_s: Cell<i64>,
}

impl<'e, 'w> Clock<'e, 'w> {
    fn of(edge: &'e Edge<'w>) -> Result<Clock<'e, 'w>> {
        let mut clock = Clock {
            edge,
            variables: Vec::new(),
            ahead_s: Cell::new(0),
        };
        if !edge.is_xen() {
            let library = edge.shell("echo /usr/lib/*/faketime/libfaketime.so.1")?;
            ensure!(!library.contains('*'), "no libfaketime: install faketime");
            edge.write("clock", "+0")?;
            clock.variables = vec![
                ("LD_PRELOAD", library),
                ("FAKETIME_TIMESTAMP_FILE", format!("{}/clock", edge.folder)),
                ("FAKETIME_NO_CACHE", "1".to_owned()),
                ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ];
        }
        Ok(clock)
    }

    fn jump(&self, seconds: i64) -> Result<()> {
        self.ahead_s.set(self.ahead_s.get() + seconds);
        match self.edge.is_xen() {
            true => self
                .edge
                .shell(&format!("date -s @$(($(date +%s) + {seconds}))"))
                .map(drop),
            false => self
                .edge
                .write("clock", &format!("{:+}", self.ahead_s.get())),
        }
    }
}

impl Drop for Clock<'_, '_> {
    fn drop(&mut self) {
        drop(self.jump(-self.ahead_s.get()));
    }
}

/// The phone's program, and an empty disk.
fn prepare(edge: &Edge<'_>) -> Result<()> {
    edge.write("phone.py", include_str!("uploader/phone.py"))?;
    edge.write("origin.py", include_str!("uploader/origin.py"))?;
    edge.shell(&format!("truncate -s {DISK_MIB}M disk"))?;
    Ok(())
}

fn phone() -> String {
    format!("python3 phone.py {APPLIANCE} {ORIGIN}:{PORT}")
}

/// What the phone prints.
fn phones(edge: &Edge<'_>, words: &str) -> Result<String> {
    edge.viewer(&format!("{} {words}", phone()))
}

fn boot<'e>(
    edge: &'e Edge<'_>,
    service: &str,
    variables: &[(&'static str, String)],
) -> Result<Running<'e>> {
    let settings = format!(
        "service = {{device = \"{}\", rest-seconds = 0, status = \"[::]:{STATUS_PORT}\", \
         {service}}}",
        edge.disk()
    );
    let mut launch = Launch::of(UPLOADER)
        .memory_mib(MEMORY_MIB)
        .variable("CONFIG", settings)
        .variable("HTTPS_ADDRESS", "off");
    launch.environment.extend(variables.iter().cloned());
    edge.boot(launch, true, "uploader: status on")
}

/// Starts the origins; returns when they listen.
fn open_origin(edge: &Edge<'_>) -> Result<()> {
    edge.at_origin(&format!(
        "sh -c 'python3 origin.py {ORIGIN} {PORT} >origin.log 2>&1 & echo $! >origin.pid'"
    ))?;
    until("the origins listen", || {
        Ok(edge.shell("cat origin.log")?.contains("listening"))
    })
}

fn close_origin(edge: &Edge<'_>) -> Result<()> {
    edge.shell("kill -KILL $(cat origin.pid)").map(drop)
}

/// One of the uploader's figures, by its name with its labels.
fn figure(edge: &Edge<'_>, name: &str) -> Result<u64> {
    let figures = edge.viewer(&format!(
        "curl -sS --fail --max-time 20 http://{APPLIANCE}:8008/metrics"
    ))?;
    let value = figures.lines().find_map(|line| line.strip_prefix(name));
    let value = value.with_context(|| format!("no {name} in {figures}"))?;
    Ok(value.trim().parse()?)
}

/// Whether nothing is left that is whole and not delivered.
fn all_delivered(edge: &Edge<'_>) -> Result<bool> {
    let status = edge.viewer(&format!(
        "curl -sS --fail --max-time 20 http://{APPLIANCE}:{STATUS_PORT}/status.json"
    ))?;
    let status: serde_json::Value = serde_json::from_str(&status)?;
    let uploads = status["uploads"].as_array().context("no uploads")?;
    let mut states = uploads.iter().map(|upload| upload["state"].as_str());
    Ok(states.all(|state| matches!(state, Some("arriving" | "delivered"))))
}

/// That an origin has these bytes as one upload, which came again so often.
fn has_once(edge: &Edge<'_>, host: &str, digest: &str, again: usize) -> Result<()> {
    let have = edge.shell("cat have")?;
    let count = |kind: &str| {
        let line = format!("{host}.example {digest} {kind}");
        have.lines().filter(|one| *one == line).count()
    };
    ensure!(
        count("first") == 1 && count("again") == again,
        "of {host}'s {digest} there is not one, and {again} again:\n{have}"
    );
    Ok(())
}

fn until(what: &str, so: impl FnMut() -> Result<bool>) -> Result<()> {
    until_within(PATIENCE, what, so)
}
