//! From the linker's complaints to an explanation: which symbols the runtime lacks, what wants them,
//! and what a user can do.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::function_names::{crate_of, cut, demangle};
use super::source_names;

mod callers;
mod family;

pub(super) use callers::{Callers, LINKER_ARGUMENT};
use family::Family;

/// A program that misses more symbols than this needs something altogether different; listing
/// hundreds would hide it.
const SYMBOLS_SHOWN_MAX: usize = 16;
/// Enough to recognise the part of a program that is meant.
const USERS_SHOWN_MAX: usize = 3;
const WAYS_SHOWN_MAX: usize = 2;

/// The symbols that were missing, or the linker's own words where it failed for another reason.
pub(super) fn read(linker: &str) -> Result<Missing, String> {
    let missing = parse(linker);
    if missing.is_empty() {
        Err(explain_other(linker))
    } else {
        Ok(missing)
    }
}

/// Explains what is missing; `callers` says which functions lead to a symbol, if that is known.
pub(super) fn explain(missing: &Missing, callers: impl Fn(&str) -> Vec<String>) -> String {
    let mut text = match missing.len() {
        1 => "the program needs a symbol that the runtime does not have:\n".to_owned(),
        count => format!("the program needs {count} symbols that the runtime does not have:\n"),
    };
    for (family, symbols) in by_family(missing) {
        describe(&mut text, family, &symbols, &callers);
    }
    let beyond = missing.len().saturating_sub(SYMBOLS_SHOWN_MAX);
    if beyond > 0 {
        let names: Vec<&str> = missing
            .keys()
            .skip(SYMBOLS_SHOWN_MAX)
            .map(String::as_str)
            .collect();
        let _ = write!(text, "\n  and {beyond} more: {}\n", names.join(", "));
    }
    text.truncate(text.trim_end().len());
    text
}

fn describe(
    text: &mut String,
    family: &Family,
    symbols: &[Entry],
    callers: impl Fn(&str) -> Vec<String>,
) {
    text.push('\n');
    let mut ways: Vec<Vec<String>> = Vec::new();
    for (symbol, users) in symbols {
        let _ = writeln!(text, "  {symbol}, wanted by");
        for user in users.iter().take(USERS_SHOWN_MAX) {
            let _ = writeln!(text, "    {user}");
        }
        if users.len() > USERS_SHOWN_MAX {
            let beyond = users.len() - USERS_SHOWN_MAX;
            let _ = writeln!(text, "    and {beyond} more functions");
        }
        let way = callers(symbol);
        if !way.is_empty() && !ways.contains(&way) && ways.len() < WAYS_SHOWN_MAX {
            ways.push(way);
        }
    }
    for way in ways {
        let _ = writeln!(
            text,
            "  called from\n    {}",
            way.join(", called from\n    ")
        );
    }
    let _ = writeln!(text, "  {} {}", family.reason, family.cure);
}

/// The first symbols, put together by what they are for.
fn by_family(missing: &Missing) -> Vec<(&'static Family, Vec<Entry<'_>>)> {
    let mut families: Vec<(&Family, Vec<_>)> = Vec::new();
    for (symbol, users) in missing.iter().take(SYMBOLS_SHOWN_MAX) {
        let family = Family::of(symbol);
        let entry = (symbol.as_str(), users.as_slice());
        match families
            .iter_mut()
            .find(|(known, _)| std::ptr::eq(*known, family))
        {
            Some((_, symbols)) => symbols.push(entry),
            None => families.push((family, vec![entry])),
        }
    }
    families
}

/// A failure of another kind: the linker's own words, without the command line before them.
fn explain_other(linker: &str) -> String {
    let told = |line: &&str| {
        let line = line.trim_start();
        !line.is_empty()
            && !line.starts_with("\"cc\"")
            && !line.starts_with("some arguments are omitted")
            && !line.starts_with("collect2:")
    };
    let lines: Vec<&str> = linker.lines().filter(told).map(str::trim).collect();
    let mut text = format!(
        "the program cannot be linked with the runtime:\n  {}",
        lines.join("\n  ")
    );
    if linker.contains("multiple definition of") {
        text.push_str("\nThe program defines a symbol that the runtime provides in libc's place: rename it, or leave its definition out.");
    }
    text
}

/// Symbols, and what wants each of them.
pub(super) type Missing = BTreeMap<String, Vec<User>>;

type Entry<'a> = (&'a str, &'a [User]);

/// A place that uses a symbol, as far as the linker knew it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct User {
    function: Option<String>,
    /// The crate whose object file it is; empty after link-time optimisation.
    library: Option<String>,
    line: Option<String>,
}

impl std::fmt::Display for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let function = self.function.as_deref().unwrap_or("data");
        match self.crate_name() {
            Some(name) => write!(f, "crate {name}: {}", cut(function))?,
            None => write!(f, "{}", cut(function))?,
        }
        match &self.line {
            Some(line) => write!(f, " ({line})"),
            None => Ok(()),
        }
    }
}

impl User {
    /// The function's name says it even after link-time optimisation has made one object of all crates.
    fn crate_name(&self) -> Option<&str> {
        let from_function = self.function.as_deref().and_then(crate_of);
        from_function.or(self.library.as_deref())
    }
}

/// Reads messages of the GNU linker, which names the function once and then the places in it:
///
/// ```text
/// /usr/bin/ld: …/libstd-1f.rlib(std-1f.std.0-cgu.0.rcgu.o): in function `_RNv…':
/// /rustc/…/library/std/src/process.rs:576: undefined reference to `fork'
/// /usr/bin/ld: …/app.0-cgu.0.rcgu.o:(.data.rel.ro+0x8): undefined reference to `signal'
/// ```
fn parse(linker: &str) -> Missing {
    let mut missing = Missing::new();
    let mut user = User::default();
    for line in linker.lines() {
        if let Some((object, function)) = quoted(line, ": in function ") {
            user = User {
                function: Some(demangle(function)),
                library: library(object),
                line: None,
            };
        } else if let Some((place, symbol)) = quoted(line, ": undefined reference to ") {
            let user = at_place(&user, place);
            let users = missing.entry(demangle(symbol)).or_default();
            // One place in a function is enough to find the others.
            if !users.iter().any(|known| known.function == user.function) {
                users.push(user);
            }
        }
    }
    missing
}

/// Splits at words that a name in quotes follows: what is before, and the name.
fn quoted<'a>(line: &'a str, words: &str) -> Option<(&'a str, &'a str)> {
    let (before, after) = line.trim().split_once(words)?;
    let name = after.strip_prefix('`')?.split('\'').next()?;
    Some((before, name))
}

/// A place in a source file belongs to the function named before it, one in an object file does not.
fn at_place(user: &User, place: &str) -> User {
    let place = place
        .rsplit_once(": ")
        .map_or(place, |(_linker, place)| place);
    let (file, section) = match place.split_once(":(") {
        Some((file, section)) => (file, Some(section)),
        None => (place, None),
    };
    match section {
        Some(section) if is_object(file) => {
            let function = section
                .strip_prefix(".text.")
                .and_then(|rest| rest.split('+').next());
            User {
                function: function.map(demangle),
                library: library(file),
                line: None,
            }
        }
        Some(_) => user.clone(),
        None => User {
            line: Some(source_names::short(file).to_owned()),
            ..user.clone()
        },
    }
}

fn is_object(file: &str) -> bool {
    file.ends_with(".o") || file.ends_with(')')
}

/// The crate of an object file: `…/libring-5c.rlib(aes.o)` is ring's, `…/deps/app-9a.app.….o` is app's.
fn library(object: &str) -> Option<String> {
    let path = object
        .split_once('(')
        .map_or(object, |(archive, _)| archive);
    let file = path.rsplit(['/', ' ']).next()?;
    let file = file
        .strip_prefix("lib")
        .filter(|_| path.contains(".rlib"))
        .unwrap_or(file);
    let name = file.split(['-', '.']).next()?;
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHOUT_LTO: &str = "\
/usr/bin/ld.bfd: /t/deps/libstd-d1.rlib(std-d1.std.e2-cgu.0.rcgu.o): in function `_RNvNtNtNtNtNtCsjrHSEGnQ3l9_3std3sys3pal4unix14stack_overflow3imp13current_guard':
/rustc/59807616/library/std/src/sys/pal/unix/stack_overflow.rs:576: undefined reference to `pthread_attr_getguardsize'
          /usr/bin/ld.bfd: /rustc/59807616/library/std/src/sys/pal/unix/stack_overflow.rs:577: undefined reference to `pthread_attr_getguardsize'
/usr/bin/ld.bfd: /t/deps/libring-5c.rlib(aes.o): in function `aes_setup':
aes.c:(.text.aes_setup+0x12): undefined reference to `qsort'
/usr/bin/ld.bfd: /t/deps/app-9a.app.07-cgu.0.rcgu.o:(.data.rel.ro+0x8): undefined reference to `signal'
/usr/bin/ld.bfd: /t/deps/app-9a.app.07-cgu.0.rcgu.o:(.text._ZN3app4main17h0123456789abcdefE+0x3): undefined reference to `fork'
collect2: error: ld returned 1 exit status";

    fn explained(linker: &str) -> String {
        match read(linker) {
            Ok(missing) => explain(&missing, |symbol| vec![format!("main of {symbol}")]),
            Err(text) => text,
        }
    }

    #[track_caller]
    fn check(linker: &str, symbol: &str, users: &[&str]) {
        let missing = parse(linker);
        let found: Vec<String> = missing[symbol].iter().map(User::to_string).collect();
        assert_eq!(found, users);
    }

    #[test]
    fn functions_lines_and_crates_are_found() {
        check(
            WITHOUT_LTO,
            "pthread_attr_getguardsize",
            &[
                "crate std: std::sys::pal::unix::stack_overflow::imp::current_guard (library/std/src/sys/pal/unix/stack_overflow.rs:576)",
            ],
        );
        check(WITHOUT_LTO, "qsort", &["crate ring: aes_setup"]);
        check(WITHOUT_LTO, "signal", &["crate app: data"]);
        check(WITHOUT_LTO, "fork", &["crate app: app::main"]);
    }

    #[test]
    fn an_explanation_names_the_reason_once_per_family() {
        let text = explained(
            "x.o: in function `main':\nx.rs:1: undefined reference to `fork'\nx.rs:2: undefined reference to `waitpid'",
        );
        assert!(text.starts_with("the program needs 2 symbols"), "{text}");
        assert_eq!(text.matches("A domain is one process").count(), 1, "{text}");
        assert!(
            text.contains("  fork, wanted by\n    crate x: main (x.rs:1)"),
            "{text}"
        );
    }

    #[test]
    fn a_long_list_is_cut() {
        let lines = (10..40).map(|n| {
            format!("ld: a.o: in function `f':\na.rs:1: undefined reference to `symbol{n}'\n")
        });
        let text = explained(&lines.collect::<String>());
        assert!(text.contains("and 14 more: symbol26, symbol27"), "{text}");
        assert_eq!(text.matches("wanted by").count(), SYMBOLS_SHOWN_MAX);
    }

    #[test]
    fn other_failures_keep_the_linkers_words() {
        let text = explained(
            "\"cc\" \"-m64\"\nsome arguments are omitted\n/usr/bin/ld: a.o: multiple definition of `malloc'; runtime.o: first defined here\ncollect2: error",
        );
        assert!(
            text.contains("multiple definition of `malloc'") && text.contains("rename it"),
            "{text}"
        );
        assert!(
            !text.contains("-m64") && !text.contains("collect2"),
            "{text}"
        );
    }
}
