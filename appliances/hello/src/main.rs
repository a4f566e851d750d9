//! An HTTPS service that says hello: the smallest appliance that serves, and an ordinary tokio
//! program with no line that knows of Xen.
//!
//! `/` tells who asks and by which protocol, `/health` that the process lives, `/ready` whether it
//! wants more requests. Its first line is a greeting, whatever comes then. Everything else, its
//! settings among it, it has of `edgecloud_appliance`.

mod answer;
mod respond;

use std::process::ExitCode;

use edgecloud_appliance::{NoSettings, Stage, run};

fn main() -> ExitCode {
    println!("Hello from {}!", std::env::consts::ARCH);
    run("hello", |stage: Stage<NoSettings>| async move {
        Ok(respond::router(&stage))
    })
}
