//! A hotspot without a controller, on a store of the test's own. Its clock shows a year that no machine's
//! has reached, so that tests say what time it is.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use edgecloud_appliance::Drain;

use super::forget::Forget;
use super::*;
use crate::limits::{PASSES_MAX, REPLAYS_MAX};
use crate::token::Verified;

const NOW: u64 = 4_000_000_000;
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// A file that goes with the test.
struct File(PathBuf);

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl File {
    fn new(name: &str) -> Self {
        let name = format!("auth-proxy-{}-{name}.redb", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    /// The hotspot of what is in the file and what is written there before.
    fn open(&self, writes: &[Write<'_>]) -> Arc<Hotspot> {
        let store = Store::open(&self.0).expect("a store");
        store.write(writes).expect("it is written");
        let (gate, known, metrics) = (Gate::new(None), Known::default(), Registry::default());
        let hotspot = Hotspot::open(store, gate, known, Log::new("test"), &metrics, None);
        Arc::new(hotspot.expect("it can be read"))
    }
}

fn client(number: u8) -> IpAddr {
    [10, 0, 0, number].into()
}

/// A pass whose time was over at some time.
fn over(until: u64) -> Pass {
    let quota = Quota {
        seconds: 60,
        ..Quota::default()
    };
    Pass::begun(quota, until - 60)
}

fn token(id: &str, expires: u64) -> Verified {
    Verified {
        id: id.to_owned(),
        expires,
        login: Login {
            key: format!("token:{id}"),
            quota: Quota::default(),
            renews: false,
            class: None,
        },
    }
}

async fn show(hotspot: &Hotspot, number: u8, token: Verified) -> Result<(), Refused> {
    let from = (client(number), 1024).into();
    let login = token.login.clone();
    hotspot.begin(from, login, Proof::Token(token)).await
}

/// By a RADIUS server's word.
async fn log_in(hotspot: &Hotspot, number: u8, interim: Option<u64>) -> Result<(), Refused> {
    let login = Login {
        key: format!("radius:{number}"),
        quota: Quota::default(),
        renews: true,
        class: None,
    };
    let proof = Proof::Radius {
        interim_seconds: interim,
    };
    let from = (client(number), 1024).into();
    hotspot.begin(from, login, proof).await
}

fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// Passes and tokens in the store.
fn stored(hotspot: &Hotspot) -> (Vec<String>, Vec<String>) {
    let stored = hotspot.store.load().expect("it can be read");
    let passes = stored.passes.into_iter().map(|(key, _)| key);
    let tokens = stored.tokens.into_iter().map(|(id, _)| id);
    (sorted(passes), sorted(tokens))
}

#[tokio::test]
async fn passes_of_those_who_went_leave_room_for_others() {
    let file = File::new("room");
    // Accounts whose time is not over, of which nobody is there, and tokens that have expired.
    let (long, used) = (Pass::begun(Quota::default(), NOW), over(NOW - 1));
    let kinds = ["radius:old", "token:chat"].iter();
    let keys = kinds.flat_map(|kind| (0..PASSES_MAX / 2).map(move |n| format!("{kind}-{n}")));
    let keys: Vec<String> = keys.collect();
    let (accounts, tokens) = keys.split_at(PASSES_MAX / 2);
    let mut writes = vec![Write::Latest(NOW)];
    writes.extend(accounts.iter().map(|key| Write::Pass(key, &long)));
    writes.extend(tokens.iter().map(|key| Write::Pass(key, &used)));
    let hotspot = file.open(&writes);
    assert_eq!(log_in(&hotspot, 1, None).await, Ok(()));
    hotspot.forget_old();
    let passes = hotspot.state().table.idle().count();
    assert_eq!(passes, 0, "however many they are");
}

#[tokio::test]
async fn tokens_that_have_expired_leave_room_for_others() {
    let file = File::new("tokens");
    let ids: Vec<String> = (0..REPLAYS_MAX).map(|n| format!("chat:{n}")).collect();
    let expired = ids.iter().map(|id| Write::Token(id, NOW, client(9)));
    let hotspot = file.open(&expired.chain([Write::Latest(NOW)]).collect::<Vec<_>>());
    let shown = show(&hotspot, 1, token("chat:new", NOW + HOUR)).await;
    assert_eq!(shown, Ok(()));
}

#[tokio::test]
async fn what_is_old_is_forgotten_while_it_runs_and_nothing_else() {
    let file = File::new("forget");
    let (used, old) = (over(NOW - HOUR), over(NOW - 2 * DAY));
    let voucher = |good_until| Voucher {
        quota: Quota::default(),
        good_until,
        batch: String::new(),
    };
    let (late, later) = (voucher(NOW - HOUR), voucher(NOW - 2 * DAY));
    let fresh = voucher(NOW + DAY);
    let hotspot = file.open(&[
        Write::Latest(NOW),
        Write::Token("chat:expired", NOW, client(1)),
        Write::Token("chat:good", NOW + HOUR, client(1)),
        Write::Pass("token:chat:expired", &used),
        Write::Pass("token:chat:good", &used),
        Write::Pass("token:chat:unknown", &used),
        Write::Pass("voucher:used", &used),
        Write::Pass("voucher:old", &old),
        Write::Pass("radius:ada", &used),
        Write::Voucher("used", &fresh),
        Write::Voucher("old", &fresh),
        Write::Voucher("fresh", &fresh),
        Write::Voucher("late", &late),
        Write::Voucher("later", &later),
    ]);
    let (passes, tokens) = (["token:chat:good", "voucher:used"], ["chat:good"]);
    let done = async {
        while stored(&hotspot)
            != (
                passes.map(String::from).into(),
                tokens.map(String::from).into(),
            )
        {
            tokio::task::yield_now().await;
        }
    };
    let kept = keep(Arc::clone(&hotspot), Drain::default(), Log::new("test"));
    tokio::select! {
        () = done => {}
        () = kept => panic!("nobody ended it"),
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("{:?}", stored(&hotspot)),
    }
    let known = || sorted(hotspot.vouchers().into_iter().map(|(hash, ..)| hash));
    assert_eq!(known(), ["fresh", "late", "used"]);

    // Its client may show it again, and gets nothing more by it.
    let good = token("chat:good", NOW + HOUR);
    let again = show(&hotspot, 1, good.clone()).await;
    assert_eq!(again, Err(Refused::UsedUp));
    hotspot.forget(&mut hotspot.state(), Forget::All);
    assert_eq!(known(), ["fresh"]);
    let again = show(&hotspot, 1, good.clone()).await;
    assert_eq!(again, Err(Refused::UsedUp), "without room as well");

    let later = Duration::from_secs(NOW + 2 * HOUR);
    hotspot.clock.shown(later, Instant::now());
    hotspot.forget_old();
    assert_eq!(stored(&hotspot), (vec![], vec![]));
    let late = show(&hotspot, 1, good).await;
    assert_eq!(late, Err(Refused::Token(crate::token::BadToken::Expired)));
}

#[tokio::test]
async fn what_was_withdrawn_while_somebody_logs_in_lets_nobody_in() {
    let file = File::new("withdrawn");
    let hotspot = file.open(&[Write::Latest(NOW)]);
    let voucher = Voucher {
        quota: Quota::default(),
        good_until: NOW + DAY,
        batch: String::new(),
    };
    let from = (client(1), 1024).into();
    let proof = Proof::Voucher("gone".to_owned());
    let redeemed = hotspot.begin(from, voucher.login("gone"), proof).await;
    assert_eq!(redeemed, Err(Refused::WrongVoucher));
    // Two clients that showed one token at once both found it unused.
    let token = token("chat:a", NOW + HOUR);
    assert_eq!(show(&hotspot, 1, token.clone()).await, Ok(()));
    assert_eq!(show(&hotspot, 2, token).await, Err(Refused::Replayed));
}

#[tokio::test]
async fn the_interval_that_a_server_asks_for_outlives_a_restart() {
    let file = File::new("interim");
    let hotspot = file.open(&[Write::Latest(NOW)]);
    let told = |hotspot: &Hotspot| hotspot.sessions()[0].0.interim_seconds;
    assert_eq!(log_in(&hotspot, 1, Some(900)).await, Ok(()));
    assert_eq!(told(&hotspot), Some(900));
    assert_eq!(log_in(&hotspot, 1, Some(90)).await, Ok(()));
    drop(hotspot);
    assert_eq!(told(&file.open(&[])), Some(90));
}
