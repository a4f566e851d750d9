//! The devices: found in xenstore, connected and disconnected as the toolstack says.
//!
//! A thread of the runtime's own does this beside the program: it connects what it can, and sleeps until
//! something under `device/` or a backend's state changes.
//!
//! A program without sockets has no network stack: a [`Driver`] is registered by the first call that needs it,
//! and nothing else refers to it, so the linker leaves out what is never called.

use super::{events, hypercall, report, store, threads, time};
use crate::Global;
use crate::threads::waits::ANY;
use crate::xen::Port;
use crate::xen::grants::{DomainId, Entry, Grants};
use crate::xen::xenbus::{self, State};
use crate::xen::xenstore::{Request, WatchEvent};
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Pages of the grant table: 2048 grants, four large devices.
pub const GRANT_PAGES: usize = 4;
/// Where the grant table goes, behind the shared info page.
pub const GRANT_TABLE: usize = super::SHARED_INFO + crate::memory::PAGE;
/// The thread's stack; memory follows only where it is touched.
const STACK: usize = 128 * 1024;
/// How long a backend may be silent before a warning is printed.
const PATIENCE_NS: u64 = 10_000_000_000;

/// Takes a counter's name and value.
pub type Tell<'t> = &'t mut dyn FnMut(&str, u64);

/// A kind of device.
pub struct Driver {
    /// Brings the devices in line with xenstore; whether a backend is waited for. Called by the thread.
    pub update: fn() -> bool,
    /// Does what is due.
    pub tick: fn(),
    /// When `tick` must be called at the latest.
    pub next_deadline: fn() -> Option<u64>,
    /// Waits a while for what must not be lost at the domain's end.
    pub linger: fn(),
    /// Tells names and values of counters.
    pub count: fn(Tell),
}

static DRIVERS: Global<Vec<&'static Driver>> = Global::new(Vec::new());
static GRANTS: Global<Option<Grants<'static>>> = Global::new(None);
/// The frontends of each kind that was asked for since xenstore announced a change.
static FOUND: Global<Vec<(&'static str, Vec<Frontend>)>> = Global::new(Vec::new());
static CHANGED: AtomicBool = AtomicBool::new(true);
/// Whether the first round through `device/` is done.
static SCANNED: AtomicBool = AtomicBool::new(false);
/// What the thread waits for, and what those wait for who need a device: addresses serve as keys.
static CHANGE_KEY: AtomicU32 = AtomicU32::new(0);
static SCAN_KEY: AtomicU32 = AtomicU32::new(0);

fn key(of: &'static AtomicU32) -> usize {
    ptr::from_ref(of) as usize
}

/// The token of watches for backends' states, and the one of the watch for our own devices.
const BACKEND: &str = "backend";
const DEVICE: &str = "device";

/// A frontend's place in xenstore, and who is at the other end.
#[derive(Clone)]
pub struct Frontend {
    /// For example `device/vif/0`.
    pub path: String,
    /// The backend's directory.
    pub backend: String,
    /// The backend's domain.
    pub backend_id: DomainId,
}

impl Frontend {
    fn find(path: String) -> Option<Self> {
        let mut values =
            values(&["backend", "backend-id"].map(|node| alloc::format!("{path}/{node}")));
        let (id, backend) = (values.pop()??, values.pop()??);
        Some(Self {
            backend: String::from_utf8(backend).ok()?,
            backend_id: DomainId(u16::try_from(xenbus::number(&id)?).ok()?),
            path,
        })
    }

    fn backend_node(&self, node: &str) -> String {
        alloc::format!("{}/{node}", self.backend)
    }

    /// Nodes of the backend's directory, where they are there.
    pub fn read_backend(&self, nodes: &[&str]) -> Vec<Option<Vec<u8>>> {
        let paths: Vec<String> = nodes.iter().map(|node| self.backend_node(node)).collect();
        values(&paths)
    }

    /// The backend's state.
    pub fn backend_state(&self) -> State {
        let value = self.read_backend(&["state"]).pop().flatten();
        value.map_or(State::Unknown, |value| State::parse(&value))
    }

    /// Has changes of the backend's state announced to the thread; gives that state, and nodes of our own
    /// directory.
    pub fn meet(&self, nodes: &[&str]) -> (State, Vec<Option<Vec<u8>>>) {
        let state = self.backend_node("state");
        let paths: Vec<String> = nodes
            .iter()
            .map(|node| alloc::format!("{}/{node}", self.path))
            .collect();
        let mut requests = Vec::from([
            // Refused where it is set already, as after a device was detached and attached.
            Request::Watch(state.as_bytes(), BACKEND.as_bytes()),
            Request::Read(state.as_bytes()),
        ]);
        requests.extend(paths.iter().map(|path| Request::Read(path.as_bytes())));
        let mut answers = store::exchange(&requests)
            .into_iter()
            .map(Result::ok)
            .skip(1);
        let state = answers.next().flatten();
        let state = state.map_or(State::Unknown, |value| State::parse(&value));
        (state, answers.collect())
    }

    /// Writes nodes, then our state, and then reads nodes of the backend's. The backend looks at the nodes
    /// when the state changes, so they need no transaction.
    pub fn publish(
        &self,
        nodes: &[(&str, String)],
        state: State,
        wanted: &[&str],
    ) -> Vec<Option<Vec<u8>>> {
        let ours = |node: &str| alloc::format!("{}/{node}", self.path);
        let paths: Vec<String> = nodes.iter().map(|(node, _)| ours(node)).collect();
        let state_path = ours("state");
        let theirs: Vec<String> = wanted.iter().map(|node| self.backend_node(node)).collect();
        let mut requests: Vec<Request> = paths
            .iter()
            .zip(nodes)
            .map(|(path, (_, value))| Request::Write(path.as_bytes(), value.as_bytes()))
            .collect();
        requests.push(Request::Write(state_path.as_bytes(), state.value()));
        let writes = requests.len();
        requests.extend(theirs.iter().map(|path| Request::Read(path.as_bytes())));
        let mut answers = store::exchange(&requests);
        let read = answers.split_off(writes);
        if let Some(error) = answers.into_iter().find_map(Result::err) {
            report::warning(format_args!(
                "{} cannot be written in xenstore: {error}",
                self.path
            ));
        }
        read.into_iter().map(Result::ok).collect()
    }
}

/// The values of nodes, where they are there.
fn values(paths: &[String]) -> Vec<Option<Vec<u8>>> {
    let requests: Vec<Request> = paths
        .iter()
        .map(|path| Request::Read(path.as_bytes()))
        .collect();
    store::exchange(&requests)
        .into_iter()
        .map(Result::ok)
        .collect()
}

/// Runs `f` on the grant table, which is mapped at the first use.
pub fn with_grants<R>(f: impl FnOnce(&mut Grants<'static>) -> R) -> R {
    let mut guard = GRANTS.borrow();
    let grants = guard.get_or_insert_with(|| {
        for page in 0..GRANT_PAGES {
            // SAFETY: the place is free (the boot saw that nothing is at SHARED_INFO and behind), and mapped.
            let mapped = unsafe {
                hypercall::map_grant_frame(page, GRANT_TABLE + page * crate::memory::PAGE)
            };
            assert!(mapped, "the grant table cannot be mapped");
        }
        let count = GRANT_PAGES * crate::xen::grants::ENTRIES_PER_PAGE;
        // SAFETY: the pages are mapped for good, and the entries are atomics.
        Grants::new(unsafe { core::slice::from_raw_parts(GRANT_TABLE as *const Entry, count) })
    });
    f(grants)
}

/// A new event channel to `backend`, whose events `handler` handles.
pub fn open_port(backend: DomainId, handler: events::Handler) -> Option<Port> {
    let port = hypercall::allocate_port(backend)?;
    events::handle(port, handler);
    Some(port)
}

/// Ends an event channel.
pub fn close_port(port: Port) {
    events::forget(port);
    hypercall::close_port(port);
}

/// Takes a driver into use, unless it is already, and waits until it has seen its devices.
pub fn register(driver: &'static Driver) {
    let known = DRIVERS.borrow().iter().any(|known| ptr::eq(*known, driver));
    if !known {
        let first = DRIVERS.borrow().is_empty();
        DRIVERS.borrow().push(driver);
        SCANNED.store(false, Ordering::Relaxed);
        if first {
            store::watch(DEVICE, DEVICE);
            if let Err(error) = threads::spawn(run, ptr::null_mut(), STACK, true) {
                report::warning(format_args!("no thread for the devices: error {}", error.0));
                SCANNED.store(true, Ordering::Relaxed);
            }
        } else {
            changed();
        }
    }
    while !SCANNED.load(Ordering::Relaxed) {
        threads::wait_for(key(&SCAN_KEY), ANY, None);
    }
}

/// The drivers, one after the other. None is added while one of them runs.
fn drivers() -> impl Iterator<Item = &'static Driver> {
    (0..).map_while(|index| DRIVERS.borrow().get(index).copied())
}

/// Does what is due in the drivers.
pub fn tick() {
    drivers().for_each(|driver| (driver.tick)());
}

/// When [`tick`] must be called at the latest.
pub fn next_deadline() -> Option<u64> {
    drivers()
        .filter_map(|driver| (driver.next_deadline)())
        .min()
}

/// Waits a while for what must not be lost at the domain's end.
pub fn linger() {
    drivers().for_each(|driver| (driver.linger)());
}

/// Tells names and values of the drivers' counters.
pub fn count(tell: Tell) {
    drivers().for_each(|driver| (driver.count)(tell));
}

/// xenstore announces a change: of a backend's state, or below `device`.
pub fn announced(event: &WatchEvent) {
    if event.token == DEVICE.as_bytes() {
        // Deeper than `device/vif/0` is what we write ourselves; `device` is told when the watch is set.
        let depth = event.path.iter().filter(|&&byte| byte == b'/').count();
        if !(1..=2).contains(&depth) {
            return;
        }
        FOUND.borrow().clear();
    }
    changed();
}

/// Something changed that concerns devices.
pub fn changed() {
    CHANGED.store(true, Ordering::Relaxed);
    threads::wake_one(key(&CHANGE_KEY), ANY);
}

extern "C" fn run(_: *mut c_void) -> *mut c_void {
    let _ = threads::set_name(crate::threads::current(), b"devices");
    // Signals are the program's threads' business.
    threads::set_blocked_signals(u64::MAX);
    let started = time::now();
    let mut warned = false;
    loop {
        CHANGED.store(false, Ordering::Relaxed);
        let waiting = drivers().filter(|driver| (driver.update)()).count() > 0;
        if !SCANNED.swap(true, Ordering::Relaxed) {
            while threads::wake_one(key(&SCAN_KEY), ANY) {}
        }
        if CHANGED.load(Ordering::Relaxed) {
            continue;
        }
        let deadline = (waiting && !warned).then_some(started + PATIENCE_NS);
        threads::wait_for(key(&CHANGE_KEY), ANY, deadline);
        if waiting
            && !warned
            && time::now() >= started + PATIENCE_NS
            && !CHANGED.load(Ordering::Relaxed)
        {
            report::warning(format_args!(
                "a backend has not connected for {} s: look at `xl network-list`, `xl block-list` and the \
                 hotplug scripts' log in dom0",
                PATIENCE_NS / 1_000_000_000
            ));
            warned = true;
        }
    }
}

/// The frontends of a kind, for example `vif`. xenstore is asked only after it announced a change.
pub fn frontends(kind: &'static str) -> Vec<Frontend> {
    let found = FOUND.borrow().iter().find_map(|(known, frontends)| {
        let same = *known == kind;
        same.then(|| frontends.clone())
    });
    found.unwrap_or_else(|| {
        let frontends = find(kind);
        FOUND.borrow().push((kind, frontends.clone()));
        frontends
    })
}

fn find(kind: &str) -> Vec<Frontend> {
    let directory = alloc::format!("{DEVICE}/{kind}");
    let names = store::directory(&directory).unwrap_or_default();
    let path = |name: &Vec<u8>| {
        let name = core::str::from_utf8(name).ok()?;
        Some(alloc::format!("{directory}/{name}"))
    };
    names
        .iter()
        .filter_map(path)
        .filter_map(Frontend::find)
        .collect()
}
