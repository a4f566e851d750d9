//! How a program begins and ends, chosen by its first argument: `greeting`, `exit CODE`,
//! `return-error`, `idle SECONDS`, `flood MB`.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] | ["greeting"] => println!("Hello from the life cycle!"),
        ["exit", code] => std::process::exit(number(code) as i32),
        ["return-error"] => return ExitCode::from(7),
        ["idle", seconds] => idle(Duration::from_secs(number(seconds))),
        ["flood", megabytes] => flood(number(megabytes)),
        other => {
            panic!("{other:?}: one of greeting, exit CODE, return-error, idle SECONDS, flood MB")
        }
    }
    guests::ok("lifecycle");
    ExitCode::SUCCESS
}

fn number(word: &str) -> u64 {
    word.parse()
        .unwrap_or_else(|error| panic!("`{word}` is not a number: {error}"))
}

fn idle(length: Duration) {
    println!("lifecycle: idle");
    std::thread::sleep(length);
}

/// Lines of 64 bytes, numbered, so that a reader can tell a lost one from a late one.
fn flood(megabytes: u64) {
    let mut out = std::io::stdout().lock();
    for line in 0..megabytes << 14 {
        writeln!(out, "flood {line:08} {:.<48}", "").expect("the console takes every line");
    }
}
