//! The hit ratio of the cache's memory tier beside TinyUFO's, on the same stream of requests.
//!
//! Ten thousand objects are asked for by Zipf's law with an exponent of 1, and what was missed is stored:
//! TinyUFO's own benchmark (its `benches/bench_hit_ratio.rs`). Both may hold the same share of the objects.
//! Our tier counts bytes, so all objects have the same. One JSON line for each share; the last is the
//! worst by its ratio.

use std::sync::Arc;

use bytes::Bytes;
use cache::body::Body;
use cache::directives::Directives;
use cache::freshness::Freshness;
use cache::store::{Entry, Key, Store};
use cache::variance::Selecting;
use http::{HeaderMap, StatusCode};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand_distr::{Distribution, Zipf};
use tinyufo::TinyUfo;

const OBJECTS: u64 = 10_000;
const REQUESTS: u64 = 10_000_000;
/// Objects that are held, of a thousand.
const SHARES: [u64; 3] = [5, 50, 250];
const BODY_BYTES: usize = 16 * 1024;
/// Any number: both see the same requests.
const SEED: u64 = 2011;

fn main() {
    let mut figures: Vec<_> = SHARES.into_iter().map(compare).collect();
    figures.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    for (_, line) in figures {
        println!("{line}");
    }
}

/// The ratio of the two hit ratios, and the line.
fn compare(share: u64) -> (f64, serde_json::Value) {
    let held = usize::try_from(OBJECTS * share / 1000).unwrap_or(usize::MAX);
    let tier = Tier::of(held);
    let peer = TinyUfo::new(held, held);
    let zipf = Zipf::new(OBJECTS as f64, 1.0).expect("there are objects");
    let mut random = SmallRng::seed_from_u64(SEED);
    let (mut ours, mut theirs) = (0u64, 0u64);
    for _ in 0..REQUESTS {
        let object = zipf.sample(&mut random) as usize - 1;
        ours += u64::from(tier.ask(object));
        theirs += u64::from(match peer.get(&object) {
            Some(()) => true,
            None => {
                peer.put(object, (), 1);
                false
            }
        });
    }
    let percent = |hits: u64| (hits as f64 * 1e6 / REQUESTS as f64).round() / 1e4;
    let ratio = ours as f64 / theirs as f64;
    let line = serde_json::json!({
        "bench": "hitratio",
        "figure": format!("hits, Zipf 1, {} % of the objects held", share as f64 / 10.0),
        "ours": percent(ours), "peer": percent(theirs), "peer_name": "TinyUFO",
        "ratio": (ratio * 1e4).round() / 1e4, "better": "higher", "unit": "%", "rounds": 1,
    });
    (ratio, line)
}

/// Our tier with everything that can be asked for.
struct Tier {
    store: Store,
    keys: Vec<Key>,
    entry: Arc<Entry>,
    request: HeaderMap,
}

impl Tier {
    fn of(held: usize) -> Self {
        let headers = HeaderMap::new();
        let freshness = Freshness::of(StatusCode::OK, &headers, &Directives::default(), 0, 0);
        let entry = Entry {
            status: StatusCode::OK,
            headers: headers.clone(),
            selecting: Selecting::default(),
            freshness,
            received: 0,
            body: Arc::new(Body::whole(Bytes::from(vec![0; BODY_BYTES]))),
            length: None,
            part: None,
            is_sliced: false,
        };
        let keys: Vec<_> = (0..OBJECTS)
            .map(|object| Key::from(format!("http://a.example/{object:05}")))
            .collect();
        let weight = entry.weight() + keys[0].len() as u64;
        Self {
            store: Store::new(held as u64 * weight),
            keys,
            entry: Arc::new(entry),
            request: headers,
        }
    }

    /// Whether it is there; if not, it is now.
    fn ask(&self, object: usize) -> bool {
        let key = &self.keys[object];
        let hit = self.store.find(key, &self.request, None).is_some();
        if !hit {
            self.store.insert(key, Arc::clone(&self.entry));
        }
        hit
    }
}
