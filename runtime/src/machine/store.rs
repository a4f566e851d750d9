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
use crate::xen::xenstore::{Answer, Client, Request, StoreError, XenstorePage, children};
use alloc::string::String;
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
    let [arguments, environment] =
        ["arguments", "environment"].map(|node| alloc::format!("edgecloud/{node}"));
    let both = [
        Request::Read(arguments.as_bytes()),
        Request::Directory(environment.as_bytes()),
    ];
    let mut answers = client.exchange(&Xen, &both).into_iter();
    if let Some(words) = value(&arguments, answers.next()) {
        match CommandLine::parse(&words) {
            Ok(more) => {
                line.arguments.extend(more.arguments);
                for (name, value) in more.environment {
                    set_unless_set(line, name, value);
                }
            }
            Err(error) => report::warning(format_args!("{arguments} in xenstore: {error}")),
        }
    }
    let names = value(&environment, answers.next()).map_or_else(Vec::new, |names| children(&names));
    let path = |name: &Vec<u8>| [environment.as_bytes(), b"/", name].concat();
    let paths: Vec<Vec<u8>> = names.iter().take(VARIABLES_MAX).map(path).collect();
    let requests: Vec<_> = paths.iter().map(|path| Request::Read(path)).collect();
    let answers = client.exchange(&Xen, &requests);
    for ((name, path), answer) in names.into_iter().zip(&paths).zip(answers) {
        if let Some(value) = value(&String::from_utf8_lossy(path), Some(answer)) {
            set_unless_set(line, name, value);
        }
    }
}

/// What a node of our configuration says, if there is one; it need not be there.
fn value(path: &str, answer: Option<Answer>) -> Option<Vec<u8>> {
    match answer? {
        Ok(value) => Some(value),
        Err(StoreError::NotFound) => None,
        Err(error) => {
            report::warning(format_args!("{path} in xenstore cannot be read: {error}"));
            None
        }
    }
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

/// Does several things in this order, in one round trip; answers each.
pub fn exchange(requests: &[Request]) -> Vec<Answer> {
    match CLIENT.borrow().as_mut() {
        Some(client) => client.exchange(&Xen, requests),
        None => alloc::vec![Err(StoreError::Broken); requests.len()],
    }
}

/// The names of a node's children.
pub fn directory(path: &str) -> Result<Vec<Vec<u8>>, StoreError> {
    with_client(|client| client.directory(&Xen, path.as_bytes()))
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

/// How often answers were waited for.
pub fn round_trips() -> u64 {
    CLIENT.borrow().as_ref().map_or(0, Client::round_trips)
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
                _ => devices::announced(&event),
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
