//! Accounting (RFC 2866): a session's begin, its interim figures (RFC 2869, section 2.1) and its end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use edgecloud_appliance::Drain;
use tokio::sync::mpsc;
use tokio::time::interval;

use super::packet::{Packet, attribute, code};
use super::{Radius, Silent};
use crate::hotspot::{Event, Hotspot};
use crate::limits::RETRY_TIME;
use crate::session::Session;

/// Messages that wait for a server: the ends of a large station's sessions while a server restarts.
const WAITING_MAX: usize = 4096;
/// The shortest interval between interim figures (RFC 2869, section 5.16).
const INTERIM_SECONDS_MIN: u64 = 60;

/// `Acct-Status-Type` (RFC 2866, section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Start = 1,
    Stop = 2,
    Interim = 3,
}

/// One message.
#[derive(Clone, Debug)]
struct Message {
    status: Status,
    session: Session,
    cause: Option<u32>,
    at: u64,
}

impl Message {
    fn of(event: Event) -> Self {
        Self {
            status: match event.end {
                Some(_) => Status::Stop,
                None => Status::Start,
            },
            cause: event.end.map(|end| end.radius()),
            session: event.session,
            at: event.at,
        }
    }

    /// The packet, when it is `now`.
    fn packet(&self, radius: &Radius, now: u64) -> Packet {
        let session = &self.session;
        let name = session.pass.strip_prefix("radius:").unwrap_or_default();
        let number = |value: u64| {
            u32::try_from(value)
                .unwrap_or(u32::MAX)
                .to_be_bytes()
                .to_vec()
        };
        let id = format!("{:016x}", session.id);
        let mut attributes = vec![
            (attribute::ACCT_STATUS_TYPE, number(self.status as u64)),
            (attribute::ACCT_SESSION_ID, id.into_bytes()),
            (attribute::USER_NAME, name.as_bytes().to_vec()),
            (attribute::EVENT_TIMESTAMP, number(self.at)),
            (
                attribute::ACCT_DELAY_TIME,
                number(now.saturating_sub(self.at)),
            ),
        ];
        attributes.extend(radius.place(session.client));
        if let Some(class) = &session.class {
            attributes.push((attribute::CLASS, class.clone()));
        }
        if self.status != Status::Start {
            attributes.push((
                attribute::ACCT_SESSION_TIME,
                number(self.at.saturating_sub(session.began)),
            ));
            // Input is what the client sent (RFC 2866, section 5.3).
            for (octets, gigawords, bytes) in [
                (
                    attribute::ACCT_INPUT_OCTETS,
                    attribute::ACCT_INPUT_GIGAWORDS,
                    session.carried.sent,
                ),
                (
                    attribute::ACCT_OUTPUT_OCTETS,
                    attribute::ACCT_OUTPUT_GIGAWORDS,
                    session.carried.received,
                ),
            ] {
                attributes.push((octets, number(bytes & u64::from(u32::MAX))));
                attributes.push((gigawords, number(bytes >> 32)));
            }
        }
        if let Some(cause) = self.cause {
            attributes.push((attribute::ACCT_TERMINATE_CAUSE, number(cause.into())));
        }
        Packet {
            code: code::ACCOUNTING_REQUEST,
            identifier: session.id as u8,
            authenticator: [0; 16],
            attributes,
        }
    }
}

/// Tells servers of sessions, until the appliance ends.
pub(super) async fn run(
    radius: Arc<Radius>,
    hotspot: Arc<Hotspot>,
    mut heard: mpsc::Receiver<Event>,
    drain: Drain,
) {
    let seconds = radius.settings.interim_seconds.max(INTERIM_SECONDS_MIN);
    let mut interim = interval(Duration::from_secs(seconds));
    interim.reset();
    let mut retry = interval(RETRY_TIME);
    let mut waiting: VecDeque<Message> = VecDeque::new();
    loop {
        tokio::select! {
            () = drain.begun() => return,
            event = heard.recv() => match event {
                Some(event) => waiting.push_back(Message::of(event)),
                None => return,
            },
            _ = interim.tick() => {
                let at = hotspot.clock.now();
                let all = hotspot.sessions().into_iter().map(|(session, _)| Message {
                    status: Status::Interim,
                    session,
                    cause: None,
                    at,
                });
                waiting.extend(all);
            }
            _ = retry.tick(), if !waiting.is_empty() => {}
        }
        waiting.retain(|message| message.session.pass.starts_with("radius:"));
        while waiting.len() > WAITING_MAX {
            waiting.pop_front();
            radius
                .log
                .often("accounting has no room; a message is lost", &[]);
        }
        tokio::select! {
            () = drain.begun() => return,
            () = send(&radius, &hotspot, &mut waiting) => {}
        }
    }
}

/// Sends what waits, in order, until nobody answers.
async fn send(radius: &Radius, hotspot: &Hotspot, waiting: &mut VecDeque<Message>) {
    let servers = &radius.settings.accounting;
    if servers.is_empty() {
        waiting.clear();
    }
    while let Some(message) = waiting.front() {
        let packet = message.packet(radius, hotspot.clock.now());
        match radius.ask(servers, 1, packet).await {
            Ok(_) => waiting.pop_front(),
            Err(Silent) => return,
        };
    }
}
