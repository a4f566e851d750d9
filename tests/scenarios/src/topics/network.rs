//! The network: guests on an Open vSwitch bridge in dom0, asked from a namespace beside them.

mod behaviour;
mod devices;
mod hostile;
pub(crate) mod site;

use anyhow::{Result, ensure};
use testbed::{Domain, Reason};

use self::site::{GUEST_V4, GUEST_V6, PATTERN, Site};
use crate::image::{Image, network_guest};
use crate::launch::Launch;
use crate::scenario::Scenario;
use crate::xen::{LIMIT, Xen};

const WEB: Image = network_guest("web");
const ECHO: Image = network_guest("echo");
/// What is moved where everything goes well.
const BULK: usize = 100_000_000;
/// More than all buffers on the way hold.
const MUCH: usize = 20_000_000;
/// What is moved where every twentieth packet is lost.
const LOSSY: usize = 2_000_000;
/// RFC 5737: an address that the guest does not have.
const ELSEWHERE_V4: &str = "203.0.113.7";
/// RFC 3849: the same in IPv6.
const ELSEWHERE_V6: &str = "2001:db8:7::7";

pub(crate) fn scenarios() -> Vec<Scenario> {
    let mut scenarios = vec![
        Scenario::on_xen("network: a web server over IPv4 and IPv6", &[WEB], http),
        Scenario::on_xen(
            "network: loss, reordering and duplication are repaired",
            &[WEB],
            loss,
        ),
        Scenario::on_xen(
            "network: an intercepting echo knows the address that was meant",
            &[ECHO],
            intercept,
        ),
        Scenario::on_xen("network: xl shutdown lets a response end", &[WEB], shutdown),
        Scenario::on_xen("network: counters are told on demand", &[WEB], counters),
        Scenario::on_xen("network: only the listening port is open", &[WEB], ports),
        Scenario::on_xen(
            "network: a wrong configuration is explained",
            &[WEB],
            bad_config,
        ),
    ];
    scenarios.extend(behaviour::scenarios());
    scenarios.extend(devices::scenarios());
    scenarios.extend(hostile::scenarios());
    scenarios
}

/// A web server on a new site, which has said that it listens.
fn web<'x>(site: &Site<'x>) -> Result<Domain<'x>> {
    let domain = site.boot(&Launch::of(WEB))?;
    domain.wait_for_console("web: listening", LIMIT)?;
    site.wait_for(GUEST_V4)?;
    Ok(domain)
}

fn http(xen: &Xen) -> Result<()> {
    let site = Site::make(xen)?;
    let _domain = web(&site)?;
    for (server, client, length) in [(GUEST_V4, "10.0.0.1", BULK), (GUEST_V6, "[fd00::1]", MUCH)] {
        let hello = site.run(&format!("curl -sS http://{server}/"))?;
        ensure!(hello == "hello from the edge", "unclear: {hello}");
        let who = site.run(&format!("curl -sS http://{server}/who"))?;
        ensure!(
            who.starts_with(&format!("peer {client}:"))
                && who.ends_with(&format!("local {server}:80")),
            "unclear: {who}"
        );
        both_ways(&site, server, length)?;
    }
    let connects = site.run(&format!(
        "curl -sS -w '%{{stderr}}%{{num_connects}} ' 'http://{GUEST_V4}/bytes/[1-10]' 2>&1 >/dev/null"
    ))?;
    ensure!(
        connects == "1 0 0 0 0 0 0 0 0 0",
        "connections made for ten requests: {connects}"
    );
    Ok(())
}

/// The pattern goes down and up, and is the same there.
fn both_ways(site: &Site<'_>, server: &str, length: usize) -> Result<()> {
    let expected = site.digest(&format!("{PATTERN} | head -c {length}"))?;
    let down = site.digest(&format!("curl -sS http://{server}/bytes/{length}"))?;
    ensure!(down == expected, "{length} bytes down from {server} differ");
    let up = site.run(&format!(
        "sh -c '{PATTERN} | head -c {length} | curl -sS --data-binary @- http://{server}/digest'"
    ))?;
    ensure!(
        up == format!("{length} {expected}"),
        "{length} bytes up to {server} differ: {up}"
    );
    Ok(())
}

fn loss(xen: &Xen) -> Result<()> {
    let site = Site::make(xen)?;
    let _domain = web(&site)?;
    site.disturb("delay 2ms loss 5% reorder 25% duplicate 2%")?;
    both_ways(&site, GUEST_V4, LOSSY)?;
    both_ways(&site, GUEST_V6, LOSSY)
}

fn intercept(xen: &Xen) -> Result<()> {
    let site = Site::make(xen)?;
    let domain = site.boot(&Launch::of(ECHO).arguments("7"))?;
    domain.wait_for_console("echo: listening", LIMIT)?;
    site.wait_for(GUEST_V4)?;
    site.run(&format!("ip route add {ELSEWHERE_V4} via {GUEST_V4}"))?;
    site.run(&format!("ip route add {ELSEWHERE_V6} via fd00::2"))?;
    for (address, written) in [
        ("10.0.0.2", "10.0.0.2:7"),
        ("fd00::2", "[fd00::2]:7"),
        (ELSEWHERE_V4, "203.0.113.7:7"),
        (ELSEWHERE_V6, "[2001:db8:7::7]:7"),
    ] {
        let said = site.run(&format!("sh -c 'echo anybody | busybox nc {address} 7'"))?;
        ensure!(
            said.starts_with(&format!("local {written} peer ")) && said.ends_with("\nanybody"),
            "{address} answers {said:?}"
        );
    }
    let datagram = site
        .run("bash -c 'exec 3<>/dev/udp/10.0.0.2/7; echo anybody >&3; timeout 20 head -n 1 <&3'")?;
    ensure!(datagram == "anybody", "UDP answers {datagram:?}");
    Ok(())
}

/// The request to end comes when one byte of the response has been read and most of it cannot have
/// been sent, because nobody reads on.
fn shutdown(xen: &Xen) -> Result<()> {
    let site = Site::make(xen)?;
    let domain = web(&site)?;
    let expected = site.digest(&format!("{PATTERN} | head -c {MUCH}"))?;
    let got = site.digest(&format!(
        "curl -sS http://{GUEST_V4}/bytes/{MUCH} | \
         {{ dd bs=1 count=1 status=none; xl shutdown {} >&2; cat; }}",
        domain.name()
    ))?;
    ensure!(got == expected, "the response is not complete");
    let end = domain.wait_for_end(LIMIT)?;
    ensure!(
        end.reason == Reason::Poweroff && end.console.contains("guest web: ok"),
        "ended with {:?}:\n{}",
        end.reason,
        end.console
    );
    Ok(())
}

fn counters(xen: &Xen) -> Result<()> {
    let site = Site::make(xen)?;
    let domain = web(&site)?;
    site.run(&format!("curl -sS http://{GUEST_V4}/"))?;
    let told = told_counters(xen, &domain)?;
    for line in [
        "tcp_accepted_total 1",
        "tcp_listeners 1",
        "rx_malformed_total 0",
    ] {
        ensure!(
            told.lines().any(|other| other == line),
            "no line `{line}` in:\n{told}"
        );
    }
    Ok(())
}

/// What a domain tells of itself when it is asked: `name value` on each line.
fn told_counters(xen: &Xen, domain: &Domain<'_>) -> Result<String> {
    let home = format!("/local/domain/{}", domain.id());
    // The first event of a watch says that it is set, the second is what the guest writes.
    let told = xen.in_dom0(&format!(
        "timeout 60 xenstore-watch -n 2 {home}/data/counters | {{ \
         read -r set; xenstore-write {home}/edgecloud/counters 1; read -r written; }} && \
         xenstore-read {home}/data/counters"
    ))?;
    // `xenstore-read` writes the ends of the lines as escapes.
    Ok(told.replace("\\n", "\n"))
}

fn ports(xen: &Xen) -> Result<()> {
    let site = Site::make(xen)?;
    let _domain = web(&site)?;
    for target in [GUEST_V4, "-6 fd00::2"] {
        let seen = site.run(&format!("nmap -n -Pn -T4 -p 1-1024 -oG - {target}"))?;
        let open: Vec<&str> = seen
            .split([' ', '\t'])
            .filter(|word| word.contains("/open"))
            .collect();
        ensure!(
            open == ["80/open/tcp//http///"],
            "nmap of {target} says:\n{seen}"
        );
    }
    Ok(())
}

fn bad_config(xen: &Xen) -> Result<()> {
    let site = Site::make(xen)?;
    let end = site
        .boot_as(&Launch::of(WEB), 0, "ip=10.0.0.2/24,gateway=10.0.1.1")?
        .wait_for_end(LIMIT)?;
    ensure!(
        end.reason == Reason::Crash,
        "ended with {:?}:\n{}",
        end.reason,
        end.console
    );
    for part in [
        "NET=ip=10.0.0.2/24,gateway=10.0.1.1 is wrong",
        "the gateway 10.0.1.1 is on no network of this interface",
        "correct it",
    ] {
        ensure!(
            end.console.contains(part),
            "no `{part}` in:\n{}",
            end.console
        );
    }
    Ok(())
}
