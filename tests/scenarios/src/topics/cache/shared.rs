//! A cache that two publishers share: an origin with TLS and one on IPv6, a film in slices, HTTP/2 in, and purges by
//! a publisher; h2load among its clients.

use anyhow::{Result, ensure};

use super::nginx;
use crate::topics::edge::{APPLIANCE, APPLIANCE_V6, Edge, ORIGIN, ORIGIN_V6};

const CONFIGURATION: &str = "user root; worker_processes 1; pid nginx.pid; error_log error.log;
events {}
http {
  log_format short '$request_method $uri $http_range $status';
  access_log access.log short;
  server {
    listen 10.0.0.9:443 ssl; ssl_certificate tls.pem; ssl_certificate_key tls.key;
    root tv; expires 1h;
  }
  server { listen [fd00::9]:80 ipv6only=on; root photos; expires 1h; }
}
";
/// Larger than the largest object of its publisher, and no multiple of a slice.
const FILM_BYTES: u32 = 4_500_000;
const SLICES: usize = 5;
/// Of h2load.
const REQUESTS: u32 = 1000;

pub(super) fn shared(edge: &Edge<'_>) -> Result<()> {
    edge.shell(&format!(
        "set -e; mkdir tv photos; head -c {FILM_BYTES} /dev/urandom >tv/film; echo news >tv/news; echo photo >photos/a
         umask 077; openssl rand -hex 32 | tr -d '\\n' >token
         {{ printf 'Authorization: Bearer '; cat token; }} >authorization; echo 'Authorization: Bearer x' >wrong
         certify() {{
             openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -keyout $1.key -out $1.pem \
             -subj /CN=tv -addext subjectAltName=DNS:$2 -addext basicConstraints=critical,CA:FALSE 2>&1
         }}
         certify tls origin.tv.example; certify site tv.example"
    ))?;
    nginx::start(edge, CONFIGURATION)?;
    let pem = |file: &str| -> Result<String> {
        Ok(edge.shell(&format!("cat {file}"))?.replace('\n', "\\n"))
    };
    let (ca, certificate, key) = (pem("tls.pem")?, pem("site.pem")?, pem("site.key")?);
    let digest = edge.shell("sha256sum <token | cut -d' ' -f1")?;
    let _cache = super::start(
        edge,
        &format!(
            "memory-mib = 12, publishers = [\
         {{name = \"tv\", sites = [\"tv.example\"], memory-mib = 8, purge-token-sha256 = \"{digest}\", \
         origin = \"https://{ORIGIN}\", origin-name = \"origin.tv.example\", origin-ca = \"{ca}\", \
         tls = {{certificate = \"{certificate}\", key = \"{key}\"}}}}, \
         {{name = \"photos\", sites = [\"photos.example\"], memory-mib = 4, origin = \"http://{ORIGIN_V6}\"}}]"
        ),
    )?;
    film(edge)?;
    for how in ["fwd=uri-miss; stored", "edgecloud; hit"] {
        // With TLS by the publisher's own certificate, and HTTP/2 in it.
        let said = ask(
            edge,
            "--cacert site.pem --http2",
            "https",
            APPLIANCE,
            "tv.example/news",
        )?;
        ensure!(
            said.contains(how) && said.ends_with("HTTP/2 news"),
            "{said}"
        );
        let said = ask(edge, "", "http", APPLIANCE_V6, "photos.example/a")?;
        ensure!(
            said.contains(how) && said.ends_with("HTTP/1.1 photo"),
            "{said}"
        );
    }
    let said = ask(edge, "", "http", APPLIANCE, "other.example/")?;
    ensure!(said.starts_with("421"), "a stranger's site: {said}");
    load(edge)?;
    purge(edge)
}

/// Ten connections of HTTP/2 with ten requests at once, each answered.
fn load(edge: &Edge<'_>) -> Result<()> {
    let said = edge.viewer(&format!(
        "h2load -n {REQUESTS} -c 10 -m 10 --connect-to={APPLIANCE}:443 https://tv.example/news"
    ))?;
    for expected in [
        format!("{REQUESTS} succeeded, 0 failed, 0 errored, 0 timeout"),
        format!("{REQUESTS} 2xx, 0 3xx, 0 4xx, 0 5xx"),
        "Application protocol: h2".to_owned(),
    ] {
        ensure!(said.contains(&expected), "no {expected:?}:\n{said}");
    }
    Ok(())
}

/// A film comes whole, its slices cross the backhaul once, and a viewer who jumps gets what is stored.
fn film(edge: &Edge<'_>) -> Result<()> {
    let digest = edge.shell("sha256sum <tv/film | cut -d' ' -f1")?;
    for _ in 0..2 {
        let said = digest_of(edge, "")?;
        ensure!(said == digest, "another film: {said}");
    }
    let part = edge.shell("tail -c +1048001 tv/film | head -c 2000 | sha256sum | cut -d' ' -f1")?;
    let said = digest_of(edge, "-r 1048000-1049999")?;
    ensure!(said == part, "another part: {said}");
    let slices = slices(edge)?;
    ensure!(
        slices == SLICES,
        "{slices} slices were asked for, of {SLICES}"
    );
    Ok(())
}

fn digest_of(edge: &Edge<'_>, options: &str) -> Result<String> {
    edge.viewer(&format!(
        "sh -c 'curl -sS {options} -H \"Host: tv.example\" http://{APPLIANCE}/film | sha256sum | cut -d\" \" -f1'"
    ))
}

/// How often the origin sent a slice.
fn slices(edge: &Edge<'_>) -> Result<usize> {
    let count = edge.shell("grep -c 'GET /film bytes=.* 206' access.log || true")?;
    Ok(count.parse()?)
}

/// A publisher purges its own, by its token and with TLS alone.
fn purge(edge: &Edge<'_>) -> Result<()> {
    for (token, scheme, order, status) in [
        ("wrong", "https", "url http://tv.example/film", "401"),
        ("authorization", "http", "url http://tv.example/film", "403"),
        (
            "authorization",
            "https",
            "url http://photos.example/a",
            "403",
        ),
        (
            "authorization",
            "https",
            "prefix http://tv.example/fi",
            "200",
        ),
    ] {
        edge.write("order", order)?;
        let options = format!("-k -H @{token} --data-binary @order");
        let target = "tv.example/.well-known/edgecloud/purge";
        let said = ask(edge, &options, scheme, APPLIANCE, target)?;
        ensure!(
            said.starts_with(status),
            "{order} by {scheme} and {token}: {said}"
        );
    }
    digest_of(edge, "")?;
    let slices = slices(edge)?;
    ensure!(slices == 2 * SLICES, "{slices} slices after a purge");
    let said = ask(edge, "-k", "https", APPLIANCE, "tv.example/news")?;
    ensure!(said.contains("edgecloud; hit"), "purged as well: {said}");
    Ok(())
}

/// Asks the cache for a site's target with curl: the status, what the cache says it did, the version of HTTP, and the
/// content.
fn ask(edge: &Edge<'_>, options: &str, scheme: &str, cache: &str, target: &str) -> Result<String> {
    let (site, path) = target.split_once('/').unwrap_or((target, ""));
    let said = edge.viewer(&format!(
        "sh -c 'curl -sS -g {options} --connect-to {site}::{cache}: -D head -o body {scheme}://{site}/{path}
         head -1 head | cut -d\" \" -f2; grep -i ^cache-status: head | cut -d\" \" -f2-
         head -1 head | cut -d\" \" -f1; cat body'"
    ))?;
    Ok(said
        .replace(['\r', '\n'], " ")
        .replace("  ", " ")
        .trim()
        .to_owned())
}
