//! A domain that has been taken over: it writes frames of its own, looks around, floods the metadata
//! service; and a disk that is full meanwhile. Each lie is dropped by a flow that says why, and
//! nobody else is harmed.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, anyhow, ensure};
use site::{CLIENT, DOM0, ORIGIN};

use super::hosted::{HELLO_SAYS, Hosted, ORIGIN_FILM};
use super::lies::{Liar, lies};

/// The metadata service.
pub(super) const METADATA: &str = "169.254.169.254";
/// The ports that who breaks in speaks from, so that what comes back is told from the domain's own.
const PORTS: (u16, u16) = (20_000, 20_999);
/// After how many launches a disk without room is noticed at the latest: the database has some.
const FULL_AFTER_MAX: usize = 16;
/// How long the metadata service is flooded.
const FLOOD_S: u32 = 4;

/// Who speaks in a domain's place: commands with its addresses, at its port of the switch.
///
/// A process-domain has a namespace, and they run there. A domain of Xen's gets a namespace beside
/// it in dom0: what is sent there enters the kernel as if it came from the domain's vif (tc-mirred(8),
/// `ingress redirect`), and what the switch sends to the vif goes there, too, or instead of to the
/// domain if it is for [`PORTS`]. So the switch hears both of them at one port and cannot know
/// better.
pub(super) struct Intruder<'h, 'p> {
    hosted: &'h Hosted<'p>,
    namespace: String,
    /// The domain's vif, if the namespace has to be taken away again.
    vif: Option<String>,
    liar: Liar,
}

impl<'h, 'p> Intruder<'h, 'p> {
    /// Breaks into a domain.
    pub(super) fn enter(hosted: &'h Hosted<'p>, name: &str) -> Result<Intruder<'h, 'p>> {
        let domain = hosted.domain(name)?;
        let mac = domain["mac"].as_str().context("no MAC address")?;
        let address = domain["addresses"][0].as_str().context("no address")?;
        let bytes = mac.split(':').map(|byte| u8::from_str_radix(byte, 16));
        let bytes = bytes.collect::<Result<Vec<u8>, _>>()?;
        let liar = Liar {
            mac: bytes.try_into().map_err(|_| anyhow!("{mac}"))?,
            address: address.parse()?,
            neighbour: Ipv4Addr::UNSPECIFIED,
        };
        let mut intruder = Intruder {
            hosted,
            namespace: format!("ec-{}", domain["replica"]),
            vif: None,
            liar,
        };
        if hosted.place.is_xen() {
            let vif = hosted.interface(name)?;
            intruder.namespace = "intruder".to_owned();
            intruder.vif = Some(vif.clone());
            intruder.beside(&vif, mac)?;
        }
        Ok(intruder)
    }

    /// Makes the namespace beside a domain of Xen's.
    fn beside(&self, vif: &str, mac: &str) -> Result<()> {
        let (from, to) = PORTS;
        let address = self.liar.address;
        let to_it = "action mirred egress redirect dev intruder";
        self.hosted.place.run(&format!(
            "modprobe -a sch_ingress act_mirred cls_matchall cls_flower
             ip netns add intruder
             ip link add intruder type veth peer name eth0 address {mac} netns intruder
             in='ip netns exec intruder'
             $in sysctl -qw net.ipv4.ip_local_port_range='{from} {to}' \\
                 net.ipv4.conf.all.arp_ignore=8 net.ipv6.conf.all.disable_ipv6=1
             sysctl -qw net.ipv6.conf.intruder.disable_ipv6=1
             tc qdisc add dev intruder clsact; tc qdisc add dev {vif} clsact
             tc filter add dev intruder ingress matchall action mirred ingress redirect dev {vif}
             for kind in tcp udp; do
                 tc filter add dev {vif} egress protocol ip flower ip_proto $kind \\
                     dst_port {from}-{to} {to_it}
             done
             tc filter add dev {vif} egress protocol arp matchall action mirred egress mirror dev \\
                 intruder
             ip -n intruder address add {address}/24 dev eth0
             ip link set intruder up; ip -n intruder link set eth0 up
             ip -n intruder route add default via 10.0.1.254"
        ))?;
        Ok(())
    }

    /// Runs a command there; what it printed.
    pub(super) fn run(&self, command: &str) -> Result<String> {
        let namespace = &self.namespace;
        self.hosted
            .place
            .run(&format!("ip netns exec {namespace} {command}"))
    }
}

impl Drop for Intruder<'_, '_> {
    fn drop(&mut self) {
        if let Some(vif) = &self.vif {
            let gone = format!("ip netns del intruder; tc qdisc del dev {vif} clsact");
            drop(self.hosted.place.run(&gone));
        }
    }
}

pub(super) fn hostile(hosted: &Hosted<'_>) -> Result<()> {
    let mut intruder = Intruder::enter(hosted, "one")?;
    let neighbour = hosted.domain("film")?;
    let neighbour = neighbour["addresses"][0].as_str().context("no address")?;
    intruder.liar.neighbour = neighbour.parse()?;
    let held = hosted.hold("held", ORIGIN_FILM)?;
    hosted.wait_for_more("held", 3)?;

    lied(&intruder)?;
    looked_around(&intruder)?;
    asked_as_another(&intruder)?;
    flooded(&intruder)?;
    drop(intruder);
    name_claimed(hosted)?;
    disk_full(hosted)?;

    hosted.wait_for_more("held", 5)?;
    let log = held.log();
    ensure!(!log.contains("cut"), "a neighbour's client: {log}");
    Ok(())
}

fn lied(intruder: &Intruder<'_, '_>) -> Result<()> {
    let (hosted, liar) = (intruder.hosted, &intruder.liar);
    let lies = lies(liar);
    let before = hosted.denied()?;
    let frames: Vec<String> = lies
        .iter()
        .map(|(_, lie)| lie.iter().map(|byte| format!("{byte:02x}")).collect())
        .collect();
    let send = "import socket, sys\ns = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\n\
                s.bind((\"eth0\", 0))\nfor f in sys.argv[1:]: s.send(bytes.fromhex(f))";
    intruder.run(&format!("python3 -c '{send}' {}", frames.join(" ")))?;
    // Each lie is counted under its own reason, and all of them.
    for (reason, _) in &lies {
        let count = lies.iter().filter(|(other, _)| other == reason).count() as u64;
        let before = before.get(reason).copied().unwrap_or_default();
        hosted.is_denied_beyond(reason, before + count - 1)?;
    }
    // Nobody believes it to be somebody else.
    let mac = liar.mac.map(|byte| format!("{byte:02x}")).join(":");
    let known = hosted
        .place
        .run("ip -n phone neigh; ip -n router neigh; ip neigh")?;
    let domain = hosted.domain("one")?;
    let own = domain["addresses"].as_array().context("no addresses")?;
    for line in known.lines().filter(|line| line.contains(&mac)) {
        let address = line.split(' ').next();
        ensure!(own.iter().any(|own| own.as_str() == address), "{known}");
    }
    Ok(())
}

/// It scans, and is scanned: nothing is open but the resolver, which it may ask.
fn looked_around(intruder: &Intruder<'_, '_>) -> Result<()> {
    let Liar {
        address, neighbour, ..
    } = &intruder.liar;
    let scan = "nmap -n -Pn -sT -T5 --max-retries 0 --host-timeout 60s -oG - -p 22,53,80,8008,8443";
    let open = |seen: &str| -> Vec<String> {
        let hosts = seen.lines().filter(|line| line.contains("Ports:"));
        let ports = hosts.flat_map(|line| {
            let host = line.split(' ').nth(1).unwrap_or_default();
            let open = line.split(' ').filter(|word| word.contains("/open/"));
            open.map(move |port| format!("{host}:{}", port.split('/').next().unwrap_or_default()))
        });
        ports.collect()
    };
    let before = intruder.hosted.denied()?;
    let seen = intruder.run(&format!("{scan} {DOM0} {neighbour} {CLIENT}"))?;
    ensure!(seen.matches("Ports:").count() == 3, "not scanned: {seen}");
    ensure!(open(&seen) == [format!("{DOM0}:53")], "{seen}");
    let before = before.get("unspoken").copied().unwrap_or_default();
    intruder.hosted.is_denied_beyond("unspoken", before)?;
    let place = intruder.hosted.place;
    let seen = place.run(&format!("ip netns exec phone {scan} {address} {neighbour}"))?;
    // The neighbour serves clients by its name, on port 80.
    ensure!(open(&seen) == [format!("{neighbour}:80")], "{seen}");
    Ok(())
}

/// The metadata of its own are told, another's are not.
fn asked_as_another(intruder: &Intruder<'_, '_>) -> Result<()> {
    let hosted = intruder.hosted;
    let neighbour = intruder.liar.neighbour;
    let ask = format!("{} get {METADATA}:80", hosted.edge);
    let state = intruder.run(&format!("{ask} /v1/state"))?;
    ensure!(state.starts_with("200 {\"state\":\"live\"}"), "{state}");
    let before = hosted.denied()?;
    intruder.run(&format!("ip address add {neighbour}/32 dev eth0"))?;
    let url = format!("http://{METADATA}/v1/configuration");
    let asked = format!("curl -sS --max-time 2 --interface {neighbour} {url} || echo code=$?");
    let told = intruder.run(&asked);
    intruder.run(&format!("ip address delete {neighbour}/32 dev eth0"))?;
    let told = told?;
    // 28 is the time that was up.
    ensure!(told == "code=28\n", "another's metadata: {told}");
    let before = before.get("spoofed-address").copied().unwrap_or_default();
    hosted.is_denied_beyond("spoofed-address", before)
}

/// While it floods the metadata service a neighbour registers and lives, and clients are served.
fn flooded(intruder: &Intruder<'_, '_>) -> Result<()> {
    let hosted = intruder.hosted;
    let namespace = &intruder.namespace;
    let edge = &hosted.edge;
    let flood = format!("exec ip netns exec {namespace} {edge} flood {METADATA}:80 {FLOOD_S}");
    let flood = hosted.place.start("flood", &flood)?;
    hosted.place.run("sleep 1")?;
    let key = "film.holder.pem";
    let image = &hosted.image;
    let documents = format!("--token film.token --descriptor film.descriptor --key {key}");
    hosted.operator.edgecloud(&format!(
        "launch {image} {documents} --env TRANSPARENT=true --name film-2"
    ))?;
    hosted.operator.wait_for_state("film-2", "live")?;
    let said = hosted.get(&format!("{ORIGIN_FILM}:80"))?;
    ensure!(said.contains(HELLO_SAYS), "while it floods: {said}");
    let done = "grep -q answered \"$HERE/flood.log\"";
    hosted.wait_until("the flood is over", done)?;
    println!("the flood: {}", flood.log().trim());
    let refused = hosted.metric("edgecloudd_metadata_connections_refused_total")?;
    ensure!(refused > 0, "no connection was refused");
    hosted.operator.edgecloud("stop film-2 --drain-seconds 0")?;
    Ok(())
}

/// Another application cannot have a name that one here serves.
fn name_claimed(hosted: &Hosted<'_>) -> Result<()> {
    let rules = "[[speak]]\nprotocols = [\"arp\"]\n[[serve]]\nas = \"edge.photos.example\"\n\
                 tcp = [80]\n";
    let (image, operator) = (&hosted.image, &hosted.operator);
    hosted.publisher.submit(operator, "claim", image, rules)?;
    let documents = "--token claim.token --descriptor film.descriptor --key claim.holder.pem";
    hosted.refused(
        &format!("launch {image} {documents} --name claim"),
        "name-served",
    )
}

/// What cannot be written down is not done, and what is there goes on.
fn disk_full(hosted: &Hosted<'_>) -> Result<()> {
    let fill = "dd if=/dev/zero of=\"$HERE/state/filler\" bs=64k 2>/dev/null || true
                dd if=/dev/zero of=\"$HERE/state/rest\" bs=1 count=4096 2>/dev/null || true";
    hosted.place.run(fill)?;
    // Small changes find room in what the database has; large ones do not.
    let words = hosted.launching("big");
    let big = "head -c 60000 /dev/zero | tr '\\0' x | sed 's/^/# /' >\"$HERE/big.toml\"";
    hosted.place.run(big)?;
    let mut refused = None;
    for number in 0..FULL_AFTER_MAX {
        let words = words.replace(
            "--name big",
            &format!("--config big.toml --name big-{number}"),
        );
        let said = hosted
            .operator
            .edgecloud(&format!("--json {words} || echo code=$?"))?;
        if said.contains("urn:edgecloud:problem:storage") {
            println!("the full disk was noticed at launch {}", number + 1);
            refused = Some(said);
            break;
        }
        hosted
            .operator
            .edgecloud(&format!("stop big-{number} --drain-seconds 0"))?;
    }
    let refused = refused.context("the disk is never full")?;
    ensure!(refused.contains("disk is not full"), "{refused}");
    let said = hosted.get(&format!("{ORIGIN}:80"))?;
    ensure!(said.contains(HELLO_SAYS), "with a full disk: {said}");
    hosted
        .place
        .run("rm \"$HERE/state/filler\" \"$HERE/state/rest\"")?;
    hosted.operator.edgecloud(&words)?;
    hosted.operator.wait_for_state("big", "live")?;
    hosted
        .operator
        .edgecloud("stop big --drain-seconds 0")
        .map(drop)
}
