//! `edgecloud`: what publishers and operators tell the authority and the daemon of a host.
//!
//! | file | holds |
//! |---|---|
//! | `arguments.rs` | the commands and their help |
//! | `command/` | what each does |
//! | `http.rs` | questions to the authority (HTTPS) and to the daemon (unix socket) |
//! | `files.rs` | keys and documents on disk |
//! | `report.rs` | what is printed, for people and with `--json` |
//! | `failure.rs` | what goes wrong, and the exit codes |
//!
//! *Threats.* Answers come from others: they are bounded and parsed once, and what people are shown
//! of them has no control characters. A private key is read from a file that only its owner can
//! read, is never printed, and goes nowhere but to the daemon's socket at a launch.

mod arguments;
mod command;
mod failure;
mod files;
mod http;
mod report;

use std::process::ExitCode;

use clap::Parser as _;

use crate::arguments::Arguments;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let json = arguments.json;
    let done = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failure::Failure::from)
        .and_then(|runtime| runtime.block_on(command::run(arguments)));
    match done {
        Ok(report) => report.print(json),
        Err(failure) => {
            failure.print(json);
            ExitCode::from(failure.exit_code())
        }
    }
}
