//! What servers ask for while sessions run (RFC 5176): to disconnect somebody, or to change until when
//! and how fast.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use edgecloud_appliance::Drain;
use tokio::net::UdpSocket;

use super::packet::{PACKET_BYTES_MAX, Packet, attribute, code};
use super::{Radius, quota};
use crate::hotspot::Hotspot;
use crate::session::{End, Pass, Session};

/// How old a request may be (RFC 5176, section 6.3).
const AGE_SECONDS_MAX: u64 = 300;
/// Answers that are kept for requests that are sent again.
const ANSWERS_KEPT: usize = 256;
/// `Error-Cause` (RFC 5176, section 3.5).
const MISSING_ATTRIBUTE: u32 = 402;
const SESSION_NOT_FOUND: u32 = 503;
const RESOURCES_UNAVAILABLE: u32 = 506;

/// Answers, by who asked and what.
type Kept = VecDeque<((SocketAddr, [u8; 16]), Vec<u8>)>;

/// Takes requests until the appliance ends.
pub(super) async fn run(
    radius: Arc<Radius>,
    hotspot: Arc<Hotspot>,
    address: SocketAddr,
    drain: Drain,
) {
    let socket = match UdpSocket::bind(address).await {
        Ok(socket) => socket,
        Err(error) => {
            let cure = "choose another address with `dynamic`";
            radius.log.say(format_args!(
                "cannot take requests of radius on {address}: {error}; {cure}"
            ));
            return;
        }
    };
    if let Ok(address) = socket.local_addr() {
        radius.log.say(format_args!("radius on {address}"));
    }
    let mut bytes = [0; PACKET_BYTES_MAX];
    let mut kept = Kept::new();
    loop {
        let received = tokio::select! {
            () = drain.begun() => return,
            received = socket.recv_from(&mut bytes) => received,
        };
        // An error tells of an answer that nobody took.
        let Ok((length, from)) = received else {
            continue;
        };
        let Some(request) = believed(&radius, &bytes[..length], from, hotspot.clock.now()) else {
            continue;
        };
        let key = (from, request.authenticator);
        let known = kept.iter().find(|(k, _)| *k == key);
        let answer = match known {
            Some((_, answer)) => answer.clone(),
            None => {
                let answer = carry_out(&radius, &hotspot, &request).await;
                let answer = answer.answer(&request, &radius.secret);
                kept.push_back((key, answer.clone()));
                if kept.len() > ANSWERS_KEPT {
                    kept.pop_front();
                }
                answer
            }
        };
        // Who asked asks again if this is lost.
        let _ = socket.send_to(&answer, from).await;
    }
}

/// The request, if it is of one of the servers, and of now.
fn believed(radius: &Radius, bytes: &[u8], from: SocketAddr, now: u64) -> Option<Packet> {
    let settings = &radius.settings;
    let from = from.ip().to_canonical();
    let mut servers = settings.servers.iter().chain(&settings.accounting);
    if !servers.any(|server| server.ip() == from) {
        return None;
    }
    let request = Packet::parse(bytes).ok()?;
    if let Err(bad) = request.check_request(&radius.secret) {
        let log = &radius.log;
        log.often(
            format_args!("a request of radius is dropped: {bad}"),
            &[("server", &from)],
        );
        return None;
    }
    let is_ours = [code::DISCONNECT_REQUEST, code::COA_REQUEST].contains(&request.code);
    let told = request.number(attribute::EVENT_TIMESTAMP).map(u64::from);
    let is_near = told.is_none_or(|told| told.abs_diff(now) <= AGE_SECONDS_MAX);
    (is_ours && is_near).then_some(request)
}

/// Whether a session is one that a request means: everything that it says of it must fit.
fn is_meant(request: &Packet, session: &Session) -> bool {
    let id = format!("{:016x}", session.id);
    let name = session.pass.strip_prefix("radius:");
    let address = match session.client {
        IpAddr::V4(address) => (attribute::FRAMED_IP_ADDRESS, address.octets().to_vec()),
        IpAddr::V6(address) => (attribute::FRAMED_IPV6_ADDRESS, address.octets().to_vec()),
    };
    let fits = |number: u8, value: &[u8]| request.get(number).is_none_or(|told| told == value);
    name.is_some_and(|name| fits(attribute::USER_NAME, name.as_bytes()))
        && fits(attribute::ACCT_SESSION_ID, id.as_bytes())
        && fits(address.0, &address.1)
}

async fn carry_out(radius: &Radius, hotspot: &Hotspot, request: &Packet) -> Packet {
    let is_coa = request.code == code::COA_REQUEST;
    let (ack, nak) = match is_coa {
        true => (code::COA_ACK, code::COA_NAK),
        false => (code::DISCONNECT_ACK, code::DISCONNECT_NAK),
    };
    let answer = |code: u8, cause: Option<u32>| {
        let cause = cause.map(|cause| (attribute::ERROR_CAUSE, cause.to_be_bytes().to_vec()));
        Packet {
            code,
            identifier: 0,
            authenticator: [0; 16],
            attributes: cause.into_iter().collect(),
        }
    };
    let tells = [
        attribute::USER_NAME,
        attribute::ACCT_SESSION_ID,
        attribute::FRAMED_IP_ADDRESS,
        attribute::FRAMED_IPV6_ADDRESS,
    ];
    if !tells.iter().any(|number| request.get(*number).is_some()) {
        return answer(nak, Some(MISSING_ATTRIBUTE));
    }
    let all = hotspot.sessions().into_iter();
    let meant: Vec<(Session, Pass)> = all.filter(|(s, _)| is_meant(request, s)).collect();
    if meant.is_empty() {
        return answer(nak, Some(SESSION_NOT_FOUND));
    }
    for (session, pass) in meant {
        if !is_coa {
            hotspot.end(session.client, End::Disconnected).await;
            continue;
        }
        let mut quota = quota(request, pass.quota);
        if request.number(attribute::SESSION_TIMEOUT).is_some() {
            // It counts from now (RFC 5176, section 3.6, note 4), and a pass from its begin.
            let passed = hotspot.clock.now().saturating_sub(pass.began);
            quota.seconds = quota.seconds.saturating_add(passed);
        }
        if let Err(refused) = hotspot.change(session.client, quota).await {
            let reason = edgecloud_appliance::Refusal::reason(refused);
            radius
                .log
                .often("a change by radius failed", &[("reason", &reason)]);
            return answer(nak, Some(RESOURCES_UNAVAILABLE));
        }
    }
    answer(ack, None)
}
