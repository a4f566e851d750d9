//! Names on a running switch: the operator's server is dnsmasq, who asks is dig, and between them is
//! the daemon's resolver.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use netns::Switch;

use crate::site::{
    CLIENT, Daemon, EDGE, NAME_SERVER, Outcome, RESOLVER, Site, launch, token, wait_for,
};

const RULES: &str = r#"
[[speak]]
protocols = ["arp", "dns"]
[[intercept]]
from = "clients"
to = { name = "www.photos.example", tcp = [80] }
[[call]]
to = { name = "*.api.photos.example", tcp = [80] }
[[serve]]
as = "edge.photos.example"
tcp = [80]
"#;

/// The operator's server of names.
struct NameServer<'a> {
    site: &'a Site<'a>,
    hosts: std::path::PathBuf,
    process: Child,
}

impl Drop for NameServer<'_> {
    fn drop(&mut self) {
        // It ends with the world in any case.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl<'a> NameServer<'a> {
    /// Starts it, and returns once it answers with these addresses and names.
    fn start(switch: &Switch, site: &'a Site<'a>, hosts: &str) -> Outcome<NameServer<'a>> {
        let file = switch.directory().join("hosts");
        fs::write(&file, hosts)?;
        let mut command = site.router.command("dnsmasq");
        command.args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
        ]);
        command.args([
            "--bind-interfaces",
            "--local-ttl=2",
            "--user=root",
            "--pid-file=",
        ]);
        command.arg(format!("--listen-address={NAME_SERVER}"));
        command.arg(format!("--addn-hosts={}", file.display()));
        let process = command.stderr(Stdio::null()).spawn()?;
        let server = NameServer {
            site,
            hosts: file,
            process,
        };
        wait_for("dnsmasq answers", || {
            Ok(server
                .own("www.photos.example")
                .is_ok_and(|answer| !answer.is_empty()))
        })?;
        Ok(server)
    }

    /// What it says itself.
    fn own(&self, name: &str) -> Outcome<String> {
        let at = format!("@{NAME_SERVER}");
        Ok(self
            .site
            .router
            .run(&["dig", &at, "+short", "+time=1", "+tries=1", name])?)
    }

    /// Gives names other addresses.
    fn change(&self, hosts: &str) -> Outcome {
        fs::write(&self.hosts, hosts)?;
        let directory = self.hosts.parent().ok_or("no directory")?;
        let pid = "kill -HUP $(pidof -s dnsmasq)";
        self.site
            .router
            .run(&["sh", "-c", pid])
            .map_err(|error| format!("{error} in {}", directory.display()))?;
        Ok(())
    }
}

const HOSTS: &str = "203.0.113.7 www.photos.example\n203.0.113.8 one.api.photos.example\n\
     203.0.113.8 other.example\n10.0.1.1 evil.api.photos.example\n";

#[test]
fn names_are_known_to_the_switch_before_anybody_uses_them() -> Outcome {
    let switch = Switch::start()?;
    let site = Site::new(&switch)?;
    let server = NameServer::start(&switch, &site, HOSTS)?;
    let daemon = Daemon::start(&switch)?;
    let token = token(RULES, |_| {});
    let domain = daemon.succeed("POST", "/v1/launch", &launch("one", &token))?;
    daemon.wait_for_state("one", "live")?;
    let address = domain["addresses"][0]
        .as_str()
        .ok_or("no address")?
        .to_owned();

    // What is intercepted by name is, though nobody has asked for the name.
    site.wait_for_answer("one")?;

    let inside = |command: &[&str]| {
        let enter = ["ip", "netns", "exec", "ec-1"];
        switch.world().run(&[&enter, command].concat())
    };
    let at = format!("@{RESOLVER}");
    let dig = ["dig", &at, "+short", "+time=4", "+tries=1"];
    let ask = |words: &[&str]| inside(&[&dig, words].concat());
    let call = || inside(&[EDGE, "get", "203.0.113.8:80", "/"]);
    // A name that no rule speaks of has an address, which is no permission.
    assert_eq!(ask(&["other.example"])?, "203.0.113.8\n");
    call().unwrap_err();
    // One that a rule speaks of: the very first connection is let through.
    assert_eq!(ask(&["one.api.photos.example"])?, "203.0.113.8\n");
    assert_eq!(
        call()?,
        format!("200 origin from {address} to 203.0.113.8\n")
    );
    assert_eq!(ask(&["+tcp", "one.api.photos.example"])?, "203.0.113.8\n");
    // Who owns a name cannot point it at dom0.
    assert_eq!(ask(&["evil.api.photos.example"])?, "");
    inside(&[EDGE, "get", "10.0.1.1:22", "/"]).unwrap_err();
    // What applications serve is answered here, and clients may ask.
    assert_eq!(ask(&["edge.photos.example"])?, format!("{address}\n"));
    let asked = site
        .client
        .run(&[&dig[..], &["edge.photos.example"]].concat());
    let asked = asked?;
    assert_eq!(asked, format!("{address}\n"));
    let by_name = format!("{address}:80");
    let served = site.client.run(&[EDGE, "get", &by_name, "/"])?;
    assert_eq!(served, format!("200 one from {CLIENT} to {address}\n"));
    // Who may not ask is not answered.
    let stranger = ["dig", &at, "+time=1", "+tries=1", "www.photos.example"];
    site.router.run(&stranger).unwrap_err();

    moves(&site, &server)?;
    let names = daemon.succeed("GET", "/v1/names", &serde_json::Value::Null)?;
    assert_eq!(names["names"]["www.photos.example"][0], "203.0.113.9");
    Ok(())
}

/// The intercepted name gets another address: what is established stays where it is.
fn moves(site: &Site, server: &NameServer) -> Outcome {
    let mut held = site.client.command(EDGE);
    let held = held.args(["hold", "203.0.113.7:80"]).stdout(Stdio::piped());
    let mut held = held.spawn()?;
    let mut lines = BufReader::new(held.stdout.take().ok_or("no pipe")?).lines();
    let mut answer = || -> Outcome<String> { Ok(lines.next().ok_or("no answer")??) };
    let expected = format!("200 one from {CLIENT} to 203.0.113.7");
    assert_eq!(answer()?, expected);
    server.change(&HOSTS.replace("203.0.113.7", "203.0.113.9"))?;
    let get = |address: &str| site.client.run(&[EDGE, "get", address, "/"]);
    wait_for("the new address is intercepted", || {
        Ok(get("203.0.113.9:80").is_ok_and(|answer| answer.starts_with("200 one ")))
    })?;
    // The old one is the name's until the answer that told it has run out, and some seconds.
    wait_for("the old address is passed by", || {
        Ok(get("203.0.113.7:80").is_ok_and(|answer| answer.starts_with("200 origin ")))
    })?;
    for _ in 0..100 {
        assert_eq!(answer()?, expected);
    }
    held.kill()?;
    held.wait()?;
    Ok(())
}
