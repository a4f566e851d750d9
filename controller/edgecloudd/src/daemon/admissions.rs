//! Clients that appliances let through, within what their tokens grant.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use manifest::{Admit as AdmitRule, Rule, Source, Timestamp, Token};

use super::{Daemon, lock, now};
use crate::accounting::Amount;
use crate::admissions::{AdmissionKey, AdmissionRecord};
use crate::api::documents::{Admission, Admissions, Admit};
use crate::config::Mac;
use crate::refusal::Refusal;
use crate::state::Change;

impl Daemon {
    /// Lets a client of the asking appliance through; returns once the switch does.
    ///
    /// # Errors
    /// No rule grants it, nobody knows the client, no place, or the switch.
    pub async fn admit(&self, from: IpAddr, request: &Admit) -> Result<Admission, Refusal> {
        let (application, token) = self.keeper(from)?;
        let client = request.address.to_canonical();
        if !grants(&token, client) || !self.host.clients.iter().any(|c| c.contains(client)) {
            return Err(Refusal::NotGranted(client));
        }
        let mac = match &request.mac {
            Some(text) => text.parse().map_err(Refusal::Malformed)?,
            None => self.mac_of(application, client, request.port).await?,
        };
        let Mac(bytes) = mac;
        if bytes[0] & 1 != 0 || bytes == self.host.gateway {
            return Err(Refusal::Malformed(format!("{mac} is no client's")));
        }
        if request.expires <= now().seconds() {
            return Err(Refusal::Malformed("`expires` has passed".to_owned()));
        }
        let limit = token.limit().rate.map(|rate| rate.kbit());
        let kbit = match (request.kbit, limit) {
            (Some(kbit), Some(limit)) => Some(kbit.min(limit)),
            (kbit, limit) => kbit.or(limit),
        };
        if kbit.is_some_and(|kbit| manifest::Rate::from_kbit(kbit).is_none()) {
            return Err(Refusal::Malformed("`kbit` is out of range".to_owned()));
        }
        let key = (application, client);
        let (record, changed) = self.change(|state| {
            if state.is_let_through_by_another(application, client) {
                return Err(Refusal::OthersClient(client));
            }
            let before = state.admissions.get(&key);
            let place = before.map(|record| record.place);
            let place = place.or_else(|| state.free_place(application));
            let sums = before.map(|record| (record.sent, record.received));
            let (sent, received) = sums.unwrap_or_default();
            let record = AdmissionRecord {
                place: place.ok_or(Refusal::Full("places for clients"))?,
                mac: bytes,
                kbit,
                expires: request.expires.min(token.expires().seconds()),
                sent,
                received,
                ending: false,
            };
            let changes = match before == Some(&record) {
                true => vec![],
                false => vec![Change::Admission(key, record.clone())],
            };
            Ok((record, changes))
        })?;
        self.applied(changed).await?;
        Ok(told(client, &record))
    }

    /// Lets a client through no more; what it carried, once the switch has told the last of it.
    ///
    /// # Errors
    /// It was not let through, or the switch.
    pub async fn dismiss(&self, from: IpAddr, client: IpAddr) -> Result<Admission, Refusal> {
        let (application, _) = self.keeper(from)?;
        let client = client.to_canonical();
        let key = (application, client);
        if !lock(&self.state).admissions.contains_key(&key) {
            return Err(Refusal::NotFound(format!("admission of {client}")));
        }
        let ended = self.end_these(&[key]).await?;
        let found = ended.into_iter().next();
        found.ok_or_else(|| Refusal::NotFound(format!("admission of {client}")))
    }

    /// Whom the asking appliance lets through, with what they carried until now.
    ///
    /// # Errors
    /// It may not ask, or the switch.
    pub async fn admissions(&self, from: IpAddr) -> Result<Admissions, Refusal> {
        let (application, _) = self.keeper(from)?;
        self.account().await?;
        let state = lock(&self.state);
        let live = state.admissions_of(application).filter(|(_, r)| !r.ending);
        let admissions = live.map(|(client, record)| told(client, record)).collect();
        Ok(Admissions { admissions })
    }

    /// The appliance that asks, if it proved who it is and keeps a gate.
    pub(super) fn keeper(&self, from: IpAddr) -> Result<(u32, Token), Refusal> {
        let (_, replica, token, _) = self.asking(from)?;
        if !replica.record.registered {
            return Err(Refusal::NotRegistered);
        }
        let keeps = |rule: &Rule| matches!(rule, Rule::Admit(AdmitRule { to: None, .. }));
        match token.grants().iter().any(|grant| keeps(&grant.rule)) {
            true => Ok((replica.record.application, token)),
            false => Err(Refusal::NotGranted(from)),
        }
    }

    /// The MAC address of a client: of the connection that it logged in by, where the appliance says
    /// which; else the one that it was let through with, or that all its connections have. Who only takes
    /// a client's address, and opens connections beside it, is not let through in its place.
    async fn mac_of(
        &self,
        application: u32,
        client: IpAddr,
        port: Option<u16>,
    ) -> Result<Mac, Refusal> {
        let (zone, known) = {
            let state = lock(&self.state);
            let known = state.admissions.get(&(application, client));
            let known = known.filter(|record| !record.ending);
            (state.zone_for(application), known.map(|record| record.mac))
        };
        if let (None, Some(mac)) = (port, known) {
            return Ok(Mac(mac));
        }
        let zone = zone.ok_or(Refusal::NotADomain)?;
        let listed = self.listings.after_now(zone, self.switch.openers(zone));
        let listed = listed.await;
        let listed = listed.map_err(|error| Refusal::Switch(error.to_string()))?;
        let own = listed.iter().filter(|opener| {
            opener.client.ip() == client && port.is_none_or(|port| opener.client.port() == port)
        });
        let macs: BTreeSet<[u8; 6]> = own.map(|opener| opener.mac).collect();
        match macs.first() {
            Some(mac) if macs.len() == 1 => Ok(Mac(*mac)),
            _ => Err(Refusal::UnknownClient(client)),
        }
    }

    /// Ends what expired, beside what else is done.
    pub(super) fn end_admissions(self: &Arc<Self>, now: Timestamp) {
        let over = lock(&self.state).ending_admissions(now);
        if over.is_empty() {
            return;
        }
        let daemon = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = daemon.end_these(&over).await {
                tracing::warn!(%error, "clients are let through no more, and not yet forgotten");
            }
        });
    }

    /// Takes the flows away, hears what they counted, and forgets the admissions.
    async fn end_these(&self, keys: &[AdmissionKey]) -> Result<Vec<Admission>, Refusal> {
        let ((), changed, _) = self.take_away(|state| Ok(((), state.ends(keys))))?;
        self.applied(changed).await?;
        self.account().await?;
        let (ended, _, _) = self.take_away(|state| {
            let ending = keys.iter().filter_map(|key| {
                let record = state.admissions.get(key)?;
                // It may have been let through again meanwhile.
                record.ending.then(|| (*key, told(key.1, record)))
            });
            let (keys, told): (Vec<AdmissionKey>, Vec<Admission>) = ending.unzip();
            let changes = keys.into_iter().map(Change::NoAdmission).collect();
            Ok((told, changes))
        })?;
        Ok(ended)
    }
}

/// Whether a token lets its appliance admit a client.
fn grants(token: &Token, client: IpAddr) -> bool {
    token.grants().iter().any(|grant| match &grant.rule {
        Rule::Admit(AdmitRule { from, to: None }) => match from {
            Source::Net(range) => range.contains(client),
            _ => true,
        },
        _ => false,
    })
}

fn told(client: IpAddr, record: &AdmissionRecord) -> Admission {
    let (
        Amount { bytes: sent, .. },
        Amount {
            bytes: received, ..
        },
    ) = (record.sent, record.received);
    Admission {
        address: client,
        mac: Mac(record.mac).to_string(),
        kbit: record.kbit,
        expires: record.expires,
        sent,
        received,
        bytes: sent.saturating_add(received),
    }
}
