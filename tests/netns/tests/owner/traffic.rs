//! What people who speak through the switch notice of what its owner does: nothing, or the end.

use std::sync::Arc;

use edgecloudd::accounting::{Amount, Delta, Seen, advance};
use edgecloudd::ovs::{Event, Handle, settled};
use netns::{Switch, WorldError};
use openflow::PortNumber;

use crate::people::{People, Talk, told};
use crate::site::{CLIENT, ORIGIN, Outcome, PHOTOS, block_on, photos, replica_mac, state};
use crate::{owner, until};

/// The port that the photo site intercepts, and one that it does not.
const INTERCEPTED: &str = "80";
const DIRECT: &str = "8080";

/// The replica and the origin serve; a client is connected to each.
struct Speaking {
    intercepted: Talk,
    direct: Talk,
    /// They end last, so that they have seen the clients' connections end.
    _servers: [Talk; 2],
}

impl Speaking {
    fn begin(people: &People<'_>) -> Result<Speaking, Box<dyn std::error::Error>> {
        let mut servers = [
            Talk::start(&people.replica, &["serve", INTERCEPTED])?,
            Talk::start(&people.origin, &["serve", DIRECT])?,
        ];
        for server in &mut servers {
            assert_eq!(server.told()?, "ready");
        }
        let mut speaking = Speaking {
            _servers: servers,
            intercepted: Talk::start(&people.client, &["say", ORIGIN, INTERCEPTED])?,
            direct: Talk::start(&people.client, &["say", ORIGIN, DIRECT])?,
        };
        let expected = format!("connected {ORIGIN}");
        assert_eq!(speaking.intercepted.told()?, expected);
        assert_eq!(speaking.direct.told()?, expected);
        assert!(speaking.both()?);
        Ok(speaking)
    }

    fn both(&mut self) -> std::io::Result<bool> {
        Ok(self.intercepted.says("to the origin, as it seems")? && self.direct.says("direct")?)
    }
}

#[test]
fn an_owner_that_dies_and_starts_again_is_not_noticed() -> Outcome {
    let switch = Switch::start()?;
    let people = People::plug(&switch)?;
    block_on(async {
        let handle = owner(&switch);
        let desired = Arc::new(state(photos()));
        handle.apply(desired.clone()).await?;
        let mut speaking = Speaking::begin(&people)?;
        for _ in 0..3 {
            // Of another runtime, which ends with all its tasks and sockets, without a word.
            let (switch, desired) = (&switch, desired.clone());
            std::thread::scope(|scope| {
                let dies = scope.spawn(move || {
                    block_on(async {
                        let sent = owner(switch).apply(desired).await?.sent;
                        assert_eq!(sent, 0);
                        Ok(())
                    })
                    .is_ok()
                });
                assert!(dies.join().is_ok_and(|ended| ended));
            });
            assert!(speaking.both()?);
        }
        Ok(())
    })
}

#[test]
fn a_switch_that_is_killed_is_filled_again_and_new_connections_come_through() -> Outcome {
    let switch = Switch::start()?;
    let people = People::plug(&switch)?;
    block_on(async {
        let handle = owner(&switch);
        let mut events = handle.events();
        handle.apply(Arc::new(state(photos()))).await?;
        drop(Speaking::begin(&people)?);
        let counted = handle.counters().await?;
        switch.kill_vswitchd()?;
        until(&mut events, |event| {
            matches!(event, Event::Disconnected { .. })
        })
        .await;
        switch.start_vswitchd()?;
        until(&mut events, |event| {
            matches!(event, Event::Connected { .. })
        })
        .await;
        drop(Speaking::begin(&people)?);
        assert_ne!(handle.counters().await?.incarnation, counted.incarnation);
        Ok(())
    })
}

#[test]
fn a_revoked_application_is_cut_and_nobody_else_is() -> Outcome {
    let switch = Switch::start()?;
    let people = People::plug(&switch)?;
    block_on(async {
        let handle = owner(&switch);
        handle.apply(Arc::new(state(photos()))).await?;
        let mut speaking = Speaking::begin(&people)?;
        handle.apply(Arc::new(state(Vec::new()))).await?;
        handle.flush_zone(PHOTOS).await?;
        assert!(!speaking.intercepted.says("still there?")?);
        assert!(speaking.direct.says("direct")?);
        let tracked = switch.appctl(&["dpctl/dump-conntrack"])?;
        assert!(!tracked.contains(&format!("zone={PHOTOS}")), "{tracked}");
        Ok(())
    })
}

#[test]
fn once_settled_the_datapath_remembers_no_replica_that_went() -> Outcome {
    let switch = Switch::start()?;
    let people = People::plug(&switch)?;
    block_on(async {
        let handle = owner(&switch);
        handle.apply(Arc::new(state(photos()))).await?;
        let mut speaking = Speaking::begin(&people)?;
        assert!(speaking.both()?);
        let rewritten = || -> Result<bool, WorldError> {
            let remembered = switch.appctl(&["dpctl/dump-flows"])?;
            let mut actions = remembered
                .lines()
                .filter_map(|flow| flow.split_once("actions:"));
            let replica = told(replica_mac(1));
            Ok(actions.any(|(_, actions)| actions.contains(&replica)))
        };
        assert!(rewritten()?);
        handle.apply(Arc::new(state(Vec::new()))).await?;
        settled(switch.directory()).await?;
        assert!(!rewritten()?);
        Ok(())
    })
}

#[test]
fn what_is_accounted_is_what_the_ports_counted() -> Outcome {
    let switch = Switch::start()?;
    let people = People::plug(&switch)?;
    block_on(async {
        let handle = owner(&switch);
        handle.apply(Arc::new(state(photos()))).await?;
        let before = at_replica(&handle).await?;
        let mut seen = Seen::default();
        let mut total = Amount::default();
        let mut speaking = Speaking::begin(&people)?;
        let long = "x".repeat(100_000);
        for round in 0..4 {
            assert!(speaking.intercepted.says(&long)?);
            if round == 1 {
                // Another replica: flows are replaced, added and removed.
                let more = crate::site::photos_with(3);
                handle.apply(Arc::new(state(more))).await?;
                handle.apply(Arc::new(state(photos()))).await?;
            }
            // The datapath counts, and adds it to the flows a little later.
            settled(switch.directory()).await?;
            let (next, deltas) = advance(&seen, &handle.counters().await?);
            total = add(total, &deltas);
            seen = next;
        }
        drop(speaking);
        quiet(&people)?;
        settled(switch.directory()).await?;
        handle.apply(Arc::new(state(Vec::new()))).await?;
        let (_, deltas) = advance(&seen, &handle.counters().await?);
        total = add(total, &deltas);
        let after = at_replica(&handle).await?;
        println!("accounted {total:?}, at the port {before:?} to {after:?}");
        assert!(total.bytes > 2 * 4 * 100_000);
        assert_eq!(before.plus(total), after);
        Ok(())
    })
}

fn add(total: Amount, deltas: &[Delta]) -> Amount {
    assert!(
        deltas
            .iter()
            .all(|delta| delta.application == u32::from(PHOTOS))
    );
    deltas
        .iter()
        .fold(total, |sum, delta| sum.plus(delta.amount))
}

/// Both directions of the replica's port.
async fn at_replica(handle: &Handle) -> Result<Amount, Box<dyn std::error::Error>> {
    let stats = handle.ports().await?;
    let port = stats.iter().find(|one| one.port == PortNumber(11));
    let port = port.ok_or("no port 11")?;
    let sum = |both: [Option<u64>; 2]| both.iter().flatten().sum();
    Ok(Amount {
        packets: sum(port.packets),
        bytes: sum(port.bytes),
    })
}

/// Waits until the client's connections have ended in both directions.
fn quiet(people: &People<'_>) -> Outcome {
    let open = format!("while ss -Htn dst {CLIENT} | grep -qv TIME-WAIT; do sleep 0.05; done");
    people.replica.run(&["timeout", "20", "sh", "-c", &open])?;
    Ok(())
}
