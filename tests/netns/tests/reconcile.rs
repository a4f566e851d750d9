//! `ovs` against a running Open vSwitch. Needs root, as `tests/netns` says.

use edgecloudd::ovs::{Session, SessionError, reconcile};
use edgecloudd::pipeline::Installed;
use netns::Switch;
use openflow::{Action, Field, Flow, FlowMod, Instructions, Match, Message, Meter, PortNumber};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn block_on(outcome: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread();
    { runtime }.enable_all().build()?.block_on(outcome)
}

/// So many flows, TCP ports of which go on to the second table.
fn desired(count: u16) -> Installed {
    let flow = |port: u16| {
        let matching = Match::new().ipv4().ip_proto(6).with(Field::TcpDst, port);
        let mark = Instructions::apply(vec![Action::set(Field::Reg0, u32::from(port))]);
        Flow::new(1, 100, matching, mark.then_goto(2)).with_cookie(1 << 48 | 5)
    };
    Installed::new((0..count).map(flow), [], [Meter::limit_kbps(1, 1000, 100)])
}

async fn installed(session: &mut Session) -> Result<Installed, SessionError> {
    let flows = session.flows().await?;
    Ok(Installed::new(
        flows,
        session.groups().await?,
        session.meters().await?,
    ))
}

#[test]
fn what_is_desired_is_installed_once_and_again_after_kill_9() -> Outcome {
    let switch = Switch::start()?;
    block_on(async {
        let desired = desired(1000);
        let mut session = Session::connect(&switch.openflow()).await?;
        let report = reconcile(&mut session, &desired).await?;
        assert_eq!((report.flow_mods, report.meter_mods), (1000, 1));
        assert!(installed(&mut session).await? == desired);
        let again = reconcile(&mut session, &desired).await?;
        assert_eq!(again, Default::default());

        switch.kill_vswitchd()?;
        let error = session.flows().await.unwrap_err();
        assert!(
            matches!(error, SessionError::Closed | SessionError::Io(_)),
            "{error}"
        );
        switch.start_vswitchd()?;
        let mut session = Session::connect(&switch.openflow()).await?;
        assert_eq!(reconcile(&mut session, &desired).await?.flow_mods, 1000);
        assert!(installed(&mut session).await? == desired);
        Ok(())
    })
}

#[test]
fn a_refused_message_is_named_and_changes_nothing() -> Outcome {
    let switch = Switch::start()?;
    block_on(async {
        let mut session = Session::connect(&switch.openflow()).await?;
        let before = desired(3);
        reconcile(&mut session, &before).await?;
        // Open vSwitch does not go back to a table before.
        let backwards = Instructions::apply(vec![Action::Output {
            port: PortNumber(1),
            max_len: 0,
        }]);
        let bad = Flow::new(5, 1, Match::new(), backwards.then_goto(4)).with_cookie(1 << 48);
        let mut messages: Vec<Message> = desired(9).flows.into_values().map(add).collect();
        messages.insert(4, add(bad.clone()));
        let error = session.bundle(messages).await.unwrap_err();
        assert!(
            matches!(error, SessionError::Refused { index: 4, .. }),
            "{error}"
        );
        assert!(installed(&mut session).await? == before);
        let mut broken = desired(9);
        broken.flows.insert(bad.key.clone(), bad);
        broken.meters.insert(2, Meter::limit_kbps(2, 1, 1));
        reconcile(&mut session, &broken).await.unwrap_err();
        assert!(installed(&mut session).await? == before);
        let mut refused = before.clone();
        refused.meters.insert(2, Meter::limit_kbps(2, 1, 1));
        // The number of all meters is no meter's.
        let all = Meter::limit_kbps(Meter::ALL, 1, 1);
        refused.meters.insert(all.id, all);
        reconcile(&mut session, &refused).await.unwrap_err();
        assert!(installed(&mut session).await? == before);
        Ok(())
    })
}

fn add(flow: Flow) -> Message {
    Message::FlowMod(FlowMod::add(flow))
}

#[test]
fn flows_of_others_go_and_are_reported() -> Outcome {
    let switch = Switch::start()?;
    switch.ofctl("add-flow", &["table=9,priority=3,udp,actions=drop"])?;
    let in_the_way = "table=1,priority=100,tcp,tp_dst=0,actions=drop";
    switch.ofctl("add-flow", &[in_the_way])?;
    block_on(async {
        let mut session = Session::connect(&switch.openflow()).await?;
        let report = reconcile(&mut session, &desired(2)).await?;
        assert_eq!((report.foreign, report.flow_mods), (2, 3));
        assert!(installed(&mut session).await? == desired(2));
        Ok(())
    })
}
