//! Lists of who opened connections, which cost the more the more clients there are: one list serves all
//! who asked before it was begun, so a crowd that logs in at once costs two or three.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use crate::ovs::Opener;
use crate::switch::SwitchError;

/// The last list of each zone.
#[derive(Debug, Default)]
pub(super) struct Listings {
    /// How many were begun.
    begun: AtomicU64,
    /// Which one it was, and what it said.
    last: Mutex<BTreeMap<u16, (u64, List)>>,
}

/// What many are told.
type List = Arc<Vec<Opener>>;

impl Listings {
    /// A list of a zone that was begun after this call: somebody else's, or the one that `list` makes.
    pub(super) async fn after_now(
        &self,
        zone: u16,
        list: impl Future<Output = Result<Vec<Opener>, SwitchError>>,
    ) -> Result<List, SwitchError> {
        let before = self.begun.load(Ordering::SeqCst);
        let mut last = self.last.lock().await;
        if let Some((number, listed)) = last.get(&zone)
            && *number > before
        {
            return Ok(Arc::clone(listed));
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let listed = Arc::new(list.await?);
        last.insert(zone, (number, Arc::clone(&listed)));
        Ok(listed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opener(port: u16) -> Opener {
        Opener {
            client: ([10, 0, 0, 5], port).into(),
            mac: [2, 0, 0, 0, 0, 0xc1],
        }
    }

    #[tokio::test]
    async fn one_list_serves_all_who_asked_before_it_began() {
        let listings = Listings::default();
        let made = AtomicU64::new(0);
        let list = || async {
            let number = made.fetch_add(1, Ordering::SeqCst);
            // Others ask meanwhile.
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            Ok(vec![opener(u16::try_from(number).unwrap_or(u16::MAX))])
        };
        let ask = || listings.after_now(3, list());
        let (first, second, third) = tokio::join!(ask(), ask(), ask());
        let port = |listed: Result<List, SwitchError>| listed.expect("a list")[0].client.port();
        // The others came when the first had begun, and share the second.
        assert_eq!([port(first), port(second), port(third)], [0, 1, 1]);
        assert_eq!(port(ask().await), 2, "what came later needs another");
        assert_eq!(made.load(Ordering::SeqCst), 3);
    }
}
