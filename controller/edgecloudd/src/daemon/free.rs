//! What who keeps a gate is told of free services, so that it can take its visitors there who ask for one
//! by name.

use std::net::IpAddr;
use std::time::Duration;

use data_encoding::HEXLOWER;
use manifest::{Digest, Source};
use tokio::time::{Instant, timeout_at};

use super::{Daemon, lock};
use crate::api::FREE_POLL_SECONDS_MAX;
use crate::api::documents::{FreeService, FreeServices};
use crate::pipeline::{self, Payer};
use crate::refusal::Refusal;

/// Services that are told: each costs the appliance memory, and a wildcard's owner has names without end.
const SERVICES_MAX: usize = 1024;
/// Addresses that are told of a service: who cannot be reached at these is not reached.
const ADDRESSES_MAX: usize = 8;

impl Daemon {
    /// The free services that the asking appliance may reach: at once, or as soon as they are others than
    /// those of the version that it knows. The switch lets it reach what it is told.
    ///
    /// # Errors
    /// It keeps no gate, or the switch.
    pub async fn free_services(
        &self,
        from: IpAddr,
        known: Option<&str>,
    ) -> Result<FreeServices, Refusal> {
        let mut changed = self.changed.subscribe();
        let deadline = Instant::now() + Duration::from_secs(FREE_POLL_SECONDS_MAX);
        loop {
            let number = *changed.borrow_and_update();
            let told = self.free_now(from)?;
            if known != Some(told.version.as_str()) {
                self.applied(number).await?;
                return Ok(told);
            }
            if timeout_at(deadline, changed.changed()).await.is_err() {
                return Ok(told);
            }
        }
    }

    fn free_now(&self, from: IpAddr) -> Result<FreeServices, Refusal> {
        let (number, _) = self.keeper(from)?;
        let desired = lock(&self.state).desired(&self.host);
        let desired = desired.map_err(|error| Refusal::Switch(error.to_string()))?;
        let mut applications = desired.applications().iter();
        let keeper = applications.find(|a| a.number.get() == number);
        let keeper = keeper.ok_or(Refusal::NotADomain)?;
        let all = pipeline::free_services(&desired, keeper).into_iter();
        let services: Vec<FreeService> = all.take(SERVICES_MAX).map(told).collect();
        let all = pipeline::payers(&desired, keeper).into_iter();
        let payers: Vec<String> = all.map(word).collect();
        // What is equal has the same version, also after the daemon was started again.
        let digest = Digest::of(format!("{services:?} {payers:?}").as_bytes());
        let version = HEXLOWER.encode(&digest.0[..16]);
        Ok(FreeServices {
            version,
            services,
            payers,
        })
    }
}

fn word(payer: Payer) -> String {
    format!("{}.{}", payer.application, payer.rule)
}

fn told(service: pipeline::FreeService) -> FreeService {
    FreeService {
        name: service.name.to_string(),
        service: service.pattern.to_string(),
        payer: word(service.payer),
        clients: match service.from {
            Source::Net(range) => Some(range.to_string()),
            _ => None,
        },
        tcp: service.tcp.ranges().to_vec(),
        addresses: service.addresses.into_iter().take(ADDRESSES_MAX).collect(),
    }
}
