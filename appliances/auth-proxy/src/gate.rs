//! The way through the switch, as the host's controller opens and closes it
//! (`controller/edgecloudd/src/api/mod.rs`, `/v1/admissions`).
//!
//! Without a controller there is nothing to open: sessions are kept all the same, which is what tests
//! of the pages need.

use std::net::IpAddr;

use axum::http::Method;
use edgecloud_appliance::{AskError, Metadata};
use serde::{Deserialize, Serialize};

/// The controller's side.
#[derive(Clone, Debug)]
pub struct Gate(Option<Metadata>);

/// Who is let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Admission {
    /// The client.
    pub address: IpAddr,
    /// Kilobits a second, both directions together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kbit: Option<u32>,
    /// Until when, in seconds since 1970: the host ends it then by itself.
    pub expires: u64,
}

/// What the controller says of somebody who is let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Counted {
    /// The client.
    pub address: IpAddr,
    /// Bytes of both directions since it was let through.
    pub bytes: u64,
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
        Self(metadata)
    }

    /// Lets a client through, or changes until when and how fast.
    ///
    /// # Errors
    /// The controller refuses or is away.
    pub async fn open(&self, admission: &Admission) -> Result<(), GateError> {
        let Some(metadata) = &self.0 else {
            return Ok(());
        };
        let body = serde_json::to_vec(admission).unwrap_or_default();
        metadata.ask(Method::POST, "admissions", body).await?;
        Ok(())
    }

    /// Lets a client through no more; what it carried.
    ///
    /// # Errors
    /// The controller is away. That nobody of that address was let through is none.
    pub async fn close(&self, client: IpAddr) -> Result<Option<Counted>, GateError> {
        let Some(metadata) = &self.0 else {
            return Ok(None);
        };
        let path = format!("admissions/{client}");
        match metadata.ask(Method::DELETE, &path, Vec::new()).await {
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
        let Some(metadata) = &self.0 else {
            return Ok(None);
        };
        let body = metadata.ask(Method::GET, "admissions", Vec::new()).await?;
        let list: List = serde_json::from_slice(&body)
            .map_err(|_| GateError::Away("its list is none".to_owned()))?;
        Ok(Some(list.admissions))
    }
}
