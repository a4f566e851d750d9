//! Questions to the operator's own servers.
//!
//! **Threats.** Who answers in a server's place has to guess, for each question, the port (a new
//! socket each time, whose port the kernel draws, and which hears its server only), the number, and
//! the letters of the name (draft-vixie-dnsext-dns0x20). Who guesses often is noticed by what does
//! not fit, and TCP is asked then.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::message::{Heard, Question, hear, request};

/// Questions on their way at once: each holds a socket.
const QUESTIONS_MAX: usize = 256;
/// How long the attempts may take, together less than the five seconds after which those who asked
/// ask again.
const ATTEMPTS: [Duration; 3] = [
    Duration::from_millis(800),
    Duration::from_millis(1500),
    Duration::from_millis(2200),
];
/// How long a question over TCP may take, beside its attempt.
const STREAM_TIME_MAX: Duration = Duration::from_secs(2);
/// How long a question waits for its turn.
const TURN_TIME_MAX: Duration = Duration::from_secs(2);
/// Datagrams that do not fit, before somebody is taken to be guessing.
const NOISE_MAX: usize = 8;

/// The servers.
#[derive(Debug)]
pub(super) struct Upstream {
    servers: Vec<SocketAddr>,
    /// Whether names are written in drawn letters.
    mixes_letters: bool,
    /// The one that answered last.
    preferred: AtomicUsize,
    turns: Semaphore,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("no answer in time")]
    Late,
    #[error("{0}")]
    Unreachable(#[from] io::Error),
    #[error("it says {0}")]
    Code(ResponseCode),
    #[error("its answer cannot be read")]
    Unreadable,
    #[error("too many questions are on their way")]
    Busy,
}

impl Upstream {
    pub(super) fn new(servers: Vec<SocketAddr>, mixes_letters: bool) -> Upstream {
        Upstream {
            servers,
            mixes_letters,
            preferred: AtomicUsize::new(0),
            turns: Semaphore::new(QUESTIONS_MAX),
        }
    }

    /// An answer: that there is something, or that there is nothing.
    pub(super) async fn ask(&self, question: &Question) -> Result<Message, Failure> {
        let turn = timeout(TURN_TIME_MAX, self.turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(Failure::Busy);
        };
        let first = self.preferred.load(Ordering::Relaxed);
        let mut failure = Failure::Late;
        for (attempt, patience) in ATTEMPTS.into_iter().enumerate() {
            let number = (first + attempt) % self.servers.len().max(1);
            let Some(server) = self.servers.get(number) else {
                return Err(failure);
            };
            match self.ask_one(*server, question, patience).await {
                Ok(message) => {
                    self.preferred.store(number, Ordering::Relaxed);
                    return Ok(message);
                }
                Err(why) => {
                    tracing::debug!(%server, name = %question.name, %why, "no answer");
                    failure = why;
                }
            }
        }
        Err(failure)
    }

    async fn ask_one(
        &self,
        server: SocketAddr,
        question: &Question,
        patience: Duration,
    ) -> Result<Message, Failure> {
        let mut drawn = [0; 34];
        getrandom::fill(&mut drawn).map_err(io::Error::other)?;
        let [high, low, letters @ ..] = drawn;
        let asked = Exchange {
            server,
            id: u16::from_be_bytes([high, low]),
            name: match self.mixes_letters {
                true => with_letters(&question.name, letters),
                false => question.name.clone(),
            },
            kind: question.kind,
        };
        let heard = timeout(patience, asked.by_datagram()).await;
        let message = match heard.map_err(|_| Failure::Late)?? {
            Some(message) => message,
            None => {
                let heard = timeout(STREAM_TIME_MAX, asked.by_stream()).await;
                heard.map_err(|_| Failure::Late)??
            }
        };
        match message.metadata.response_code {
            ResponseCode::NoError | ResponseCode::NXDomain => Ok(message),
            code => Err(Failure::Code(code)),
        }
    }
}

/// One question to one server.
struct Exchange {
    server: SocketAddr,
    id: u16,
    name: Name,
    kind: RecordType,
}

impl Exchange {
    /// Nothing if it is to be asked over TCP: the answer was cut, or somebody guesses.
    async fn by_datagram(&self) -> Result<Option<Message>, Failure> {
        let any: IpAddr = match self.server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(self.server).await?;
        socket.send(&self.request()).await?;
        // What is longer than was agreed is cut, and then no message.
        let mut buffer = [0; 4096];
        for _ in 0..NOISE_MAX {
            let length = socket.recv(&mut buffer).await?;
            match self.hear(&buffer[..length]) {
                Heard::Answer(message) if message.metadata.truncation => return Ok(None),
                Heard::Answer(message) => return Ok(Some(*message)),
                Heard::OtherLetters => return Ok(None),
                Heard::Noise => {}
            }
        }
        Ok(None)
    }

    async fn by_stream(&self) -> Result<Message, Failure> {
        let mut stream = TcpStream::connect(self.server).await?;
        stream.write_all(&framed(&self.request())).await?;
        let length = stream.read_u16().await?;
        let mut buffer = vec![0; length.into()];
        stream.read_exact(&mut buffer).await?;
        match self.hear(&buffer) {
            // A server that does not keep letters is one that is there.
            Heard::Answer(message) => Ok(*message),
            Heard::OtherLetters => Message::from_vec(&buffer).map_err(|_| Failure::Unreadable),
            Heard::Noise => Err(Failure::Unreadable),
        }
    }

    fn request(&self) -> Vec<u8> {
        request(self.id, &self.name, self.kind)
    }

    fn hear(&self, bytes: &[u8]) -> Heard {
        hear(bytes, self.id, &self.name, self.kind)
    }
}

/// A message as it goes over TCP (RFC 1035, 4.2.2).
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(&message[..length.into()]);
    bytes
}

/// The name in upper and lower case as the bits say: a name has at most 253 letters.
fn with_letters(name: &Name, bits: [u8; 32]) -> Name {
    let mut at = 0_usize;
    let mut letter = |byte: &u8| {
        let is_upper = bits[at / 8 % bits.len()] >> (at % 8) & 1 == 1;
        at += 1;
        match is_upper {
            true => byte.to_ascii_uppercase(),
            false => byte.to_ascii_lowercase(),
        }
    };
    let labels: Vec<Vec<u8>> = name
        .iter()
        .map(|label| label.iter().map(&mut letter).collect())
        .collect();
    let labels = labels.iter().map(Vec::as_slice);
    // It was a name before.
    let mut mixed = Name::from_labels(labels).unwrap_or_else(|_| name.clone());
    mixed.set_fqdn(true);
    mixed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_drawn_and_the_name_stays() {
        let name = Name::from_ascii("www.photos.example.").unwrap();
        let mixed = with_letters(&name, [0b0101_0101; 32]);
        assert_eq!(mixed.to_ascii(), "WwW.pHoToS.eXaMpLe.");
        assert_eq!(mixed, name);
        assert!(!mixed.eq_case(&name));
    }

    #[test]
    fn only_the_answer_to_the_question_is_heard() {
        let name = with_letters(
            &Name::from_ascii("www.photos.example.").unwrap(),
            [0xa5; 32],
        );
        let mut answer = Message::from_vec(&request(7, &name, RecordType::A)).unwrap();
        answer.metadata.message_type = hickory_proto::op::MessageType::Response;
        let heard = |change: &dyn Fn(&mut Message), expected: &str| {
            let mut changed = answer.clone();
            change(&mut changed);
            let heard = hear(&changed.to_vec().unwrap(), 7, &name, RecordType::A);
            assert!(format!("{heard:?}").starts_with(expected), "{heard:?}");
        };
        heard(&|_| {}, "Answer");
        heard(&|m| m.metadata.id = 8, "Noise");
        heard(
            &|m| m.metadata.message_type = hickory_proto::op::MessageType::Query,
            "Noise",
        );
        heard(&|m| m.queries.clear(), "Noise");
        heard(&|m| m.queries[0].query_type = RecordType::AAAA, "Noise");
        heard(
            &|m| m.queries[0].name = Name::from_ascii("ww.photos.example.").unwrap(),
            "Noise",
        );
        heard(&|m| m.queries[0].name = name.to_lowercase(), "OtherLetters");
        assert!(matches!(
            hear(b"nonsense", 7, &name, RecordType::A),
            Heard::Noise
        ));
    }
}
