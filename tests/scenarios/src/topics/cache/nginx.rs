//! The cache in front of nginx, asked by curl.

use anyhow::{Result, ensure};

use crate::topics::edge::{APPLIANCE, Edge, ORIGIN};

/// An origin with a log, and files that it sends in its own ways.
const CONFIGURATION: &str = "user root; worker_processes 1; pid nginx.pid; error_log error.log;
events {}
http {
  log_format short '$request_method $uri $http_range $status';
  access_log access.log short;
  server {
    listen 10.0.0.9:80;
    root .;
    location /fresh/ { expires 1h; }
    location /crowd/ { expires 1h; limit_rate 100k; }
    location /short/ { add_header Cache-Control 'max-age=1, stale-if-error=600'; }
    location /must/ { add_header Cache-Control 'max-age=1, must-revalidate'; }
    location /own/ { add_header Cache-Control 'private'; }
  }
}
";

/// Starts nginx at the origin and waits until it answers.
pub(super) fn start(edge: &Edge<'_>, configuration: &str) -> Result<()> {
    edge.write("nginx.conf", configuration)?;
    edge.at_origin(&format!(
        "nginx -p {} -c nginx.conf -e error.log",
        edge.folder
    ))?;
    Ok(())
}

/// Kills nginx, as when a server's power fails: master and workers.
pub(super) fn kill(edge: &Edge<'_>) -> Result<()> {
    edge.shell("master=$(cat nginx.pid); kill -KILL $master $(ps -o pid= --ppid $master)")?;
    Ok(())
}

/// Asks the cache with curl: the status, what the cache says it did, and the SHA-256 of what came.
fn ask(edge: &Edge<'_>, options: &str, path: &str) -> Result<String> {
    let url = format!("http://{APPLIANCE}{path}");
    edge.viewer(&format!(
        "sh -c 'curl -sS {options} -D head -o body {url}; head -1 head | cut -d\" \" -f2
         grep -i ^cache-status: head | cut -d\" \" -f2-; sha256sum <body | cut -d\" \" -f1'"
    ))
    .map(|said| said.replace(['\r', '\n'], " ").replace("  ", " "))
}

/// How often the origin was asked for a path.
fn asked(edge: &Edge<'_>, path: &str) -> Result<usize> {
    let count = edge.shell(&format!("grep -c ' {path} ' access.log || true"))?;
    Ok(count.parse()?)
}

pub(super) fn in_front(edge: &Edge<'_>) -> Result<()> {
    edge.shell(
        "mkdir fresh crowd short must own
         for folder in fresh short must own; do head -c 100000 /dev/urandom >$folder/a; done
         head -c 300000 /dev/urandom >crowd/a",
    )?;
    start(edge, CONFIGURATION)?;
    let cache = super::start(edge, &format!("origin = \"{ORIGIN}:80\""))?;
    let digest = |path: &str| edge.shell(&format!("sha256sum <{path} | cut -d' ' -f1"));

    let whole = digest("fresh/a")?;
    check(edge, "", "/fresh/a", 200, "fwd=uri-miss; stored", &whole)?;
    check(edge, "", "/fresh/a", 200, "edgecloud; hit", &whole)?;
    let part = edge.shell("tail -c +5001 fresh/a | head -c 1000 | sha256sum | cut -d' ' -f1")?;
    check(edge, "-r 5000-5999", "/fresh/a", 206, "hit", &part)?;
    let etag = edge.shell("grep -i ^etag: head | cut -d' ' -f2 | tr -d '\\r'")?;
    let condition = format!("-H \"If-None-Match: {}\"", etag.replace('"', "\\\""));
    check(edge, &condition, "/fresh/a", 304, "hit", "")?;
    ensure!(
        asked(edge, "/fresh/a")? == 1,
        "asked again for what is fresh"
    );

    crowd(edge, &digest("crowd/a")?)?;

    let own = digest("own/a")?;
    for _ in 0..2 {
        check(edge, "", "/own/a", 200, "detail=private", &own)?;
    }
    for path in ["/short/a", "/must/a"] {
        ask(edge, "", path)?;
    }
    kill(edge)?;
    edge.shell("sleep 2")?; // What was fresh for a second is not any more.
    check(edge, "", "/short/a", 200, "hit; ttl=-", &digest("short/a")?)?;
    check(edge, "", "/must/a", 502, "", "")?;
    check(edge, "", "/fresh/a", 200, "hit", &whole)?;
    drop(cache);
    Ok(())
}

/// What is hidden in a request reaches the origin as no request of its own, and the cache still serves.
pub(super) fn smuggling(edge: &Edge<'_>) -> Result<()> {
    edge.shell("mkdir fresh; echo a >a; echo fresh >fresh/a")?;
    edge.write("smuggler.py", include_str!("smuggler.py"))?;
    start(edge, CONFIGURATION)?;
    let _cache = super::start(edge, &format!("origin = \"{ORIGIN}:80\""))?;
    let said = edge.viewer(&format!("python3 smuggler.py {APPLIANCE}"))?;
    println!("answers to ambiguous requests: {said}");
    let asked = edge.shell("cat access.log")?;
    ensure!(
        !asked.contains("smuggled"),
        "something was smuggled; the origin was asked for:\n{asked}"
    );
    let digest = edge.shell("sha256sum <fresh/a | cut -d' ' -f1")?;
    check(edge, "", "/fresh/a", 200, "fwd=uri-miss; stored", &digest)
}

/// Twenty at once for what takes three seconds to arrive: all have it, and the origin was asked once.
fn crowd(edge: &Edge<'_>, digest: &str) -> Result<()> {
    let digests = edge.viewer(&format!(
        "sh -c 'for i in $(seq 20); do curl -sS http://{APPLIANCE}/crowd/a | sha256sum & done; wait'"
    ))?;
    let complete = digests.lines().filter(|line| line.starts_with(digest));
    ensure!(complete.count() == 20, "not all have all:\n{digests}");
    let count = asked(edge, "/crowd/a")?;
    ensure!(count == 1, "{count} requests for one crowd");
    Ok(())
}

fn check(
    edge: &Edge<'_>,
    options: &str,
    path: &str,
    status: u16,
    how: &str,
    digest: &str,
) -> Result<()> {
    let said = ask(edge, options, path)?;
    ensure!(
        said.starts_with(&status.to_string()) && said.contains(how) && said.ends_with(digest),
        "curl {options} {path}: {said:?}, not {status}, {how:?}, {digest}"
    );
    Ok(())
}
