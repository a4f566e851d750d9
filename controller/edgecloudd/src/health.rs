//! Asking a domain whether it lives.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest path of a question.
const PATH_LENGTH_MAX: usize = 256;

/// How a domain is asked: `tcp:PORT` (it accepts), or `http:PORT/PATH` (it answers 2xx).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Probe {
    port: u16,
    /// Nothing where accepting is enough.
    path: Option<String>,
}

impl FromStr for Probe {
    type Err = String;

    fn from_str(text: &str) -> Result<Probe, String> {
        let wrong = || format!("{text:?} is no question: write tcp:PORT or http:PORT/PATH");
        let (kind, rest) = text.split_once(':').ok_or_else(wrong)?;
        let (port, path) = match (kind, rest.split_once('/')) {
            ("tcp", None) => (rest, None),
            ("http", Some((port, path))) => (port, Some(format!("/{path}"))),
            _ => return Err(wrong()),
        };
        let port = port.parse().ok().filter(|port| *port != 0);
        let plain = |path: &String| {
            path.len() <= PATH_LENGTH_MAX && path.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !path.as_ref().is_none_or(plain) {
            return Err(wrong());
        }
        Ok(Probe {
            port: port.ok_or_else(wrong)?,
            path,
        })
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "http:{}{path}", self.port),
            None => write!(f, "tcp:{}", self.port),
        }
    }
}

impl TryFrom<String> for Probe {
    type Error = String;

    fn try_from(text: String) -> Result<Probe, String> {
        text.parse()
    }
}

impl From<Probe> for String {
    fn from(probe: Probe) -> String {
        probe.to_string()
    }
}

impl Probe {
    /// Asks once. What is not answered within the limit is no answer.
    pub async fn ask(&self, address: IpAddr, within: Duration) -> bool {
        let asked = self.answers(SocketAddr::new(address, self.port));
        tokio::time::timeout(within, asked).await == Ok(true)
    }

    async fn answers(&self, address: SocketAddr) -> bool {
        let Ok(mut stream) = TcpStream::connect(address).await else {
            return false;
        };
        let Some(path) = &self.path else {
            return true;
        };
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        if stream.write_all(request.as_bytes()).await.is_err() {
            return false;
        }
        // `HTTP/1.1 204`
        let mut head = [0; 12];
        let read = stream.read_exact(&mut head).await;
        read.is_ok() && head.starts_with(b"HTTP/1.") && head.get(8..10) == Some(b" 2")
    }
}

/// What a row of answers says of a domain.
#[derive(Debug, Clone, Copy)]
pub struct Judge {
    failed: bool,
    /// Answers in a row that say the other thing.
    against: u32,
    needed: u32,
}

impl Judge {
    /// From what was known; so many answers in a row change it.
    pub fn new(failed: bool, needed: u32) -> Judge {
        Judge {
            failed,
            against: 0,
            needed,
        }
    }

    /// After one more answer: whether it has failed now, if that is news.
    pub fn hear(&mut self, answered: bool) -> Option<bool> {
        if answered != self.failed {
            self.against = 0;
            return None;
        }
        self.against += 1;
        if self.against < self.needed {
            return None;
        }
        self.against = 0;
        self.failed = !self.failed;
        Some(self.failed)
    }

    /// Whether the next question should be asked at once.
    pub fn doubts(&self) -> bool {
        self.against > 0 && !self.failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_are_read_and_written() {
        for text in ["tcp:80", "http:8008/health", "http:1/"] {
            assert_eq!(text.parse::<Probe>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "tcp",
            "tcp:0",
            "tcp:80/x",
            "http:80",
            "udp:1",
            "http:80/a b",
            "tcp:70000",
        ] {
            let error = text.parse::<Probe>().unwrap_err();
            assert!(error.contains("tcp:PORT"), "{error}");
        }
    }

    #[test]
    fn one_answer_changes_nothing() {
        let mut judge = Judge::new(false, 2);
        let told: Vec<Option<bool>> = [false, true, false, false, false, true, true, true]
            .into_iter()
            .map(|answered| judge.hear(answered))
            .collect();
        let (failed, lives) = (Some(true), Some(false));
        assert_eq!(told, [None, None, None, failed, None, None, lives, None]);
    }

    #[tokio::test]
    async fn a_server_is_asked() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = async |answer: &[u8]| {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1024];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(answer).await.unwrap();
        };
        let probe: Probe = format!("http:{}/health", address.port()).parse().unwrap();
        let within = Duration::from_secs(10);
        for (answer, expected) in [
            (&b"HTTP/1.1 204 No Content\r\n\r\n"[..], true),
            (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", false),
            (b"220 mail.example\r\n\r\n", false),
            (b"", false),
        ] {
            let (answered, ()) = tokio::join!(probe.ask(address.ip(), within), serve(answer));
            assert_eq!(answered, expected);
        }
        drop(listener);
        assert!(!probe.ask(address.ip(), within).await);
    }
}
