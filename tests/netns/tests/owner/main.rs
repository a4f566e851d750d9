//! The owner of the switch, and the database, against a running Open vSwitch. Needs root, as
//! `tests/netns` says.

mod people;
mod site;
mod traces;
mod traffic;

use std::sync::Arc;

use edgecloudd::ovs::{
    Bridge, Database, DatabaseError, Event, Handle, Owner, OwnerError, Settings,
};
use edgecloudd::pipeline::compile;
use netns::{BRIDGE, Host, Switch};
use openflow::PortNumber;
use site::{Outcome, block_on, photos, state};
use tokio::sync::broadcast::Receiver;

fn owner(switch: &Switch) -> Handle {
    let socket = switch.openflow();
    Owner::start(Settings { socket })
}

async fn until(events: &mut Receiver<Event>, is_it: impl Fn(&Event) -> bool) -> Event {
    loop {
        let event = events.recv().await.expect("the owner lives");
        if is_it(&event) {
            return event;
        }
    }
}

#[test]
fn what_was_applied_survives_restarts_of_both_sides() -> Outcome {
    let switch = Switch::start()?;
    block_on(async {
        let handle = owner(&switch);
        let desired = Arc::new(state(photos()));
        let messages = compile(&desired);
        let messages = messages.flows.len() + messages.groups.len() + messages.meters.len();
        assert_eq!(handle.apply(desired.clone()).await?.sent, messages);
        assert_eq!(handle.apply(desired.clone()).await?.sent, 0);
        drop(handle);

        // The daemon was restarted: it knows nothing, and nothing is to be sent.
        let handle = owner(&switch);
        let mut events = handle.events();
        let is_connected = |event: &Event| matches!(event, Event::Connected { .. });
        until(&mut events, is_connected).await;
        assert_eq!(handle.apply(desired.clone()).await?.sent, 0);
        assert!(handle.installed().await? == compile(&desired));

        // The switch was killed: nobody has to ask for it to be filled again.
        switch.kill_vswitchd()?;
        until(&mut events, |event| {
            matches!(event, Event::Disconnected { .. })
        })
        .await;
        let error = handle.installed().await.unwrap_err();
        assert!(matches!(error, OwnerError::Away(_)), "{error}");
        switch.start_vswitchd()?;
        let Event::Connected { sent, .. } = until(&mut events, is_connected).await else {
            unreachable!("it was looked for");
        };
        assert_eq!(sent, messages);
        assert!(handle.installed().await? == compile(&desired));
        Ok(())
    })
}

#[test]
fn what_was_asked_while_the_switch_was_away_is_done_when_it_is_back() -> Outcome {
    let switch = Switch::start()?;
    switch.kill_vswitchd()?;
    block_on(async {
        let handle = owner(&switch);
        let mut events = handle.events();
        let desired = Arc::new(state(photos()));
        let error = handle.apply(desired.clone()).await.unwrap_err();
        assert!(matches!(error, OwnerError::Away(_)), "{error}");
        handle.flush_zone(7).await.unwrap_err();
        switch.start_vswitchd()?;
        until(&mut events, |event| {
            matches!(event, Event::Connected { .. })
        })
        .await;
        assert!(handle.installed().await? == compile(&desired));
        Ok(())
    })
}

#[test]
fn the_latest_of_many_states_is_installed() -> Outcome {
    let switch = Switch::start()?;
    block_on(async {
        let handle = owner(&switch);
        let all: Vec<_> = (1..=20)
            .map(|replicas| {
                let (handle, state) = (handle.clone(), state(site::photos_with(replicas)));
                tokio::spawn(async move { handle.apply(Arc::new(state)).await })
            })
            .collect();
        let mut sent = 0;
        for one in all {
            sent = one.await??.sent;
        }
        assert!(sent > 0);
        assert!(handle.installed().await? == compile(&state(site::photos_with(20))));
        Ok(())
    })
}

#[test]
fn the_database_makes_the_bridge_once_and_knows_its_ports() -> Outcome {
    let switch = Switch::without_bridge()?;
    switch.vsctl(&[
        "add-br",
        "other",
        "--",
        "set",
        "bridge",
        "other",
        "datapath_type=netdev",
    ])?;
    let bridge = Bridge {
        name: BRIDGE.to_owned(),
        datapath_type: "netdev".to_owned(),
    };
    let database = Database::new(switch.database(), bridge)?;
    block_on(async {
        assert!(database.ensure_bridge().await?);
        assert!(!database.ensure_bridge().await?);
        assert_eq!(database.openflow(), switch.openflow());
        let columns = ["--columns=fail_mode,protocols", "list", "bridge", BRIDGE];
        let told = switch.vsctl(&columns)?;
        assert!(
            told.contains("secure") && told.contains("OpenFlow15"),
            "{told}"
        );

        // The number is waited for: the port comes later.
        let waiting = {
            let database = database.clone();
            tokio::spawn(async move { database.port_number("late").await })
        };
        let _host = Host::plug(&switch, "late", 7, "10.0.0.7/24")?;
        assert_eq!(waiting.await??, PortNumber(7));
        assert_eq!(database.add_port("late", None).await?, PortNumber(7));

        let veth = [
            "ip", "link", "add", "one", "type", "veth", "peer", "name", "two",
        ];
        switch.run(&veth)?;
        let wanted = Some(PortNumber(42));
        assert_eq!(database.add_port("one", wanted).await?, PortNumber(42));
        database.remove_port("one").await?;
        database.remove_port("one").await?;
        assert!(!switch.vsctl(&["list-ports", BRIDGE])?.contains("one"));

        switch.vsctl(&["add-port", "other", "two"])?;
        for error in [
            database.add_port("two", None).await.unwrap_err(),
            database.remove_port("two").await.unwrap_err(),
        ] {
            assert!(matches!(error, DatabaseError::Elsewhere(_)), "{error}");
        }
        let error = database.add_port("nothing", None).await.unwrap_err();
        assert!(matches!(error, DatabaseError::Port(..)), "{error}");
        switch.kill_database()?;
        let error = database.ensure_bridge().await.unwrap_err();
        assert!(matches!(error, DatabaseError::Stream(..)), "{error}");
        Ok(())
    })
}

#[test]
fn a_state_that_the_switch_refuses_ends_no_session() -> Outcome {
    let switch = Switch::start()?;
    block_on(async {
        let handle = owner(&switch);
        handle.apply(Arc::new(state(photos()))).await?;
        // Table 0 is full from now on: a replica that comes has no room there.
        let before = handle.installed().await?;
        switch.vsctl(&[
            "set",
            "bridge",
            BRIDGE,
            "flow_tables:0=@t",
            "--",
            "--id=@t",
            "create",
            "flow_table",
            "flow_limit=1",
            "overflow_policy=refuse",
        ])?;
        let error = handle
            .apply(Arc::new(state(site::photos_with(30))))
            .await
            .unwrap_err();
        assert!(matches!(error, OwnerError::Refused(_)), "{error}");
        assert!(handle.installed().await? == before);
        assert_eq!(handle.apply(Arc::new(state(photos()))).await?.sent, 0);
        Ok(())
    })
}
