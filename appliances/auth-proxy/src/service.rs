//! From settings to services.

use std::env;
use std::sync::Arc;

use axum::Router;
use edgecloud_appliance::{Failure, Stage};
use tokio::sync::mpsc;

use crate::gate::Gate;
use crate::hotspot::{Hotspot, Known, keep};
use crate::language::Languages;
use crate::onward::Onward;
use crate::operator::{self, Desk, Secret};
use crate::portal::{self, Lobby};
use crate::radius::{self, Radius};
use crate::refusal::Refused;
use crate::settings::Own;
use crate::store::Store;

/// Events of sessions that wait for accounting: those of a crowd that comes at once.
const EVENTS_MAX: usize = 4096;

/// Starts the services; the clients' router.
///
/// # Errors
/// Settings that make no sense together, the store, or the operator's address.
pub fn start(stage: Stage<Own>) -> Result<Router, Failure> {
    let own = &stage.settings;
    let known = Known {
        subscribers: own.subscribers()?,
        publishers: own.publishers()?,
    };
    let accounts = !known.subscribers.is_empty() || own.radius.is_some();
    let languages = Languages::with(&own.languages)?;
    let radius = match &own.radius {
        Some(settings) => {
            let secret = env::var("RADIUS_SECRET");
            let secret = secret.map_err(|_| "radius is set and RADIUS_SECRET is not; set both")?;
            Some(Arc::new(Radius::new(
                settings.clone(),
                &secret,
                stage.log.clone(),
            )?))
        }
        None => None,
    };
    let store = Store::open(&own.store)?;
    let gate = Gate::new(stage.metadata.clone());
    let (events, heard) = mpsc::channel(EVENTS_MAX);
    let (log, metrics) = (stage.log.clone(), &stage.metrics);
    let events = radius.is_some().then_some(events);
    let hotspot = Hotspot::open(store, gate, known, log.clone(), metrics, events)?;
    let hotspot = Arc::new(hotspot);
    let keeping = keep(Arc::clone(&hotspot), stage.drain.clone(), log);
    stage.background.spawn(keeping);
    if let Some(radius) = &radius {
        let parts = (Arc::clone(radius), Arc::clone(&hotspot));
        radius::start(parts, heard, &stage);
    }
    let refusals = stage.refusals::<Refused>();
    // Clients' HTTPS comes here as well, so that they are refused at once; ours alone is answered, and
    // what is meant for free services is carried on.
    let onward = Onward::new(&stage.metrics, refusals.clone());
    if let Some(metadata) = stage.metadata.clone() {
        let following = onward.clone();
        let (drain, log) = (stage.drain.clone(), stage.log.clone());
        stage
            .background
            .spawn(following.follow(metadata, drain, log));
    }
    stage.own_name.set(&own.portal.host, Arc::new(onward));
    if let Some(address) = own.operator {
        let token = env::var("OPERATOR_TOKEN").ok();
        let secret = token.and_then(|token| Secret::of(&token));
        let desk = Desk {
            hotspot: Arc::clone(&hotspot),
            secret: secret.ok_or(
                "`operator` is set; set OPERATOR_TOKEN as well, to sixteen characters or more",
            )?,
            look: own.look.clone(),
            refusals: refusals.clone(),
        };
        let router = operator::router(Arc::new(desk));
        stage
            .beside
            .serve("operator", address, router, &stage.background)?;
    }
    Ok(portal::router(Arc::new(Lobby {
        hotspot,
        portal: own.portal.clone(),
        look: own.look.clone(),
        languages,
        accounts,
        radius,
        refusals,
    })))
}
