//! The virtio serial ports, each served by a thread of its own.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use testbed::protocol::cobs::{self, Decoder};
use testbed::protocol::{MESSAGE_MAX, Message, PORTS, VERSION, port_name};

use crate::session::Session;

/// Where the kernel lists the ports and their names.
const SYSFS: &str = "/sys/class/virtio-ports";

/// How long the kernel may take to make the ports after their driver was loaded.
const PORTS_LIMIT: Duration = Duration::from_secs(30);

/// The kernel announces ports to user space by uevents only; nobody but us listens, and only here.
const PORTS_INTERVAL: Duration = Duration::from_millis(10);

/// Serves all ports; returns only if one of them breaks.
pub(crate) fn serve() -> Result<ExitCode> {
    let ports = (0..PORTS).map(open).collect::<Result<Vec<_>>>()?;
    println!("agent: serving {} ports", ports.len());
    let threads: Vec<_> = ports
        .into_iter()
        .map(|file| thread::spawn(move || serve_one(file)))
        .collect();
    for thread in threads {
        match thread.join() {
            Ok(result) => result?,
            Err(_) => bail!("the thread of a port panicked"),
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn open(index: usize) -> Result<File> {
    let device = wait_for_device(&port_name(index))?;
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(&device)
        .with_context(|| format!("cannot open {}", device.display()))
}

fn wait_for_device(name: &str) -> Result<PathBuf> {
    let deadline = Instant::now() + PORTS_LIMIT;
    loop {
        if let Some(device) = find_device(name) {
            return Ok(device);
        }
        if Instant::now() > deadline {
            bail!("no virtio serial port has the name {name}: is virtio_console loaded?");
        }
        thread::sleep(PORTS_INTERVAL);
    }
}

fn find_device(name: &str) -> Option<PathBuf> {
    fs::read_dir(SYSFS).ok()?.flatten().find_map(|entry| {
        let found = fs::read_to_string(entry.path().join("name")).ok()?;
        let device = PathBuf::from("/dev").join(entry.file_name());
        (found.trim_end() == name && device.exists()).then_some(device)
    })
}

/// The sending side of a port, shared by the commands of its session.
pub(crate) struct Sender(Mutex<File>);

impl Sender {
    /// Sends bytes that are whole frames.
    pub(crate) fn send(&self, frames: &[u8]) -> Result<()> {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(frames).context("cannot write to the port")
    }
}

/// Serves one port until it breaks.
pub(crate) fn serve_one(mut file: File) -> Result<()> {
    let sender = Arc::new(Sender(Mutex::new(file.try_clone()?)));
    let mut decoder = Decoder::new(MESSAGE_MAX);
    let mut session: Option<Session> = None;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file
            .read(&mut buffer)
            .context("cannot read from the port")?
        {
            // The host is gone. The write waits until the next one is there.
            0 => {
                session = None;
                decoder.reset();
                sender.send(&[cobs::DELIMITER])?;
            }
            count => decoder.push(&buffer[..count], |payload| {
                if let Ok(message) = Message::parse(&payload) {
                    handle(message, &sender, &mut session);
                }
            }),
        }
    }
}

fn handle(message: Message, sender: &Arc<Sender>, session: &mut Option<Session>) {
    if let Message::Hello { nonce, .. } = message {
        // First: what the old session sends must not come after the welcome.
        *session = None;
        let new = Session::new(Arc::clone(sender));
        new.send(&Message::Welcome {
            nonce,
            version: VERSION,
        });
        *session = Some(new);
    } else if let Some(session) = session {
        session.handle(message);
    }
}
