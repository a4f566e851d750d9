//! Who is told when an object's readiness changes: threads in poll(2) or a blocking call, and epolls.

use super::epoll::{Epoll, Key};
use crate::threads::{self, ThreadId};
use alloc::rc::Weak;
use alloc::vec::Vec;
use core::cell::RefCell;

/// The list. An entry is removed by who made it.
#[derive(Default)]
pub struct Watchers {
    threads: RefCell<Vec<ThreadId>>,
    epolls: RefCell<Vec<(Weak<Epoll>, Key)>>,
}

impl Watchers {
    /// `thread` shall be woken.
    pub fn add_thread(&self, thread: ThreadId) {
        self.threads.borrow_mut().push(thread);
    }

    /// `thread` need not be woken again.
    pub fn remove_thread(&self, thread: ThreadId) {
        self.threads
            .borrow_mut()
            .retain(|&watcher| watcher != thread);
    }

    /// `epoll` shall be told about its interest `key`.
    pub fn add_epoll(&self, epoll: Weak<Epoll>, key: Key) {
        self.epolls.borrow_mut().push((epoll, key));
    }

    /// `epoll` need not be told about `key` again.
    pub fn remove_epoll(&self, epoll: &Weak<Epoll>, key: Key) {
        self.epolls
            .borrow_mut()
            .retain(|(watcher, of)| !(watcher.ptr_eq(epoll) && *of == key));
    }

    /// Tells everybody: something can be done that could not be done before, or there is more of it.
    pub fn notify(&self) {
        for &thread in self.threads.borrow().iter() {
            threads::wake(thread);
        }
        self.epolls
            .borrow_mut()
            .retain(|(epoll, key)| match epoll.upgrade() {
                Some(epoll) => {
                    epoll.notify(*key);
                    true
                }
                None => false,
            });
    }
}
