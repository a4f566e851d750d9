//! The guest's console: one for the program and the runtime.

use super::events::{self, Xen};
use super::hypercall;
use crate::descriptors::{Events, FileType, Object, Status, Watchers};
use crate::xen::Port;
use crate::xen::console::{Console, ConsolePage};
use crate::{Errno, Global};
use alloc::rc::Rc;
use core::any::Any;
use core::cell::OnceCell;

/// HVM_PARAM_CONSOLE_PFN.
const CONSOLE_PFN: u32 = 17;
/// HVM_PARAM_CONSOLE_EVTCHN.
const CONSOLE_EVTCHN: u32 = 18;
/// How long the end of a domain waits for its console to be read.
const DRAIN_NS: u64 = 2_000_000_000;

static CONSOLE: Global<Option<Console<'static>>> = Global::new(None);
static OBJECT: Global<OnceCell<Rc<Terminal>>> = Global::new(OnceCell::new());

/// Where the shared page is and which port it has; `None` if the domain has no console.
pub fn find() -> Option<(usize, Port)> {
    let frame = hypercall::hvm_parameter(CONSOLE_PFN).filter(|&frame| frame != 0)?;
    let port = hypercall::hvm_parameter(CONSOLE_EVTCHN)?;
    Some((frame as usize * crate::memory::PAGE, Port(port as u32)))
}

/// Takes the console into use.
///
/// # Safety
/// `page` is the address of the console's mapped page, and stays so.
pub unsafe fn init(page: usize, port: Port) {
    // SAFETY: promised by the caller; all fields of the page are atomics.
    let page = unsafe { &*(page as *const ConsolePage) };
    *CONSOLE.borrow() = Some(Console::new(page, port));
}

/// Has input announced to who waits for it. Needs the heap.
pub fn watch_input() {
    let port = CONSOLE.borrow().as_ref().map(Console::port);
    if let Some(port) = port {
        events::handle(port, || terminal().watchers.notify());
    }
}

/// Writes text, if there is a console and it is not in use at this moment.
pub fn write_if_possible(text: &[u8]) {
    if let Some(mut console) = CONSOLE.try_borrow()
        && let Some(console) = console.as_mut()
    {
        console.write(&Xen, text);
    }
}

/// Waits a while until everything written has been read.
pub fn drain_if_possible() {
    if let Some(mut console) = CONSOLE.try_borrow()
        && let Some(console) = console.as_mut()
    {
        console.drain(&Xen, DRAIN_NS);
    }
}

/// The console as standard input, output and error.
pub fn terminal() -> Rc<Terminal> {
    OBJECT
        .borrow()
        .get_or_init(|| {
            Rc::new(Terminal {
                watchers: Watchers::default(),
            })
        })
        .clone()
}

/// The object behind descriptors 0, 1 and 2.
pub struct Terminal {
    watchers: Watchers,
}

impl Object for Terminal {
    fn read(&self, bytes: &mut [u8]) -> Result<usize, Errno> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let mut console = CONSOLE.borrow();
        // Without a console the input is empty.
        let Some(console) = console.as_mut() else {
            return Ok(0);
        };
        match console.read(&Xen, bytes) {
            0 => Err(Errno::EAGAIN),
            count => Ok(count),
        }
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        write_if_possible(bytes);
        Ok(bytes.len())
    }

    fn events(&self) -> Events {
        let console = CONSOLE.borrow();
        let input = console.as_ref().is_none_or(Console::has_input);
        Events::IN.when(input).or(Events::OUT)
    }

    fn watchers(&self) -> Option<&Watchers> {
        Some(&self.watchers)
    }

    fn status(&self) -> Status {
        Status {
            file_type: FileType::Character,
            permissions: 0o620,
            size: 0,
            inode: 1,
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
