//! Threads' stacks and registers, and switching between them.
//!
//! A switch saves what the System V ABI makes a callee keep; everything else is dead at a call. The thread
//! that blocks runs the loop that waits for events ([`reschedule`]): there is no idle thread.

use super::lifecycle::SIGNALS;
use super::tls::Tls;
use super::{devices, events, lifecycle, memory, time};
use crate::memory::PAGE;
use crate::memory::areas::{Protection, Span};
use crate::signals::{Delivery, SA_RESTART, SA_SIGINFO};
use crate::threads::scheduler::MAIN;
use crate::threads::{self, ThreadId, Wake, waits};
use crate::{Errno, Global};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::arch::naked_asm;
use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The main thread's stack: what Linux gives by default. Memory follows only where it is touched.
const MAIN_STACK: usize = 8 << 20;
/// The least stack a thread can have (PTHREAD_STACK_MIN of Linux, and two pages for the runtime).
pub const STACK_MIN: usize = 16 * 1024 + 2 * PAGE;
/// Unmapped addresses below a stack: more than any frame without probes skips.
const GUARD: usize = 64 * 1024;
/// Longest name of a thread, without its NUL.
pub const NAME_MAX: usize = 15;

type Start = extern "C" fn(*mut c_void) -> *mut c_void;
type Destructor = unsafe extern "C" fn(*mut c_void);

/// A thread that was started, or has ended and not been joined.
struct Thread {
    /// The stack pointer while it does not run.
    context: usize,
    stack: Span,
    tls: Option<Tls>,
    start: Option<(Start, *mut c_void)>,
    result: *mut c_void,
    ended: bool,
    detached: bool,
    name: [u8; NAME_MAX + 1],
    /// Destructors of thread-locals, to be called last first.
    destructors: Vec<(Destructor, *mut c_void)>,
    /// Values of pthread keys.
    values: BTreeMap<u32, *mut c_void>,
    blocked_signals: u64,
}

// Boxed: a switch keeps a pointer to a thread's context while the map changes.
static ALL: Global<BTreeMap<ThreadId, Box<Thread>>> = Global::new(BTreeMap::new());
/// A thread that has ended and whose stack is still in use by the switch away from it.
static ENDED: Global<Option<ThreadId>> = Global::new(None);
/// The last handler that ran wants interrupted calls to go on.
static RESTARTS: AtomicBool = AtomicBool::new(false);

/// The running thread's stack, for reports: readable in any state of the program.
static STACK_START: AtomicUsize = AtomicUsize::new(0);
static STACK_END: AtomicUsize = AtomicUsize::new(0);

/// A stack.
#[derive(Clone, Copy)]
pub struct Stack {
    /// Lowest address.
    pub start: usize,
    /// First address above.
    pub end: usize,
}

impl Stack {
    /// Whether an address lies just below.
    pub fn is_guard(&self, address: usize) -> bool {
        (self.start.saturating_sub(GUARD)..self.start).contains(&address)
    }
}

/// The running thread's stack.
pub fn current_stack() -> Stack {
    Stack {
        start: STACK_START.load(Ordering::Relaxed),
        end: STACK_END.load(Ordering::Relaxed),
    }
}

fn with_thread<R>(id: ThreadId, f: impl FnOnce(&mut Thread) -> R) -> Option<R> {
    ALL.borrow().get_mut(&id).map(|thread| f(thread))
}

fn with_current<R>(f: impl FnOnce(&mut Thread) -> R) -> R {
    let current = threads::current();
    match with_thread(current, f) {
        Some(result) => result,
        None => panic!("the running thread {} is not known", current.0),
    }
}

impl Thread {
    fn new(stack_size: usize) -> Result<Box<Self>, Errno> {
        let size = stack_size
            .max(STACK_MIN)
            .checked_next_multiple_of(PAGE)
            .ok_or(Errno::EINVAL)?;
        let whole = memory::take_area(
            size.checked_add(GUARD).ok_or(Errno::EINVAL)?,
            Protection::READ_WRITE,
        )
        .map_err(|_| Errno::EAGAIN)?;
        let stack = Span {
            start: whole.start + GUARD,
            end: whole.end,
        };
        let guard = Span {
            start: whole.start,
            end: stack.start,
        };
        let tls = memory::protect_area(guard, Protection::NONE)
            .ok()
            .and_then(|()| Tls::new());
        let Some(tls) = tls else {
            memory::release_area(whole);
            return Err(Errno::EAGAIN);
        };
        Ok(Box::new(Self {
            context: 0,
            stack,
            tls: Some(tls),
            start: None,
            result: ptr::null_mut(),
            ended: false,
            detached: false,
            name: [0; NAME_MAX + 1],
            destructors: Vec::new(),
            values: BTreeMap::new(),
            blocked_signals: 0,
        }))
    }

    /// Lays out the stack so that a switch to it begins `thread_entry`.
    fn prepare(&mut self) {
        let top = self.stack.end as *mut usize;
        // SAFETY: the stack is at least STACK_MIN long, and nobody uses it yet. From the top: the end of the
        // chain of frames, where a caller would have left its address; the address to begin at; six registers;
        // the control words.
        unsafe {
            top.sub(1).write(0);
            top.sub(2).write(thread_entry as *const () as usize);
            for register in 3..9 {
                top.sub(register).write(0);
            }
            top.sub(9).write(DEFAULT_CONTROL);
            self.context = top.sub(9) as usize;
        }
    }

    fn release_stack(&mut self) {
        memory::release_area(Span {
            start: self.stack.start - GUARD,
            end: self.stack.end,
        });
        self.tls = None;
    }
}

/// MXCSR in the low half, the x87 control word in the high half, as processors and Linux start with.
const DEFAULT_CONTROL: usize = 0x1f80 | 0x37f << 32;

/// Saves the callee's registers, remembers the stack pointer in `*save`, and goes on with the stack `load`.
#[unsafe(naked)]
unsafe extern "C" fn switch(save: *mut usize, load: usize) {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "stmxcsr [rsp]",
        "fnstcw [rsp + 4]",
        "mov [rdi], rsp",
        "mov rsp, rsi",
        "ldmxcsr [rsp]",
        "fldcw [rsp + 4]",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}

/// Where a new thread begins: its stack pointer is as after a call.
extern "C" fn thread_entry() -> ! {
    bury();
    let start = with_current(|thread| thread.start.take());
    let Some((start, argument)) = start else {
        panic!("a thread without a beginning")
    };
    exit(start(argument))
}

/// Makes the thread that runs `main` and goes on with `start` on its stack, for ever.
pub fn enter_main(start: Start) -> ! {
    let Ok(mut thread) = Thread::new(MAIN_STACK) else {
        panic!("not even the main thread's stack fits into memory")
    };
    thread.start = Some((start, ptr::null_mut()));
    thread.prepare();
    thread.name[..4].copy_from_slice(b"main");
    let context = thread.context;
    ALL.borrow().insert(MAIN, thread);
    let mut boot = 0;
    activate(MAIN);
    // SAFETY: the context was just prepared; the boot stack is never used again.
    unsafe { switch(&mut boot, context) };
    unreachable!("the boot stack was left for good");
}

/// Starts a thread (pthread_create).
pub fn spawn(
    start: Start,
    argument: *mut c_void,
    stack_size: usize,
    detached: bool,
) -> Result<ThreadId, Errno> {
    let mut thread = Thread::new(stack_size)?;
    thread.start = Some((start, argument));
    thread.detached = detached;
    thread.blocked_signals = with_current(|current| current.blocked_signals);
    thread.prepare();
    let id = threads::with(|threads| threads.scheduler.spawn());
    ALL.borrow().insert(id, thread);
    Ok(id)
}

/// Ends the running thread (pthread_exit).
pub fn exit(result: *mut c_void) -> ! {
    run_destructors();
    let current = threads::current();
    with_current(|thread| {
        thread.result = result;
        thread.ended = true;
    });
    wake_all(join_key(current));
    *ENDED.borrow() = Some(current);
    threads::with(|threads| threads.scheduler.exit());
    reschedule();
    unreachable!("a thread that has ended was run again");
}

/// Calls the running thread's destructors: of thread-locals, then of pthread keys.
pub fn run_destructors() {
    while let Some((destructor, object)) = with_current(|thread| thread.destructors.pop()) {
        // SAFETY: `__cxa_thread_atexit_impl` was given this pair to be called at the thread's end.
        unsafe { destructor(object) };
    }
    crate::posix::run_key_destructors();
}

/// Waits for a thread to end and gives its result (pthread_join).
pub fn join(id: ThreadId) -> Result<*mut c_void, Errno> {
    if id == threads::current() {
        return Err(Errno::EDEADLK);
    }
    loop {
        let ended = with_thread(id, |thread| {
            if thread.detached {
                Err(Errno::EINVAL)
            } else {
                Ok(thread.ended)
            }
        });
        if ended.ok_or(Errno::ESRCH)?? {
            let thread = ALL.borrow().remove(&id);
            return Ok(thread.map_or(ptr::null_mut(), |thread| thread.result));
        }
        wait_for(join_key(id), waits::ANY, None);
    }
}

/// Lets a thread end without being joined (pthread_detach).
pub fn detach(id: ThreadId) -> Result<(), Errno> {
    let ended = with_thread(id, |thread| {
        if thread.detached {
            return Err(Errno::EINVAL);
        }
        thread.detached = true;
        Ok(thread.ended)
    });
    if ended.ok_or(Errno::ESRCH)?? {
        ALL.borrow().remove(&id);
    }
    Ok(())
}

/// Keys of waits are addresses; those of joins are beyond any.
fn join_key(id: ThreadId) -> usize {
    usize::MAX - id.0 as usize
}

/// Frees what a thread that has ended no longer needs. Called on another stack.
fn bury() {
    let Some(id) = ENDED.borrow().take() else {
        return;
    };
    let mut all = ALL.borrow();
    let Some(thread) = all.get_mut(&id) else {
        return;
    };
    thread.release_stack();
    // Somebody may still want the result of a thread that is not detached.
    if thread.detached {
        all.remove(&id);
    }
}

/// Lets the other ready threads run first (sched_yield).
pub fn yield_now() {
    threads::with(|threads| threads.scheduler.yield_now());
    reschedule();
    deliver_signals();
}

/// Waits until the running thread is woken, at most until `deadline`. Whoever shall wake it knows already.
pub fn wait(deadline: Option<u64>) -> Wake {
    // A signal that came before is handled before anything is waited for.
    if is_signalled() {
        deliver_signals();
        return Wake::Interrupted;
    }
    threads::with(|threads| threads.scheduler.wait(deadline));
    reschedule();
    let wake = threads::with(|threads| threads.scheduler.wake_reason());
    deliver_signals();
    wake
}

/// Waits for `key` until somebody wakes it ([`wake_one`]) with one of `bits`.
pub fn wait_for(key: usize, bits: u32, deadline: Option<u64>) -> Wake {
    let current = threads::current();
    threads::with(|threads| threads.waits.add(key, current, bits));
    let wake = wait(deadline);
    threads::with(|threads| threads.waits.remove(key, current));
    wake
}

/// Wakes the thread that has waited longest for `key`; whether there was one.
pub fn wake_one(key: usize, bits: u32) -> bool {
    threads::with(|threads| match threads.waits.take(key, bits) {
        Some(thread) => {
            threads.scheduler.wake(thread, Wake::Woken);
            true
        }
        None => false,
    })
}

fn wake_all(key: usize) {
    while wake_one(key, waits::ANY) {}
}

/// Runs the next ready thread; waits for events while there is none. Returns when the caller's thread runs again.
fn reschedule() {
    let before = threads::current();
    loop {
        events::dispatch();
        devices::tick();
        let next = threads::with(|threads| {
            threads.scheduler.expire(time::now());
            threads.scheduler.pick()
        });
        if let Some(next) = next {
            if next != before {
                switch_to(before, next);
            }
            return;
        }
        let threads = threads::with(|threads| threads.scheduler.next_deadline());
        let devices = devices::next_deadline();
        events::wait(threads.into_iter().chain(devices).min());
    }
}

fn switch_to(before: ThreadId, next: ThreadId) {
    let save = with_thread(before, |thread| &raw mut thread.context);
    let Some(load) = with_thread(next, |thread| thread.context) else {
        panic!("thread {} is ready but not known", next.0)
    };
    let mut nowhere = 0;
    activate(next);
    // SAFETY: the context is that of a thread that does not run, and `save` is in a box that lives until the
    // thread has ended and another one runs.
    unsafe { switch(save.unwrap_or(&raw mut nowhere), load) };
    bury();
}

/// Makes a thread's block of thread-locals and its stack the current ones.
fn activate(id: ThreadId) {
    with_thread(id, |thread| {
        STACK_START.store(thread.stack.start, Ordering::Relaxed);
        STACK_END.store(thread.stack.end, Ordering::Relaxed);
        if let Some(tls) = &thread.tls {
            // SAFETY: it is the block of the thread that runs next.
            unsafe { tls.activate() };
        }
    });
}

fn is_signalled() -> bool {
    let blocked = with_current(|thread| thread.blocked_signals);
    SIGNALS.borrow().is_deliverable(blocked)
}

/// Handles the signals that the running thread does not block.
pub fn deliver_signals() {
    loop {
        let blocked = with_current(|thread| thread.blocked_signals);
        let delivery = SIGNALS.borrow().deliver(blocked);
        match delivery {
            None => return,
            Some(Delivery::Terminate(signal)) => lifecycle::terminate(signal),
            Some(Delivery::Handle {
                signal,
                action,
                block,
            }) => {
                RESTARTS.store(action.flags & SA_RESTART != 0, Ordering::Relaxed);
                set_blocked_signals(blocked | block);
                call_handler(
                    action.handler,
                    signal.number(),
                    action.flags & SA_SIGINFO != 0,
                );
                set_blocked_signals(blocked);
            }
        }
    }
}

/// Whether a call that was interrupted goes on, because the handler was installed so (SA_RESTART).
pub fn restarts() -> bool {
    RESTARTS.load(Ordering::Relaxed)
}

fn call_handler(handler: usize, signal: i32, with_information: bool) {
    // A siginfo_t of 128 bytes with only its first field, the number; SI_USER is 0.
    let mut information = [0i32; 32];
    information[0] = signal;
    let errno = super::tls::errno();
    // SAFETY: sigaction was given the function's address; handlers of either kind can be called with three
    // arguments. errno must be as before for the interrupted code.
    unsafe {
        let saved = errno.read();
        let function: extern "C" fn(i32, *mut c_void, *mut c_void) = core::mem::transmute(handler);
        let second = if with_information {
            information.as_mut_ptr().cast()
        } else {
            ptr::null_mut()
        };
        function(signal, second, ptr::null_mut());
        errno.write(saved);
    }
}

/// The signals that the running thread blocks; bit 0 is signal 1.
pub fn blocked_signals() -> u64 {
    with_current(|thread| thread.blocked_signals)
}

/// Blocks these signals in the running thread.
pub fn set_blocked_signals(mask: u64) {
    with_current(|thread| thread.blocked_signals = mask);
}

/// Has `destructor` called with `object` when the running thread ends.
pub fn at_exit(destructor: Destructor, object: *mut c_void) {
    with_current(|thread| thread.destructors.push((destructor, object)));
}

/// The running thread's value of a pthread key.
pub fn key_value(key: u32) -> *mut c_void {
    with_current(|thread| thread.values.get(&key).copied()).unwrap_or(ptr::null_mut())
}

/// Sets the running thread's value of a pthread key, and gives the one before.
pub fn set_key_value(key: u32, value: *mut c_void) -> *mut c_void {
    let before = with_current(|thread| {
        if value.is_null() {
            thread.values.remove(&key)
        } else {
            thread.values.insert(key, value)
        }
    });
    before.unwrap_or(ptr::null_mut())
}

/// Names a thread.
pub fn set_name(id: ThreadId, name: &[u8]) -> Result<(), Errno> {
    if name.len() > NAME_MAX {
        return Err(Errno::ERANGE);
    }
    with_thread(id, |thread| {
        thread.name = [0; NAME_MAX + 1];
        thread.name[..name.len()].copy_from_slice(name);
    })
    .ok_or(Errno::ESRCH)
}

/// A thread's name, with its final NUL.
pub fn name(id: ThreadId) -> Option<[u8; NAME_MAX + 1]> {
    with_thread(id, |thread| thread.name)
}

/// The running thread and its name, for reports: works in any state of the program.
pub fn current_for_report() -> (ThreadId, ThreadName) {
    let current = current_if_known().unwrap_or(ThreadId(0));
    let name = ALL
        .try_borrow()
        .and_then(|all| all.get(&current).map(|thread| thread.name));
    (current, ThreadName(name.unwrap_or_default()))
}

fn current_if_known() -> Option<ThreadId> {
    let all = ALL.try_borrow()?;
    let here = current_stack();
    all.iter()
        .find(|(_, thread)| thread.stack.start == here.start)
        .map(|(&id, _)| id)
}

/// A thread's name as text.
pub struct ThreadName([u8; NAME_MAX + 1]);

impl core::fmt::Display for ThreadName {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let text = self.0.split(|&byte| byte == 0).next().unwrap_or_default();
        f.write_str(core::str::from_utf8(text).unwrap_or("?"))
    }
}
