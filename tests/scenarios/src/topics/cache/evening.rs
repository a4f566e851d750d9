//! An evening of television: a hundred viewers behind one access link, and a poor backhaul.
//!
//! A programme is a playlist, which is fresh for a second, and segments, which are fresh for an hour
//! (RFC 8216 as players and origins use it). What is asserted is what crossed the backhaul and what
//! viewers saw; how long they waited is printed.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::nginx;
use crate::topics::edge::{APPLIANCE, Edge, ORIGIN};

const SEGMENTS: u32 = 6;
const SEGMENT_BYTES: u32 = 50_000;
/// What the backhaul is, each way.
const BACKHAUL: &str = "tbf rate 10mbit burst 64k latency 400ms";
const DISK_MIB: u32 = 64;

const CONFIGURATION: &str = "user root; worker_processes 1; pid nginx.pid; error_log error.log;
events { worker_connections 1024; }
http {
  log_format short '$request_method $uri $http_range $status';
  access_log access.log short;
  server {
    listen 10.0.0.9:80 backlog=512;
    root .;
    location ~ m3u8$ { add_header Cache-Control 'max-age=1, stale-if-error=3600'; }
    location / { add_header Cache-Control 'max-age=3600'; }
  }
}
";

pub(super) fn evening(edge: &Edge<'_>, viewers: u32) -> Result<()> {
    let watched = |server: &str, programme: &str| self::watched(edge, viewers, server, programme);
    for programme in ["news", "premiere", "wrong"] {
        record(edge, programme)?;
    }
    edge.write("viewers.py", include_str!("viewers.py"))?;
    edge.shell(&format!("truncate -s {DISK_MIB}M disk"))?;
    nginx::start(edge, CONFIGURATION)?;
    edge.limit_backhaul(BACKHAUL)?;

    let without = watched(ORIGIN, "news")?;
    edge.shell(">access.log")?;
    let service = format!("origin = \"{ORIGIN}:80\", disk = \"{}\"", edge.disk());
    let cache = super::start(edge, &service)?;
    let with = watched(APPLIANCE, "news")?;
    println!(
        "{viewers} viewers of {SEGMENTS} segments: without the cache {} kB on the backhaul and {} s of \
         waiting, with it {} kB and {} s",
        without.bytes / 1000,
        without.stalled,
        with.bytes / 1000,
        with.stalled
    );
    ensure!(
        with.bytes * u64::from(viewers) / 2 < without.bytes,
        "{} bytes with the cache, {} without",
        with.bytes,
        without.bytes
    );
    asked_once(edge, "news")?;

    premiere(edge, viewers)?;
    purge(edge, viewers)?;

    nginx::kill(edge)?;
    let after = watched(APPLIANCE, "news")?;
    ensure!(after.bytes < 100_000, "{} bytes of nothing", after.bytes);
    drop(cache); // As by a power failure: what it wrote a second ago is there.
    let _cache = super::start(edge, &service)?;
    watched(APPLIANCE, "news")?;
    watched(APPLIANCE, "wrong")?;
    Ok(())
}

/// Makes a programme anew, of noise.
fn record(edge: &Edge<'_>, programme: &str) -> Result<()> {
    edge.shell(&format!(
        "set -e; rm -rf {programme}; mkdir {programme}; cd {programme}; echo '#EXTM3U' >new
         for i in $(seq {SEGMENTS}); do head -c {SEGMENT_BYTES} /dev/urandom >$i.ts
         echo \"$i.ts $(sha256sum <$i.ts | cut -d' ' -f1)\" >>new; done; mv new list.m3u8"
    ))?;
    Ok(())
}

/// What was prefetched costs nothing when everybody wants it.
fn premiere(edge: &Edge<'_>, viewers: u32) -> Result<()> {
    let urls: String = (1..=SEGMENTS)
        .map(|number| format!("http://tv.example/premiere/{number}.ts\n"))
        .collect();
    order(edge, "prefetch", &urls)?;
    edge.shell(&format!(
        "for i in $(seq 600); do [ $(grep -c 'GET /premiere/' access.log) = {SEGMENTS} ] && break; sleep 0.1; done"
    ))?;
    watched(edge, viewers, APPLIANCE, "premiere")?;
    asked_once(edge, "premiere")
}

/// An episode that should not have been sent is away at once: the digests of the new one are in its
/// playlist, so viewers notice a single segment of the old.
fn purge(edge: &Edge<'_>, viewers: u32) -> Result<()> {
    watched(edge, viewers, APPLIANCE, "wrong")?;
    record(edge, "wrong")?;
    order(edge, "purge", "prefix http://tv.example/wrong/\n")?;
    watched(edge, viewers, APPLIANCE, "wrong")?;
    Ok(())
}

fn order(edge: &Edge<'_>, path: &str, lines: &str) -> Result<()> {
    edge.write("order", lines)?;
    edge.viewer(&format!(
        "curl -sS --fail --data-binary @order http://{APPLIANCE}:8008/{path}"
    ))?;
    Ok(())
}

/// The origin was asked for each segment once.
fn asked_once(edge: &Edge<'_>, programme: &str) -> Result<()> {
    let counts = edge.shell(&format!(
        "grep '/{programme}/.*ts' access.log | sort | uniq -c | awk '{{print $1}}' | sort -u"
    ))?;
    ensure!(
        counts == "1",
        "segments of {programme} were asked for {counts} times"
    );
    Ok(())
}

/// What an evening cost.
struct Evening {
    /// What the origin sent.
    bytes: u64,
    /// Seconds that viewers waited in all.
    stalled: f64,
}

/// Has everybody watch a programme, and insists that all saw all of it.
fn watched(edge: &Edge<'_>, viewers: u32, server: &str, programme: &str) -> Result<Evening> {
    let sent = || -> Result<u64> {
        let sent = edge.at_origin("cat /sys/class/net/eth0/statistics/tx_bytes")?;
        Ok(sent.parse()?)
    };
    let before = sent()?;
    let said = edge.viewer(&format!(
        "python3 viewers.py http://{server}/{programme}/list.m3u8 {viewers}"
    ))?;
    let said: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
    let all = u64::from(viewers * SEGMENTS);
    ensure!(
        said["right"] == all && said["wrong"] == 0 && said["missing"] == 0,
        "viewers of {programme} at {server} saw {said}"
    );
    Ok(Evening {
        bytes: sent()? - before,
        stalled: said["stalled"].as_f64().context("no number")?,
    })
}
