//! What one connection of a host process is doing: its commands.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use testbed::protocol::{Message, cobs};

use crate::port::Sender;
use crate::process::{self, Inbox};

/// One connection. Dropping it kills its commands and makes them mute.
pub(crate) struct Session {
    outbox: Arc<Outbox>,
    commands: Commands,
}

type Commands = Arc<Mutex<HashMap<u32, Arc<Inbox>>>>;

/// Where a session's commands send to, until the session ends.
pub(crate) struct Outbox {
    sender: Arc<Sender>,
    open: Mutex<bool>,
}

impl Outbox {
    /// Sends a message, or does nothing if the session has ended.
    pub(crate) fn send(&self, message: &Message) {
        let mut frame = vec![cobs::DELIMITER];
        cobs::encode(&message.emit(), &mut frame);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if *open && let Err(error) = self.sender.send(&frame) {
            eprintln!("agent: {error:#}");
            *open = false;
        }
    }

    fn close(&self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }
}

impl Session {
    pub(crate) fn new(sender: Arc<Sender>) -> Self {
        let outbox = Arc::new(Outbox {
            sender,
            open: Mutex::new(true),
        });
        Self {
            outbox,
            commands: Commands::default(),
        }
    }

    pub(crate) fn send(&self, message: &Message) {
        self.outbox.send(message);
    }

    /// Obeys a message. One for a command that has ended meanwhile is ignored.
    pub(crate) fn handle(&self, message: Message) {
        match message {
            Message::Start {
                channel,
                limit_ms,
                environment,
                command,
            } => {
                let start = process::Start {
                    channel,
                    limit_ms,
                    environment,
                    command,
                };
                self.start(start);
            }
            Message::Input { channel, bytes } => self.tell(channel, |inbox| inbox.input(bytes)),
            Message::InputEnd { channel } => self.tell(channel, Inbox::input_end),
            Message::Kill { channel } => self.tell(channel, Inbox::kill),
            Message::Credit { channel, bytes } => self.tell(channel, |inbox| inbox.credit(bytes)),
            Message::Hello { .. }
            | Message::Welcome { .. }
            | Message::Output { .. }
            | Message::End { .. } => {}
        }
    }

    fn start(&self, start: process::Start) {
        let channel = start.channel;
        let inbox = match Inbox::new() {
            Ok(inbox) => Arc::new(inbox),
            Err(error) => return process::refuse(&self.outbox, channel, &error),
        };
        lock(&self.commands).insert(channel, Arc::clone(&inbox));
        let (outbox, commands) = (Arc::clone(&self.outbox), Arc::clone(&self.commands));
        std::thread::spawn(move || {
            let status = process::run(start, &inbox, &outbox);
            lock(&commands).remove(&channel);
            match status {
                Ok(status) => outbox.send(&Message::End { channel, status }),
                Err(error) => process::refuse(&outbox, channel, &error),
            }
        });
    }

    fn tell(&self, channel: u32, what: impl FnOnce(&Inbox)) {
        let inbox = lock(&self.commands).get(&channel).cloned();
        if let Some(inbox) = inbox {
            what(&inbox);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for inbox in lock(&self.commands).values() {
            inbox.kill();
        }
        self.outbox.close();
    }
}

fn lock(commands: &Commands) -> std::sync::MutexGuard<'_, HashMap<u32, Arc<Inbox>>> {
    commands.lock().unwrap_or_else(PoisonError::into_inner)
}
