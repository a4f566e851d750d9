//! A relay in front of a switch's socket, which counts the messages that would change something.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use openflow::{Deframer, Message};

/// A relay. Its threads end with the process, or with the connections that they serve.
pub(crate) struct Relay {
    socket: PathBuf,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    messages: AtomicU64,
    changes: AtomicU64,
}

impl Relay {
    /// Listens at `socket`, and passes on to `switch`.
    pub(crate) fn start(socket: PathBuf, switch: PathBuf) -> Result<Relay> {
        let listener = UnixListener::bind(&socket)?;
        let counts = Arc::new(Counts::default());
        let of_thread = counts.clone();
        std::thread::spawn(move || {
            for controller in listener.incoming().map_while(Result::ok) {
                let counts = of_thread.clone();
                let Ok(switch) = UnixStream::connect(&switch) else {
                    return;
                };
                let back = (switch.try_clone(), controller.try_clone());
                if let (Ok(from), Ok(to)) = back {
                    std::thread::spawn(move || pass(from, to, |_| ()));
                }
                std::thread::spawn(move || {
                    let mut deframer = Deframer::default();
                    pass(controller, switch, |bytes| {
                        counts.look(&mut deframer, bytes)
                    });
                });
            }
        });
        Ok(Relay { socket, counts })
    }

    /// Where to connect.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Messages of the controller.
    pub(crate) fn messages(&self) -> u64 {
        self.counts.messages.load(Ordering::Relaxed)
    }

    /// Those of them that change flows, groups or meters, in a bundle or alone.
    pub(crate) fn changes(&self) -> u64 {
        self.counts.changes.load(Ordering::Relaxed)
    }
}

impl Counts {
    fn look(&self, deframer: &mut Deframer, bytes: &[u8]) {
        deframer.push(bytes);
        while let Ok(Some(whole)) = deframer.next_message() {
            let is_change = matches!(
                Message::parse(whole),
                Ok((
                    _,
                    Message::FlowMod(_)
                        | Message::GroupMod(_)
                        | Message::MeterMod(_)
                        | Message::BundleAdd(_)
                ))
            );
            self.messages.fetch_add(1, Ordering::Relaxed);
            self.changes.fetch_add(is_change.into(), Ordering::Relaxed);
        }
    }
}

/// Until one side closes; then the other is closed, too.
fn pass(mut from: UnixStream, mut to: UnixStream, mut look: impl FnMut(&[u8])) {
    let mut bytes = vec![0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let part = bytes.get(..count).unwrap_or_default();
        look(part);
        if to.write_all(part).is_err() {
            break;
        }
    }
    // It may be closed already.
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
