//! Clients that speak all the time: one connection that lasts, and connections that begin.

use anyhow::{Result, ensure};
use site::{ORIGIN, Service};

use super::hosted::Hosted;

/// The load; dropping it ends it.
pub(super) struct Load<'p> {
    held: Service<'p>,
    knocks: Service<'p>,
}

impl<'p> Load<'p> {
    /// Begins, and returns once both kinds are answered.
    pub(super) fn begin(hosted: &Hosted<'p>) -> Result<Load<'p>> {
        let edge = &hosted.edge;
        let pause = hosted.pause_ms();
        let knock = format!("exec ip netns exec phone {edge} knock {ORIGIN}:80 {pause}");
        let load = Load {
            held: hosted.hold("held", ORIGIN)?,
            knocks: hosted.place.start("knocks", &knock)?,
        };
        load.wait_for_more(hosted, 5)?;
        Ok(load)
    }

    /// Waits until both were answered so often again, and that nothing else happened to them.
    pub(super) fn wait_for_more(&self, hosted: &Hosted<'_>, count: u32) -> Result<()> {
        let waited = hosted
            .wait_for_more("held", count)
            .and_then(|()| hosted.wait_for_more("knocks", count));
        self.is_undisturbed()?;
        waited
    }

    /// That no connection was refused, cut, or answered by another.
    pub(super) fn is_undisturbed(&self) -> Result<()> {
        for client in [&self.held, &self.knocks] {
            let log = client.log();
            let bad = log.lines().find(|line| {
                let is_answer = line.starts_with("200 Hello") || line.starts_with("You are");
                !is_answer && !line.is_empty()
            });
            ensure!(bad.is_none(), "a client was told {bad:?}");
        }
        Ok(())
    }

    /// Ends: nothing is left to be carried.
    pub(super) fn end(self) -> Result<()> {
        self.is_undisturbed()?;
        self.held.end("-TERM")?;
        self.knocks.end("-TERM")
    }
}
