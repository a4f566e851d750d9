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
/// The interval if neither the operator nor a server says one.
const INTERIM_SECONDS: u64 = 300;
/// How often is looked whose interim figures are due: as exact as an interval needs to be.
const INTERIM_LOOK_TIME: Duration = Duration::from_secs(10);
const _: () = assert!(INTERIM_LOOK_TIME.as_secs() < INTERIM_SECONDS_MIN);

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
    let mut interim = interval(INTERIM_LOOK_TIME);
    let mut looked = hotspot.clock.now();
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
                let now = hotspot.clock.now();
                let all = hotspot.sessions().into_iter().map(|(session, _)| session);
                waiting.extend(interims(all, radius.settings.interim_seconds, looked, now));
                looked = now;
            }
            _ = retry.tick(), if !waiting.is_empty() => {}
        }
        waiting.retain(|message| message.session.pass.starts_with("radius:"));
        let lost = make_room(&mut waiting);
        if lost > 0 {
            let what = "accounting has no room; messages are lost";
            radius.log.often(what, &[("messages", &lost)]);
        }
        tokio::select! {
            () = drain.begun() => return,
            () = send(&radius, &hotspot, &mut waiting) => {}
        }
    }
}

/// The interim figures that became due since it was looked last: a session's come every so many seconds
/// from its begin, so that those of a crowd do not come at once.
fn interims(
    sessions: impl Iterator<Item = Session>,
    setting: Option<u64>,
    looked: u64,
    now: u64,
) -> impl Iterator<Item = Message> {
    let due = sessions.filter(move |session| {
        // What is set here goes before what a server asks for (RFC 2869, section 2.1).
        let seconds = setting.or(session.interim_seconds);
        let seconds = seconds.unwrap_or(INTERIM_SECONDS).max(INTERIM_SECONDS_MIN);
        let until = |time: u64| time.saturating_sub(session.began) / seconds;
        until(now) > until(looked)
    });
    due.map(move |session| Message {
        status: Status::Interim,
        session,
        cause: None,
        at: now,
    })
}

/// Gives up what there is no room for, the oldest first; how many messages that were. A later message says
/// what an interim one did, and a Stop says what a Start did: Stops go last.
fn make_room(waiting: &mut VecDeque<Message>) -> usize {
    let too_many = waiting.len().saturating_sub(WAITING_MAX);
    let mut left = too_many;
    for status in [Status::Interim, Status::Start, Status::Stop] {
        waiting.retain(|message| {
            let is_lost = left > 0 && message.status == status;
            left -= usize::from(is_lost);
            !is_lost
        });
    }
    too_many
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Carried;

    fn session(began: u64, interim_seconds: Option<u64>) -> Session {
        Session {
            client: [10, 0, 0, 1].into(),
            pass: "radius:ada".to_owned(),
            began,
            carried: Carried::default(),
            counted: Carried::default(),
            class: None,
            interim_seconds,
            id: began,
        }
    }

    /// When interim figures of a session that began at 1000 are told, by a look every ten seconds.
    fn check(setting: Option<u64>, server: Option<u64>, expected: &[u64]) {
        let looks = (1000..1700).step_by(10);
        let told = looks.flat_map(|looked| {
            let all = [session(1000, server)].into_iter();
            interims(all, setting, looked, looked + 10)
        });
        let told: Vec<u64> = told.map(|message| message.at).collect();
        assert_eq!(told, expected, "{setting:?}, {server:?}");
    }

    #[test]
    fn interim_figures_come_as_the_operator_says_or_else_the_server() {
        check(None, None, &[1300, 1600]);
        check(None, Some(600), &[1600]);
        check(Some(200), None, &[1200, 1400, 1600]);
        check(Some(400), Some(60), &[1400]);
        let each_minute: Vec<u64> = (1..=11).map(|minute| 1000 + 60 * minute).collect();
        check(None, Some(60), &each_minute);
        // Nobody gets them more often.
        check(None, Some(0), &each_minute);
        check(Some(1), None, &each_minute);
        check(None, Some(u64::MAX), &[]);
    }

    #[test]
    fn without_room_the_ends_of_sessions_are_lost_last() {
        let message = |status: Status, at: u64| Message {
            status,
            session: session(at, None),
            cause: None,
            at,
        };
        let check = |told: [usize; 3], expected: [usize; 3]| {
            let [stops, starts, interims] = told;
            let stops = std::iter::repeat_n(Status::Stop, stops);
            let starts = std::iter::repeat_n(Status::Start, starts);
            let interims = std::iter::repeat_n(Status::Interim, interims);
            let all = stops.chain(starts).chain(interims).zip(0..);
            let mut waiting: VecDeque<Message> = all.map(|(s, at)| message(s, at)).collect();
            let before = waiting.len();
            let lost = make_room(&mut waiting);
            assert_eq!(before - waiting.len(), lost);
            let many = |status| waiting.iter().filter(|m| m.status == status).count();
            let left = [Status::Stop, Status::Start, Status::Interim].map(many);
            assert_eq!(left, expected, "{told:?}");
            assert!(waiting.iter().is_sorted_by_key(|m| m.at), "their order");
            waiting.back().map(|m| m.at)
        };
        check([1, 2, 3], [1, 2, 3]);
        check([100, 200, 20_000], [100, 200, 3796]);
        check([100, 5000, 7], [100, 3996, 0]);
        // The oldest of a kind go first.
        let newest = check([5000, 1, 1], [WAITING_MAX, 0, 0]);
        assert_eq!(newest, Some(4999));
    }
}
