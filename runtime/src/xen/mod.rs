//! What is agreed with the hypervisor, with xenstored and with xenconsoled.
//!
//! Names are Xen's own, from the frontend's view. Nothing here is an instruction: the hypercalls are in
//! `machine/hypercall.rs`, behind [`Hypervisor`], and tests put a fake in their place.

pub mod blkfront;
pub mod clock;
pub mod console;
pub mod events;
pub mod front_ring;
pub mod grants;
pub mod netfront;
pub mod ring;
pub mod shared_page;
pub mod xenbus;
pub mod xenstore;

/// A local event channel port (`evtchn_port_t`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(transparent)]
pub struct Port(pub u32);

/// What the drivers ask of the hypervisor.
pub trait Hypervisor {
    /// Tells the other end of an event channel that there is something to see (EVTCHNOP_send).
    fn notify(&self, port: Port);
    /// Time since some fixed instant in nanoseconds, never going backwards.
    fn now(&self) -> u64;
    /// Blocks the vCPU until `port` is pending or `deadline` (as [`Hypervisor::now`] counts) has come
    /// (SCHEDOP_poll). May return early.
    fn wait(&self, port: Port, deadline: u64);
}

/// Why a domain stops (`sched.h`, SHUTDOWN_*).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum ShutdownReason {
    /// The domain has done its work.
    Poweroff = 0,
    /// The toolstack shall start it anew.
    Reboot = 1,
    /// The domain gave up; `on_crash` says what follows.
    Crash = 3,
}
