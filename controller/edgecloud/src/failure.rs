//! What goes wrong, and the exit codes, which `edgecloud --help` lists.

use std::io;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::report::visible;

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{path}: {source}; {cure}", path = .path.display(), cure = cure(.source))]
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
    #[error("{whom} at {place} cannot be reached: {cause}; {cure}")]
    Unreachable {
        whom: &'static str,
        place: String,
        cause: String,
        cure: &'static str,
    },
    #[error("{whom} answers what makes no sense: {cause}")]
    Nonsense { whom: &'static str, cause: String },
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
}

/// What helps where a file is not as it was thought.
fn cure(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "give a file that is there",
        io::ErrorKind::AlreadyExists => "give another name, for nothing is written over it",
        io::ErrorKind::PermissionDenied => "give one that you may use, or run this as its owner",
        io::ErrorKind::IsADirectory => "give a file, not a directory",
        io::ErrorKind::StorageFull => "make room on the disk",
        _ => "give another, or see what is wrong with this one's disk",
    }
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
