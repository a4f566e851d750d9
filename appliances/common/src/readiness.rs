//! Whether more requests are welcome: when everything that must be there is, and nobody has asked
//! the appliance to end.

use std::sync::Arc;

use tokio::sync::watch;

use crate::drain::Drain;

/// What stands between the appliance and its requests. Clones speak of the same appliance.
#[derive(Clone, Debug)]
pub struct Readiness {
    closed: Arc<watch::Sender<Vec<&'static str>>>,
    drain: Drain,
}

/// One condition, which holds while the gate is open. A gate that is dropped while it is closed
/// stays closed.
#[derive(Debug)]
pub struct Gate {
    name: &'static str,
    readiness: Readiness,
}

impl Readiness {
    pub(crate) fn new(drain: Drain) -> Self {
        Self {
            closed: Arc::default(),
            drain,
        }
    }

    /// A condition that does not hold yet. Its name is what `/ready` says: `recovering the index`.
    pub fn gate(&self, name: &'static str) -> Gate {
        let gate = Gate {
            name,
            readiness: self.clone(),
        };
        gate.close();
        gate
    }

    /// Why no more requests are welcome.
    ///
    /// # Errors
    /// The first condition that does not hold.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.drain.has_begun() {
            return Err("draining");
        }
        self.closed
            .borrow()
            .first()
            .map_or(Ok(()), |name| Err(name))
    }

    /// Waits until every condition holds.
    pub(crate) async fn opened(&self) {
        let mut closed = self.closed.subscribe();
        // The sender lives as long as `self`.
        let _ = closed.wait_for(Vec::is_empty).await;
    }
}

impl Gate {
    /// The condition holds.
    pub fn open(&self) {
        let closed = &self.readiness.closed;
        closed.send_modify(|closed| closed.retain(|name| *name != self.name));
    }

    /// The condition does not hold.
    pub fn close(&self) {
        self.readiness.closed.send_modify(|closed| {
            if !closed.contains(&self.name) {
                closed.push(self.name);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ready_when_every_gate_is_open_and_nobody_ends_it() {
        let drain = Drain::default();
        let readiness = Readiness::new(drain.clone());
        assert_eq!(readiness.check(), Ok(()));
        let (disk, origin) = (readiness.gate("disk"), readiness.gate("origin"));
        assert_eq!(readiness.check(), Err("disk"));
        disk.open();
        assert_eq!(readiness.check(), Err("origin"));
        disk.close();
        disk.close();
        origin.open();
        assert_eq!(readiness.check(), Err("disk"));
        disk.open();
        assert_eq!(readiness.check(), Ok(()));
        drain.begin();
        assert_eq!(readiness.check(), Err("draining"));
    }
}
