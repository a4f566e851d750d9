//! What the toolstack hands over, turned into types that cannot be wrong.

pub mod command_line;
pub mod start_info;
