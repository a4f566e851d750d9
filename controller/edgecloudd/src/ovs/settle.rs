//! When what the datapath remembers of flows is as the flows are.
//!
//! Open vSwitch answers a barrier when its tables have changed. Packets are sent as its datapath
//! remembers for as long as its revalidators have not looked, which on a busy machine is a second.

use std::path::Path;

use super::trace::{TraceError, control};

/// A round of the revalidators that had begun before says nothing of what was changed since.
const ROUNDS: usize = 2;

/// Waits until the revalidators have gone round after now (ovs-vswitchd(8), `revalidator/wait`).
///
/// # Errors
/// The switch is not there, or has more than one kind of datapath, for which it does not wait.
pub async fn settled(run: &Path) -> Result<(), TraceError> {
    for _ in 0..ROUNDS {
        control(run, "revalidator/wait", &[]).await?;
    }
    Ok(())
}
