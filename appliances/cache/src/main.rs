//! The cache appliance: in front of one origin (`[service] origin = "host:port"`), or, without that,
//! for the captured flows of whomever clients meant.

use std::process::ExitCode;

use edgecloud_appliance::{Stage, run};

fn main() -> ExitCode {
    run("cache", |stage: Stage<cache::Own>| async move {
        cache::router(&stage)
    })
}
