//! What to start, said once for both worlds.

use crate::image::Image;

/// A program with its words and its memory.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) image: Image,
    pub(crate) words: Words,
    /// Names and values, which contain no single quote and no line's end.
    pub(crate) environment: Vec<(&'static str, String)>,
    pub(crate) memory_mib: u32,
    /// A file that is the domain's `/dev/xvda`; a process is told its path like any other word.
    pub(crate) disk: Option<String>,
}

/// The words a program gets.
#[derive(Clone, Debug)]
pub(crate) enum Words {
    /// Arguments as they should arrive.
    Arguments(Vec<String>),
    /// A domain's command line as somebody wrote it.
    CommandLine(String),
}

impl Launch {
    /// Memory in which every guest that does not ask for more is comfortable.
    const MEMORY_MIB: u32 = 64;

    pub(crate) fn of(image: Image) -> Launch {
        Launch {
            image,
            words: Words::Arguments(Vec::new()),
            environment: Vec::new(),
            memory_mib: Self::MEMORY_MIB,
            disk: None,
        }
    }

    /// Sets a variable of the environment.
    pub(crate) fn variable(mut self, name: &'static str, value: impl Into<String>) -> Launch {
        self.environment.push((name, value.into()));
        self
    }

    /// Gives a domain a file of dom0 as its disk.
    pub(crate) fn disk(mut self, path: impl Into<String>) -> Launch {
        self.disk = Some(path.into());
        self
    }

    /// Sets the arguments, separated by blanks.
    pub(crate) fn arguments(mut self, words: &str) -> Launch {
        self.words = Words::Arguments(words.split_whitespace().map(str::to_owned).collect());
        self
    }

    pub(crate) fn command_line(mut self, line: impl Into<String>) -> Launch {
        self.words = Words::CommandLine(line.into());
        self
    }

    pub(crate) fn memory_mib(mut self, memory_mib: u32) -> Launch {
        self.memory_mib = memory_mib;
        self
    }

    /// The domain's command line. Arguments are plain words here, so `--` is all the quoting they need.
    pub(crate) fn as_command_line(&self) -> String {
        let variables = self
            .environment
            .iter()
            .map(|(name, value)| format!("{name}='{value}' "));
        let words = match &self.words {
            Words::CommandLine(line) => line.clone(),
            Words::Arguments(words) if words.is_empty() => String::new(),
            Words::Arguments(words) => format!("-- {}", words.join(" ")),
        };
        variables.collect::<String>() + &words
    }
}

/// How a program ended and what it said until then.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) succeeded: bool,
    /// In the words of the world: a shutdown reason or an exit status.
    pub(crate) how: String,
    pub(crate) transcript: String,
}
