//! What a cache is told to do beside requests: forget, and fetch ahead.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, header};
use http_body_util::BodyExt;

use crate::directives::Directives;
use crate::purge::Ban;
use crate::refusal::Refused;
use crate::service::{Cache, Question};
use crate::share::{Share, Shares};
use crate::site::Site;

impl Share {
    /// Forgets what bans mean: addresses that were in memory, and whether it outlasts a restart. What
    /// origins are being asked for just now is not stored.
    pub(crate) async fn purge_all(&self, bans: Vec<Ban>) -> (usize, bool) {
        let (mut forgotten, mut is_kept) = (0, true);
        for ban in bans {
            forgotten += self.forget(&ban);
            if let Some(disk) = &self.disk {
                is_kept &= disk.ban(ban.clone()).await;
                // What the disk was asked for before it knew may have come back.
                forgotten += self.forget(&ban);
            }
        }
        (forgotten, is_kept)
    }

    /// Forgets what is in memory, and has nothing stored that was asked for before.
    fn forget(&self, ban: &Ban) -> usize {
        self.forgotten.purge();
        let means = |key: &str, headers: &HeaderMap| ban.means(key, headers);
        self.store.purge(means)
    }
}

impl Cache {
    /// Forgets the same of all publishers.
    pub(crate) async fn purge_all(&self, bans: &[Ban]) -> (usize, bool) {
        let (mut forgotten, mut is_kept) = (0, true);
        for share in self.shares.each() {
            let (count, kept) = share.purge_all(bans.to_vec()).await;
            forgotten += count;
            is_kept &= kept;
        }
        (forgotten, is_kept)
    }

    /// Fetches URLs one after the other, so that viewers keep most of the backhaul. What is stored and
    /// fresh is not fetched again.
    pub(crate) fn prefetch(self: &Arc<Self>, urls: Vec<String>) -> Result<(), Refused> {
        let questions: Result<Vec<_>, _> =
            urls.iter().map(|url| ahead(&self.shares, url)).collect();
        let (questions, cache) = (questions?, Arc::clone(self));
        tokio::spawn(async move {
            for question in questions {
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

fn ahead(shares: &Shares, url: &str) -> Result<Question, Refused> {
    let (site, share) = Site::of_url(shares, url)?;
    let mut headers = HeaderMap::new();
    let host = HeaderValue::try_from(site.authority.as_str()).map_err(|_| Refused::Host)?;
    headers.insert(header::HOST, host);
    Ok(Question {
        method: Method::GET,
        key: site.key(),
        site,
        share,
        headers,
        directives: Directives::default(),
        wanted: None,
    })
}
