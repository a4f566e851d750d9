//! The caches as processes of this machine.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::process::{Folder, HTTP_SIGN, Server, free_address};
use super::{CONNECTIONS, Options, SIZES, print, restart};
use crate::bench::guests::workspace;

/// An origin, and a cache in front of it.
const NGINX: &str = "user root; worker_processes 1; daemon off; pid nginx.pid; error_log error.log;
events {}
http {
  access_log off; keepalive_requests 1000000000; sendfile on; tcp_nodelay on;
  open_file_cache max=16; open_file_cache_valid 1h;
  proxy_cache_path stored levels=1:2 keys_zone=stored:1m;
  server { listen ORIGIN; root www; expires 1h; location /n/ { rewrite ^ /bytes/1024 break; } }
  server { listen CACHE; location / { proxy_pass http://ORIGIN; proxy_cache stored; } }
}
";

/// Builds the cache as for production; where it is.
fn build(root: &Path) -> Result<std::path::PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--release", "--locked", "-p", "cache"]);
    let status = command.current_dir(root).status()?;
    ensure!(status.success(), "the cache cannot be built");
    Ok(root.join("target/release/cache"))
}

pub(super) fn run(options: &Options) -> Result<()> {
    let root = workspace()?;
    let program = build(root)?;
    let folder = Folder::make()?;
    let (origin, nginx) = nginx(&folder)?;
    let document = format!(
        "[appliance]\nhttp = '127.0.0.1:0'\nhttps = 'off'\nmanagement = '127.0.0.1:0'\n\
         [service]\norigin = '{origin}'\n"
    );
    let (ours, _) = Server::ours(&program, &document, HTTP_SIGN)?;
    restart::run(options, &program, &folder, origin)?;
    let varnish = varnish(&folder, origin)?;
    for (bytes, figure, _) in SIZES {
        let mut rates: [Vec<f64>; 3] = Default::default();
        for round in 1..=options.rounds {
            let caches = [Some(&ours), Some(&nginx), varnish.as_ref()];
            for (cache, rates) in caches.into_iter().zip(&mut rates) {
                if let Some(cache) = cache {
                    rates.push(rate(cache, bytes, options.seconds)?);
                }
            }
            let last = rates.each_ref().map(|rates| rates.last().copied());
            eprintln!("{figure}, round {round}: ours, nginx, Varnish {last:?}");
        }
        let [ours, nginx, varnish] = &rates;
        if !varnish.is_empty() {
            print(figure, ours, ("Varnish", varnish))?;
        }
        print(figure, ours, ("nginx", nginx))?;
    }
    Ok(())
}

/// nginx as origin and as cache: the origin's address, and the cache.
fn nginx(folder: &Folder) -> Result<(SocketAddr, Server)> {
    let (origin, cache) = (free_address()?, free_address()?);
    let www = folder.0.join("www/bytes");
    fs::create_dir_all(&www)?;
    for (bytes, ..) in SIZES {
        fs::write(www.join(bytes.to_string()), vec![b'x'; bytes as usize])?;
    }
    let configuration = NGINX
        .replace("ORIGIN", &origin.to_string())
        .replace("CACHE", &cache.to_string());
    fs::write(folder.0.join("nginx.conf"), configuration)?;
    let mut command = Command::new("nginx");
    command.arg("-p").arg(&folder.0);
    command.args(["-c", "nginx.conf", "-e", "error.log"]);
    let server = Server::start(&mut command, cache);
    let hint = "nginx, for instance of apt-get install nginx-light";
    Ok((origin, server.context(hint)?))
}

/// Varnish, if it is installed.
fn varnish(folder: &Folder, origin: SocketAddr) -> Result<Option<Server>> {
    let installed = Command::new("varnishd").arg("-V").output();
    if !installed.is_ok_and(|output| output.status.success()) {
        eprintln!("no Varnish here (apt-get install varnish)");
        return Ok(None);
    }
    let address = free_address()?;
    let mut command = Command::new("varnishd");
    command.arg("-F").arg("-n").arg(folder.0.join("varnish"));
    command.args(["-a", &address.to_string(), "-b", &origin.to_string()]);
    command.args(["-s", "malloc,64m", "-T", "none"]);
    Server::start(&mut command, address).map(Some)
}

/// Responses for a second of the cache's processor.
fn rate(cache: &Server, bytes: u32, seconds: u16) -> Result<f64> {
    let url = format!("http://{}/bytes/{bytes}", cache.address);
    let wrk = |seconds: u16| {
        let connections = CONNECTIONS.to_string();
        let duration = format!("{seconds}s");
        let arguments = ["-t", "1", "-c", &connections, "-d", &duration, &url];
        let output = Command::new("wrk").args(arguments).output();
        let output = output.context("wrk is missing: apt-get install wrk")?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success() && !said.contains("Non-2xx") && !said.contains("Socket errors"),
            "wrk says:\n{said}"
        );
        let words = said.lines().find(|line| line.contains(" requests in "));
        let count = words.and_then(|line| line.split_whitespace().next());
        count
            .and_then(|count| count.parse::<f64>().ok())
            .with_context(|| format!("wrk says:\n{said}"))
    };
    wrk(1)?; // From here on it is in the cache.
    let before = cache.cpu_seconds()?;
    let responses = wrk(seconds)?;
    Ok(responses / (cache.cpu_seconds()? - before))
}
