//! Names that are looked up before anybody asks, and again when their answers run out; and what
//! follows from the rules' change: names that nobody speaks of any more are forgotten, those that are
//! served here are taught.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::RecordType;
use manifest::Name;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until};

use super::message::Question;
use super::{Resolver, cache, lock};
use crate::names::{Interest, Learned};

/// Names that are looked up at once: the others of a large manifest follow.
const AT_ONCE_MAX: usize = 16;
/// A name is looked up at most so often, whatever its owner says.
const AGAIN_MIN: Duration = Duration::from_secs(5);
/// When a name is looked up again that gave no answer, or one that does not say how long it holds.
const AGAIN_UNKNOWN: Duration = Duration::from_secs(5);
/// Between looks at what has run out.
const EXPIRE_EVERY: Duration = Duration::from_secs(2);

/// For ever; until nobody changes rules any more.
pub(super) async fn keep_ahead(resolver: Arc<Resolver>) {
    let mut changes = resolver.interest.clone();
    changes.mark_changed();
    let mut due: BTreeMap<Name, Option<Instant>> = BTreeMap::new();
    let mut running: JoinSet<(Name, Duration)> = JoinSet::new();
    let mut expiry = interval(EXPIRE_EVERY);
    expiry.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let next = begin(&resolver, &mut due, &mut running);
        tokio::select! {
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                let interest = changes.borrow_and_update().clone();
                resolver.follow(&interest).await;
                resolver.expire().await;
                due.retain(|name, _| interest.ahead.contains(name));
                for name in interest.ahead {
                    due.entry(name).or_insert_with(|| Some(Instant::now()));
                }
            }
            Some(done) = running.join_next() => {
                if let Ok((name, again)) = done
                    && let Some(at) = due.get_mut(&name)
                {
                    *at = Some(Instant::now() + again);
                }
            }
            () = sleep_until(next) => {}
            _ = expiry.tick() => resolver.expire().await,
        }
    }
}

/// Begins to look up what is due, and says when something else will be.
fn begin(
    resolver: &Arc<Resolver>,
    due: &mut BTreeMap<Name, Option<Instant>>,
    running: &mut JoinSet<(Name, Duration)>,
) -> Instant {
    let now = Instant::now();
    let mut next = now + cache::TTL_MAX;
    for (name, at) in due {
        let Some(time) = *at else {
            continue;
        };
        if time > now {
            next = next.min(time);
        } else if running.len() < AT_ONCE_MAX {
            // None while it is looked up. When one is done, this is looked through again.
            *at = None;
            let (resolver, name) = (Arc::clone(resolver), name.clone());
            running.spawn(async move {
                let again = resolver.look_up_ahead(&name).await;
                (name, again)
            });
        }
    }
    next
}

impl Resolver {
    /// Asks for both kinds of addresses; how long the answers hold.
    async fn look_up_ahead(&self, name: &Name) -> Duration {
        let Ok(asked) = hickory_proto::rr::Name::from_ascii(format!("{name}.")) else {
            return cache::TTL_MAX;
        };
        let mut again = cache::TTL_MAX;
        for kind in [RecordType::A, RecordType::AAAA] {
            let name_asked = asked.clone();
            let question = Question {
                name: name_asked,
                kind,
            };
            let outcome = self.look_up(&question, Some(name.clone())).await;
            let holds = outcome.reply.ttl().filter(|_| outcome.installed);
            again = again.min(holds.unwrap_or(AGAIN_UNKNOWN));
        }
        again.max(AGAIN_MIN)
    }

    /// What follows from other rules.
    async fn follow(&self, interest: &Interest) {
        let unwanted = self.held.lock().await.forget_unwanted(interest);
        for name in unwanted {
            self.forget(&name);
        }
        let served = interest.served.iter();
        for (name, addresses) in served.filter(|(name, _)| interest.wants(name)) {
            self.forget(name);
            let mut held = self.held.lock().await;
            held.set(name, addresses, Instant::now().into_std());
        }
    }

    fn forget(&self, name: &Name) {
        let Ok(name) = hickory_proto::rr::Name::from_ascii(format!("{name}.")) else {
            return;
        };
        let mut cache = lock(&self.cache);
        for kind in [RecordType::A, RecordType::AAAA] {
            let name = name.clone();
            cache.forget(&Question { name, kind });
        }
    }

    /// Tells the daemon what has run out, and what it could not take over before.
    async fn expire(self: &Arc<Self>) {
        let interest = self.interest.borrow().clone();
        let mut held = self.held.lock().await;
        for (name, current) in held.expire(&interest, Instant::now().into_std()) {
            let (tell, told) = oneshot::channel();
            let news = Learned {
                name: name.clone(),
                current: current.clone(),
                installed: Some(tell),
            };
            // The daemon has much to do: at the next look, then.
            if self.learned.try_send(news).is_err() {
                return;
            }
            let resolver = Arc::clone(self);
            tokio::spawn(async move {
                if told.await.is_ok() {
                    resolver.held.lock().await.installed(&name, &current);
                }
            });
        }
    }
}
