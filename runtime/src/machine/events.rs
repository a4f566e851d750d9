//! Event channels: who is called when a port is pending, and waiting for any of them.

use super::{hypercall, time};
use crate::Global;
use crate::xen::events::Pending;
use crate::xen::{Hypervisor, Port};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Called when a port was pending.
pub type Handler = fn();

static HANDLERS: Global<Vec<(Port, Handler)>> = Global::new(Vec::new());
/// Somebody waited for one port and took its bit, so a handler may have missed an event.
static LOOK_AGAIN: AtomicBool = AtomicBool::new(false);

/// The hypervisor, as the drivers see it.
pub struct Xen;

impl Hypervisor for Xen {
    fn notify(&self, port: Port) {
        hypercall::notify(port);
    }

    fn now(&self) -> u64 {
        time::now()
    }

    fn wait(&self, port: Port, deadline: u64) {
        hypercall::poll(&[port], Some(deadline));
        if let Some(pending) = pending()
            && pending.take(port)
        {
            LOOK_AGAIN.store(true, Ordering::Relaxed);
        }
    }
}

/// Calls `handler` from now on when `port` is pending.
pub fn handle(port: Port, handler: Handler) {
    HANDLERS.borrow().push((port, handler));
}

/// Calls nobody any more when `port` is pending.
pub fn forget(port: Port) {
    HANDLERS.borrow().retain(|&(handled, _)| handled != port);
}

/// Calls the handlers of all pending ports.
pub fn dispatch() {
    let Some(pending) = pending() else { return };
    let again = LOOK_AGAIN.swap(false, Ordering::Relaxed);
    let mut index = 0;
    loop {
        let next = HANDLERS.borrow().get(index).copied();
        let Some((port, handler)) = next else { return };
        if pending.take(port) || again {
            handler();
        }
        index += 1;
    }
}

/// Blocks the vCPU until a port is pending or the system time is `deadline`.
pub fn wait(deadline: Option<u64>) {
    if LOOK_AGAIN.load(Ordering::Relaxed) {
        return;
    }
    let ports: Vec<Port> = HANDLERS.borrow().iter().map(|&(port, _)| port).collect();
    hypercall::poll(&ports, deadline);
}

fn pending() -> Option<Pending<'static>> {
    let page = time::shared_page()?;
    // SAFETY: the pending words are there in the page, which is mapped for ever.
    Some(Pending::new(unsafe {
        &*page.add(time::EVENTS_PENDING).cast::<[AtomicU64; 64]>()
    }))
}
