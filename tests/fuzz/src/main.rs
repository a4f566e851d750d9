//! libFuzzer around one target: `FUZZ_TARGET` names it. With `FUZZ_SEEDS` it writes the target's seeds to
//! that directory and ends.

#![no_main]

use std::sync::OnceLock;

use fuzz::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;

static CHOSEN: OnceLock<&Target> = OnceLock::new();

fuzz_target!(init: choose(), |data: &[u8]| {
    if let Some(target) = CHOSEN.get() {
        (target.run)(data);
    }
});

fn choose() {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let Some(target) = TARGETS.iter().find(|target| target.name == name) else {
        fail(&format!(
            "FUZZ_TARGET={name} is no target; start this with `cargo xtask fuzz NAME`"
        ));
    };
    if let Some(folder) = std::env::var_os("FUZZ_SEEDS") {
        for (number, seed) in (target.seeds)().iter().enumerate() {
            let file = std::path::Path::new(&folder).join(format!("seed-{number}"));
            if let Err(error) = std::fs::write(&file, seed) {
                fail(&format!("cannot write {}: {error}", file.display()));
            }
        }
        std::process::exit(0);
    }
    // Nothing else sets it: libFuzzer initialises once.
    let _ = CHOSEN.set(target);
}

fn fail(why: &str) -> ! {
    eprintln!("error: {why}");
    std::process::exit(1)
}
