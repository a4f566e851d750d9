//! Two hosts on one switch.

use netns::{Host, Switch};

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[test]
fn the_switch_decides_who_reaches_whom() -> Outcome {
    let switch = Switch::start()?;
    let one = Host::plug(&switch, "one", 1, "10.0.0.1/24")?;
    let _two = Host::plug(&switch, "two", 2, "10.0.0.2/24")?;
    // Sends until one answer came, or so many seconds passed.
    let ping = |deadline| one.run(&["ping", "-c1", deadline, "10.0.0.2"]);
    assert!(ping("-w1").is_err(), "a secure switch drops at first");
    switch.ofctl("add-flow", &["in_port=1,actions=output:2"])?;
    switch.ofctl("add-flow", &["in_port=2,actions=output:1"])?;
    ping("-w20")?;
    Ok(())
}

#[test]
fn a_killed_switch_is_gone_and_comes_back() -> Outcome {
    let switch = Switch::start()?;
    switch.kill_vswitchd()?;
    assert!(switch.ofctl("dump-flows", &[]).is_err());
    switch.start_vswitchd()?;
    switch.ofctl("dump-flows", &[])?;
    switch.kill_database()?;
    switch.start_database()?;
    switch.vsctl(&["br-exists", netns::BRIDGE])?;
    Ok(())
}
