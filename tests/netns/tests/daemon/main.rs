//! The whole way on a running Open vSwitch: a token is launched, its domain registers, an
//! intercepted flow is served, and what was not granted is denied. Domains are processes. Needs
//! root, as `tests/netns` says.

mod names;
mod site;

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::mpsc;

use manifest::{RevocationList, Serial, Signed};
use netns::Switch;
use serde_json::{Value, json};
use site::{
    AUTHORITY, CLIENT, Daemon, EDGE, ORIGIN, Outcome, PATIENCE, Site, key, launch, now, token,
    wait_for,
};

const RULES: &str = r#"
[[speak]]
protocols = ["arp"]
[[intercept]]
from = "clients"
to = { net = "203.0.113.7/32", tcp = [80] }
"#;

/// What a client is told when its flow is intercepted: its own address, and the one it meant.
fn served(by: &str) -> String {
    format!("200 {by} from {CLIENT} to {ORIGIN}\n")
}

#[test]
fn an_intercepted_flow_is_served_and_the_unspoken_denied() -> Outcome {
    let switch = Switch::start()?;
    let site = Site::new(&switch)?;
    let daemon = Daemon::start(&switch)?;
    site.wait_for_answer("origin")?;

    let token = token(RULES, |_| {});
    let domain = daemon.succeed("POST", "/v1/launch", &launch("one", &token))?;
    assert_eq!(domain["application"], 7);
    daemon.wait_for_state("one", "live")?;
    site.wait_for_answer("one")?;
    assert_eq!(site.get()?, served("one"));
    // The name is taken, and the neighbour gets another address.
    let (status, _) = daemon.ask("POST", "/v1/launch", &launch("one", &token).to_string())?;
    assert_eq!(status, 409);

    let address = domain["addresses"][0]
        .as_str()
        .ok_or("no address")?
        .to_owned();
    let inside = |command: &[&str]| {
        switch
            .world()
            .run(&[&["ip", "netns", "exec", "ec-1"], command].concat())
    };
    for unspoken in [format!("{ORIGIN}:80"), "10.0.1.1:22".to_owned()] {
        inside(&[EDGE, "get", &unspoken, "/"]).unwrap_err();
    }
    let direct = format!("{address}:80");
    site.client.run(&[EDGE, "get", &direct, "/"]).unwrap_err();
    site.router.run(&[EDGE, "get", &direct, "/"]).unwrap_err();
    // What was denied is counted by a flow that says why: 0x89 is `unspoken`, of application 7.
    let counted = switch.ofctl(
        "dump-flows",
        &["cookie=0x0001890000070000/0xffffffffffff0000"],
    )?;
    assert!(
        counted
            .lines()
            .any(|line| line.contains("n_packets=") && !line.contains("n_packets=0,")),
        "{counted}"
    );

    traces_say_what_happens(&daemon, &address)?;

    // The metadata service knows who asks; dom0 and clients are nobody.
    let metadata = "169.254.169.254:80";
    let answer = inside(&[EDGE, "get", metadata, "/v1/state"])?;
    assert_eq!(answer, "200 {\"state\":\"live\"}\n");
    let answer = switch.world().run(&[EDGE, "get", metadata, "/v1/nonce"])?;
    assert!(
        answer.starts_with("404 ") && answer.contains("not-a-domain"),
        "{answer}"
    );
    site.client
        .run(&[EDGE, "get", metadata, "/v1/nonce"])
        .unwrap_err();
    Ok(())
}

#[test]
fn what_dies_is_passed_by_and_started_again() -> Outcome {
    let switch = Switch::start()?;
    let site = Site::new(&switch)?;
    let daemon = Daemon::start(&switch)?;
    let token = token(RULES, |_| {});
    let domain = daemon.succeed("POST", "/v1/launch", &launch("one", &token))?;
    daemon.wait_for_state("one", "live")?;
    site.wait_for_answer("one")?;
    assert_eq!(site.get()?, served("one"));

    // One that hangs is noticed because it does not answer.
    let signal = |signal: &str, id: &Value| {
        switch
            .world()
            .run(&["sh", "-c", &format!("kill {signal} {id}")])
    };
    signal("-STOP", &domain["id"])?;
    println!(
        "hung: passed by after {:?}",
        site.wait_for_answer("origin")?
    );
    daemon.wait_for_state("one", "failed")?;
    signal("-CONT", &domain["id"])?;
    println!("goes on: served after {:?}", site.wait_for_answer("one")?);

    // One that dies is started again, and registers again.
    signal("-KILL", &domain["id"])?;
    println!(
        "killed: passed by after {:?}",
        site.wait_for_answer("origin")?
    );
    println!(
        "started again: served after {:?}",
        site.wait_for_answer("one")?
    );
    let again = daemon.domain("one")?.ok_or("it is gone")?;
    assert_eq!(
        (&again["restarts"], again["id"] == domain["id"]),
        (&json!(1), false)
    );

    // One that is stopped is not.
    let body = json!({ "drain-seconds": 0 });
    daemon.succeed("POST", "/v1/domains/one/stop", &body)?;
    assert_eq!(daemon.domain("one")?, None);
    site.wait_for_answer("origin")?;
    Ok(())
}

#[test]
fn a_daemon_that_is_killed_goes_on_where_it_was() -> Outcome {
    let switch = Switch::start()?;
    let site = Site::new(&switch)?;
    let mut daemon = Daemon::start(&switch)?;
    let token = token(RULES, |_| {});
    daemon.succeed("POST", "/v1/launch", &launch("one", &token))?;
    daemon.wait_for_state("one", "live")?;
    site.wait_for_answer("one")?;

    // One connection, asked over all the time.
    let mut held = site.client.command(EDGE);
    let held = held
        .args(["hold", &format!("{ORIGIN}:80")])
        .stdout(Stdio::piped());
    let mut held = held.spawn()?;
    let lines = BufReader::new(held.stdout.take().ok_or("no pipe")?).lines();
    let (said, heard) = mpsc::channel();
    std::thread::spawn(move || {
        lines
            .map_while(Result::ok)
            .try_for_each(|line| said.send(line))
    });
    let answers = |count: usize| -> Outcome {
        for _ in 0..count {
            let line = heard.recv_timeout(PATIENCE)?;
            assert_eq!(format!("{line}\n"), served("one"));
        }
        Ok(())
    };
    answers(5)?;
    let dump = || switch.ofctl("dump-flows", &["--no-stats"]);
    let (before, known) = (dump()?, daemon.domain("one")?);
    daemon.kill("-KILL");
    answers(5)?;
    assert_eq!(site.get()?, served("one"));
    drop(daemon);
    let daemon = Daemon::start(&switch)?;
    assert_eq!(daemon.metric("edgecloudd_switch_messages_total")?, 0);
    assert_eq!(dump()?, before);
    assert_eq!(daemon.domain("one")?, known);
    answers(5)?;

    // What is accounted grows with what is carried, over the daemon's death and the switch's.
    let accounted = |daemon: &Daemon| -> Outcome<u64> {
        let all = daemon.succeed("GET", "/v1/accounts", &Value::Null)?;
        let all = all["accounts"].as_array().cloned().unwrap_or_default();
        assert!(all.iter().all(|one| one["account"] == "photos"), "{all:?}");
        Ok(all.iter().filter_map(|one| one["packets"].as_u64()).sum())
    };
    // Open vSwitch tells what its datapath counted within a second or so.
    wait_for("something is accounted", || Ok(accounted(&daemon)? > 0))?;
    let first = accounted(&daemon)?;
    wait_for("more is accounted", || Ok(accounted(&daemon)? > first))?;
    let second = accounted(&daemon)?;

    // Another switch is not: it gets everything again.
    switch.kill_vswitchd()?;
    switch.start_vswitchd()?;
    site.wait_for_answer("one")?;

    // A domain that died while nobody looked is started again.
    let mut daemon = daemon;
    daemon.kill("-KILL");
    let id = known.ok_or("it is gone")?["id"].clone();
    switch
        .world()
        .run(&["sh", "-c", &format!("kill -KILL {id}")])?;
    drop(daemon);
    let daemon = Daemon::start(&switch)?;
    site.wait_for_answer("one")?;
    assert!(daemon.domain("one")?.is_some_and(|again| again["id"] != id));
    assert!(accounted(&daemon)? >= second);
    held.kill()?;
    held.wait()?;
    Ok(())
}

#[test]
fn a_revoked_application_is_cut() -> Outcome {
    let switch = Switch::start()?;
    let site = Site::new(&switch)?;
    let daemon = Daemon::start(&switch)?;
    let first = token(RULES, |_| {});
    daemon.succeed("POST", "/v1/launch", &launch("one", &first))?;
    daemon.wait_for_state("one", "live")?;
    site.wait_for_answer("one")?;
    let mut held = site.client.command(EDGE);
    let held = held
        .args(["hold", &format!("{ORIGIN}:80")])
        .stdout(Stdio::piped());
    let mut held = held.spawn()?;
    let mut lines = BufReader::new(held.stdout.take().ok_or("no pipe")?).lines();
    let line = lines.next().ok_or("no answer")??;
    assert_eq!(format!("{line}\n"), served("one"));

    let revoke = |serial: u64, number: u64| {
        let serials = [Serial(serial)].into();
        let list = RevocationList::new(number, now(), serials).expect("a short list");
        let list = Signed::sign(list, &key(AUTHORITY));
        json!({ "list": data_encoding::BASE64.encode(list.bytes()) })
    };
    let told = daemon.succeed("POST", "/v1/revocations", &revoke(1, 1))?;
    assert_eq!(told, json!({ "applications": [7], "domains": ["one"] }));
    // Its live connection is cut, and what its clients meant is theirs again.
    let last = lines.map_while(Result::ok).last().ok_or("no end")?;
    assert!(last.starts_with("cut"), "{last}");
    held.wait()?;
    site.wait_for_answer("origin")?;
    wait_for("the domain is gone", || Ok(daemon.domain("one")?.is_none()))?;
    let left = switch.appctl(&["dpctl/dump-conntrack", "zone=1"])?;
    assert_eq!(left, "");

    // It does not come back, nor does an older list; a newer token does.
    let refused = |body: &Value, path: &str, status: u16, word: &str| -> Outcome {
        let (found, why) = daemon.ask("POST", path, &body.to_string())?;
        assert_eq!(found, status, "{why}");
        assert!(
            why.contains(&format!("urn:edgecloud:problem:{word}")),
            "{why}"
        );
        Ok(())
    };
    refused(&launch("two", &first), "/v1/launch", 403, "revoked")?;
    refused(&revoke(99, 1), "/v1/revocations", 409, "old-revocations")?;
    let second = token(RULES, |claims| claims.serial = Serial(2));
    daemon.succeed("POST", "/v1/launch", &launch("two", &second))?;
    site.wait_for_answer("two")?;
    let told = daemon.succeed("POST", "/v1/applications/7/revoke", &Value::Null)?;
    assert_eq!(told["domains"], json!(["two"]));
    site.wait_for_answer("origin")?;
    refused(&launch("two", &second), "/v1/launch", 403, "withdrawn")?;

    // What was never valid here.
    let other_host = |claims: &mut manifest::Claims| {
        claims.hosts = vec!["edge-2.isp.example".parse().expect("a name")];
    };
    refused(
        &launch("x", &token(RULES, other_host)),
        "/v1/launch",
        403,
        "other-audience",
    )?;
    let expired = |claims: &mut manifest::Claims| {
        claims.not_before = now().before(20);
        claims.expires = now().before(10);
    };
    refused(
        &launch("x", &token(RULES, expired)),
        "/v1/launch",
        403,
        "expired",
    )?;
    let other_key = |claims: &mut manifest::Claims| {
        claims.serial = Serial(3);
        claims.holder = key(5).public();
    };
    refused(
        &launch("x", &token(RULES, other_key)),
        "/v1/launch",
        403,
        "other-key",
    )?;
    let other_image = |claims: &mut manifest::Claims| {
        claims.serial = Serial(3);
        claims.image = manifest::Digest([0; 32]);
    };
    refused(
        &launch("x", &token(RULES, other_image)),
        "/v1/launch",
        403,
        "other-image",
    )?;
    let forged = Signed::sign(first.into_document(), &key(8));
    refused(&launch("x", &forged), "/v1/launch", 403, "forged")
}

/// What was tried above, asked of the switch.
fn traces_say_what_happens(daemon: &Daemon, address: &str) -> Outcome {
    let trace = |from: &str, source: &str, target: &str, port: u16| {
        let packet = json!({
            "from": from, "source": source, "target": target, "protocol": "tcp",
            "source-port": 40_000, "target-port": port,
        });
        daemon.succeed("POST", "/v1/trace", &packet)
    };
    let served = trace("access", CLIENT, ORIGIN, 80)?;
    assert_eq!(served["verdict"], "delivered");
    let last = served["steps"].as_array().and_then(|steps| steps.last());
    assert_eq!(
        last,
        Some(&json!("it leaves to replica 1 of application 7"))
    );
    let passed = trace("access", CLIENT, ORIGIN, 443)?;
    let last = passed["steps"].as_array().and_then(|steps| steps.last());
    assert_eq!(last, Some(&json!("it leaves to the backhaul side")));
    for (from, source, target, port, reason) in [
        ("one", address, ORIGIN, 80, "unspoken"),
        ("one", ORIGIN, CLIENT, 80, "spoofed-address"),
        ("backhaul", address, CLIENT, 80, "spoofed-address"),
        ("access", CLIENT, "169.254.169.254", 80, "metadata"),
    ] {
        let denied = trace(from, source, target, port)?;
        assert_eq!(
            (&denied["verdict"], &denied["reason"]),
            (&json!("denied"), &json!(reason))
        );
    }
    let (status, why) = daemon.ask("POST", "/v1/trace", "{}")?;
    assert_eq!(status, 400, "{why}");
    let nobody = r#"{"from":"two","source":"10.0.0.5","target":"10.0.0.6","protocol":"icmp"}"#;
    assert_eq!(daemon.ask("POST", "/v1/trace", nobody)?.0, 404);
    Ok(())
}
