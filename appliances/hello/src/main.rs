//! An HTTPS service that says hello: the smallest appliance that serves, and an ordinary tokio
//! program with no line that knows of Xen.
//!
//! It speaks HTTP/1.1 and HTTP/2 without TLS (by prior knowledge, RFC 9113, section 3.3) on one
//! address and HTTPS on another, where ALPN (RFC 7301) chooses between the two. `/` tells who asks
//! and by which protocol, `/health` that the process lives, `/ready` whether it wants more requests.
//!
//! Its first line is a greeting, whatever comes then. SIGTERM lets the requests in flight end, for
//! [`limits::DRAIN_TIME_MAX`] at most, and ends the process with code 0. Settings that make no sense
//! are explained and end it with code 2.
//!
//! Settings are variables of the environment:
//!
//! | variable | meaning | without it |
//! |---|---|---|
//! | `HTTP_ADDRESS` | where HTTP is served, as `ADDRESS:PORT` | `[::]:80` |
//! | `HTTPS_ADDRESS` | where HTTPS is served | `[::]:443` |
//! | `TLS_CERTIFICATE` | the certificate and those that link it to its authority, in PEM | one is made at the start, and its fingerprint printed |
//! | `TLS_KEY` | its private key, in PEM; belongs into xenstore, never on a command line | a new one |
//! | `TLS_NAMES` | names and addresses, with commas, in the certificate that is made | `hello.edge.example` |
//!
//! *Threats.* Clients are hostile: `limits` bounds what one of them, and all together, can hold. The
//! private key is in no message and in no `Debug` output.

mod answer;
mod certificate;
mod connection;
mod limits;
mod service;
mod settings;

use std::env;
use std::error::Error;
use std::process::ExitCode;

use crate::certificate::Certificate;
use crate::settings::Settings;

/// The exit code for settings that make no sense.
const BAD_SETTINGS: u8 = 2;

fn main() -> ExitCode {
    println!("Hello from {}!", env::consts::ARCH);
    let prepared = Settings::from_lookup(env::var_os)
        .map_err(Box::<dyn Error>::from)
        .and_then(|settings| Ok((Certificate::of(settings.identity)?, settings.addresses)));
    let (certificate, addresses) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            eprintln!("hello: {error}");
            return ExitCode::from(BAD_SETTINGS);
        }
    };
    println!(
        "hello: certificate sha256 fingerprint={}",
        certificate.fingerprint()
    );
    match service::run(addresses, certificate) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hello: {error}");
            ExitCode::FAILURE
        }
    }
}
