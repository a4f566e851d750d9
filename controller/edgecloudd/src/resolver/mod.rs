//! The resolver of the host's domains, and of the operator's clients where he wants that.
//!
//! It forwards to the operator's own servers, and stands in the way because of two things that
//! nobody else can do: it answers the names that applications `serve`, and it teaches the switch the
//! addresses of names that rules speak of **before** it tells them, so that nobody's first
//! connection is refused, or goes past an interception. What it learns is in [`crate::names`].
//!
//! | file | does |
//! |---|---|
//! | `listen.rs` | requests over UDP and TCP, and who may ask |
//! | `message.rs` | what is asked and answered; what of a server's answer belongs to the question |
//! | `filter.rs` | which addresses a name of the world may not have |
//! | `cache.rs`, `held.rs` | answers that hold; the addresses that names have now |
//! | `pace.rs` | how much a client may ask for |
//! | `upstream.rs` | questions to the operator's servers |
//! | `ahead.rs` | names that are looked up before anybody asks; what runs out |
//!
//! **Threats.** Who owns a name that a rule speaks of chooses its addresses: [`Filter`] bounds
//! where, `held.rs` how many. Who asks much: bounded by address and altogether, in `listen.rs`; who
//! tunnels through names: `pace.rs`. A server that lies or somebody who speaks in its place:
//! `upstream.rs`. HTTPS and SVCB records have addresses in them that would go round all this; whoever
//! asks for them is told that there are none, and asks for the addresses.

mod ahead;
mod cache;
mod filter;
mod fuzz;
mod held;
mod listen;
mod message;
mod pace;
mod upstream;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use manifest::{Cidr, Name};
use tokio::sync::{OnceCell, mpsc, oneshot, watch};

use crate::names::{Interest, Learned};
use cache::Cache;
pub use filter::Filter;
pub use fuzz::fuzz;
use held::{Held, Lesson};
use message::{Question, Relevant, Reply, of_address};
use pace::Pace;
use upstream::Upstream;

/// How long the addresses of a served name hold: replicas come and go.
const SERVED_TTL: Duration = Duration::from_secs(5);
/// How long the switch may take to know an address: who asked asks again after five seconds.
const INSTALLED_WITHIN: Duration = Duration::from_secs(4);

/// Failures that are remembered, so that the log has each once.
const FAILING_MAX: usize = 1024;

/// What a resolver is for.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
    /// The operator's servers, in order of preference.
    pub upstream: Vec<SocketAddr>,
    /// Whether names are asked in drawn letters, which almost every server keeps.
    pub mixes_letters: bool,
    /// Who may ask beside the host's domains.
    pub clients: Vec<Cidr>,
    /// Which addresses names may not have.
    pub filter: Filter,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    /// A domain: an address is of no use to it unless the switch knows it.
    Domain,
    /// Dom0, which is not to be worse off for what the switch does not know.
    Host,
    /// One of the operator's clients, who is not either.
    Client(IpAddr),
}

/// A resolver.
#[derive(Debug)]
pub struct Resolver {
    settings: Settings,
    upstream: Upstream,
    interest: watch::Receiver<Interest>,
    learned: mpsc::Sender<Learned>,
    cache: Mutex<Cache>,
    /// Held while the daemon is told what changed: it is told in that order.
    held: tokio::sync::Mutex<Held>,
    /// What is asked for now, so that many who ask for one thing cost one question.
    flights: Mutex<HashMap<(Question, bool), Flight>>,
    pace: Mutex<Pace>,
    /// Why questions about rules' names have no answer, as the log has it.
    failing: Mutex<HashMap<Question, String>>,
}

/// A question that is asked now.
type Flight = Arc<OnceCell<Outcome>>;

/// What came of a question.
#[derive(Debug, Clone)]
struct Outcome {
    reply: Reply,
    /// Whether the switch knows its addresses, if a rule speaks of the name.
    installed: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Resolver {
    /// Starts one, which knows these addresses of names already and tells what it learns.
    ///
    /// # Errors
    /// It cannot listen.
    pub async fn start(
        settings: Settings,
        interest: watch::Receiver<Interest>,
        learned: mpsc::Sender<Learned>,
        known: Vec<(Name, Vec<IpAddr>)>,
    ) -> io::Result<Arc<Resolver>> {
        let sockets = listen::bind(&settings.listen).await?;
        let upstream = Upstream::new(settings.upstream.clone(), settings.mixes_letters);
        let resolver = Arc::new(Resolver {
            settings,
            upstream,
            interest,
            learned,
            cache: Mutex::default(),
            held: tokio::sync::Mutex::new(Held::knowing(known, Instant::now())),
            flights: Mutex::default(),
            pace: Mutex::default(),
            failing: Mutex::default(),
        });
        listen::serve(&resolver, sockets);
        tokio::spawn(ahead::keep_ahead(Arc::clone(&resolver)));
        Ok(resolver)
    }

    /// Who has an address; nobody who may ask, if there is no answer.
    fn asker(&self, address: IpAddr) -> Option<Asker> {
        let within = |ranges: &[Cidr]| ranges.iter().any(|range| range.contains(address));
        let is_own = || self.settings.listen.iter().any(|own| own.ip() == address);
        match () {
            () if is_own() => Some(Asker::Host),
            () if self.interest.borrow().domains.contains(&address) => Some(Asker::Domain),
            () if within(&self.settings.clients) => Some(Asker::Client(address)),
            () => None,
        }
    }

    /// The answer to a question.
    async fn answer(&self, question: &Question, asker: Asker) -> Reply {
        let name = host_name(question);
        let (served, is_wanted) = {
            let interest = self.interest.borrow();
            let served = name.as_ref().and_then(|name| interest.served.get(name));
            let is_wanted = name.as_ref().is_some_and(|name| interest.wants(name));
            (served.cloned(), is_wanted)
        };
        let wanted = name.filter(|_| is_wanted);
        if let Some(addresses) = served {
            return self.serve(question, &addresses, wanted).await;
        }
        if matches!(question.kind, RecordType::HTTPS | RecordType::SVCB) {
            return Reply::default();
        }
        let taught = wanted.filter(|_| is_of_addresses(question.kind));
        let kept = lock(&self.cache).get(question, taught.is_some(), Instant::now());
        if let Some(reply) = kept {
            return reply;
        }
        // Of names that rules speak of a tunnel cannot be made, and everybody is to find them.
        if let (Asker::Client(client), None) = (asker, &taught)
            && !lock(&self.pace).may_ask(client, Instant::now())
        {
            return Reply::code(ResponseCode::Refused);
        }
        let outcome = self.look_up(question, taught).await;
        match outcome.installed || asker != Asker::Domain {
            true => outcome.reply,
            false => Reply::code(ResponseCode::ServFail),
        }
    }

    /// A name that applications of this host serve.
    async fn serve(
        &self,
        question: &Question,
        addresses: &BTreeSet<IpAddr>,
        wanted: Option<Name>,
    ) -> Reply {
        if let Some(name) = wanted {
            let set = |held: &mut Held| held.set(&name, addresses, Instant::now());
            if !self.teach(&name, set).await {
                return Reply::code(ResponseCode::ServFail);
            }
        }
        let fits = |address: &&IpAddr| match question.kind {
            RecordType::A => address.is_ipv4(),
            RecordType::AAAA => address.is_ipv6(),
            _ => false,
        };
        let record = |address: &IpAddr| of_address(&question.name, *address, SERVED_TTL);
        Reply {
            authoritative: true,
            answers: addresses.iter().filter(fits).map(record).collect(),
            ..Reply::default()
        }
    }

    /// Asks the operator's servers, once for all who ask meanwhile. `taught`: the name, if rules
    /// speak of it.
    async fn look_up(&self, question: &Question, taught: Option<Name>) -> Outcome {
        let key = (question.clone(), taught.is_some());
        let flight = Arc::clone(lock(&self.flights).entry(key.clone()).or_default());
        let asked = flight.get_or_init(|| self.fetch(question, taught));
        let outcome = asked.await.clone();
        let mut flights = lock(&self.flights);
        if flights
            .get(&key)
            .is_some_and(|now| Arc::ptr_eq(now, &flight))
        {
            flights.remove(&key);
        }
        outcome
    }

    async fn fetch(&self, question: &Question, taught: Option<Name>) -> Outcome {
        let message = match self.upstream.ask(question).await {
            Ok(message) => message,
            Err(error) => {
                if taught.is_some() {
                    self.note_failure(question, error.to_string());
                } else {
                    tracing::debug!(name = %question.name, %error, "not resolved");
                }
                let reply = Reply::code(ResponseCode::ServFail);
                let installed = true;
                return Outcome { reply, installed };
            }
        };
        if taught.is_some() {
            lock(&self.failing).remove(question);
        }
        let relevant = Relevant::of(message, question, &self.settings.filter);
        if !relevant.refused.is_empty() {
            let addresses = &relevant.refused;
            tracing::warn!(name = %question.name, ?addresses, "addresses that a name may not have");
        }
        let (mut reply, addresses) = (relevant.reply, relevant.addresses);
        reply.limit_ttl(cache::TTL_MAX);
        let is_taught = taught.is_some();
        let installed = match taught {
            Some(name) => {
                let ttl = reply.ttl().unwrap_or_default();
                let interest = self.interest.borrow().clone();
                let hear =
                    |held: &mut Held| held.hear(&name, &addresses, ttl, &interest, Instant::now());
                self.teach(&name, hear).await
            }
            None => true,
        };
        if installed {
            let mut cache = lock(&self.cache);
            cache.put(question.clone(), reply.clone(), is_taught, Instant::now());
        }
        Outcome { reply, installed }
    }

    /// Says why a rule's name is not resolved, once for each reason: it is asked for again every few seconds.
    fn note_failure(&self, question: &Question, error: String) {
        let mut failing = lock(&self.failing);
        if failing.get(question) == Some(&error) {
            return;
        }
        tracing::info!(name = %question.name, kind = %question.kind, %error, "not resolved");
        // Names of wildcards are as many as clients like.
        if failing.len() >= FAILING_MAX {
            failing.clear();
        }
        failing.insert(question.clone(), error);
    }

    /// Tells the daemon what a name's addresses are now, if it is news, and waits until the switch
    /// knows. Whether it does.
    async fn teach(&self, name: &Name, lesson: impl FnOnce(&mut Held) -> Lesson) -> bool {
        let (tell, told) = oneshot::channel();
        let current = {
            let mut held = self.held.lock().await;
            let current = match lesson(&mut held) {
                Lesson::Known => return true,
                Lesson::Full => {
                    tracing::warn!(%name, "no room for one more name of a wildcard");
                    return true;
                }
                Lesson::Tell(current) => current,
            };
            let news = Learned {
                name: name.clone(),
                current: current.clone(),
                installed: Some(tell),
            };
            if self.learned.send(news).await.is_err() {
                return false;
            }
            current
        };
        let installed = tokio::time::timeout(INSTALLED_WITHIN, told).await;
        let installed = matches!(installed, Ok(Ok(())));
        if installed {
            self.held.lock().await.installed(name, &current);
        }
        installed
    }
}

/// The name as manifests know names; none where it is no host's.
fn host_name(question: &Question) -> Option<Name> {
    let text = question.name.to_ascii();
    text.trim_end_matches('.').parse().ok()
}

fn is_of_addresses(kind: RecordType) -> bool {
    matches!(kind, RecordType::A | RecordType::AAAA)
}

#[cfg(test)]
mod tests;
