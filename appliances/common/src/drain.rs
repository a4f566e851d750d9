//! The request to end, from whoever makes it first: SIGTERM, or the controller.

use std::sync::Arc;

use tokio::sync::watch;

/// Whether the appliance is to end. Clones speak of the same request.
#[derive(Clone, Debug)]
pub struct Drain(Arc<watch::Sender<bool>>);

impl Default for Drain {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Drain {
    /// Asks the appliance to end; once is enough.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Whether it was asked to.
    pub fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is asked to.
    pub async fn begun(&self) {
        let mut begun = self.0.subscribe();
        // The sender lives as long as `self`.
        let _ = begun.wait_for(|&begun| begun).await;
    }
}
