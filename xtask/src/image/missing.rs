//! From the linker's complaints to an explanation: which symbols the runtime lacks, what wants them,
//! and what a user can do.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::source_names;

/// A program that misses more symbols than this needs something altogether different; listing
/// hundreds would hide it.
const SYMBOLS_SHOWN_MAX: usize = 16;
/// Enough to recognise the part of a program that is meant.
const USERS_SHOWN_MAX: usize = 3;

/// In characters.
const FUNCTION_LENGTH_MAX: usize = 120;

/// Explains why a program could not be linked.
pub(super) fn explain(linker: &str) -> String {
    let missing = parse(linker);
    if missing.is_empty() {
        return explain_other(linker);
    }
    let mut text = match missing.len() {
        1 => "the program needs a symbol that the runtime does not have:\n".to_owned(),
        count => format!("the program needs {count} symbols that the runtime does not have:\n"),
    };
    for (family, symbols) in by_family(&missing) {
        describe(&mut text, family, &symbols);
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

fn describe(text: &mut String, family: &Family, symbols: &[Entry]) {
    text.push('\n');
    for (symbol, users) in symbols {
        let _ = writeln!(text, "  {symbol}, wanted by");
        for user in users.iter().take(USERS_SHOWN_MAX) {
            let _ = writeln!(text, "    {user}");
        }
        if users.len() > USERS_SHOWN_MAX {
            let beyond = users.len() - USERS_SHOWN_MAX;
            let _ = writeln!(text, "    and {beyond} more functions");
        }
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
type Missing = BTreeMap<String, Vec<User>>;

type Entry<'a> = (&'a str, &'a [User]);

/// A place that uses a symbol, as far as the linker knew it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct User {
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

/// The name of a generic function can fill a screen.
fn cut(function: &str) -> String {
    match function.char_indices().nth(FUNCTION_LENGTH_MAX) {
        Some((end, _)) => format!("{}…", &function[..end]),
        None => function.to_owned(),
    }
}

impl User {
    /// The function's name says it even after link-time optimisation has made one object of all crates.
    fn crate_name(&self) -> Option<&str> {
        let from_function = self.function.as_deref().and_then(crate_of_function);
        from_function.or(self.library.as_deref())
    }
}

/// `<&mut std::process::Command as …>::output` is std's.
fn crate_of_function(function: &str) -> Option<&str> {
    let path = function.trim_start_matches(['<', '&', '*', '(', '[']);
    let path = path
        .trim_start_matches("mut ")
        .trim_start_matches("const ")
        .trim_start_matches("dyn ");
    let end = path.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
    path[end..].starts_with("::").then_some(&path[..end])
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

/// The name as it stands in the source, without the digest of the older mangling.
fn demangle(symbol: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(symbol))
}

/// What a group of symbols is for, why the runtime does not have it, and what can be done.
struct Family {
    symbols: &'static [&'static str],
    prefixes: &'static [&'static str],
    reason: &'static str,
    cure: &'static str,
}

impl Family {
    fn of(symbol: &str) -> &'static Family {
        let belongs = |family: &&Family| {
            family.symbols.contains(&symbol)
                || family
                    .prefixes
                    .iter()
                    .any(|prefix| symbol.starts_with(prefix))
        };
        FAMILIES.iter().find(belongs).unwrap_or(&OTHER)
    }
}

const FAMILIES: [Family; 8] = [
    Family {
        symbols: &[
            "fork",
            "vfork",
            "clone",
            "clone3",
            "waitpid",
            "waitid",
            "wait4",
            "wait",
            "kill",
            "killpg",
            "setsid",
            "getsid",
            "setpgid",
            "getpgid",
            "getppid",
            "setuid",
            "setgid",
            "seteuid",
            "setegid",
            "setresuid",
            "setresgid",
            "setgroups",
            "getgroups",
            "chroot",
            "pipe",
            "pipe2",
            "daemon",
            "system",
            "popen",
            "pclose",
            "unshare",
            "setns",
            "_exit",
        ],
        prefixes: &["exec", "posix_spawn", "pidfd_"],
        reason: "A domain is one process, and std::process::Command can start none beside it.",
        cure: "Remove the use, or make it an appliance of its own.",
    },
    Family {
        symbols: &[
            "dlopen", "dlclose", "dlerror", "dladdr", "dlinfo", "dlmopen",
        ],
        prefixes: &[],
        reason: "An image is one static program, and there is nothing to load into it.",
        cure: "Choose the crate's feature for static linking, or leave the plug-in out.",
    },
    Family {
        symbols: &[
            "socket",
            "socketpair",
            "bind",
            "listen",
            "accept",
            "accept4",
            "connect",
            "shutdown",
            "recv",
            "recvfrom",
            "recvmsg",
            "recvmmsg",
            "send",
            "sendto",
            "sendmsg",
            "sendmmsg",
            "getsockname",
            "getpeername",
            "getsockopt",
            "setsockopt",
            "getaddrinfo",
            "freeaddrinfo",
            "gai_strerror",
            "getnameinfo",
            "getifaddrs",
            "freeifaddrs",
            "gethostname",
            "if_nametoindex",
            "if_indextoname",
            "__res_init",
            "inet_ntop",
            "inet_pton",
            "sendfile",
            "sendfile64",
        ],
        prefixes: &["gethostby", "getservby", "getprotoby"],
        reason: "This version of the runtime has no such part of the network.",
        cure: "Leave the network out for now, or open an issue that names the symbols.",
    },
    Family {
        symbols: &[
            "mkdir",
            "mkdirat",
            "rmdir",
            "unlink",
            "unlinkat",
            "rename",
            "renameat",
            "renameat2",
            "link",
            "linkat",
            "symlink",
            "symlinkat",
            "readlinkat",
            "opendir",
            "fdopendir",
            "readdir",
            "readdir64",
            "readdir64_r",
            "closedir",
            "rewinddir",
            "dirfd",
            "chmod",
            "fchmod",
            "fchmodat",
            "chown",
            "fchown",
            "lchown",
            "fchownat",
            "chdir",
            "fchdir",
            "access",
            "faccessat",
            "utimes",
            "utimensat",
            "futimens",
            "openat",
            "openat64",
            "truncate",
            "truncate64",
            "mkstemp",
            "mkdtemp",
            "umask",
            "statvfs",
            "statvfs64",
            "fstatvfs64",
            "statfs64",
            "fstatfs64",
            "fstatat64",
            "lstat64",
            "mkfifo",
            "mknod",
            "copy_file_range",
            "splice",
            "fallocate64",
            "posix_fallocate64",
            "inotify_init",
            "inotify_init1",
            "inotify_add_watch",
            "inotify_rm_watch",
            "syncfs",
            "sync",
        ],
        prefixes: &[],
        reason: "A domain has devices that are read and written as files, and no tree of directories.",
        cure: "Keep the data in memory, or in a database on the block device.",
    },
    Family {
        symbols: &[
            "isatty",
            "ttyname_r",
            "openpty",
            "forkpty",
            "ptsname_r",
            "grantpt",
            "unlockpt",
            "posix_openpt",
        ],
        prefixes: &[
            "tcget", "tcset", "tcflush", "tcdrain", "cfset", "cfget", "cfmake",
        ],
        reason: "The console of a domain is no terminal.",
        cure: "Leave the terminal feature of the crate out.",
    },
    Family {
        symbols: &[],
        prefixes: &["getpw", "getgr", "setpw", "setgr", "endpw", "endgr"],
        reason: "A domain has no users and no groups.",
        cure: "Remove the look-up, or give the name by the environment.",
    },
    Family {
        symbols: &["__gxx_personality_v0", "__dynamic_cast"],
        prefixes: &["_Zn", "_Zd", "_ZS", "_ZNS", "_ZNKS", "_ZT", "__cxa_"],
        reason: "The program contains C++, and an image has no C++ library.",
        cure: "Choose the crate's pure Rust feature, or another crate.",
    },
    Family {
        symbols: &[
            "printf",
            "fprintf",
            "vfprintf",
            "sprintf",
            "snprintf",
            "vsnprintf",
            "puts",
            "putchar",
            "fputs",
            "fputc",
            "fopen",
            "fopen64",
            "fclose",
            "fread",
            "fwrite",
            "fseek",
            "ftell",
            "fflush",
            "fgets",
            "sscanf",
            "stderr",
            "stdout",
            "stdin",
            "qsort",
            "bsearch",
            "strtol",
            "strtoul",
            "strtod",
            "strtoll",
            "atoi",
            "atof",
            "strdup",
            "strcmp",
            "strncmp",
            "strcpy",
            "strncpy",
            "strcat",
            "strchr",
            "strrchr",
            "strstr",
            "strcasecmp",
            "strtok",
            "setlocale",
            "localeconv",
            "time",
            "localtime",
            "localtime_r",
            "gmtime",
            "gmtime_r",
            "mktime",
            "strftime",
            "tzset",
            "setjmp",
            "longjmp",
            "_setjmp",
            "__sigsetjmp",
            "__ctype_b_loc",
            "__ctype_tolower_loc",
            "__ctype_toupper_loc",
            "__assert_fail",
            "__stack_chk_fail",
            "rand",
            "srand",
        ],
        prefixes: &[
            "__isoc99_",
            "__isoc23_",
            "__printf_",
            "__fprintf_",
            "__sprintf_",
            "__snprintf_",
            "__memcpy_",
            "__mem",
            "__str",
        ],
        reason: "C code in the program calls a part of the C library that Rust's std never needs.",
        cure: "Choose the crate's pure Rust feature, or another crate.",
    },
];

const OTHER: Family = Family {
    symbols: &[],
    prefixes: &[],
    reason: "This is not among the C symbols that the runtime has so far.",
    cure: "Remove the use, or open an issue that names the symbol.",
};

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
    fn the_crate_is_read_from_the_function() {
        for (function, name) in [
            ("std::process::Command::spawn", Some("std")),
            ("<std::process::Command as app::Run>::run", Some("std")),
            ("<&mut tokio::process::Child>::wait", Some("tokio")),
            ("main", None),
            ("aes_setup", None),
        ] {
            assert_eq!(crate_of_function(function), name, "{function}");
        }
    }

    #[test]
    fn an_explanation_names_the_reason_once_per_family() {
        let text = explain(
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
        let text = explain(&lines.collect::<String>());
        assert!(text.contains("and 14 more: symbol26, symbol27"), "{text}");
        assert_eq!(text.matches("wanted by").count(), SYMBOLS_SHOWN_MAX);
    }

    #[test]
    fn other_failures_keep_the_linkers_words() {
        let text = explain(
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
