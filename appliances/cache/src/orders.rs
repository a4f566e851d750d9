//! What a cache is told to do beside requests: forget, and fetch ahead.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{HeaderMap, HeaderValue, Method, header};
use http_body_util::BodyExt;

use crate::directives::Directives;
use crate::purge::Ban;
use crate::refusal::Refused;
use crate::service::{Cache, Question};
use crate::site::Site;

impl Cache {
    /// Forgets what a ban means: addresses that were in memory, and whether it outlasts a restart. What
    /// origins are being asked for just now is not stored.
    pub(crate) async fn purge(&self, ban: Ban) -> (usize, bool) {
        self.purges.fetch_add(1, Ordering::Relaxed);
        let means = |key: &str, headers: &HeaderMap| ban.means(key, headers);
        let count = self.store.purge(means);
        match &self.disk {
            Some(disk) => (count, disk.ban(ban).await),
            None => (count, true),
        }
    }

    /// Fetches URLs one after the other, so that viewers keep most of the backhaul. What is stored and
    /// fresh is not fetched again.
    pub(crate) fn prefetch(self: &Arc<Self>, urls: Vec<String>) -> Result<(), Refused> {
        let sites: Result<Vec<_>, _> = urls
            .iter()
            .map(|url| Site::of_url(&self.role, url))
            .collect();
        let (sites, cache) = (sites?, Arc::clone(self));
        tokio::spawn(async move {
            for site in sites {
                let Ok(question) = ahead(site) else { continue };
                // What cannot be fetched ahead is fetched when somebody asks.
                if let Ok(response) = cache.get(question).await {
                    let mut body = response.into_body();
                    while let Some(Ok(_)) = body.frame().await {}
                }
            }
        });
        Ok(())
    }
}

fn ahead(site: Site) -> Result<Question, Refused> {
    let mut headers = HeaderMap::new();
    let host = HeaderValue::try_from(site.authority.as_str()).map_err(|_| Refused::Host)?;
    headers.insert(header::HOST, host);
    Ok(Question {
        method: Method::GET,
        key: site.key(),
        site,
        headers,
        directives: Directives::default(),
        wanted: None,
    })
}
