//! The way through the switch, as the host's controller opens and closes it
//! (`controller/edgecloudd/src/api/mod.rs`, `/v1/admissions`).
//!
//! Without a controller there is nothing to open: sessions are kept all the same, which is what tests
//! of the pages need.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::Method;
use edgecloud_appliance::{AskError, Metadata};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::session::Carried;

/// The controller's side.
#[derive(Debug)]
pub struct Gate(Option<Controller>);

#[derive(Debug)]
struct Controller {
    metadata: Metadata,
    /// A host takes eight connections of a domain at once, of which one waits for its word to end and one for
    /// what is free: a crowd that logs in at once takes turns.
    turns: Semaphore,
}

impl Controller {
    const TURNS: usize = 4;
    /// Until a place that was given back a moment ago is free there, too.
    const PAUSE: Duration = Duration::from_millis(50);
    const TRIES: usize = 4;

    async fn ask(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Bytes, AskError> {
        // It is never closed.
        let _turn = self.turns.acquire().await;
        let mut left = Self::TRIES;
        loop {
            left -= 1;
            let asked = self.metadata.ask(method.clone(), path, body.clone()).await;
            match asked {
                // It closed the connection without a word. All that is asked for here may be asked twice.
                Err(AskError::Broken(_)) if left > 0 => tokio::time::sleep(Self::PAUSE).await,
                other => return other,
            }
        }
    }
}

/// Who is let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Admission {
    /// The client.
    pub address: IpAddr,
    /// The port of the connection that it logged in by, which says what its MAC address is; none when
    /// only its time or rate changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Kilobits a second, both directions together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kbit: Option<u32>,
    /// When the host ends it by itself, in seconds since 1970: a while after the pass is over, so that
    /// a portal which is there ends it first.
    pub expires: u64,
}

/// What the controller says of somebody who is let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Counted {
    /// The client.
    pub address: IpAddr,
    /// What it carried since it was let through.
    #[serde(flatten)]
    pub carried: Carried,
}

#[derive(Deserialize)]
struct List {
    admissions: Vec<Counted>,
}

/// Why the way is as it was.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The controller says no.
    #[error("the controller refuses: {0}; does the token grant `admit`?")]
    Refused(String),
    /// It says nothing.
    #[error("the controller is away: {0}")]
    Away(String),
}

impl From<AskError> for GateError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Refused(status, why) if !status.is_server_error() => {
                Self::Refused(format!("{status} {why}"))
            }
            other => Self::Away(other.to_string()),
        }
    }
}

impl Gate {
    /// With the host's metadata service, if there is one.
    pub fn new(metadata: Option<Metadata>) -> Self {
        Self(metadata.map(|metadata| Controller {
            metadata,
            turns: Semaphore::new(Controller::TURNS),
        }))
    }

    /// Lets a client through, or changes until when and how fast.
    ///
    /// # Errors
    /// The controller refuses or is away.
    pub async fn open(&self, admission: &Admission) -> Result<(), GateError> {
        let Some(controller) = &self.0 else {
            return Ok(());
        };
        let body = serde_json::to_vec(admission).unwrap_or_default();
        controller.ask(Method::POST, "admissions", body).await?;
        Ok(())
    }

    /// Lets a client through no more; what it carried.
    ///
    /// # Errors
    /// The controller is away. That nobody of that address was let through is none.
    pub async fn close(&self, client: IpAddr) -> Result<Option<Counted>, GateError> {
        let Some(controller) = &self.0 else {
            return Ok(None);
        };
        let path = format!("admissions/{client}");
        match controller.ask(Method::DELETE, &path, Vec::new()).await {
            Ok(body) => Ok(serde_json::from_slice(&body).ok()),
            Err(AskError::Refused(status, _)) if status == 404 => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Everybody who is let through; nothing if there is no controller.
    ///
    /// # Errors
    /// The controller is away or refuses.
    pub async fn list(&self) -> Result<Option<Vec<Counted>>, GateError> {
        let Some(controller) = &self.0 else {
            return Ok(None);
        };
        let body = controller
            .ask(Method::GET, "admissions", Vec::new())
            .await?;
        let list: List = serde_json::from_slice(&body)
            .map_err(|_| GateError::Away("its list is none".to_owned()))?;
        Ok(Some(list.admissions))
    }
}
