//! Figures of a gate in the fast world: what an admitted client gets, how long a login takes, and what a
//! flood of forged tokens makes of that. The peer is a plain learning switch between the same hosts.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use site::{ORIGIN, Place, Service};

use crate::crowd::{get_plain, voucher};
use crate::{PORT, Station};

/// A client's address on the plain switch.
const PLAIN: &str = "10.9.0.5";
/// The server of downloads, behind a link that is as fast as the rest: the backhaul is none.
const FAR: &str = "198.18.0.7";
/// Downloads of each kind.
const ROUNDS: usize = 5;
/// Logins of a round, one after the other; two rounds without a flood, two with one.
const LOGINS: usize = 40;
/// Those who flood.
const ATTACKERS: usize = 8;
/// How long a flood lasts at most: longer than the logins of a round.
const FLOOD_SECONDS: u32 = 60;

/// Bytes of a download.
pub const DOWNLOAD_BYTES: u64 = 200_000_000;
/// Clients: for all rounds of logins, and those who flood.
pub const CLIENTS: u8 = 4 * LOGINS as u8 + ATTACKERS as u8 + 2;

/// Measures, and prints a line of JSON for each figure, the principal one last.
///
/// # Errors
/// What does not go as it must.
pub fn measure(station: &Station<'_>) -> Result<()> {
    plain_switch(station.place)?;
    logins(station)?;
    throughput(station)
}

/// The same hosts, joined by a switch that learns, beside the operator's.
fn plain_switch(place: &Place<'_>) -> Result<()> {
    place.run(&format!(
        "ovs-vsctl --timeout=20 add-br plain -- set bridge plain datapath_type=netdev \
             fail_mode=standalone
         ip link add plain0 type veth peer name eth1 netns phone
         ip link add plain1 type veth peer name eth2 netns router
         for host in phone:eth1 router:eth2; do
             ip -n ${{host%:*}} link set ${{host#*:}} up
             ip netns exec ${{host%:*}} ethtool -K ${{host#*:}} tx off >/dev/null
         done
         ip link set plain0 up; ip link set plain1 up
         ovs-vsctl --timeout=20 add-port plain plain0 -- add-port plain plain1
         ip -n phone address add {PLAIN}/24 dev eth1
         ip -n router address add 10.9.0.254/24 dev eth2
         ip -n phone rule add from {PLAIN} lookup 9
         ip -n phone route add default via 10.9.0.254 dev eth1 table 9
         ip -n router link add fast0 type veth peer name fast1 netns origin
         ip -n router address add 198.18.0.1/24 dev fast0; ip -n router link set fast0 up
         ip -n origin address add {FAR}/24 dev fast1; ip -n origin link set fast1 up
         ip -n origin route add 10.0.0.0/8 via 198.18.0.1"
    ))?;
    Ok(())
}

/// Milliseconds from the form to the far server's first byte.
fn logins(station: &Station<'_>) -> Result<()> {
    let (crowd, attackers) = station.clients.split_at(4 * LOGINS);
    let attackers = &attackers[..ATTACKERS];
    let (mut quiet, mut flooded, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    for (round, clients) in crowd.chunks(LOGINS).enumerate() {
        let codes = station.vouchers(clients.len(), "{\"seconds\":3600}")?;
        let orders = clients.iter().zip(&codes);
        let orders: Vec<_> = orders
            .map(|(client, code)| voucher(*client, code))
            .collect();
        let flood = match round % 2 {
            0 => None,
            _ => Some(flood(station, attackers)?),
        };
        let times = station.one_by_one(orders)?;
        let times = times.into_iter().map(|answer| {
            ensure!(answer.online == 200, "{answer:?}");
            Ok(answer.online_ms)
        });
        let times = times.collect::<Result<Vec<f64>>>()?;
        match flood {
            None => quiet.extend(times),
            Some(_) => flooded.extend(times),
        }
        // As many requests as a login has, to a server that nobody keeps anybody from.
        let asks = (0..clients.len()).map(|_| get_plain(PLAIN, ORIGIN, 3));
        let answers = station.one_by_one(asks.collect())?;
        plain.extend(answers.into_iter().map(|answer| answer.online_ms));
    }
    let p99 = |times: &mut Vec<f64>| {
        times.sort_unstable_by(f64::total_cmp);
        times[(times.len() * 99).div_ceil(100) - 1]
    };
    let (quiet, flooded, plain) = (p99(&mut quiet), p99(&mut flooded), p99(&mut plain));
    let rounds = 2 * LOGINS;
    let three = "three requests through a plain switch";
    print(
        "login to first byte, p99",
        quiet,
        (three, plain),
        ("ms", "lower", rounds),
    );
    let without = "the same without a flood";
    let what = "login to first byte under a flood of forged tokens, p99";
    print(what, flooded, (without, quiet), ("ms", "lower", rounds));
    Ok(())
}

/// Starts a flood, which ends when it is dropped.
fn flood<'p>(station: &Station<'p>, attackers: &[u8]) -> Result<Service<'p>> {
    let script = include_str!("flood.py");
    let script = station.place.write("flood.py", script.as_bytes())?;
    let addresses: String = attackers.iter().map(|n| format!(" 10.0.0.{n}")).collect();
    let flood = station.place.start(
        "flood",
        &format!(
            "exec ip netns exec phone python3 {script} {} {FLOOD_SECONDS}{addresses}",
            station.portal
        ),
    )?;
    // Until it has begun.
    std::thread::sleep(std::time::Duration::from_secs(1));
    Ok(flood)
}

/// Bytes a second of downloads: of a client with a rate, of one without, and through the plain switch.
fn throughput(station: &Station<'_>) -> Result<()> {
    let [.., metered, free] = station.clients[..] else {
        anyhow::bail!("two clients");
    };
    let quotas = [
        "{\"seconds\":3600,\"kbit\":100000000}",
        "{\"seconds\":3600}",
    ];
    for (client, quota) in [metered, free].into_iter().zip(quotas) {
        let code = station.vouchers(1, quota)?;
        station.log_in(vec![voucher(client, &code[0])])?;
    }
    let client = |number: u8| format!("10.0.0.{number}");
    let far = [FAR.to_owned()];
    let _far = crate::serve(station.place, "far", DOWNLOAD_BYTES, &far)?;
    let (mut with, mut without, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        with.push(download(station, &client(metered))?);
        without.push(download(station, &client(free))?);
        plain.push(download(station, PLAIN)?);
    }
    let median = |mut rates: Vec<f64>| {
        rates.sort_unstable_by(f64::total_cmp);
        rates[rates.len() / 2]
    };
    let (with, without, plain) = (median(with), median(without), median(plain));
    let peer = ("a plain learning switch of Open vSwitch", plain);
    let unit = ("B/s", "higher", ROUNDS);
    print(
        "throughput of an admitted client with a rate",
        with,
        peer,
        unit,
    );
    print("throughput of an admitted client", without, peer, unit);
    Ok(())
}

fn download(station: &Station<'_>, from: &str) -> Result<f64> {
    let said = station.place.run(&format!(
        "ip netns exec phone curl -sS --interface {from} --max-time 100 --retry 9 \
             --retry-delay 1 --retry-connrefused -o /dev/null \
             -w '%{{size_download}} %{{speed_download}}' http://{FAR}:{PORT}/file"
    ))?;
    let (size, speed) = said.trim().split_once(' ').context("curl says nothing")?;
    ensure!(size.parse::<u64>()? == DOWNLOAD_BYTES, "{size} bytes came");
    Ok(speed.parse()?)
}

fn print(
    figure: &str,
    ours: f64,
    (peer_name, peer): (&str, f64),
    (unit, better, rounds): (&str, &str, usize),
) {
    let rounded = |value: f64| (value * 1e3).round() / 1e3;
    let line = json!({
        "bench": "auth", "figure": figure, "ours": rounded(ours), "peer": rounded(peer),
        "peer_name": peer_name, "ratio": rounded(ours / peer), "better": better, "unit": unit,
        "rounds": rounds,
    });
    println!("{line}");
}
