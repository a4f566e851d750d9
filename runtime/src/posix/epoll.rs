//! epoll and eventfd (`sys/epoll.h`, `sys/eventfd.h`).

use super::{description, fail, number_of, status_of, table};
use crate::Errno;
use crate::descriptors::epoll::{Epoll, Interest, Key};
use crate::descriptors::event::EventCounter;
use crate::descriptors::{Description, O_NONBLOCK, O_RDWR};
use crate::machine::{threads, time};
use crate::threads as all_threads;
use crate::threads::Wake;
use alloc::rc::Rc;
use core::ffi::{c_int, c_uint};
use libc::epoll_event;

#[unsafe(no_mangle)]
extern "C" fn epoll_create1(_flags: c_int) -> c_int {
    number_of(table().insert(Description::new(Epoll::new(), O_RDWR), 0))
}

/// Runs `f` on the epoll behind a descriptor.
fn with_epoll<R>(
    descriptor: c_int,
    f: impl FnOnce(&Epoll) -> Result<R, Errno>,
) -> Result<R, Errno> {
    let open = description(descriptor)?;
    f(open
        .object
        .as_any()
        .downcast_ref::<Epoll>()
        .ok_or(Errno::EINVAL)?)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn epoll_ctl(
    epoll: c_int,
    operation: c_int,
    descriptor: c_int,
    event: *const epoll_event,
) -> c_int {
    let done = with_epoll(epoll, |epoll| {
        let open = description(descriptor)?;
        let key = Key::new(descriptor, &open);
        // SAFETY: the caller gives an event, or null where none is needed; it may be unaligned.
        let interest = || unsafe {
            if event.is_null() {
                return Err(Errno::EFAULT);
            }
            let event = event.read_unaligned();
            Ok(Interest {
                events: event.events,
                data: event.u64,
            })
        };
        match operation {
            libc::EPOLL_CTL_ADD => epoll.add(key, &open, interest()?),
            libc::EPOLL_CTL_MOD => epoll.modify(key, interest()?),
            libc::EPOLL_CTL_DEL => epoll.remove(key),
            _ => Err(Errno::EINVAL),
        }
    });
    status_of(done)
}

/// # Safety
/// `events` has room for `most`.
#[unsafe(no_mangle)]
unsafe extern "C" fn epoll_wait(
    epoll: c_int,
    events: *mut epoll_event,
    most: c_int,
    timeout_ms: c_int,
) -> c_int {
    let most = match usize::try_from(most) {
        Ok(most @ 1..) => most,
        _ => return fail(Errno::EINVAL),
    };
    let deadline = u64::try_from(timeout_ms)
        .ok()
        .map(|ms| time::now().saturating_add(ms.saturating_mul(1_000_000)));
    let open = match description(epoll) {
        Ok(open) => open,
        Err(error) => return fail(error),
    };
    let Some(epoll) = open.object.as_any().downcast_ref::<Epoll>() else {
        return fail(Errno::EINVAL);
    };
    number_of(wait(
        &open,
        epoll,
        deadline,
        timeout_ms == 0,
        |index, event| {
            // SAFETY: promised by the caller; `index` is below `most`.
            unsafe { events.add(index).write_unaligned(event) };
        },
        most,
    ))
}

fn wait(
    open: &Rc<Description>,
    epoll: &Epoll,
    deadline: Option<u64>,
    at_once: bool,
    mut put: impl FnMut(usize, epoll_event),
    most: usize,
) -> Result<c_int, Errno> {
    loop {
        let mut index = 0;
        let found = epoll.collect(most, |events, data| {
            put(
                index,
                epoll_event {
                    events: events.0,
                    u64: data,
                },
            );
            index += 1;
        });
        if found > 0 || at_once || deadline.is_some_and(|deadline| time::now() >= deadline) {
            return Ok(found as c_int);
        }
        let Some(watchers) = open.object.watchers() else {
            return Err(Errno::EINVAL);
        };
        let current = all_threads::current();
        watchers.add_thread(current);
        let wake = threads::wait(deadline);
        watchers.remove_thread(current);
        if wake == Wake::Interrupted {
            return Err(Errno::EINTR);
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn eventfd(count: c_uint, flags: c_int) -> c_int {
    let counter = EventCounter::new(u64::from(count), flags & libc::EFD_SEMAPHORE != 0);
    let nonblocking = if flags & libc::EFD_NONBLOCK != 0 {
        O_NONBLOCK
    } else {
        0
    };
    number_of(table().insert(Description::new(Rc::new(counter), O_RDWR | nonblocking), 0))
}
