//! Where the lines go that say what is being done.

use std::time::Instant;

use anyhow::Result;

/// Takes one line at a time. Every `FnMut(&str)` is one.
pub trait Progress {
    /// Shows a line.
    fn say(&mut self, line: &str);
}

impl<F: FnMut(&str)> Progress for F {
    fn say(&mut self, line: &str) {
        self(line);
    }
}

/// Does one step and says how long it took.
pub(crate) fn step<T>(
    log: &mut dyn Progress,
    what: &str,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let start = Instant::now();
    let result = work()?;
    log.say(&format!(
        "testbed: {what} ({:.1} s)",
        start.elapsed().as_secs_f32()
    ));
    Ok(result)
}
