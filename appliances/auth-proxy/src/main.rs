//! The auth proxy appliance: captured requests of clients are sent to its portal, and who logs in
//! there is let through the switch.

use std::process::ExitCode;

use edgecloud_appliance::{Stage, run};

fn main() -> ExitCode {
    run("auth-proxy", |stage: Stage<auth_proxy::Own>| async move {
        auth_proxy::start(stage)
    })
}
