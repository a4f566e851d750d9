//! RADIUS: subscribers whom servers of the operator's know (RFC 2865, by PAP), accounting of their
//! sessions (RFC 2866), and what the servers ask for in between (RFC 5176).
//!
//! A server is asked three times, then the next one; whoever answered last is asked first. Each question
//! has a socket of its own, so that ports and identifiers are drawn anew. Accounting that no server takes
//! waits, up to a bound, and says then for how long it did.
//!
//! *Threats.* Answers are believed by the shared secret alone ([`packet`]); requests to disconnect come
//! from the servers' addresses, with a time that is near, and are answered the same if they are repeated.

mod accounting;
mod dynamic;
pub mod packet;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use edgecloud_appliance::{Log, Stage};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::timeout;

use self::packet::{PACKET_BYTES_MAX, Packet, Secret, attribute, code};
use crate::hotspot::{Event, Hotspot};
use crate::refusal::Refused;
use crate::session::{Login, Quota};
use crate::settings::{Own, Radius as Settings};

/// How long is waited for an answer, from one try to the next (RFC 2865, section 2.4, leaves it open).
const TRIES: [Duration; 3] = [
    Duration::from_millis(700),
    Duration::from_millis(1500),
    Duration::from_secs(3),
];
/// Vendors' attributes that tell a rate and a volume.
const WISPR: u32 = 14122;
const WISPR_BANDWIDTH_MAX_DOWN: u8 = 8;
const CHILLISPOT: u32 = 14559;
const CHILLISPOT_MAX_TOTAL_OCTETS: u8 = 3;
/// Values of `Service-Type` and `NAS-Port-Type`.
const LOGIN: u32 = 1;
const WIRELESS: u32 = 19;

/// The client of the operator's servers.
#[derive(Debug)]
pub struct Radius {
    settings: Settings,
    secret: Secret,
    log: Log,
    /// Who answered last, of the servers for authentication and of those for accounting.
    preferred: [AtomicUsize; 2],
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum NoRadius {
    /// Nobody to ask.
    #[error("[service.radius] names no server; write such as servers = [\"10.0.0.5:1812\"]")]
    Servers,
    /// A secret that can be guessed.
    #[error("RADIUS_SECRET has fewer than eight characters; set another, here and at the servers")]
    Secret,
}

/// What a server answers to a right password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// What the login is good for.
    pub login: Login,
    /// Seconds between interim accounting (`Acct-Interim-Interval`), if it asks for that.
    pub interim_seconds: Option<u64>,
}

/// Nobody answered.
#[derive(Debug)]
struct Silent;

impl Radius {
    /// A client of these servers.
    ///
    /// # Errors
    /// There are none, or the secret is too short.
    pub fn new(settings: Settings, secret: &str, log: Log) -> Result<Self, NoRadius> {
        if settings.servers.is_empty() {
            return Err(NoRadius::Servers);
        }
        if secret.len() < 8 {
            return Err(NoRadius::Secret);
        }
        Ok(Self {
            settings,
            secret: Secret::new(secret),
            log,
            preferred: Default::default(),
        })
    }

    /// Asks whether a password is right, and what a login is good for.
    ///
    /// # Errors
    /// It is wrong, or nobody answers.
    pub async fn log_in(
        &self,
        client: IpAddr,
        name: &str,
        password: &[u8],
    ) -> Result<Accepted, Refused> {
        let mut authenticator = [0; 16];
        let drawn = SystemRandom::new().fill(&mut authenticator);
        drawn.map_err(|_| Refused::Radius)?;
        let hidden = self.secret.hide(password, &authenticator);
        let mut attributes = vec![
            (attribute::USER_NAME, name.as_bytes().to_vec()),
            (attribute::USER_PASSWORD, hidden),
            (attribute::SERVICE_TYPE, LOGIN.to_be_bytes().to_vec()),
        ];
        attributes.extend(self.place(client));
        let request = Packet {
            code: code::ACCESS_REQUEST,
            identifier: authenticator[0],
            authenticator,
            attributes,
        };
        let answer = self.ask(&self.settings.servers, 0, request).await;
        let answer = answer.map_err(|Silent| Refused::Radius)?;
        if answer.code != code::ACCESS_ACCEPT {
            // A challenge wants another kind of login than ours.
            return Err(Refused::WrongAccount);
        }
        let login = Login {
            key: format!("radius:{name}"),
            quota: quota(&answer, self.settings.quota),
            renews: true,
            class: answer.get(attribute::CLASS).map(<[u8]>::to_vec),
        };
        Ok(Accepted {
            login,
            interim_seconds: answer
                .number(attribute::ACCT_INTERIM_INTERVAL)
                .map(u64::from),
        })
    }

    /// Where a client is: what every request says.
    fn place(&self, client: IpAddr) -> Vec<(u8, Vec<u8>)> {
        let nas = self.settings.nas_identifier.as_bytes();
        let framed = match client {
            IpAddr::V4(address) => (attribute::FRAMED_IP_ADDRESS, address.octets().to_vec()),
            IpAddr::V6(address) => (attribute::FRAMED_IPV6_ADDRESS, address.octets().to_vec()),
        };
        vec![
            (attribute::NAS_IDENTIFIER, nas.to_vec()),
            (attribute::NAS_PORT_TYPE, WIRELESS.to_be_bytes().to_vec()),
            framed,
        ]
    }

    /// Asks one server after the other.
    async fn ask(
        &self,
        servers: &[SocketAddr],
        kind: usize,
        request: Packet,
    ) -> Result<Packet, Silent> {
        let first = self.preferred[kind].load(Ordering::Relaxed);
        let must_sign = request.code == code::ACCESS_REQUEST && self.settings.message_authenticator;
        let bytes = request.request(&self.secret);
        for turn in 0..servers.len() {
            let at = (first + turn) % servers.len();
            match self.ask_one(servers[at], &bytes, must_sign).await {
                Ok(Some(answer)) => {
                    self.preferred[kind].store(at, Ordering::Relaxed);
                    return Ok(answer);
                }
                Ok(None) => self
                    .log
                    .often("radius is silent", &[("server", &servers[at])]),
                Err(error) => self.log.often(
                    format_args!("radius cannot be asked: {error}"),
                    &[("server", &servers[at])],
                ),
            }
        }
        Err(Silent)
    }

    /// Asks a server; nothing if it does not answer as who shares the secret.
    async fn ask_one(
        &self,
        server: SocketAddr,
        request: &[u8],
        must_sign: bool,
    ) -> io::Result<Option<Packet>> {
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(server).await?;
        for wait in TRIES {
            socket.send(request).await?;
            let answer = self.hear(&socket, request, must_sign);
            match timeout(wait, answer).await {
                Ok(answer) => return answer.map(Some),
                Err(_) => continue,
            }
        }
        Ok(None)
    }

    /// The first answer that holds; others are no answers.
    async fn hear(
        &self,
        socket: &UdpSocket,
        request: &[u8],
        must_sign: bool,
    ) -> io::Result<Packet> {
        let mut bytes = [0; PACKET_BYTES_MAX];
        let mut authenticator = [0; 16];
        authenticator.copy_from_slice(&request[4..20]);
        loop {
            let length = socket.recv(&mut bytes).await?;
            let answer = Packet::parse(&bytes[..length]);
            let answer = answer.and_then(|answer| {
                answer.check_answer(&authenticator, &self.secret, must_sign)?;
                Ok(answer)
            });
            match answer {
                Ok(answer) if answer.identifier == request[1] => return Ok(answer),
                Ok(_) => {}
                Err(bad) => self
                    .log
                    .often(format_args!("an answer of radius is dropped: {bad}"), &[]),
            }
        }
    }
}

/// What a server lets somebody have, where it says it.
fn quota(answer: &Packet, otherwise: Quota) -> Quota {
    let seconds = answer.number(attribute::SESSION_TIMEOUT);
    let down = answer.vendor_number(WISPR, WISPR_BANDWIDTH_MAX_DOWN);
    let octets = answer.vendor_number(CHILLISPOT, CHILLISPOT_MAX_TOTAL_OCTETS);
    Quota {
        seconds: seconds.map_or(otherwise.seconds, u64::from),
        bytes: octets.map(u64::from).or(otherwise.bytes),
        kbit: down.map(|bits| (bits / 1000).max(1)).or(otherwise.kbit),
        ..otherwise
    }
}

/// Starts accounting, and takes what servers ask for.
pub fn start(parts: (Arc<Radius>, Arc<Hotspot>), heard: mpsc::Receiver<Event>, stage: &Stage<Own>) {
    let (radius, hotspot) = parts;
    let drain = stage.drain.clone();
    let account = accounting::run(Arc::clone(&radius), Arc::clone(&hotspot), heard, drain);
    stage.background.spawn(account);
    if let Some(address) = radius.settings.dynamic {
        let drain = stage.drain.clone();
        stage
            .background
            .spawn(dynamic::run(radius, hotspot, address, drain));
    }
}
