//! Prints its arguments and its environment, escaped, so that nothing is lost between the words
//! that somebody wrote and the words that arrived.

fn main() {
    for (place, argument) in std::env::args_os().enumerate().skip(1) {
        println!("argument {place}: {argument:?}");
    }
    let mut environment: Vec<_> = std::env::vars_os().collect();
    environment.sort();
    for (name, value) in environment {
        println!("environment {name:?}: {value:?}");
    }
    let program = std::env::args_os().next().unwrap_or_default();
    guests::note("program", program.display());
    // A program may look for what is not there.
    assert!(std::env::var_os("NOBODY_SETS_THIS").is_none());
    guests::ok("arguments");
}
