//! What goes wrong, and the exit codes, which `edgecloud --help` lists.

use std::io;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::report::visible;

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{path}: {source}", path = .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{path}: {cause}", path = .path.display())]
    Document { path: PathBuf, cause: String },
    #[error(
        "{path} can be read by others; a private key is its owner's alone: chmod 600 {path}",
        path = .0.display()
    )]
    OpenKey(PathBuf),
    #[error("{0}")]
    Wrong(String),
    #[error("{whom} refused ({status}): {detail}")]
    Refused {
        whom: &'static str,
        status: u16,
        detail: String,
        /// The problem document, for `--json`.
        problem: Value,
    },
    #[error("{whom} at {place} cannot be reached: {cause}")]
    Unreachable {
        whom: &'static str,
        place: String,
        cause: String,
    },
    #[error("{whom} answers what makes no sense: {cause}")]
    Nonsense { whom: &'static str, cause: String },
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
}

impl Failure {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Failure::File { .. } | Failure::Nonsense { .. } | Failure::Start(_) => 1,
            Failure::Document { .. } | Failure::OpenKey(_) | Failure::Wrong(_) => 2,
            Failure::Refused { .. } => 3,
            Failure::Unreachable { .. } => 5,
        }
    }

    pub(crate) fn print(&self, json: bool) {
        if !json {
            eprintln!("edgecloud: {}", visible(&self.to_string()));
            return;
        }
        let mut error = json!({ "error": self.to_string(), "exit_code": self.exit_code() });
        if let Failure::Refused { problem, .. } = self {
            error["problem"] = problem.clone();
        }
        println!("{error}");
    }
}
