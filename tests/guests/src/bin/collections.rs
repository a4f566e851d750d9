//! Collections and formatting.
fn main() {}
