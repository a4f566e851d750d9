//! Services over TLS: the appliance `hello`, asked by curl, and a client in a guest, which asks.
//!
//! The clients and servers at the other end (curl, openssl, Python) come with dom0's Xen and Open
//! vSwitch.

use anyhow::{Context, Result, ensure};
use testbed::{Domain, Reason};

use super::network::site::{GUEST_V4, GUEST_V6, Site};
use crate::image::{HELLO, Image, network_guest};
use crate::launch::Launch;
use crate::scenario::Scenario;
use crate::xen::{LIMIT, Xen};

const CLIENT: Image = network_guest("client");
const ORIGIN: &str = include_str!("service/origin.py");
/// Who hello is, unless told otherwise.
const NAME: &str = "hello.edge.example";
/// The memory that images/hello.toml gives it.
const MEMORY_MIB: u32 = 16;

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::on_xen(
            "service: hello over HTTP/1.1, HTTP/2 and HTTPS",
            &[HELLO],
            hello,
        ),
        Scenario::on_xen(
            "service: a certificate from xenstore is served, and a request in flight answered",
            &[HELLO],
            drain,
        ),
        Scenario::on_xen(
            "service: a client in a guest finds an origin by name",
            &[CLIENT],
            client,
        ),
    ]
}

fn hello(xen: &Xen) -> Result<()> {
    let site = Site::make(xen)?;
    let names = format!("TLS_NAMES={NAME},10.0.0.2,fd00::2");
    let launch = Launch::of(HELLO).command_line(names);
    let domain = site.boot(&launch.memory_mib(MEMORY_MIB))?;
    let console = domain.wait_for_console("hello: https on", LIMIT)?;
    let pem = format!("/tmp/{}.pem", domain.name());
    let certificate = site.run(&format!(
        "sh -c 'openssl s_client -connect 10.0.0.2:443 </dev/null 2>/dev/null | \
         openssl x509 >{pem} && openssl x509 -in {pem} -noout -fingerprint -sha256'"
    ))?;
    let (_, fingerprint) = certificate.split_once('=').context("no fingerprint")?;
    ensure!(
        console.contains(&format!("fingerprint={fingerprint}")),
        "another fingerprint is on the console than {fingerprint}:\n{console}"
    );
    for (server, client) in [(GUEST_V4, "10.0.0.1"), (GUEST_V6, "fd00::1")] {
        let secure = format!("--cacert {pem}");
        for (scheme, options, how) in [
            ("http", "--http1.1", "HTTP/1.1"),
            ("http", "--http2-prior-knowledge", "HTTP/2.0"),
            ("https", secure.as_str(), "HTTP/2.0 and TLS"),
            ("https", &format!("{secure} --http1.1"), "HTTP/1.1 and TLS"),
            (
                "https",
                &format!("{secure} --tls-max 1.2"),
                "HTTP/2.0 and TLS",
            ),
        ] {
            let said = site.run(&format!("curl -sS {options} {scheme}://{server}/"))?;
            ensure!(
                said.contains(&format!("over {how}!\nYou are {client}, and you asked ")),
                "{scheme} {options} from {server} gives {said:?}"
            );
        }
        let resolve = format!("--resolve {NAME}:443:{server}");
        let ready = site.run(&format!("curl -sS {secure} {resolve} https://{NAME}/ready"))?;
        ensure!(ready == "ready", "by name: {ready:?}");
    }
    // Nobody else's authority vouches for it.
    let refused = site.run("sh -c 'curl -sS https://10.0.0.2/ 2>&1 || true'")?;
    ensure!(refused.contains("certificate"), "unclear: {refused}");
    Ok(())
}

/// The certificate is made in dom0 and handed over while the domain is paused. The request to end
/// comes when the service waits for the body of a request, which comes when it drains.
fn drain(xen: &Xen) -> Result<()> {
    let site = Site::make(xen)?;
    let launch = Launch::of(HELLO).memory_mib(MEMORY_MIB);
    let domain = site.boot_paused(&launch, 0, &Site::configuration(0))?;
    let pem = make_certificate(xen, &domain, "given.example")?;
    let home = format!("/local/domain/{}/edgecloud/environment", domain.id());
    xen.in_dom0(&format!(
        "xenstore-write -- {home}/TLS_CERTIFICATE \"$(cat {pem})\" {home}/TLS_KEY \"$(cat {pem}.key)\""
    ))?;
    domain.unpause()?;
    domain.wait_for_console("hello: https on", LIMIT)?;
    let by_name = "--resolve given.example:443:10.0.0.2 https://given.example/health";
    let alive = site.run(&format!("curl -sS --cacert {pem} {by_name}"))?;
    ensure!(alive == "alive", "with the given certificate: {alive:?}");
    let name = domain.name();
    let answer = site.run(&format!(
        r#"bash -c 'exec 3<>/dev/tcp/10.0.0.2/80
        printf "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n" >&3
        read -r line <&3 && xl shutdown {name} >&2
        grep -q draining <(tail -n +1 -f /var/log/xen/console/guest-{name}.log)
        printf ab >&3; cat <&3'"#
    ))?;
    ensure!(answer.contains("405 Method Not Allowed"), "{answer:?}");
    let end = domain.wait_for_end(LIMIT)?;
    ensure!(
        end.reason == Reason::Poweroff && end.console.contains("drained, 0 connections cut"),
        "ended with {:?}:\n{}",
        end.reason,
        end.console
    );
    ensure!(!end.console.contains("PRIVATE KEY"), "{}", end.console);
    Ok(())
}

/// A certificate for a name, in dom0: its file there, with the key's beside it.
fn make_certificate(xen: &Xen, domain: &Domain<'_>, name: &str) -> Result<String> {
    let pem = format!("/tmp/{}.pem", domain.name());
    // An authority's certificate cannot be a server's, and openssl makes one if it is told nothing.
    xen.in_dom0(&format!(
        "printf '[req]\\ndistinguished_name=d\\nx509_extensions=x\\n[d]\\n[x]\\nbasicConstraints=CA:FALSE\\n\
         subjectAltName=DNS:{name}\\n' | openssl req -x509 -config /dev/stdin -newkey ec \
         -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={name} -keyout {pem}.key -out {pem} 2>&1"
    ))?;
    Ok(pem)
}

fn client(xen: &Xen) -> Result<()> {
    let site = Site::make(xen)?;
    let name = "origin.example";
    let launch = Launch::of(CLIENT).command_line(format!("https://{name}/photo"));
    let network = format!("{},dns=10.0.0.1", Site::configuration(0));
    let domain = site.boot_paused(&launch, 0, &network)?;
    let pem = make_certificate(xen, &domain, name)?;
    let home = format!("/local/domain/{}/edgecloud/environment", domain.id());
    xen.in_dom0(&format!(
        "xenstore-write -- {home}/CA \"$(grep -v -e - {pem} | tr -d '\\n')\""
    ))?;
    xen.testbed.put_bytes(ORIGIN.as_bytes(), "/tmp/origin.py")?;
    let came = site.run(&format!(
        "python3 /tmp/origin.py {name} {pem} {pem}.key xl unpause {}",
        domain.name()
    ))?;
    ensure!(
        came == format!("origin: /photo for {name} over TLSv1.3 from 10.0.0.2"),
        "the origin says {came:?}"
    );
    let end = domain.wait_for_end(LIMIT)?;
    for line in [
        "client: HTTP/1.1 200 OK",
        "client: the origin of origin.example",
        "guest client: ok",
    ] {
        ensure!(
            end.console.contains(line),
            "no `{line}` in:\n{}",
            end.console
        );
    }
    ensure!(
        end.reason == Reason::Poweroff,
        "ended with {:?}",
        end.reason
    );
    Ok(())
}
