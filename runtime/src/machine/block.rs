//! The disks: block devices found in xenstore, connected, and opened by name.
//!
//! States of a disk: *opening* (the backend is not ready, or reads what we told it), *connected*, *refused*
//! (by what the backend says of it), *dead* (detached or broken; open files on it answer EIO). A dead disk's
//! memory is freed when nobody has it open any more; another one may come under its name meanwhile.

use super::devices::{self, Driver, Frontend, Tell};
use super::events::Xen;
use super::{memory, report, threads, time};
use crate::descriptors::block::disk::Disk;
use crate::descriptors::block::file::File;
use crate::threads::waits::ANY;
use crate::xen::blkfront::wire::Parameters;
use crate::xen::blkfront::{Blkfront, Broken, disk_name, pages_for_memory};
use crate::xen::xenbus::{self, State};
use crate::xen::{Hypervisor, Port};
use crate::{Errno, Global};
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ptr;
use core::sync::atomic::AtomicU32;

/// How long opening a disk waits for its backend: as long as a hotplug script on a busy host may take.
const PATIENCE_NS: u64 = 30_000_000_000;

struct Attached {
    /// In `/dev`.
    name: String,
    frontend: Frontend,
    stage: Stage,
}

enum Stage {
    /// The backend is not ready to be told about the ring.
    Waiting,
    /// It was told, and has not connected yet.
    Opening(Blkfront, Port),
    Connected(Rc<File>, Port),
    /// The backend and we do not understand each other.
    Refused,
}

static DRIVER: Driver = Driver {
    update,
    tick: || {},
    next_deadline: || None,
    linger: || {},
    count,
};

static DISKS: Global<Vec<Attached>> = Global::new(Vec::new());
/// Disks of no use any more that were open when that became known.
static DEAD: Global<Vec<Rc<File>>> = Global::new(Vec::new());
/// Its address is the key of those who wait for a disk.
static CONNECT_KEY: AtomicU32 = AtomicU32::new(0);

/// The file on the disk of this name, once it is connected.
pub fn open(name: &str) -> Result<Rc<File>, Errno> {
    devices::register(&DRIVER);
    let give_up = time::now() + PATIENCE_NS;
    loop {
        match find(name)? {
            Some(file) => return Ok(file),
            None if time::now() >= give_up => {
                report::warning(format_args!(
                    "/dev/{name}: its backend has not connected for {} s: look at `xl block-list` and \
                     /var/log/xen/xen-hotplug.log in dom0",
                    PATIENCE_NS / 1_000_000_000
                ));
                return Err(Errno::ENXIO);
            }
            None => {
                let key = ptr::from_ref(&CONNECT_KEY) as usize;
                threads::wait_for(key, ANY, Some(give_up));
            }
        }
    }
}

/// The file, or nothing if it may still come.
fn find(name: &str) -> Result<Option<Rc<File>>, Errno> {
    let disks = DISKS.borrow();
    let disk = disks.iter().find(|disk| disk.name == name);
    match &disk.ok_or(Errno::ENOENT)?.stage {
        Stage::Connected(file, _) => Ok(Some(file.clone())),
        Stage::Refused => Err(Errno::ENXIO),
        Stage::Waiting | Stage::Opening(..) => Ok(None),
    }
}

/// Tells what happened on each disk so far.
fn count(tell: Tell) {
    for disk in DISKS.borrow().iter() {
        let Stage::Connected(file, _) = &disk.stage else {
            continue;
        };
        let counters = file.disk().counters();
        let mut line = |name: &str, value| {
            tell(&alloc::format!("{name}{{disk=\"{}\"}}", disk.name), value);
        };
        line("disk_reads_total", counters.reads);
        line("disk_read_bytes_total", counters.bytes_read);
        line("disk_writes_total", counters.writes);
        line("disk_written_bytes_total", counters.bytes_written);
        line("disk_flushes_total", counters.flushes);
        line("disk_errors_total", counters.errors);
        line("disk_notifications_total", counters.notifications);
    }
}

/// A backend has said something.
fn arrived() {
    let mut index = 0;
    loop {
        let file = match DISKS.borrow().get(index).map(|disk| &disk.stage) {
            None => return,
            Some(Stage::Connected(file, _)) => Some(file.clone()),
            Some(_) => None,
        };
        if let Some(file) = file {
            file.disk().arrived();
        }
        index += 1;
    }
}

/// Brings the disks in line with xenstore; whether a backend is waited for.
fn update() -> bool {
    bury();
    let mut before = core::mem::take(&mut *DISKS.borrow());
    let mut waiting = false;
    for frontend in devices::frontends("vbd") {
        let known = before
            .iter()
            .position(|disk| disk.frontend.path == frontend.path);
        let disk = match known {
            Some(index) => {
                let disk = before.swap_remove(index);
                let state = disk.frontend.backend_state();
                Some((disk, state))
            }
            None => Attached::new(frontend),
        };
        if let Some((mut disk, state)) = disk {
            waiting |= disk.advance(state);
            DISKS.borrow().push(disk);
        }
    }
    for mut disk in before {
        disk.detach();
    }
    while threads::wake_one(ptr::from_ref(&CONNECT_KEY) as usize, ANY) {}
    waiting
}

/// Frees the disks of no use that nobody has open.
fn bury() {
    let dead = core::mem::take(&mut *DEAD.borrow());
    for file in dead {
        match Rc::try_unwrap(file) {
            Ok(file) => devices::with_grants(|grants| file.into_front().close(grants)),
            Err(file) => DEAD.borrow().push(file),
        }
    }
}

impl Attached {
    /// A disk that was found, and its backend's state.
    fn new(frontend: Frontend) -> Option<(Self, State)> {
        let (state, mut values) = frontend.meet(&["virtual-device"]);
        let number = values.pop().flatten();
        let number = number.and_then(|value| xenbus::number(&value));
        let Some(name) = number.and_then(disk_name) else {
            report::warning(format_args!(
                "{}: a disk that is no xvd device is not used; write vdev=xvda or the like in the domain's \
                 configuration",
                frontend.path
            ));
            return None;
        };
        let stage = Stage::Waiting;
        let disk = Self {
            name,
            frontend,
            stage,
        };
        Some((disk, state))
    }

    /// Does what the backend's state asks for; whether more is waited for.
    fn advance(&mut self, backend: State) -> bool {
        match backend {
            State::InitWait if matches!(self.stage, Stage::Waiting) => self.begin(),
            State::Connected if matches!(self.stage, Stage::Opening(..)) => self.connect(),
            State::Closing | State::Closed => {
                let was_there = !matches!(self.stage, Stage::Waiting);
                self.detach();
                if was_there {
                    self.frontend.publish(&[], State::Closed, &[]);
                }
            }
            _ => {}
        }
        matches!(self.stage, Stage::Waiting | Stage::Opening(..))
    }

    /// Makes the ring and tells the backend.
    fn begin(&mut self) {
        let backend = self.frontend.backend_id;
        let pages = pages_for_memory(memory::usage().total);
        let Some(front) = devices::with_grants(|grants| Blkfront::new(backend, pages, grants))
        else {
            self.refuse(format_args!("there is no memory for its ring"));
            return;
        };
        let Some(port) = devices::open_port(backend, arrived) else {
            devices::with_grants(|grants| front.close(grants));
            self.refuse(format_args!("no event channel is left"));
            return;
        };
        let nodes = [
            ("ring-ref", front.ring_grant().0.to_string()),
            ("event-channel", port.0.to_string()),
            ("protocol", "x86_64-abi".to_string()),
            ("feature-persistent", "1".to_string()),
        ];
        self.frontend.publish(&nodes, State::Initialised, &[]);
        self.stage = Stage::Opening(front, port);
    }

    /// Takes over what the backend says of the disk.
    fn connect(&mut self) {
        let values = self.frontend.read_backend(&Parameters::NODES);
        let nodes = || Parameters::NODES.into_iter().zip(&values);
        let parameters = Parameters::parse(|node| {
            let (_, value) = nodes().find(|(name, _)| *name == node)?;
            value.clone()
        });
        let Stage::Opening(mut front, port) = core::mem::replace(&mut self.stage, Stage::Waiting)
        else {
            return;
        };
        let parameters = match parameters {
            Ok(parameters) => parameters,
            Err(error) => {
                devices::close_port(port);
                devices::with_grants(|grants| front.close(grants));
                self.refuse(format_args!("{error}"));
                return;
            }
        };
        front.connect(&parameters);
        let end = (&Xen as &dyn Hypervisor, port);
        let disk = Disk::new(self.name.clone(), front, parameters, end, report::warning);
        self.stage = Stage::Connected(Rc::new(File::new(disk)), port);
        self.frontend.publish(&[], State::Connected, &[]);
    }

    fn refuse(&mut self, why: core::fmt::Arguments) {
        report::warning(format_args!("/dev/{} cannot be used: {why}", self.name));
        self.frontend.publish(&[], State::Closed, &[]);
        self.stage = Stage::Refused;
    }

    /// Gives the disk up; it may come back under the same path.
    fn detach(&mut self) {
        match core::mem::replace(&mut self.stage, Stage::Waiting) {
            Stage::Opening(front, port) => {
                devices::close_port(port);
                devices::with_grants(|grants| front.close(grants));
            }
            Stage::Connected(file, port) => {
                file.disk().give_up(Broken::Detached);
                devices::close_port(port);
                DEAD.borrow().push(file);
                bury();
            }
            // What was refused stays so until the toolstack takes it away.
            Stage::Refused => self.stage = Stage::Refused,
            Stage::Waiting => {}
        }
    }
}
