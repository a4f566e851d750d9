//! Before anybody logs in.

use anyhow::{Result, ensure};
use site::{DOM0, NAMES, ORIGIN};

use crate::crowd::{get, tls};
use crate::{CHAT, FIRST, PORT, PORTAL, Station};

/// RFC 8910 by the operator's own DHCP server, behind the backhaul; RFC 8908 at the portal.
pub(super) fn told_by_dhcp(station: &mut Station<'_>) -> Result<String> {
    let api = format!("https://{PORTAL}/captive-portal/api");
    let place = station.place;
    let server = place.start(
        "dhcp",
        &format!(
            "exec ip netns exec router dnsmasq --keep-in-foreground --conf-file=/dev/null --port=0 \
                 --user=root --pid-file= --dhcp-leasefile=$HERE/leases --interface=eth0 \
                 --bind-interfaces --dhcp-range=10.0.0.240,10.0.0.250 --dhcp-option=114,{api}"
        ),
    )?;
    let script = place.write("dhcp.py", include_str!("../dhcp.py").as_bytes())?;
    let told = place.run(&format!("ip netns exec phone python3 {script} eth0"));
    let told = told.map_err(|error| error.context(server.log()))?;
    ensure!(told.trim() == api, "option 114 says {told:?}");
    let (status, said) = station.curl(FIRST, &format!("-k {api}"))?;
    ensure!(
        status == 200 && said.contains("\"captive\":true"),
        "{status} {said}"
    );
    Ok(String::new())
}

pub(super) fn strangers(station: &mut Station<'_>) -> Result<String> {
    let probe = format!(
        "-o /dev/null -w '%{{redirect_url}}\\n%{{http_code}}' --connect-to ::{ORIGIN}: \
         http://connectivitycheck.gstatic.com/generate_204"
    );
    let (status, to) = station.curl(FIRST, &probe)?;
    ensure!(
        status == 302 && to.contains(&format!("http://{PORTAL}/")),
        "{status} {to}"
    );
    // HTTPS of others is refused at once and by nobody who pretends to be them: curl's 35 is a
    // handshake that was cut, and what was meant for a port of nobody's is dropped.
    let cut = station.place.run(&format!(
        "ip netns exec phone curl -sk --interface 10.0.0.{FIRST} --max-time 20 \
             --connect-to ::{ORIGIN}: https://bank.example/ || echo $?"
    ))?;
    let answer = station.one(tls(FIRST, ORIGIN, "bank.example"))?;
    ensure!(
        cut.trim() == "35" && answer.error == "ConnectionResetError",
        "HTTPS is refused: {cut:?} {answer:?}"
    );
    // Tunnels over ICMP, and over another resolver's DNS.
    let ping = format!("ip netns exec phone ping -c 1 -W 1 -I 10.0.0.{FIRST} {ORIGIN}");
    ensure!(station.place.run(&ping).is_err(), "an echo came back");
    let foreign = resolve(station, FIRST, NAMES, "x.example");
    ensure!(foreign.is_err(), "a foreign resolver answered");
    Ok(String::new())
}

pub(super) fn everybody_chats(station: &mut Station<'_>) -> Result<String> {
    let told = resolve(station, FIRST, DOM0, "chat.example")?;
    ensure!(told.contains(CHAT), "{told:?}");
    let all = station.clients.iter();
    let chats = all.map(|client| get(*client, CHAT, "/")).collect();
    for (client, answer) in station.clients.iter().zip(station.crowd(chats)?) {
        ensure!(
            answer.status == 200 && answer.body.contains(CHAT),
            "client {client}: {answer:?}"
        );
    }
    // The free service's address at another port, and its name where a handshake belongs.
    let other = format!("http://{CHAT}:8080/");
    ensure!(station.curl(FIRST, &other)?.0 == 0, "port 8080");
    let disguise = format!("-H 'Host: chat.example' http://{ORIGIN}:{PORT}/");
    ensure!(station.curl(FIRST, &disguise)?.0 == 0, "another's address");
    let paid = super::money::paid(station)?;
    ensure!(paid > 0, "nobody pays for the chat");
    Ok(format!("{} clients", station.clients.len()))
}

/// Asks a server for a name, as a client; the address. Dom0's resolver teaches the switch first.
pub(super) fn resolve(
    station: &Station<'_>,
    client: u8,
    server: &str,
    name: &str,
) -> Result<String> {
    let script = station.place.write("ask.py", ASK.as_bytes())?;
    station.place.run(&format!(
        "ip netns exec phone python3 {script} 10.0.0.{client} {server} {name}"
    ))
}

/// A question for an address (RFC 1035), without any package of Debian's.
const ASK: &str = r#"
import socket, sys
client, server, name = sys.argv[1:]
labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
asks = b"\x12\x34\x01\x00\x00\x01" + bytes(6) + labels + b"\0\0\x01\0\x01"
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
    udp.bind((client, 0))
    udp.settimeout(3)
    udp.sendto(asks, (server, 53))
    print(socket.inet_ntoa(udp.recv(512)[-4:]))
"#;
