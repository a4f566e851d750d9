//! The host's side of a session with the agent: one thread reads, any thread may send.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};

use crate::protocol::cobs::{self, Decoder};
use crate::protocol::{CHUNK, MESSAGE_MAX, Message, Status, Stream, VERSION, WINDOW, Window};

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It wrote to one of its outputs.
    Output(Stream, Vec<u8>),
    /// It has ended; nothing comes after this.
    End(Status),
}

/// A session with an agent. Dropping it kills the commands that still run.
pub struct Connection {
    shared: Arc<Shared>,
    next_channel: AtomicU32,
    reader: Option<JoinHandle<()>>,
}

struct Shared {
    /// Read by one thread, written by many; the lock keeps frames whole.
    stream: UnixStream,
    writer: Mutex<()>,
    channels: Mutex<Channels>,
}

#[derive(Default)]
struct Channels {
    open: HashMap<u32, Channel>,
    lost: bool,
}

struct Channel {
    events: Sender<Event>,
    input: Arc<InputWindow>,
}

/// What remains of the window of a command's standard input; `None` once nobody will read it.
struct InputWindow {
    window: Mutex<Option<Window>>,
    wider: Condvar,
}

impl Connection {
    /// Opens a session on a connected port, waiting for the agent until `deadline`.
    pub fn open(stream: UnixStream, deadline: Instant) -> Result<Self> {
        let nonce = nonce();
        // The delimiter ends whatever frame an earlier host process broke off.
        let mut hello = vec![cobs::DELIMITER];
        cobs::encode(
            &Message::Hello {
                nonce,
                version: VERSION,
            }
            .emit(),
            &mut hello,
        );
        (&stream)
            .write_all(&hello)
            .context("cannot write to the machine's port")?;
        await_welcome(&stream, nonce, deadline)?;
        stream.set_read_timeout(None)?;
        stream.set_write_timeout(Some(WRITE_LIMIT))?;
        let shared = Arc::new(Shared {
            stream,
            writer: Mutex::default(),
            channels: Mutex::default(),
        });
        let for_reader = Arc::clone(&shared);
        let reader = std::thread::spawn(move || for_reader.read());
        Ok(Self {
            shared,
            next_channel: AtomicU32::new(1),
            reader: Some(reader),
        })
    }

    /// Starts a shell command whose process group is killed after `limit`.
    pub fn start(
        &self,
        command: &str,
        environment: Vec<(String, String)>,
        limit: Option<Duration>,
    ) -> Result<Running> {
        let channel = self.next_channel.fetch_add(1, Ordering::Relaxed);
        let limit_ms = limit.map_or(0, |limit| (limit.as_millis() as u64).max(1));
        let start = Message::Start {
            channel,
            limit_ms,
            environment,
            command: command.to_owned(),
        };
        if start.emit().len() > MESSAGE_MAX {
            bail!(
                "a command line is at most {MESSAGE_MAX} bytes: put long text into standard input"
            );
        }
        let (events, receiver) = mpsc::channel();
        let input = Arc::new(InputWindow {
            window: Mutex::new(Some(Window::new())),
            wider: Condvar::new(),
        });
        let running = Running {
            shared: Arc::clone(&self.shared),
            channel,
            events: receiver,
            input: Arc::clone(&input),
            unacknowledged: 0,
            ended: false,
        };
        let mut channels = self.shared.channels();
        if channels.lost {
            bail!(LOST);
        }
        channels.open.insert(channel, Channel { events, input });
        drop(channels);
        self.shared.send(&start)?;
        Ok(running)
    }
}

/// The agent always reads; if nothing was taken for this long, dom0 is dead.
const WRITE_LIMIT: Duration = Duration::from_secs(60);

const LOST: &str = "the connection to dom0 is lost: the machine has ended or hangs";

impl Drop for Connection {
    fn drop(&mut self) {
        // Fails if the machine is gone already; the reader ends in either case.
        let _ = self.shared.stream.shutdown(Shutdown::Both);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Tells this session's welcome from one that an earlier session left in the port.
fn nonce() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    now.as_nanos() as u64 ^ (u64::from(std::process::id()) << 40)
}

fn await_welcome(stream: &UnixStream, nonce: u64, deadline: Instant) -> Result<()> {
    let mut decoder = Decoder::new(MESSAGE_MAX);
    let mut buffer = [0; 4096];
    let mut answer = None;
    while answer.is_none() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bail!("the agent in dom0 does not answer");
        }
        stream.set_read_timeout(Some(left))?;
        match (&*stream).read(&mut buffer) {
            Ok(0) => bail!("the machine has ended"),
            Ok(count) => decoder.push(&buffer[..count], |payload| match Message::parse(&payload) {
                Ok(Message::Welcome {
                    nonce: theirs,
                    version,
                }) if theirs == nonce => {
                    answer = Some(version);
                }
                _ => {}
            }),
            Err(error) if is_transient(error.kind()) => {}
            Err(error) => return Err(error).context("cannot read from the machine's port"),
        }
    }
    if answer != Some(VERSION) {
        bail!(
            "the testbed was started by another version of this program: \
             run `cargo xtask testbed down`, then `cargo xtask testbed up`"
        );
    }
    Ok(())
}

fn is_transient(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

impl Shared {
    fn send(&self, message: &Message) -> Result<()> {
        let mut frame = Vec::new();
        cobs::encode(&message.emit(), &mut frame);
        let _whole = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        (&self.stream).write_all(&frame).map_err(|error| {
            // Half a frame may be out: nothing sensible can follow it.
            let _ = self.stream.shutdown(Shutdown::Both);
            anyhow!(error).context(LOST)
        })
    }

    fn channels(&self) -> MutexGuard<'_, Channels> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) {
        let mut decoder = Decoder::new(MESSAGE_MAX);
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match (&self.stream).read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => decoder.push(&buffer[..count], |payload| {
                    if let Ok(message) = Message::parse(&payload) {
                        self.dispatch(message);
                    }
                }),
                Err(error) if is_transient(error.kind()) => {}
                Err(_) => break,
            }
        }
        let mut channels = self.channels();
        channels.lost = true;
        // Receivers see their sender go, writers see their window close.
        for (_, channel) in channels.open.drain() {
            channel.input.close();
        }
    }

    fn dispatch(&self, message: Message) {
        let mut channels = self.channels();
        match message {
            // A receiver that is gone has asked for the command to be killed.
            Message::Output {
                channel,
                stream,
                bytes,
            } => {
                if let Some(channel) = channels.open.get(&channel) {
                    let _ = channel.events.send(Event::Output(stream, bytes));
                }
            }
            Message::Credit { channel, bytes } => {
                if let Some(channel) = channels.open.get(&channel) {
                    channel.input.credit(bytes);
                }
            }
            Message::End { channel, status } => {
                if let Some(channel) = channels.open.remove(&channel) {
                    channel.input.close();
                    let _ = channel.events.send(Event::End(status));
                }
            }
            _ => {}
        }
    }
}

impl InputWindow {
    fn lock(&self) -> MutexGuard<'_, Option<Window>> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn credit(&self, bytes: u32) {
        if let Some(window) = &mut *self.lock() {
            window.credit(bytes);
        }
        self.wider.notify_all();
    }

    fn close(&self) {
        *self.lock() = None;
        self.wider.notify_all();
    }

    /// Waits for room and takes at most `wanted` bytes of it; 0 if nobody reads any more.
    fn take(&self, wanted: usize) -> usize {
        let full = |window: &mut Option<Window>| window.as_ref().is_some_and(|w| w.left() == 0);
        let guard = self.lock();
        let mut guard = self
            .wider
            .wait_while(guard, full)
            .unwrap_or_else(PoisonError::into_inner);
        let Some(window) = &mut *guard else { return 0 };
        let taken = window.left().min(wanted);
        window.sent(taken);
        taken
    }
}

/// A command that was started. Dropping it kills the command if it has not ended.
pub struct Running {
    shared: Arc<Shared>,
    channel: u32,
    events: Receiver<Event>,
    input: Arc<InputWindow>,
    unacknowledged: u32,
    ended: bool,
}

impl Running {
    /// The next thing the command does, waited for until `deadline`; `None` when that has passed.
    pub fn next(&mut self, deadline: Option<Instant>) -> Result<Option<Event>> {
        use std::sync::mpsc::RecvTimeoutError::{Disconnected, Timeout};
        let event = match deadline {
            None => self.events.recv().map_err(|_| Disconnected),
            Some(at) => self
                .events
                .recv_timeout(at.saturating_duration_since(Instant::now())),
        };
        match event {
            Ok(Event::Output(stream, bytes)) => {
                self.acknowledge(bytes.len() as u32)?;
                Ok(Some(Event::Output(stream, bytes)))
            }
            Ok(end) => {
                self.ended = true;
                Ok(Some(end))
            }
            Err(Timeout) => Ok(None),
            Err(Disconnected) => {
                self.ended = true;
                bail!(LOST)
            }
        }
    }

    /// The command's standard input, to be written from another thread than the one that calls
    /// [`Running::next`].
    pub fn stdin(&self) -> Stdin {
        let (shared, input) = (Arc::clone(&self.shared), Arc::clone(&self.input));
        Stdin {
            shared,
            channel: self.channel,
            input,
        }
    }

    /// Kills the command's process group. It still ends with an [`Event::End`].
    pub fn kill(&self) -> Result<()> {
        self.shared.send(&Message::Kill {
            channel: self.channel,
        })
    }

    /// Credit goes back in quarters of the window: often enough never to stop the sender.
    fn acknowledge(&mut self, bytes: u32) -> Result<()> {
        self.unacknowledged += bytes;
        if u64::from(self.unacknowledged) >= WINDOW / 4 {
            let bytes = std::mem::take(&mut self.unacknowledged);
            self.shared.send(&Message::Credit {
                channel: self.channel,
                bytes,
            })?;
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended && self.shared.channels().open.remove(&self.channel).is_some() {
            self.input.close();
            // If this fails, the machine is gone and the command with it.
            let _ = self.kill();
        }
    }
}

/// A command's standard input. It ends when this is dropped or [`Stdin::end`] is called.
pub struct Stdin {
    shared: Arc<Shared>,
    channel: u32,
    input: Arc<InputWindow>,
}

impl Stdin {
    /// Ends the input.
    pub fn end(self) {}
}

impl Write for Stdin {
    /// Waits while the command does not read; fails with `BrokenPipe` when it never will.
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let taken = self.input.take(bytes.len().min(CHUNK));
        if taken == 0 {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let input = Message::Input {
            channel: self.channel,
            bytes: bytes[..taken].to_vec(),
        };
        self.shared
            .send(&input)
            .map_err(|_| ErrorKind::BrokenPipe)?;
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Stdin {
    fn drop(&mut self) {
        // The command may have ended, and the machine too: then nobody waits for this.
        let _ = self.shared.send(&Message::InputEnd {
            channel: self.channel,
        });
    }
}
