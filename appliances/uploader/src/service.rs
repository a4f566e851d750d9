//! Requests of clients: tus 1.0.

use std::env;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use edgecloud_appliance::{Ends, Failure, Refusals, Stage};
use tokio::sync::Semaphore;

use crate::destination::{self, Destination};
use crate::expiry;
use crate::figures::Figures;
use crate::id::Id;
use crate::intake::Intake;
use crate::limits::{BODIES_MAX, READ_BYTES};
use crate::outbound::{Keys, Outbound};
use crate::refusal::Refused;
use crate::settings::{Settings, SettingsError, Written};
use crate::status;
use crate::store::{Disk, Store, Stored};
use crate::tus::{self, Ask, Creation, Kind, Patch};

/// The uploader, as all its requests know it.
pub(crate) struct Uploader {
    settings: Arc<Settings>,
    store: Store,
    outbound: Arc<Outbound>,
    figures: Figures,
    refusals: Refusals,
    /// For the bodies that are taken at once.
    seats: Arc<Semaphore>,
    upload_max: u64,
}

/// Makes the service.
///
/// # Errors
/// Settings that make no sense, and a disk that cannot be used.
pub async fn make(stage: Stage<Written>) -> Result<Router, Failure> {
    let refusals = stage.refusals::<Refused>();
    let settings = Arc::new(Settings::try_from(stage.settings)?);
    let keys = Keys::of(|name| env::var(name).ok());
    if settings.origins.need_keys() && keys.is_none() {
        return Err(SettingsError::Keys.into());
    }
    let disk = Arc::new(Disk::open(&settings.device, settings.size)?);
    let store = Store::start(disk)?;
    let figures = Figures::of(&stage.metrics);
    let (count, disk_bytes) = {
        let ledger = store.ledger();
        (ledger.count(), ledger.blocks.1 * 4096)
    };
    stage.log.tell(
        "the disk is ready",
        &[
            ("uploads", &count),
            ("bytes", &disk_bytes),
            ("torn", &store.took_back),
        ],
    );
    stage.reads.at_once(READ_BYTES);
    let gate = stage.readiness.gate("the disk fails");
    gate.open();
    let outbound = Outbound::new(
        Arc::clone(&settings),
        keys,
        store.clone(),
        figures.clone(),
        stage.log.clone(),
    )?;
    stage
        .background
        .spawn(Arc::clone(&outbound).run(stage.drain.clone()));
    if let Some(address) = settings.status {
        let listener = status::listen(address).await?;
        stage
            .log
            .say(format_args!("status on {}", listener.local_addr()?));
        let serving = status::serve(listener, store.clone(), Arc::clone(&outbound));
        let drain = stage.drain.clone();
        stage.background.spawn(async move {
            tokio::select! {
                () = serving => {}
                () = drain.begun() => {}
            }
        });
    }
    let (watched, figures_too) = (store.clone(), figures.clone());
    let keep = settings.keep;
    let (log, drain) = (stage.log.clone(), stage.drain.clone());
    stage.background.spawn(async move {
        let watching = expiry::watch(watched, keep, figures_too, gate, log);
        tokio::select! {
            () = watching => {}
            () = drain.begun() => {}
        }
    });
    let uploader = Uploader {
        upload_max: settings.upload_max.unwrap_or(disk_bytes / 2),
        settings,
        store,
        outbound,
        figures,
        refusals,
        seats: Arc::new(Semaphore::new(BODIES_MAX)),
    };
    Ok(Router::new()
        .fallback(respond)
        .with_state(Arc::new(uploader)))
}

async fn respond(
    State(uploader): State<Arc<Uploader>>,
    Extension(ends): Extension<Ends>,
    request: Request,
) -> Response<Body> {
    let mut response = match uploader.answer(request).await {
        Ok(response) => response,
        Err(refused) => uploader.refusals.refuse(refused, &ends),
    };
    let headers = response.headers_mut();
    headers.insert("tus-resumable", HeaderValue::from_static(tus::VERSION));
    if response.status() == StatusCode::PRECONDITION_FAILED {
        let version = HeaderValue::from_static(tus::VERSION);
        response.headers_mut().insert("tus-version", version);
    }
    response
}

impl Uploader {
    async fn answer(&self, request: Request) -> Result<Response<Body>, Refused> {
        let (parts, body) = request.into_parts();
        let rest = parts.uri.path().strip_prefix(&self.settings.path);
        let name = match rest.ok_or(Refused::Unknown)? {
            "" | "/" => None,
            rest => Some(rest.strip_prefix('/').ok_or(Refused::Unknown)?),
        };
        let asked = tus::ask(&parts.method, &parts.headers, name.is_some())?;
        let id: Option<Id> = match name {
            Some(name) => Some(name.parse().map_err(|_| Refused::Unknown)?),
            None => None,
        };
        match (asked, id) {
            (Ask::Options, _) => Ok(self.options()),
            (Ask::Create(creation), None) => self.create(creation, body).await,
            (Ask::Head, Some(id)) => self.head(id).await,
            (Ask::Patch(patch), Some(id)) => self.patch(id, patch, body).await,
            (Ask::Delete, Some(id)) => {
                if self.outbound.has_gone(id) {
                    return Err(Refused::Gone);
                }
                self.store.remove(id).await?;
                Ok(empty(StatusCode::NO_CONTENT))
            }
            _ => Err(Refused::Method),
        }
    }

    fn options(&self) -> Response<Body> {
        let mut response = empty(StatusCode::NO_CONTENT);
        let headers = response.headers_mut();
        headers.insert("tus-version", HeaderValue::from_static(tus::VERSION));
        headers.insert("tus-extension", HeaderValue::from_static(tus::EXTENSIONS));
        headers.insert(
            "tus-checksum-algorithm",
            HeaderValue::from_static(tus::ALGORITHMS),
        );
        headers.insert("tus-max-size", HeaderValue::from(self.upload_max));
        response
    }

    async fn create(&self, creation: Creation, body: Body) -> Result<Response<Body>, Refused> {
        let Creation {
            length,
            kind,
            mut metadata,
            digest,
            patch,
        } = creation;
        if length.is_some_and(|length| length > self.upload_max) {
            return Err(Refused::TooLarge);
        }
        destination::complete(&mut metadata, &self.settings);
        // What goes nowhere is not taken; a part goes nowhere by itself.
        if kind != Kind::Partial {
            Destination::of(&metadata, &self.settings.origins)?;
        }
        let id = match kind {
            Kind::Final(parts) => self.store.join(parts, metadata, digest).await?,
            Kind::Whole => self.store.create(length, false, metadata, digest).await?,
            Kind::Partial => self.store.create(length, true, metadata, digest).await?,
        };
        let mut response = empty(StatusCode::CREATED);
        if let Some(patch) = patch {
            // What came is kept if the rest does not come: the client asks for the offset.
            match self.take(id, patch, body).await {
                Ok(stored) => tell(response.headers_mut(), &stored),
                // It is forgotten.
                Err(Refused::Mismatch) => return Err(Refused::Mismatch),
                Err(_) => {}
            }
        }
        let location = format!("{}/{id}", self.settings.path);
        let location = HeaderValue::from_str(&location).map_err(|_| Refused::Failed)?;
        response.headers_mut().insert(header::LOCATION, location);
        self.tell_expiry(id, response.headers_mut());
        Ok(response)
    }

    async fn head(&self, id: Id) -> Result<Response<Body>, Refused> {
        // Whoever asks goes on from there, so nobody else may any more.
        let opened = self.store.open(id, false).await?;
        let mut response = empty(StatusCode::OK);
        let headers = response.headers_mut();
        headers.insert("upload-offset", HeaderValue::from(opened.offset));
        match opened.length {
            Some(length) => headers.insert("upload-length", HeaderValue::from(length)),
            None => headers.insert("upload-defer-length", HeaderValue::from(1)),
        };
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let record = self
            .store
            .ledger()
            .get(id)
            .map(|entry| entry.record.clone());
        let record = record.ok_or(Refused::Unknown)?;
        if record.partial {
            headers.insert("upload-concat", HeaderValue::from_static("partial"));
        }
        let shown = record.metadata.shown().written();
        if let Some(shown) = HeaderValue::from_str(&shown)
            .ok()
            .filter(|shown| !shown.is_empty())
        {
            headers.insert("upload-metadata", shown);
        }
        self.tell_expiry(id, headers);
        Ok(response)
    }

    async fn patch(&self, id: Id, patch: Patch, body: Body) -> Result<Response<Body>, Refused> {
        let stored = self.take(id, patch, body).await?;
        let mut response = empty(StatusCode::NO_CONTENT);
        tell(response.headers_mut(), &stored);
        self.tell_expiry(id, response.headers_mut());
        Ok(response)
    }

    async fn take(&self, id: Id, patch: Patch, body: Body) -> Result<Stored, Refused> {
        let seat = Arc::clone(&self.seats)
            .try_acquire_owned()
            .map_err(|_| Refused::Busy)?;
        let opened = self.store.open(id, !patch.checksums.is_empty()).await?;
        if opened.offset != patch.offset {
            return Err(Refused::Offset);
        }
        let length = opened.length.or(patch.length).unwrap_or(self.upload_max);
        let end = patch.offset.checked_add(patch.bytes.unwrap_or_default());
        if length > self.upload_max {
            return Err(Refused::TooLarge);
        }
        if end.is_none_or(|end| end > length) {
            return Err(Refused::TooLong);
        }
        let intake = Intake {
            store: self.store.clone(),
            figures: self.figures.clone(),
            id,
            lease: opened.lease,
            room: length - patch.offset,
        };
        // What came is to become durable also when its client is gone, and this request with it.
        let taking = tokio::spawn(async move {
            let taken = intake.take(patch, body).await;
            drop(seat);
            taken
        });
        taking.await.map_err(|_| Refused::Failed)?
    }

    /// An upload that nobody goes on with is forgotten some time.
    fn tell_expiry(&self, id: Id, headers: &mut HeaderMap) {
        let ledger = self.store.ledger();
        let is_whole = ledger
            .get(id)
            .is_none_or(|entry| entry.record.whole.is_some());
        if is_whole {
            return;
        }
        let date = SystemTime::now() + self.settings.keep.unfinished.max(Duration::from_secs(1));
        if let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(date)) {
            headers.insert("upload-expires", date);
        }
    }
}

fn tell(headers: &mut HeaderMap, stored: &Stored) {
    headers.insert("upload-offset", HeaderValue::from(stored.offset));
    if let Some(whole) = stored.whole
        && let Ok(digest) = HeaderValue::from_str(&crate::digests::written(whole.digest))
    {
        headers.insert("repr-digest", digest);
    }
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
