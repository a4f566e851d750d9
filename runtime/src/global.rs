//! State that belongs to the whole guest.

use core::cell::{RefCell, RefMut};

/// A value that all threads share, without a lock.
///
/// **Architecture invariant:** a borrow never outlives a point where a thread can block. One vCPU,
/// cooperative threads and disabled interrupts then make every access exclusive; the `RefCell` turns a
/// violation into a panic that names the place. Exception handlers do not touch a `Global`.
pub struct Global<T>(RefCell<T>);

// SAFETY: a guest has one vCPU and runs with interrupts off, so no two accesses can overlap except by
// re-entrance on the same stack, which `RefCell` refuses. On Linux (unit tests) no `Global` is shared
// between threads.
unsafe impl<T> Sync for Global<T> {}

impl<T> Global<T> {
    /// A value, for a `static`.
    pub const fn new(value: T) -> Self {
        Self(RefCell::new(value))
    }

    /// Borrows the value. Panics if it is borrowed already, which is a mistake in the runtime.
    #[track_caller]
    pub fn borrow(&self) -> RefMut<'_, T> {
        self.0.borrow_mut()
    }

    /// Borrows the value unless it is borrowed already.
    pub fn try_borrow(&self) -> Option<RefMut<'_, T>> {
        self.0.try_borrow_mut().ok()
    }
}
