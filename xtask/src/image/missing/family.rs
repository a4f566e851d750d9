//! What C symbols are for: a missing one is explained by the family that it belongs to.

/// What a group of symbols is for, why the runtime does not have it, and what can be done.
pub(super) struct Family {
    symbols: &'static [&'static str],
    prefixes: &'static [&'static str],
    pub(super) reason: &'static str,
    pub(super) cure: &'static str,
}

impl Family {
    pub(super) fn of(symbol: &str) -> &'static Family {
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

    #[test]
    fn no_symbol_is_in_two_families() {
        let all: Vec<&str> = FAMILIES
            .iter()
            .flat_map(|family| family.symbols)
            .copied()
            .collect();
        for symbol in &all {
            assert_eq!(
                all.iter().filter(|other| *other == symbol).count(),
                1,
                "{symbol}"
            );
        }
    }

    #[test]
    fn symbols_find_their_family() {
        for (symbol, word) in [
            ("fork", "process"),
            ("posix_spawnp", "process"),
            ("dlopen", "static"),
            ("getaddrinfo", "network"),
            ("unlinkat", "directories"),
            ("tcgetattr", "terminal"),
            ("_ZNSt6vectorIiE4pushEv", "C++"),
            ("__memcpy_chk", "C library"),
            ("frobnicate", "so far"),
        ] {
            let family = Family::of(symbol);
            assert!(family.reason.contains(word), "{symbol}: {}", family.reason);
        }
    }
}
