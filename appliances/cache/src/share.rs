//! A publisher's part of a cache that several share: memory, disk, connections and accounts of its own.
//!
//! *Threats.* One publisher's clients or origins who want another's place, patience or answers. Nothing that
//! is bounded is common: a share displaces its own responses alone, so neither what is held of another nor
//! how long it takes tells what the others do; connections to origins, and the requests that wait for them,
//! are counted by share; and a purge is done in one.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use edgecloud_appliance::{Failure, Served, Stage};
use http::HeaderMap;
use http::uri::Authority;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::body::Live;
use crate::collapse::Flights;
use crate::disk::{Disk, Memory, Region, Regions};
use crate::figures::Figures;
use crate::forgotten::{Forgotten, Since};
use crate::limits::REQUESTS_PER_CONNECTION;
use crate::origin::{self, Origin, Upstream};
use crate::refusal::Refused;
use crate::settings::{MEBIBYTE, Own, Publisher, SitePattern, TokenDigest};
use crate::storable::NotStored;
use crate::store::{Entry, Key, Store};

/// What nobody else has, in accounts and metrics.
const REST: &str = "rest";

/// One part.
#[derive(Debug)]
pub(crate) struct Share {
    pub(crate) name: String,
    sites: Vec<SitePattern>,
    addresses: Vec<IpAddr>,
    /// Where its requests go; None: to whom the client meant.
    pub(crate) upstream: Option<Upstream>,
    token: Option<TokenDigest>,
    certificate: Option<Served>,
    pub(crate) store: Arc<Store>,
    pub(crate) disk: Option<Disk>,
    pub(crate) flights: Flights,
    pub(crate) origin: Origin,
    pub(crate) figures: Figures,
    /// Bytes of bodies in memory, whoever still reads them.
    pub(crate) live: Live,
    pub(crate) memory_bytes: u64,
    /// Bytes of the largest response that is stored in one piece.
    pub(crate) object_bytes_max: u64,
    /// What was asked for before a purge, or before its address became invalid, is not stored after it.
    pub(crate) forgotten: Forgotten,
    /// Seats for requests that wait for the origin.
    waiting: Arc<Semaphore>,
}

impl Share {
    /// A seat for a request that has to wait for the origin.
    pub(crate) fn seat(&self) -> Result<OwnedSemaphorePermit, Refused> {
        let seat = Arc::clone(&self.waiting).try_acquire_owned();
        seat.map_err(|_| Refused::Busy)
    }

    /// Whether bodies of so many bytes more are too many. What was displaced but is still being sent to
    /// somebody counts, so that slow clients cannot hold more than a quarter beside what is stored.
    pub(crate) fn is_crowded_by(&self, bytes: u64) -> bool {
        self.live.bytes() + bytes > live_bytes_max(self.memory_bytes)
    }

    /// Stores a response, unless it was forgotten since it was asked for.
    pub(crate) fn insert(
        &self,
        key: &Key,
        entry: &Arc<Entry>,
        since: Since,
    ) -> Result<(), NotStored> {
        let may = || !self.forgotten.has(key, since);
        match self.store.insert_if(key, Arc::clone(entry), may) {
            true => Ok(()),
            false => Err(NotStored::Purged),
        }
    }

    /// Brings a response from the disk into memory.
    pub(crate) async fn warm(&self, key: &Key, request: &HeaderMap) -> Option<Arc<Entry>> {
        let since = self.since();
        let entry = self.disk.as_ref()?.load(key, request).await?;
        self.insert(key, &entry, since).ok()?;
        Some(entry)
    }

    /// Removes an address from both tiers.
    pub(crate) fn remove(&self, key: &Key) {
        self.store.remove(key);
        if let Some(disk) = &self.disk {
            disk.remove(key);
        }
    }

    /// Removes an address whose answers are not true any more; what is under way for it is not stored.
    pub(crate) fn invalidate(&self, key: &Key) {
        self.forgotten.invalidate(key);
        self.remove(key);
    }

    /// What a load that begins now has to show when it is stored.
    pub(crate) fn since(&self) -> Since {
        self.forgotten.now()
    }

    /// Whether a publisher purges here at all.
    pub(crate) fn takes_purges(&self) -> bool {
        self.token.is_some()
    }

    /// Whether this is the publisher's token, in a time that does not depend on how much of it is right.
    pub(crate) fn admits(&self, token: &[u8]) -> bool {
        let digest: [u8; 32] = Sha256::digest(token).into();
        let known = self.token.as_ref();
        known.is_some_and(|known| known.0.ct_eq(&digest).into())
    }

    /// Whether a site is the publisher's; what is nobody's is nobody's.
    pub(crate) fn has_site(&self, host: &str) -> bool {
        self.sites.iter().any(|site| site.means(host))
    }

    fn is_for(&self, host: &str, meant: Option<SocketAddr>) -> bool {
        let address = |meant: SocketAddr| self.addresses.contains(&meant.ip());
        self.has_site(host) && (self.upstream.is_some() || meant.is_some_and(address))
    }
}

/// All parts.
#[derive(Debug)]
pub(crate) struct Shares {
    publishers: Vec<Arc<Share>>,
    /// What is nobody's; none in a cache that is for its publishers' sites alone.
    rest: Option<Arc<Share>>,
}

/// A part that is to be made.
struct Plan<'s> {
    name: &'s str,
    publisher: Option<&'s Publisher>,
    upstream: Option<Upstream>,
    ca: Option<&'s str>,
    memory_bytes: u64,
    region: Option<Region>,
    seats: usize,
}

impl Shares {
    /// # Errors
    /// The settings make no sense as a whole, or the disk cannot be used.
    pub(crate) fn of(stage: &Stage<Own>) -> Result<Self, Failure> {
        let own = &stage.settings;
        own.check()?;
        let mut regions = own.disk.as_deref().map(Regions::of).transpose()?;
        let most = stage.connections_max * REQUESTS_PER_CONNECTION;
        // One that waits for its origin must not keep the others' clients from connecting.
        let seats = match own.publishers.is_empty() {
            true => most,
            false => (stage.connections_max / 2).max(1),
        };
        let mut publishers = Vec::new();
        for publisher in &own.publishers {
            let disk_bytes = u64::from(publisher.disk_mib) * MEBIBYTE;
            let plan = Plan {
                name: &publisher.name,
                publisher: Some(publisher),
                upstream: publisher.upstream(own)?,
                ca: publisher.origin_ca.as_deref().or(own.origin_ca.as_deref()),
                memory_bytes: u64::from(publisher.memory_mib) * MEBIBYTE,
                region: match regions.as_mut().filter(|_| disk_bytes > 0) {
                    Some(regions) => Some(regions.take(&publisher.name, disk_bytes)?),
                    None => None,
                },
                seats,
            };
            publishers.push(Arc::new(share(plan, stage)?));
        }
        let upstream = own.upstream()?;
        let has_rest = upstream.is_some() || own.intercepts();
        let rest = Plan {
            name: REST,
            publisher: None,
            upstream,
            ca: own.origin_ca.as_deref(),
            memory_bytes: u64::from(own.memory_left_mib().unwrap_or(0)) * MEBIBYTE,
            region: match regions.filter(|_| has_rest) {
                Some(regions) => regions.rest(REST)?,
                None => None,
            },
            seats,
        };
        let rest = match has_rest {
            true => Some(Arc::new(share(rest, stage)?)),
            false => None,
        };
        Ok(Self { publishers, rest })
    }

    /// The part for a request's site and the address that its client meant.
    pub(crate) fn find(
        &self,
        authority: &Authority,
        meant: Option<SocketAddr>,
    ) -> Option<&Arc<Share>> {
        let host = authority.host();
        let of_publisher = self
            .publishers
            .iter()
            .find(|share| share.is_for(host, meant));
        of_publisher.or(self.rest.as_ref())
    }

    /// The certificate of whose site a client asks for, if it has one.
    pub(crate) fn certificate(&self, site: &str) -> Option<Served> {
        let of_publisher = self.publishers.iter().find(|share| share.has_site(site));
        of_publisher?.certificate.clone()
    }

    /// All of them, publishers first.
    pub(crate) fn each(&self) -> impl Iterator<Item = &Arc<Share>> {
        self.publishers.iter().chain(&self.rest)
    }
}

/// What bodies may take beside the tier: a quarter more.
fn live_bytes_max(memory_bytes: u64) -> u64 {
    memory_bytes + memory_bytes / 4
}

fn share(plan: Plan<'_>, stage: &Stage<Own>) -> Result<Share, Failure> {
    let memory_bytes = plan.memory_bytes;
    // Beside the tier, not of it.
    let index_bytes = memory_bytes / 4;
    let help = "Bytes of bodies in memory: stored, arriving, or still being read.";
    let labels = [("publisher", plan.name)];
    let live = Live::by(
        stage
            .metrics
            .gauge("edgecloud_cache_live_bytes", help, &labels),
    );
    let memory = Memory {
        live: live.clone(),
        bytes_max: live_bytes_max(memory_bytes),
    };
    let open = |region| Disk::open(region, index_bytes, memory, &stage.log);
    let disk = plan.region.map(open).transpose()?;
    if let Some(disk) = disk.clone() {
        let drain = stage.drain.clone();
        stage.background.spawn(async move {
            drain.begun().await;
            disk.flush().await;
        });
    }
    let object_bytes = u64::from(stage.settings.object_mib) * MEBIBYTE;
    let publisher = plan.publisher;
    Ok(Share {
        name: plan.name.to_owned(),
        sites: publisher.map_or_else(Vec::new, |publisher| publisher.sites.clone()),
        addresses: publisher.map_or_else(Vec::new, |publisher| publisher.addresses.clone()),
        upstream: plan.upstream,
        token: publisher.and_then(|publisher| publisher.purge_token_sha256),
        certificate: publisher.and_then(|publisher| publisher.tls.clone()),
        store: Arc::new(Store::new(memory_bytes)),
        disk,
        flights: Flights::default(),
        origin: Origin::new(origin::roots(plan.ca)?)?,
        figures: Figures::of(&stage.metrics, plan.name),
        live,
        memory_bytes,
        // Several must fit, or one would empty the part.
        object_bytes_max: object_bytes.min(memory_bytes / 4),
        forgotten: Forgotten::default(),
        waiting: Arc::new(Semaphore::new(plan.seats)),
    })
}

#[cfg(test)]
impl Share {
    /// One that asks no origin.
    pub(crate) fn of_memory(memory_bytes: u64, disk: Option<Disk>) -> Self {
        let registry = edgecloud_appliance::metrics::Registry::default();
        Self {
            name: REST.to_owned(),
            sites: Vec::new(),
            addresses: Vec::new(),
            upstream: None,
            token: None,
            certificate: None,
            store: Arc::new(Store::new(memory_bytes)),
            disk,
            flights: Flights::default(),
            origin: Origin::new(rustls::RootCertStore::empty()).expect("an origin"),
            figures: Figures::of(&registry, REST),
            live: Live::default(),
            memory_bytes,
            object_bytes_max: memory_bytes / 4,
            forgotten: Forgotten::default(),
            waiting: Arc::new(Semaphore::new(1)),
        }
    }
}
