//! What a hotspot forgets, in memory and on the disk: passes that are over, their vouchers, vouchers that
//! were not used in time, and tokens that have expired. What can still be shown is remembered, used up as
//! it may be: it would be as good as new otherwise.

use super::{Hotspot, State};
use crate::limits::{FORGOTTEN_AT_ONCE, VOUCHER_TOLD_SECONDS};
use crate::store::Write;

/// How much is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forget {
    /// What nobody will ask for any more.
    Old,
    /// There is no room: what is over as well, and a client is told no more that its voucher was good.
    All,
}

/// The keys of what is forgotten.
#[derive(Default)]
struct Over {
    passes: Vec<String>,
    vouchers: Vec<String>,
    tokens: Vec<String>,
}

impl Hotspot {
    /// Forgets what is old, so much at a time that nobody waits long.
    pub(super) fn forget_old(&self) {
        while self.forget(&mut self.state(), Forget::Old) >= FORGOTTEN_AT_ONCE {}
    }

    /// Forgets some of what is over; how many of the kind of which it was most.
    pub(super) fn forget(&self, state: &mut State, much: Forget) -> usize {
        let now = self.clock.now();
        let over = state.over(much, now);
        let most = [&over.passes, &over.vouchers, &over.tokens].map(Vec::len);
        let most = most.into_iter().max().unwrap_or(0);
        if most == 0 {
            return 0;
        }
        // A clock that forgot the time must not bring tokens back that were good then.
        let mut writes = vec![Write::Latest(now)];
        writes.extend(over.passes.iter().map(|key| Write::NoPass(key)));
        writes.extend(over.vouchers.iter().map(|hash| Write::NoVoucher(hash)));
        writes.extend(over.tokens.iter().map(|id| Write::NoToken(id)));
        if let Err(error) = self.store.write(&writes) {
            self.failed(&error);
            return 0;
        }
        over.passes.iter().for_each(|key| state.table.forget(key));
        let vouchers = over.vouchers.iter();
        vouchers.for_each(|hash| drop(state.vouchers.remove(hash)));
        over.tokens.iter().for_each(|id| state.replays.forget(id));
        most
    }
}

impl State {
    fn over(&self, much: Forget, now: u64) -> Over {
        let told = |since: u64| match much {
            Forget::Old => since.saturating_add(VOUCHER_TOLD_SECONDS) <= now,
            Forget::All => true,
        };
        let mut over = Over::default();
        for (key, pass) in self.table.idle() {
            let is_over = pass.left(now).is_err();
            let (is_forgotten, voucher) = match key.split_once(':') {
                Some(("voucher", hash)) => (is_over && told(pass.until()), Some(hash)),
                Some(("token", id)) => (is_over && !self.replays.is_good(id, now), None),
                // Whoever logs in again begins anew (`Login::renews`).
                _ => (true, None),
            };
            if !is_forgotten {
                continue;
            }
            over.passes.push(key.clone());
            over.vouchers.extend(voucher.map(str::to_owned));
            if over.passes.len() >= FORGOTTEN_AT_ONCE {
                break;
            }
        }
        let stale = self.vouchers.iter().filter(|(hash, voucher)| {
            let is_used = self.table.pass(&voucher.login(hash).key).is_some();
            !is_used && voucher.good_until <= now && told(voucher.good_until)
        });
        let room = FORGOTTEN_AT_ONCE - over.vouchers.len();
        over.vouchers
            .extend(stale.take(room).map(|(hash, _)| hash.clone()));
        let expired = self.replays.expired(now).take(FORGOTTEN_AT_ONCE);
        over.tokens.extend(expired.cloned());
        over
    }
}
