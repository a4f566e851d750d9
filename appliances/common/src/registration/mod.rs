//! Taking part: the metadata service of the host gives the configuration, believes the proof that
//! this is the domain of its token, is told when requests are welcome, and says when to end.
//!
//! The interface is the controller's (`controller/edgecloudd/src/api/mod.rs`). It is used if
//! `EDGECLOUD_METADATA` is set, as it is in every domain that `edgecloud launch` has started; without
//! it an appliance stands alone.
//!
//! *States.* unregistered → registered → live → draining. A controller that is away or starts again
//! is asked again with rising pauses, while the appliance serves as before; one that has forgotten
//! the domain is told again.
//!
//! *Threats.* Answers may be of any kind and length: they are bounded and parsed once. The key signs
//! nothing but proofs, whose form no other document has.

mod client;
mod proof;

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Method, StatusCode};
use data_encoding::BASE64;
use serde::Deserialize;
use tokio::time::sleep;

pub use client::AskError;
pub(crate) use client::Service;
pub(crate) use proof::HolderKey;

use crate::drain::Drain;
use crate::limits::{
    CONTROLLER_POLL_TIME_MAX, CONTROLLER_TIME_MAX, RETRY_TIME_MAX, RETRY_TIME_MIN,
};
use crate::log::Log;
use crate::metrics::{Counter, Gauge, Registry};
use crate::readiness::Readiness;

/// The controller, as this domain knows it.
#[derive(Debug)]
pub(crate) struct Controller {
    pub(crate) service: Service,
    pub(crate) key: HolderKey,
}

/// The host's metadata service, which an appliance asks for what its token grants. It knows who asks
/// by the address, and believes it after the registration's proof.
#[derive(Clone, Debug)]
pub struct Metadata(Service);

impl Metadata {
    pub(crate) fn of(controller: &Controller) -> Self {
        Self(controller.service.clone())
    }

    /// Asks; the body of a good answer. The path has no slash before it: `admissions`.
    ///
    /// # Errors
    /// The service is away, refuses, or answers with nonsense.
    pub async fn ask(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Bytes, AskError> {
        self.0.ask(method, path, body, CONTROLLER_TIME_MAX).await
    }
}

/// `GET nonce`.
#[derive(Deserialize)]
struct Challenge {
    nonce: String,
    token: String,
}

/// `GET state`.
#[derive(Deserialize)]
struct State {
    state: String,
}

/// What the appliance tells the controller of, and hears it by.
pub(crate) struct Part {
    pub(crate) log: Log,
    pub(crate) drain: Drain,
    pub(crate) readiness: Readiness,
    registered: Gauge,
    errors: Counter,
}

impl Part {
    pub(crate) fn new(log: Log, drain: Drain, readiness: Readiness, metrics: &Registry) -> Self {
        let registered = "Whether the controller believes that this is the domain of its token.";
        let errors = "Questions to the controller that failed.";
        Self {
            log,
            drain,
            readiness,
            registered: metrics.gauge("edgecloud_registered", registered, &[]),
            errors: metrics.counter("edgecloud_controller_errors_total", errors, &[]),
        }
    }
}

impl Controller {
    /// The appliance's document, as it was given at the launch; asked for until it is there.
    pub(crate) async fn configuration(&self, log: &Log) -> String {
        let mut retries = Retries::default();
        loop {
            let answer = self.get("configuration", CONTROLLER_TIME_MAX).await;
            let text = answer.and_then(|bytes| {
                let text = String::from_utf8(bytes.to_vec());
                text.map_err(|_| AskError::Nonsense("the configuration is not UTF-8"))
            });
            match text {
                Ok(text) => return text,
                Err(error) => retries.rest(&error, log).await,
            }
        }
    }

    /// Takes part until the appliance is to end.
    pub(crate) async fn take_part(self, part: Part) {
        tokio::select! {
            () = part.drain.begun() => {}
            () = self.stay_registered(&part) => {}
        }
        // Who asked for the end may know; where it was SIGTERM, the switch should not send more.
        if part.registered.get() == 1 {
            let _ = self.post("drain", Vec::new()).await;
        }
        part.registered.set(0);
    }

    async fn stay_registered(&self, part: &Part) {
        let mut retries = Retries::default();
        while !part.drain.has_begun() {
            let error = match self.once(part, &mut retries).await {
                Ok(()) => continue,
                Err(error) => error,
            };
            part.errors.add(1);
            retries.rest(&error, &part.log).await;
        }
    }

    /// Registers, tells when it is ready, and follows the state while the controller knows it.
    async fn once(&self, part: &Part, retries: &mut Retries) -> Result<(), AskError> {
        self.register().await?;
        part.registered.set(1);
        part.log.say("registered at the controller");
        part.readiness.opened().await;
        self.post("ready", Vec::new()).await?;
        retries.end();
        let followed = self.follow(part, retries).await;
        part.registered.set(0);
        followed
    }

    async fn register(&self) -> Result<(), AskError> {
        let challenge: Challenge = json(&self.get("nonce", CONTROLLER_TIME_MAX).await?)?;
        let bytes = |text: &str| {
            let bytes = BASE64.decode(text.as_bytes());
            bytes.map_err(|_| AskError::Nonsense("the challenge is not base64"))
        };
        let nonce = bytes(&challenge.nonce)?;
        let nonce = nonce.as_slice().try_into();
        let nonce = nonce.map_err(|_| AskError::Nonsense("the nonce has not 32 bytes"))?;
        let proof = self.key.prove(nonce, &bytes(&challenge.token)?);
        let registration = serde_json::json!({
            "token": challenge.token,
            "proof": BASE64.encode(&proof),
        });
        self.post("register", registration.to_string().into_bytes())
            .await
            .map(drop)
    }

    /// Follows the state; returns when the appliance should register again, or end.
    async fn follow(&self, part: &Part, retries: &mut Retries) -> Result<(), AskError> {
        let mut known = "live".to_owned();
        loop {
            let path = format!("state?known={known}");
            let state = match self.get(&path, CONTROLLER_POLL_TIME_MAX).await {
                Ok(answer) => json::<State>(&answer)?.state,
                Err(error) if error.is_by_the_controller() => return Err(error),
                Err(error) => {
                    // It is away: what it said last still holds.
                    part.errors.add(1);
                    retries.rest(&error, &part.log).await;
                    continue;
                }
            };
            retries.end();
            match state.as_str() {
                "draining" => {
                    part.log.say("the controller asks to end");
                    part.drain.begin();
                    return Ok(());
                }
                "starting" => return Err(AskError::Nonsense("it has forgotten this domain")),
                // `failed` is what the controller's own health check found, and it looks again.
                "live" | "failed" => known = state,
                _ => return Err(AskError::Nonsense("the state is none that it promises")),
            }
        }
    }

    async fn get(&self, path: &str, time_max: Duration) -> Result<Bytes, AskError> {
        self.service
            .ask(Method::GET, path, Vec::new(), time_max)
            .await
    }

    async fn post(&self, path: &str, body: Vec<u8>) -> Result<Bytes, AskError> {
        self.service
            .ask(Method::POST, path, body, CONTROLLER_TIME_MAX)
            .await
    }
}

impl AskError {
    /// Whether the controller answered, and not somebody on the way, or nobody.
    fn is_by_the_controller(&self) -> bool {
        let of_the_server = |status: &StatusCode| status.is_server_error();
        matches!(self, AskError::Refused(status, _) if !of_the_server(status))
    }
}

fn json<'d, T: Deserialize<'d>>(bytes: &'d [u8]) -> Result<T, AskError> {
    serde_json::from_slice(bytes).map_err(|_| AskError::Nonsense("not the JSON that it promises"))
}

/// Pauses that rise while nothing succeeds.
#[derive(Default)]
struct Retries {
    failed: u32,
}

impl Retries {
    /// Tells why, and waits for the next try.
    async fn rest(&mut self, why: &AskError, log: &Log) {
        let pause = pause(self.failed, RandomState::new().hash_one(self.failed));
        self.failed = self.failed.saturating_add(1);
        let milliseconds = pause.as_millis();
        log.often(why, &[("again-in-ms", &milliseconds)]);
        sleep(pause).await;
    }

    /// Something succeeded.
    fn end(&mut self) {
        self.failed = 0;
    }
}

/// Doubles with each failure, up to a bound, and is drawn from its upper half, so that the domains
/// of a host do not come all at once.
fn pause(failed: u32, random: u64) -> Duration {
    let longest = RETRY_TIME_MIN
        .saturating_mul(1 << failed.min(16))
        .min(RETRY_TIME_MAX);
    let half = longest / 2;
    let spread = u64::try_from(half.as_micros()).unwrap_or(u64::MAX);
    half + Duration::from_micros(random % (spread + 1))
}

#[cfg(test)]
mod tests;
