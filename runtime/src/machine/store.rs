//! The guest's xenstore: its configuration, and what the toolstack asks of it.
//!
//! A domain's relative paths start at `/local/domain/ID`. The toolstack alone writes
//! `edgecloud/environment/NAME`, `edgecloud/arguments` (more words, as on the command line) and
//! `control/shutdown`; the domain answers under `control/` and tells its exit code under `data/`.

use super::events::{self, Xen};
use super::{counters, devices, hypercall, lifecycle, report};
use crate::Global;
use crate::boot::command_line::CommandLine;
use crate::memory::PAGE;
use crate::xen::Port;
use crate::xen::xenstore::{Client, StoreError, XenstorePage};
use alloc::vec::Vec;

/// HVM_PARAM_STORE_PFN.
const STORE_PFN: u32 = 1;
/// HVM_PARAM_STORE_EVTCHN.
const STORE_EVTCHN: u32 = 2;
/// Variables taken from xenstore at most: each costs a round trip at boot.
const VARIABLES_MAX: usize = 1024;

/// The token of the watch for requests of counters.
const COUNTERS: &[u8] = b"counters";

static CLIENT: Global<Option<Client<'static>>> = Global::new(None);

/// Where the shared page is and which port it has.
pub fn find() -> Option<(usize, Port)> {
    let frame = hypercall::hvm_parameter(STORE_PFN).filter(|&frame| frame != 0)?;
    let port = hypercall::hvm_parameter(STORE_EVTCHN)?;
    Some((frame as usize * PAGE, Port(port as u32)))
}

/// Takes xenstore into use and asks to be told of `control/shutdown`.
///
/// # Safety
/// `page` is the address of xenstore's mapped page, and stays so.
pub unsafe fn init(page: usize, port: Port) {
    // SAFETY: promised by the caller; all fields of the page are atomics.
    let page = unsafe { &*(page as *const XenstorePage) };
    let mut client = Client::new(page, port);
    for feature in ["poweroff", "reboot", "halt"] {
        let path = alloc::format!("control/feature-{feature}");
        let _ = client.post_write(&Xen, path.as_bytes(), b"1");
    }
    let _ = client.post_watch(&Xen, b"control/shutdown", b"shutdown");
    let _ = client.post_watch(&Xen, counters::REQUEST.as_bytes(), COUNTERS);
    *CLIENT.borrow() = Some(client);
    events::handle(port, arrived);
}

/// Adds what xenstore says to a command line; what the command line says itself goes first.
pub fn configure(line: &mut CommandLine) {
    let mut guard = CLIENT.borrow();
    let Some(client) = guard.as_mut() else { return };
    let children = match client.directory(&Xen, b"edgecloud") {
        Ok(children) => children,
        Err(StoreError::NotFound) => return,
        Err(error) => {
            report::warning(format_args!(
                "configuration in xenstore cannot be read: {error}"
            ));
            return;
        }
    };
    if children.iter().any(|child| child == b"arguments")
        && let Some(words) = value(client, b"edgecloud/arguments")
    {
        match CommandLine::parse(&words) {
            Ok(more) => {
                line.arguments.extend(more.arguments);
                for (name, value) in more.environment {
                    set_unless_set(line, name, value);
                }
            }
            Err(error) => report::warning(format_args!("edgecloud/arguments in xenstore: {error}")),
        }
    }
    if !children.iter().any(|child| child == b"environment") {
        return;
    }
    let names = client
        .directory(&Xen, b"edgecloud/environment")
        .unwrap_or_default();
    for name in names.into_iter().take(VARIABLES_MAX) {
        let path = [b"edgecloud/environment/", &name[..]].concat();
        if let Some(value) = value(client, &path) {
            set_unless_set(line, name, value);
        }
    }
}

fn value(client: &mut Client<'static>, path: &[u8]) -> Option<Vec<u8>> {
    let read = client.read(&Xen, path);
    if let Err(error) = &read {
        let path = alloc::string::String::from_utf8_lossy(path);
        report::warning(format_args!("{path} in xenstore cannot be read: {error}"));
    }
    read.ok()
}

fn set_unless_set(line: &mut CommandLine, name: Vec<u8>, value: Vec<u8>) {
    if !line
        .environment
        .iter()
        .any(|(existing, _)| *existing == name)
    {
        line.set(name, value);
    }
}

/// Runs `f` on the conversation, if there is one.
fn with_client<R>(
    f: impl FnOnce(&mut Client<'static>) -> Result<R, StoreError>,
) -> Result<R, StoreError> {
    CLIENT.borrow().as_mut().map_or(Err(StoreError::Broken), f)
}

/// A node's value.
pub fn read(path: &str) -> Result<Vec<u8>, StoreError> {
    with_client(|client| client.read(&Xen, path.as_bytes()))
}

/// The names of a node's children.
pub fn directory(path: &str) -> Result<Vec<Vec<u8>>, StoreError> {
    with_client(|client| client.directory(&Xen, path.as_bytes()))
}

/// Sets a node's value.
pub fn write(path: &str, value: &[u8]) -> Result<(), StoreError> {
    with_client(|client| client.write(&Xen, path.as_bytes(), value))
}

/// Has changes at or below a path announced, to whom the token names ([`arrived`]).
pub fn watch(path: &str, token: &str) {
    let watched = with_client(|client| client.post_watch(&Xen, path.as_bytes(), token.as_bytes()));
    if let Err(error) = watched {
        report::warning(format_args!(
            "{path} in xenstore cannot be watched: {error}"
        ));
    }
}

/// Sets a node without waiting; for what is told to whom it may concern.
pub fn tell(path: &str, value: &[u8]) {
    let _ = with_client(|client| client.post_write(&Xen, path.as_bytes(), value));
}

/// How many requests were sent.
pub fn requests() -> u64 {
    CLIENT.borrow().as_ref().map_or(0, Client::requests)
}

/// Tells the toolstack the program's exit code, for a domain that is kept after its end.
pub fn tell_exit_code(code: i32) {
    if let Some(mut guard) = CLIENT.try_borrow()
        && let Some(client) = guard.as_mut()
    {
        let text = alloc::format!("{code}");
        let _ = client.post_write(&Xen, b"data/exit-code", text.as_bytes());
    }
}

/// Something has arrived from xenstored.
fn arrived() {
    loop {
        let mut guard = CLIENT.borrow();
        let Some(client) = guard.as_mut() else { return };
        let Some(event) = client.take_event(&Xen) else {
            return;
        };
        if event.token != b"shutdown" {
            drop(guard);
            match event.token.as_slice() {
                COUNTERS => counters::requested(),
                _ => devices::changed(),
            }
            continue;
        }
        // The first event comes when the watch is set; there is a value only when one was written.
        let Ok(request) = client.read(&Xen, b"control/shutdown") else {
            continue;
        };
        if request.is_empty() {
            continue;
        }
        let _ = client.write(&Xen, b"control/shutdown", b"");
        drop(guard);
        lifecycle::asked(&request);
    }
}
