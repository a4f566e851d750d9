//! A request's way through the thumbnailer.

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::{Response, request};
use axum::response::IntoResponse as _;
use edgecloud_appliance::metrics::Registry;
use edgecloud_appliance::{Ends, Failure, Log, Refusals, Stage};
use http_body::Body as _;

use crate::admission::{self, Kind};
use crate::arriving::Arriving;
use crate::budget::{Budget, Full};
use crate::decoding::Decoding;
use crate::figures::Figures;
use crate::http::Tls;
use crate::limits::BODY_BYTES_MAX;
use crate::origin::{Origin, Sender};
use crate::picture::Limits;
use crate::reason::{Pass, Refused};
use crate::settings::{Settings, Written};
use crate::tus::{self, Sessions};
use crate::uploader::Uploader;

/// The thumbnailer, as all its requests know it.
pub(crate) struct Thumbnailer {
    pub(crate) paths: Vec<String>,
    pub(crate) thumbnails: String,
    pub(crate) fixed_origin: Option<SocketAddr>,
    pub(crate) tls: Tls,
    pub(crate) uploader: Uploader,
    pub(crate) decoding: Decoding,
    pub(crate) budget: Arc<Budget>,
    pub(crate) sessions: Sessions,
    pub(crate) figures: Figures,
    pub(crate) refusals: Refusals,
    pub(crate) log: Log,
    pub(crate) background: Background,
}

/// What tasks of ours run on.
pub(crate) type Background = Box<dyn Fn(Task) + Send + Sync>;
/// A task.
pub(crate) type Task = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// Makes the service.
///
/// # Errors
/// Settings that make no sense.
pub async fn make(stage: Stage<Written>) -> Result<Router, Failure> {
    let refusals = stage.refusals::<Refused>();
    let Stage {
        settings,
        log,
        metrics,
        background,
        ..
    } = stage;
    let settings = Settings::try_from(settings)?;
    let background: Background = Box::new(move |task| background.spawn(task));
    let thumbnailer = Thumbnailer::new(settings, refusals, log, &metrics, background)?;
    Ok(Router::new()
        .fallback(respond)
        .with_state(Arc::new(thumbnailer)))
}

async fn respond(
    State(thumbnailer): State<Arc<Thumbnailer>>,
    Extension(ends): Extension<Ends>,
    request: Request,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    match thumbnailer.answer(parts, body, &ends).await {
        Ok(response) => response,
        Err(refused) => thumbnailer.refusals.refuse(refused, &ends),
    }
    .into_response()
}

impl Thumbnailer {
    fn new(
        settings: Settings,
        refusals: Refusals,
        log: Log,
        metrics: &Registry,
        background: Background,
    ) -> Result<Thumbnailer, Failure> {
        Ok(Thumbnailer {
            paths: settings.paths,
            thumbnails: settings.thumbnails,
            fixed_origin: settings.origin,
            tls: Tls::new(settings.origin_roots)?,
            uploader: Uploader(settings.uploader),
            decoding: Decoding::new(settings.sizes, settings.alpha, Limits::default()),
            budget: Budget::new(settings.memory),
            sessions: Sessions::default(),
            figures: Figures::of(metrics),
            refusals,
            log,
            background,
        })
    }

    async fn answer(
        self: &Arc<Thumbnailer>,
        parts: request::Parts,
        body: Body,
        ends: &Ends,
    ) -> Result<Response<Body>, Refused> {
        let origin = Origin::of(&parts, ends, self.fixed_origin)?;
        let id = tus::id(parts.uri.path(), &parts.headers).map(str::to_owned);
        if let Some(id) = id {
            return self.go_on(&id, parts, body).await;
        }
        let admitted =
            admission::head(&parts.method, parts.uri.path(), &parts.headers, &self.paths);
        let (length, kind) = match admitted {
            // Creation with upload: the origin may know it.
            Ok(admitted) if admitted.kind == Kind::TusCreation && !body.is_end_stream() => {
                return self.pass(Pass::Unusual, &origin, parts, body).await;
            }
            Ok(admitted) => (admitted.length, admitted.kind),
            Err(reason) => return self.pass(reason, &origin, parts, body).await,
        };
        // A length that is not told may be the largest.
        let reserved = length.unwrap_or(BODY_BYTES_MAX);
        // Whoever has left is in nobody's way.
        self.sessions.forget_old();
        let reservation = match self.budget.reserve(ends.client(), reserved) {
            Ok(reservation) => reservation,
            Err(full) => {
                let reason = match full {
                    Full::All => Pass::Pressure,
                    Full::Client => Pass::ClientShare,
                };
                return self.pass(reason, &origin, parts, body).await;
            }
        };
        let sender = Sender::of(&parts, origin.clone());
        if kind == Kind::TusCreation {
            let length = length.unwrap_or_default();
            return match self.create(&parts, sender, length, reservation).await {
                Ok(response) => Ok(response),
                Err(reason) => self.pass(reason, &origin, parts, body).await,
            };
        }
        let mut arriving = Arriving::new(body, length, reservation);
        let taken = self.take(&kind, length, &sender, &mut arriving).await?;
        match taken {
            Ok(response) => Ok(response),
            Err(reason) => {
                self.pass(reason, &origin, parts, arriving.into_body())
                    .await
            }
        }
    }

    /// Sends a request to the origin as it is.
    async fn pass(
        &self,
        reason: Pass,
        origin: &Origin,
        parts: request::Parts,
        body: Body,
    ) -> Result<Response<Body>, Refused> {
        self.figures.passed(reason);
        if reason != Pass::NoUpload {
            let facts: [(&str, &dyn Display); 1] = [("reason", &reason.reason())];
            self.log.often("passed", &facts);
        }
        origin.pass(&self.tls, parts, body).await
    }
}

#[cfg(test)]
mod tests;
