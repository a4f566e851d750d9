//! What comes and goes while clients speak: the daemon is killed and started again, a second
//! replica comes and is drained, the switch itself is killed. No connection is refused or cut, no
//! packet is lost, and what is accounted is what went over the wire. Last, a domain ends while there is no
//! daemon.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use site::{BRIDGE, CLIENT, ORIGIN, Service};

use super::hosted::{HELLO_SAYS, Hosted};
use super::load::Load;
use super::wire::{Sum, Wire, carried, last_at, none_is_lost, sent_to};

/// How long a draining replica may take.
const DRAIN_S: u32 = 4;
/// How far Open vSwitch's counters of flows are behind its datapath's, microseconds.
const UNTOLD_US: u64 = 2_000_000;
/// Who speaks while the switch is killed.
const SURVIVOR: &str = "survivor";
/// How often it is looked whether nothing goes on any more, and how often nothing has to.
const LOOKS: usize = 60;
const LOOK: Duration = Duration::from_millis(1500);

pub(super) fn lasting(hosted: &mut Hosted<'_>) -> Result<()> {
    let place = hosted.place;
    let access = number_of(hosted, "access")?;
    let mut domains = vec![number_of(hosted, &hosted.interface("one")?)?];
    quiet(hosted, None)?;
    let before = accounted(hosted)?;
    let wire = Wire::watch(place)?;
    let load = Load::begin(hosted)?;

    daemon_killed(hosted, &load)?;
    let (interface, address) = replica_comes_and_goes(hosted, &load)?;
    domains.push(interface);
    load.end()?;
    quiet(hosted, Some(&wire))?;
    let middle = accounted(hosted)?;
    let middle_us = now_us(hosted)?;
    let survivor = survivor(hosted)?;
    place.restart_switch()?;
    hosted.wait_for_answer(ORIGIN, HELLO_SAYS)?;
    let again_us = now_us(hosted)?;
    if let Some(survivor) = survivor {
        hosted.wait_for_more(SURVIVOR, 5)?;
        let cut = survivor.log().contains("cut");
        ensure!(!cut, "a connection did not outlive the switch");
        survivor.end("-TERM")?;
    }
    quiet(hosted, Some(&wire))?;
    let after = accounted(hosted)?;

    let packets = wire.end()?;
    let count = none_is_lost(&packets, client()?, access, &domains, middle_us)?;
    let sum = carried(&packets, &domains, 0, middle_us);
    // What goes through a flow just before that is deleted, Open vSwitch tells nobody.
    let second = &domains[1..];
    let ended_us = last_at(&packets, second) + 1;
    let untold = carried(
        &packets,
        second,
        ended_us.saturating_sub(UNTOLD_US),
        ended_us,
    );
    // Dom0 ends its connections to who has gone already: that is sent, and counted, for a moment.
    let vain = sent_to(&packets, number_of(hosted, BRIDGE)?, address, ended_us);
    let difference = since(middle, before);
    println!("{count} packets, none lost; carried {sum:?}, accounted {difference:?}");
    ensure!(
        (sum.bytes - untold.bytes..=sum.bytes + vain.bytes).contains(&difference.bytes)
            && (sum.packets - untold.packets..=sum.packets + vain.packets)
                .contains(&difference.packets),
        "carried {sum:?}, of it {untold:?} as the second replica ended, then {vain:?} from dom0 in \
         vain, accounted {difference:?}"
    );
    // What the switch counts when it comes up and goes down may be lost with its process.
    let meanwhile = carried(&packets, &domains, middle_us, again_us);
    let rest = carried(&packets, &domains, again_us, u64::MAX);
    let difference = since(after, middle);
    println!("then {meanwhile:?} and {rest:?}, accounted {difference:?}");
    ensure!(
        (rest.bytes..=rest.bytes + meanwhile.bytes).contains(&difference.bytes),
        "after the switch was killed {meanwhile:?} and {rest:?} were carried, accounted {difference:?}"
    );
    ended_meanwhile(hosted)
}

/// A domain ends while there is no daemon: the next one removes what is left of it, and starts it again.
fn ended_meanwhile(hosted: &mut Hosted<'_>) -> Result<()> {
    let id = hosted.domain("one")?["id"].clone();
    hosted.operator.kill_daemon()?;
    // Nobody removes a domain that has shut down.
    let end = match hosted.place.is_xen() {
        true => "xl shutdown one; for i in $(seq 600); do
                 xl list one | grep -q -- '---s--' && exit; sleep 0.1; done; false"
            .to_owned(),
        false => format!("kill -9 {id}"),
    };
    hosted.place.run(&end)?;
    hosted.operator.start_daemon()?;
    hosted
        .wait_for_answer(ORIGIN, HELLO_SAYS)
        .with_context(|| {
            let said = ["ps", "logs one"].map(|words| hosted.operator.edgecloud(words));
            format!("{said:?}")
        })?;
    let again = &hosted.domain("one")?["id"];
    ensure!(*again != id, "it is still {id}");
    Ok(())
}

/// A client that speaks while the switch is killed, where a connection can outlive it: the kernel's
/// connection tracker does, that of the switch's own process does not.
fn survivor<'p>(hosted: &Hosted<'p>) -> Result<Option<Service<'p>>> {
    if !hosted.place.is_xen() {
        return Ok(None);
    }
    let survivor = hosted.hold(SURVIVOR, ORIGIN)?;
    hosted.wait_for_more(SURVIVOR, 5)?;
    Ok(Some(survivor))
}

fn client() -> Result<Ipv4Addr> {
    Ok(CLIENT.parse()?)
}

/// An interface's number in dom0.
fn number_of(hosted: &Hosted<'_>, interface: &str) -> Result<u32> {
    let number = format!("ip -o link show dev {interface} | cut -d: -f1");
    Ok(hosted.place.run(&number)?.trim().parse()?)
}

/// Dom0's clock.
fn now_us(hosted: &Hosted<'_>) -> Result<u64> {
    let now: u64 = hosted.place.run("date +%s%6N")?.trim().parse()?;
    Ok(now)
}

/// The daemon dies: nothing changes, and the next one has nothing to send.
pub(super) fn daemon_killed(hosted: &mut Hosted<'_>, load: &Load<'_>) -> Result<()> {
    let flows = hosted.dump("--no-stats");
    let before = (hosted.place.run(&flows)?, hosted.domain("one")?);
    hosted.operator.kill_daemon()?;
    load.wait_for_more(hosted, 20)?;
    hosted.operator.start_daemon()?;
    let sent = hosted.metric("edgecloudd_switch_messages_total")?;
    ensure!(sent == 0, "after a restart {sent} messages were sent");
    load.wait_for_more(hosted, 20)?;
    let after = (hosted.place.run(&flows)?, hosted.domain("one")?);
    ensure!(before == after, "{before:?}\nbecame\n{after:?}");
    Ok(())
}

/// A second replica gets some of the new connections, and is drained; its interface's number and its
/// address.
fn replica_comes_and_goes(hosted: &Hosted<'_>, load: &Load<'_>) -> Result<(u32, Ipv4Addr)> {
    hosted.operator.edgecloud(&hosted.launching("two"))?;
    let two = hosted.domain("two")?;
    let interface = number_of(hosted, &hosted.interface("two")?)?;
    let replica = two["replica"].as_u64().context("no number")?;
    let addresses = two["addresses"].as_array().context("no addresses")?;
    let address = addresses.iter().find_map(|one| one.as_str()?.parse().ok());
    let address = address.context("no IPv4 address")?;
    let connections = "ovs-appctl -t ovs-vswitchd dpctl/dump-conntrack";
    let chosen = format!("{connections} | grep -q 'dst={ORIGIN}.*mark={replica}'");
    hosted.wait_until("the second replica has a connection", &chosen)?;
    load.wait_for_more(hosted, 20)?;
    hosted
        .operator
        .edgecloud(&format!("stop two --drain-seconds {DRAIN_S}"))?;
    ensure!(
        hosted.operator.domain("two")?.is_none(),
        "it is still there"
    );
    load.wait_for_more(hosted, 20)?;
    Ok((interface, address))
}

/// What the applications' flows carried, as the daemon has it.
fn accounted(hosted: &Hosted<'_>) -> Result<Sum> {
    let accounts = hosted.json("accounts")?;
    let all = accounts["accounts"].as_array().context("no accounts")?;
    let number = |name: &str| -> u64 { all.iter().filter_map(|one| one[name].as_u64()).sum() };
    Ok(Sum {
        packets: number("packets"),
        bytes: number("bytes"),
    })
}

fn since(later: Sum, earlier: Sum) -> Sum {
    Sum {
        packets: later.packets - earlier.packets,
        bytes: later.bytes - earlier.bytes,
    }
}

/// Waits until nothing is carried, and all that was is accounted.
fn quiet(hosted: &Hosted<'_>, wire: Option<&Wire<'_>>) -> Result<()> {
    // The length first: what comes after it is carried, and then it is not quiet.
    let look = || -> Result<_> {
        let length = wire.map(Wire::length).transpose()?;
        hosted.place.settle_switch()?;
        Ok((length, accounted(hosted)?))
    };
    let mut last = look()?;
    for _ in 0..LOOKS {
        std::thread::sleep(LOOK);
        let now = look()?;
        if now == last {
            return Ok(());
        }
        last = now;
    }
    bail!("it is never quiet: {last:?}")
}
