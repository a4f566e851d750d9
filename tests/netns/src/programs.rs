//! Whether somebody has built the programs that tests start.

/// Whether the workspace's programs are where cargo puts them, as they are now: `cargo xtask test`
/// builds all in one go and says so. For one package alone cargo would compile most of what it needs
/// once more, with other features. Who is not told builds what he starts.
pub fn programs_are_built() -> bool {
    std::env::var_os("EDGECLOUD_PROGRAMS_ARE_BUILT").is_some()
}
