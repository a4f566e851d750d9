//! `cargo xtask symbolize`: puts function names and lines behind the code addresses that a domain printed.
//!
//! Two kinds of lines hold addresses: the runtime's reports of faults (`  #2 0x20a1b4`), whose frame 0 is
//! the instruction that faulted, and std's own backtraces (`   2:           0x20a1b4 - <unknown>`). All
//! other frames are return addresses: the call is before them, so it is the address before that is
//! looked up. The call may have been the last instruction of its function.

use std::fmt::Write;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use addr2line::Loader;
use anyhow::{Context, Result, anyhow, ensure};

use crate::image::Tree;

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

/// The text with the frames' functions below or behind their addresses; every other line stays as it is.
pub(crate) fn symbolize(debug: &Path, text: &str) -> Result<String> {
    let symbols = Loader::new(debug)
        .map_err(|error| anyhow!("{error}"))
        .with_context(|| format!("cannot read debug information from {}", debug.display()))?;
    let mut output = String::with_capacity(text.len() * 2);
    for line in text.split_inclusive('\n') {
        match Frame::in_line(line) {
            Some(frame) => output.push_str(&named(&symbols, &frame)),
            None => output.push_str(line),
        }
    }
    Ok(output)
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
        let digits_at = line.find("0x")? + 2;
        let digits = line[digits_at..]
            .bytes()
            .take_while(u8::is_ascii_hexdigit)
            .count();
        let address = u64::from_str_radix(&line[digits_at..digits_at + digits], 16).ok()?;
        let is_exact = is_report && index == 0;
        let probe = if is_exact {
            address
        } else {
            address.checked_sub(1)?
        };
        Some(Frame {
            line: &line[..digits_at + digits],
            probe,
        })
    }
}

/// The frame with its function, and those inlined into it, innermost first; a function each line, and
/// below it where.
fn named(symbols: &Loader, frame: &Frame) -> String {
    let mut text = frame.line.to_owned();
    let indent = " ".repeat(frame.line.len() - frame.line.trim_start().len() + 3);
    let mut count = 0;
    if let Ok(mut frames) = symbols.find_frames(frame.probe) {
        while let Ok(Some(found)) = frames.next() {
            let function = found
                .function
                .as_ref()
                .and_then(|function| function.demangle().ok());
            let function = function.or_else(|| symbols.find_symbol(frame.probe).map(demangle));
            let separator = if count == 0 {
                " ".to_owned()
            } else {
                format!("\n{indent}inlined into ")
            };
            let _ = write!(
                text,
                "{separator}{}",
                function.as_deref().map_or("?", without_digest)
            );
            if let Some(location) = found.location {
                let _ = write!(text, "\n{indent}  at {}", place(&location));
            }
            count += 1;
        }
    }
    // Assembly has symbols and no lines.
    if count == 0 {
        let symbol = symbols.find_symbol(frame.probe).map(demangle);
        let _ = write!(
            text,
            " {}",
            symbol.as_deref().unwrap_or("not in this image")
        );
    }
    text.push('\n');
    text
}

fn demangle(symbol: &str) -> std::borrow::Cow<'_, str> {
    format!("{:#}", rustc_demangle::demangle(symbol)).into()
}

/// The older mangling ends in `::h` and sixteen digits.
fn without_digest(function: &str) -> &str {
    match function.rsplit_once("::h") {
        Some((name, digest))
            if digest.len() == 16 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()) =>
        {
            name
        }
        _ => function,
    }
}

fn place(location: &addr2line::Location<'_>) -> String {
    let file = location.file.unwrap_or("?");
    let file = file.strip_prefix("/workspace/").unwrap_or(file);
    match location.line {
        Some(line) => format!("{file}:{line}"),
        None => file.to_owned(),
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

    /// This test's own executable is as good as an image: its addresses are known at link time.
    #[test]
    fn text_without_frames_stays_as_it_is() {
        let executable = std::env::current_exe().expect("an executable");
        let text = "Hello\r\nno newline at the end";
        assert_eq!(symbolize(&executable, text).expect("symbols"), text);
    }
}
