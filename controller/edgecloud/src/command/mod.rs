//! What the commands do.

mod daemon;
mod documents;
mod submission;

use crate::arguments::{Arguments, Command, Image, Manifest};
use crate::failure::Failure;
use crate::report::Report;

/// Does what was asked for.
pub(crate) async fn run(arguments: Arguments) -> Result<Report, Failure> {
    match arguments.command {
        Command::Keygen { file } => documents::keygen(&file),
        Command::Image(Image::Sign(sign)) => documents::sign_image(*sign),
        Command::Image(Image::Inspect { descriptor, elf }) => {
            documents::inspect_image(&descriptor, elf.as_deref())
        }
        Command::Manifest(Manifest::Check { manifest }) => documents::check_manifest(&manifest),
        Command::Manifest(Manifest::Submit(submit)) => submission::submit(*submit).await,
        Command::Manifest(Manifest::Accept(accept)) => submission::accept(&accept).await,
        Command::Launch(launch) => daemon::launch(*launch).await,
        Command::Ps(daemon) => daemon::ps(&daemon).await,
        Command::Logs { domain, daemon } => daemon::logs(&domain, &daemon).await,
        Command::Stop {
            domain,
            drain_seconds,
            daemon,
        } => daemon::stop(&domain, drain_seconds, &daemon).await,
        Command::Revoke {
            application,
            list,
            daemon,
        } => daemon::revoke(application, list.as_deref(), &daemon).await,
        Command::Flows(daemon) => daemon::flows(&daemon).await,
        Command::Trace(trace) => daemon::trace(trace).await,
        Command::Accounts(daemon) => daemon::accounts(&daemon).await,
    }
}
