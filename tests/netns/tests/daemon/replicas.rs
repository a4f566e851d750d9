//! A second replica comes and goes while clients speak: nobody notices.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use netns::Switch;
use serde_json::json;

use crate::site::{Daemon, EDGE, ORIGIN, Outcome, Site, launch, token, wait_for};
use crate::{RULES, served};

#[test]
fn a_replica_is_added_and_drained_under_load() -> Outcome {
    let switch = Switch::start()?;
    let site = Site::new(&switch)?;
    let daemon = Daemon::start(&switch)?;
    let token = token(RULES, |_| {});
    daemon.succeed("POST", "/v1/launch", &launch("one", &token))?;
    site.wait_for_answer("one")?;
    // A connection that lasts.
    let mut held = site.client.command(EDGE);
    let held = held.args(["hold", &format!("{ORIGIN}:80")]);
    let mut held = held.stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(held.stdout.take().ok_or("no pipe")?).lines();

    let over = AtomicBool::new(false);
    let asked = std::thread::scope(|scope| -> Outcome<Vec<Result<String, String>>> {
        // Connections that begin all the time.
        let asking = scope.spawn(|| {
            let mut asked = vec![];
            while !over.load(Ordering::Relaxed) {
                asked.push(site.get().map_err(|error| error.to_string()));
            }
            asked
        });
        let come_and_go = || -> Outcome {
            daemon.succeed("POST", "/v1/launch", &launch("two", &token))?;
            site.wait_for_answer("two")?;
            let drained = json!({ "drain-seconds": 3 });
            daemon.succeed("POST", "/v1/domains/two/stop", &drained)?;
            wait_for("it is gone", || Ok(daemon.domain("two")?.is_none()))?;
            site.get().map(drop)
        };
        let done = come_and_go();
        over.store(true, Ordering::Relaxed);
        let asked = asking.join().map_err(|_| "the client panicked")?;
        done.map(|()| asked)
    })?;
    let answers: BTreeSet<&Result<String, String>> = asked.iter().collect();
    let expected = [Ok(served("one")), Ok(served("two"))];
    assert_eq!(
        answers,
        expected.iter().collect(),
        "of {} questions",
        asked.len()
    );
    println!("{} connections, none refused", asked.len());
    for _ in 0..100 {
        let line = lines.next().ok_or("it was cut")??;
        assert_eq!(format!("{line}\n"), served("one"));
    }
    held.kill()?;
    held.wait()?;
    Ok(())
}
