//! `cargo xtask symbolize`: puts function names and lines behind the code addresses that a domain printed.
//!
//! Two kinds of lines hold addresses: the runtime's reports of faults (`  #2 0x20a1b4`), whose frame 0 is
//! the instruction that faulted, and std's own backtraces (`   2:           0x20a1b4 - <unknown>`). All
//! other frames are return addresses: the call is before them, so it is the address before that is
//! looked up. The call may have been the last instruction of its function.

use std::fs;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use addr2line::Loader;
use anyhow::{Context, Result, anyhow, ensure};
use object::{Object, ObjectSegment};

use crate::image::function_names::demangle;
use crate::image::{Tree, source_names};

/// What the command line said.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The image that printed it, as `cargo xtask image` called it
    #[arg(value_name = "NAME")]
    image: String,
    /// The console's text (default: standard input)
    file: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(options: Options) -> Result<()> {
    let text = match &options.file {
        Some(file) => fs::read(file).with_context(|| format!("cannot read {}", file.display()))?,
        None => {
            let mut text = Vec::new();
            std::io::stdin()
                .read_to_end(&mut text)
                .context("cannot read standard input")?;
            text
        }
    };
    let debug = Tree::of_this_command()
        .images()
        .join(format!("{}.debug", options.image));
    ensure!(
        debug.is_file(),
        "no debug information of {image}: {} is missing. Build the image with `cargo xtask image {image}`",
        debug.display(),
        image = options.image
    );
    print!("{}", symbolize(&debug, &String::from_utf8_lossy(&text))?);
    Ok(())
}

/// The text with the frames' functions behind their addresses; every other line stays as it is.
pub(crate) fn symbolize(debug: &Path, text: &str) -> Result<String> {
    let image = DebugInformation::read(debug)
        .with_context(|| format!("cannot read debug information from {}", debug.display()))?;
    let mut output = String::with_capacity(text.len() * 2);
    for line in text.split_inclusive('\n') {
        match Frame::in_line(line) {
            Some(frame) => output.push_str(&image.name(&frame)),
            None => output.push_str(line),
        }
    }
    Ok(output)
}

/// What is known of an image's code.
struct DebugInformation {
    symbols: Loader,
    /// Debug information is kept of functions that were left out, too: they seem to lie around 0.
    code: Vec<Range<u64>>,
}

impl DebugInformation {
    fn read(path: &Path) -> Result<DebugInformation> {
        let bytes = fs::read(path)?;
        let file = object::File::parse(&*bytes)?;
        let code = file
            .segments()
            .filter(|segment| segment.permissions().executable());
        let code = code
            .map(|segment| segment.address()..segment.address() + segment.size())
            .collect();
        let symbols = Loader::new(path).map_err(|error| anyhow!("{error}"))?;
        Ok(DebugInformation { symbols, code })
    }

    /// The frame's line with its function behind, and below it those that it is inlined into.
    fn name(&self, frame: &Frame) -> String {
        let indent = " ".repeat(frame.line.len() - frame.line.trim_start().len() + 3);
        let functions = self
            .functions(frame.probe)
            .join(&format!("\n{indent}inlined into "));
        format!("{} {functions}\n", frame.line)
    }

    /// What is at an address: a function and its place, then the functions around it.
    fn functions(&self, probe: u64) -> Vec<String> {
        if !self.code.iter().any(|code| code.contains(&probe)) {
            return vec!["outside this image's code".to_owned()];
        }
        let symbol = self.symbols.find_symbol(probe).map(demangle);
        let mut functions = Vec::new();
        if let Ok(mut frames) = self.symbols.find_frames(probe) {
            while let Ok(Some(frame)) = frames.next() {
                let name = frame
                    .function
                    .as_ref()
                    .and_then(|function| function.raw_name().ok());
                let name = name.map_or("?".to_owned(), |name| demangle(&name));
                functions.push((name, frame.location.as_ref().map(place).unwrap_or_default()));
            }
        }
        // The last one is what the symbol names, with its whole path; assembly has nothing else.
        if let Some(symbol) = symbol {
            match functions.last_mut() {
                Some((name, _)) => *name = symbol,
                None => functions.push((symbol, String::new())),
            }
        }
        if functions.is_empty() {
            return vec!["?".to_owned()];
        }
        functions
            .into_iter()
            .map(|(name, place)| name + &place)
            .collect()
    }
}

fn place(location: &addr2line::Location<'_>) -> String {
    let file = source_names::short(location.file.unwrap_or("?"));
    match location.line {
        Some(line) => format!(" at {file}:{line}"),
        None => format!(" at {file}"),
    }
}

/// A line of a backtrace.
#[derive(Debug, PartialEq, Eq)]
struct Frame<'a> {
    /// The line up to the address and with it.
    line: &'a str,
    /// Where the instruction is that the frame is at.
    probe: u64,
}

impl<'a> Frame<'a> {
    fn in_line(line: &'a str) -> Option<Frame<'a>> {
        let line = line.trim_end();
        let (index, is_report) = match line.trim_start().strip_prefix('#') {
            Some(rest) => (rest.split_whitespace().next()?, true),
            None => (line.trim_start().split_once(':')?.0, false),
        };
        let index: u32 = index.parse().ok()?;
        let address_at = line.find("0x")?;
        let digits = line[address_at + 2..]
            .bytes()
            .take_while(u8::is_ascii_hexdigit)
            .count();
        let (line, rest) = line.split_at(address_at + 2 + digits);
        // Anything else behind the address, and it is not a frame, or it has its name already.
        if !matches!(rest.trim_start(), "" | "- <unknown>") {
            return None;
        }
        let address = u64::from_str_radix(&line[address_at + 2..], 16).ok()?;
        let is_exact = is_report && index == 0;
        let probe = if is_exact {
            address
        } else {
            address.checked_sub(1)?
        };
        Some(Frame { line, probe })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Option<(&str, u64)>) {
        let expected = expected.map(|(line, probe)| Frame { line, probe });
        assert_eq!(Frame::in_line(line), expected, "{line}");
    }

    #[test]
    fn frames_of_a_fault_report() {
        check("  #0 0x20a1b4\n", Some(("  #0 0x20a1b4", 0x20a1b4)));
        check("  #12 0x20a1b4\r\n", Some(("  #12 0x20a1b4", 0x20a1b3)));
    }

    #[test]
    fn frames_of_a_backtrace_of_std() {
        check(
            "   0:           0x20a1b4 - <unknown>\n",
            Some(("   0:           0x20a1b4", 0x20a1b3)),
        );
        check(
            "  17:     0x20a1b4 - <unknown>",
            Some(("  17:     0x20a1b4", 0x20a1b3)),
        );
    }

    #[test]
    fn other_lines_are_none() {
        for line in [
            "",
            "#",
            "# 1",
            "#x 0x10",
            "0x20a1b4",
            "rip: 0x20a1b4",
            "12:30 started",
            "  0: <unknown>",
            "3: 0xzz",
            "#1 0x0",
        ] {
            check(line, None);
        }
    }

    /// A segment of code without anything known of it.
    #[test]
    fn what_is_not_known_is_said_so() {
        let executable = std::env::current_exe().expect("an executable");
        let text = "Hello\r\n  #0 0xffff0000\nno newline at the end";
        let expected = "Hello\r\n  #0 0xffff0000 outside this image's code\nno newline at the end";
        assert_eq!(symbolize(&executable, text).expect("symbols"), expected);
    }
}
