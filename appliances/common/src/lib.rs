//! What an appliance needs to take part: settings, TLS, listeners, limits, logs, metrics, readiness
//! and drain. An appliance brings a [`Router`](axum::Router) and its own settings:
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use edgecloud_appliance::{NoSettings, Stage, run};
//!
//! fn main() -> std::process::ExitCode {
//!     run("greeter", |_stage: Stage<NoSettings>| async {
//!         Ok(Router::new().route("/", get(|| async { "Hello!\n" })))
//!     })
//! }
//! ```
//!
//! [`run`] reads the [`settings`], listens, serves HTTP/1.1 and HTTP/2 with TLS and without, answers
//! `/health`, `/ready` and `/metrics` on a listener of its own, and on SIGTERM lets what is in
//! flight end. It is an ordinary Linux program, and a domain when it is linked with `runtime/`.
//!
//! *States.* starting (listeners are bound, `/ready` says no) → serving → draining (listeners are
//! closed, `/ready` says no, requests in flight end) → ended, with code 0. Settings that make no
//! sense end it with [`BAD_SETTINGS`], whatever else goes wrong with 1.
//!
//! *Threats.* Clients are hostile: [`limits`] bounds what one of them, and all together, can hold.
//! Keys and tokens are in no message and in no `Debug` output.

mod beside;
mod certificate;
mod connection;
mod drain;
mod figures;
pub mod limits;
mod listener;
mod log;
mod management;
mod meant;
pub mod metrics;
mod own_name;
mod progress;
mod readiness;
mod refusal;
mod registration;
mod service;
pub mod settings;
mod stage;

pub use beside::Beside;
pub use certificate::{Certificates, Served};
pub use connection::Ends;
pub use drain::Drain;
pub use log::Log;
pub use management::Pages;
pub use meant::{Meant, Others, Taken, beginning};
pub use own_name::OwnName;
pub use progress::Progress;
pub use readiness::{Gate, Readiness};
pub use refusal::{Refusal, Refusals};
pub use registration::{AskError, Metadata};
pub use service::{BAD_SETTINGS, run};
pub use settings::NoSettings;
pub use stage::{Background, Failure, Reads, Stage};
