//! The decisions: what a submission, an acceptance or a revocation leads to. There is no network
//! here and no clock; every answer was made durable before it is returned.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use manifest::revocation::REVOKED_MAX;
use manifest::{
    Acceptance, AuditRequest, Claims, Digest, Grant, Limit, Manifest, Name, Offer, PublicKey,
    RevocationList, RevocationOrder, Signed, SigningKey, Submission, Timestamp, Token,
};
use serde_json::{Value, json};

use crate::config::Publisher;
use crate::policy::{Policies, Verdict, Wish};
use crate::refusal::Refusal;
use crate::store::audit::{Entry, Line};
use crate::store::{Store, Stored, Transaction};

/// Requests of one publisher in one minute: people and their continuous integration, not a loop.
pub const REQUESTS_PER_MINUTE_MAX: u32 = 60;

const DAY_SECONDS: u64 = 86_400;
const HOUR_SECONDS: u64 = 3_600;

/// Who the operator is, and whom it deals with.
pub struct Terms {
    /// The operator's name in tokens.
    pub issuer: Name,
    /// The hosts that tokens may be for.
    pub hosts: Vec<Name>,
    /// Those who may revoke and audit.
    pub operators: Vec<PublicKey>,
    /// Those who may submit.
    pub publishers: Vec<Publisher>,
    /// Longest life of a token.
    pub token_days_max: u32,
    /// How long an offer can be accepted.
    pub offer_hours_max: u32,
}

/// The authority of one operator.
pub struct Authority {
    key: SigningKey,
    terms: Terms,
    publishers: HashMap<PublicKey, Publisher>,
    policies: RwLock<Arc<Policies>>,
    store: Store,
    /// Requests of each known publisher in the present minute.
    requests: Mutex<HashMap<PublicKey, (u64, u32)>>,
}

/// What a publisher gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A token.
    Token(Box<Signed<Token>>),
    /// An offer, which it may accept.
    Offer(Box<Signed<Offer>>),
}

impl Authority {
    /// An authority with this key, terms, policies and memory.
    pub fn new(key: SigningKey, mut terms: Terms, policies: Policies, store: Store) -> Self {
        let publishers = std::mem::take(&mut terms.publishers);
        Self {
            key,
            terms,
            publishers: publishers.into_iter().map(|one| (one.key, one)).collect(),
            policies: RwLock::new(Arc::new(policies)),
            store,
            requests: Mutex::default(),
        }
    }

    /// The key that hosts verify tokens with.
    pub fn public_key(&self) -> PublicKey {
        self.key.public()
    }

    /// Writes down by which policies it decides, before it does.
    ///
    /// # Errors
    /// A database that does not work.
    pub fn start(&self, now: Timestamp) -> Result<(), Refusal> {
        let policies = self.policies();
        self.record_policies(&policies, now)
    }

    /// Decides by other policies from now on. Offers that were made stand until they expire.
    ///
    /// # Errors
    /// A database that does not work; then the policies stay.
    pub fn replace_policies(&self, policies: Policies, now: Timestamp) -> Result<(), Refusal> {
        self.record_policies(&policies, now)?;
        let mut current = self
            .policies
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(policies);
        Ok(())
    }

    /// Answers a signed submission: with a token if everything is granted, else with an offer. The
    /// same submission gets the same answer as long as that stands.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn submit(&self, bytes: &[u8], now: Timestamp) -> Result<Reply, Refusal> {
        let signed = Signed::<Submission>::open_self_signed(bytes)?;
        let submission = signed.document();
        let publisher = self.admit(submission.manifest().publisher(), now)?;
        if let Err(refusal) = self.check(submission, publisher, now) {
            self.record_rejection(submission, &refusal, now)?;
            return Err(refusal);
        }
        if let Some(stored) = self.store.answer(submission.digest(), now)? {
            return self.again(&self.store.begin()?, stored);
        }
        let verdict = self.evaluate(submission, publisher, now);
        let transaction = self.store.begin()?;
        // Somebody else may have submitted the same meanwhile.
        if let Some(stored) = transaction.answer(submission.digest(), now)? {
            return self.again(&transaction, stored);
        }
        let offer = Offer {
            submission: submission.digest(),
            valid_until: now.after(u64::from(self.terms.offer_hours_max) * HOUR_SECONDS),
            answers: verdict.answers,
            limit: verdict.limit,
            expires: verdict.expires,
        };
        let reply = if offer.is_grant() {
            self.issue(&transaction, submission, &offer, now, "granted")?
        } else {
            self.offer(&transaction, &signed, offer, now)?
        };
        transaction.commit(now)?;
        Ok(reply)
    }

    /// Gives the token of an offer that its publisher accepts; again if it was accepted before.
    ///
    /// # Errors
    /// Why there is no token.
    pub fn accept(&self, offer: Digest, bytes: &[u8], now: Timestamp) -> Result<Reply, Refusal> {
        let signed = Signed::<Acceptance>::open_self_signed(bytes)?;
        let acceptance = signed.document();
        let publisher = self.admit(&acceptance.publisher, now)?;
        if acceptance.offer != offer {
            return Err(Refusal::UnknownOffer);
        }
        let transaction = self.store.begin()?;
        let stored = transaction.offer(offer)?.ok_or(Refusal::UnknownOffer)?;
        let submission = Signed::<Submission>::open_self_signed(&stored.submission)?;
        let submission = submission.into_document();
        let offer = Signed::<Offer>::open(&stored.offer, &[self.key.public()])?.into_document();
        if *submission.manifest().publisher() != acceptance.publisher {
            return Err(Refusal::ForeignOffer);
        }
        if let Some(stored @ Stored::Token(..)) = transaction.answer(offer.submission, now)? {
            return self.again(&transaction, stored);
        }
        if offer.valid_until <= now || offer.expires <= now {
            return Err(Refusal::OfferExpired(offer.valid_until.min(offer.expires)));
        }
        // The contract may have changed since.
        self.check(&submission, publisher, now)?;
        let reply = self.issue(&transaction, &submission, &offer, now, "accepted")?;
        transaction.commit(now)?;
        Ok(reply)
    }

    /// The signed offer with this digest: who knows it was given it.
    ///
    /// # Errors
    /// No such offer, or none any more.
    pub fn find_offer(&self, offer: Digest, now: Timestamp) -> Result<Signed<Offer>, Refusal> {
        let bytes = self.store.offer(offer)?.ok_or(Refusal::UnknownOffer)?;
        let offer = Signed::<Offer>::open(&bytes, &[self.key.public()])?;
        if offer.document().valid_until <= now {
            return Err(Refusal::OfferExpired(offer.document().valid_until));
        }
        Ok(offer)
    }

    /// Revokes a token on an operator's signed order; nothing happens if it was revoked before.
    /// The submission that it answered gets no other until it would have expired. To keep a
    /// publisher from asking for another in other words, change the policies.
    ///
    /// # Errors
    /// Why it is not revoked.
    pub fn revoke(&self, bytes: &[u8], now: Timestamp) -> Result<Signed<RevocationList>, Refusal> {
        let order = Signed::<RevocationOrder>::open(bytes, &self.terms.operators)
            .map_err(not_an_operator)?
            .into_document();
        let transaction = self.store.begin()?;
        if !transaction.is_revoked(order.serial)? {
            let expires = transaction.token_expiry(order.serial)?;
            let expires = expires.filter(|expires| now.seconds() < *expires);
            let expires = expires.ok_or(Refusal::UnknownToken(order.serial))?;
            if transaction.revoked_count()? >= REVOKED_MAX as u64 {
                return Err(Refusal::RevocationsFull);
            }
            transaction.revoke(order.serial, expires)?;
            let detail = json!({
                "serial": order.serial.0,
                "operator": order.operator.to_string(),
                "reason": order.reason,
            });
            transaction.record(&Entry::new(now, "revoked", detail))?;
            transaction.commit(now)?;
        }
        self.revocations(now)
    }

    /// The signed list of revoked tokens.
    ///
    /// # Errors
    /// A database that does not work.
    pub fn revocations(&self, now: Timestamp) -> Result<Signed<RevocationList>, Refusal> {
        let (number, serials) = self.store.revocations(now)?;
        let serials: BTreeSet<_> = serials.into_iter().collect();
        let list = RevocationList::new(number, now, serials).ok_or(Refusal::RevocationsFull)?;
        Ok(Signed::sign(list, &self.key))
    }

    /// Lines of the audit log after a number, for an operator.
    ///
    /// # Errors
    /// Who is no operator, or asked too long ago.
    pub fn audit(&self, request: &[u8], after: u64, now: Timestamp) -> Result<Vec<Line>, Refusal> {
        let request = Signed::<AuditRequest>::open(request, &self.terms.operators)
            .map_err(not_an_operator)?;
        if !request.document().is_fresh(now) {
            return Err(Refusal::Stale);
        }
        Ok(self.store.audit(after)?)
    }

    /// Who is known, and not too fast. Nobody else costs more than the check of a signature.
    fn admit(&self, key: &PublicKey, now: Timestamp) -> Result<&Publisher, Refusal> {
        let publisher = self.publishers.get(key).ok_or(Refusal::UnknownPublisher)?;
        let minute = now.seconds() / 60;
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let (current, count) = requests.entry(*key).or_insert((minute, 0));
        if *current != minute {
            (*current, *count) = (minute, 0);
        }
        *count += 1;
        if *count > REQUESTS_PER_MINUTE_MAX {
            return Err(Refusal::TooFast);
        }
        Ok(publisher)
    }

    /// What holds whatever the policies say.
    fn check(
        &self,
        submission: &Submission,
        publisher: &Publisher,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let manifest = submission.manifest();
        if manifest.expires() <= now {
            return Err(Refusal::ManifestExpired(manifest.expires()));
        }
        let account = &manifest.bill().account;
        if !publisher.accounts.contains(account) {
            return Err(Refusal::ForeignAccount(account.clone()));
        }
        let mut hosts = submission.hosts().iter();
        match hosts.find(|host| !self.terms.hosts.contains(host)) {
            Some(unknown) => Err(Refusal::UnknownHost(unknown.clone())),
            None => Ok(()),
        }
    }

    /// Writes down what a known publisher tried and may not, before any policy was asked. What
    /// strangers try is in the program's log only: they could fill the disk.
    fn record_rejection(
        &self,
        submission: &Submission,
        refusal: &Refusal,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let manifest = submission.manifest();
        let detail = json!({
            "publisher": manifest.publisher().to_string(),
            "application": manifest.name().as_str(),
            "submission": submission.digest().to_string(),
            "reason": refusal.name_and_status().0,
            "detail": refusal.to_string(),
        });
        let transaction = self.store.begin()?;
        transaction.record(&Entry::new(now, "rejected", detail))?;
        Ok(transaction.commit(now)?)
    }

    fn evaluate(&self, submission: &Submission, publisher: &Publisher, now: Timestamp) -> Verdict {
        let manifest = submission.manifest();
        let longest = now.after(u64::from(self.terms.token_days_max) * DAY_SECONDS);
        let wish = Wish {
            publisher: manifest.publisher(),
            publisher_name: &publisher.name,
            groups: &publisher.groups,
            application: manifest.name().as_str(),
            hosts: submission.hosts(),
            account: &manifest.bill().account,
            free_to_client: manifest.bill().free_to_client,
            on_fail: manifest.on_fail(),
            limit: manifest.limit(),
            expires: manifest.expires().min(longest),
            now,
        };
        self.policies().answer(&wish, manifest.rules())
    }

    fn policies(&self) -> Arc<Policies> {
        let policies = self.policies.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&policies)
    }

    fn record_policies(&self, policies: &Policies, now: Timestamp) -> Result<(), Refusal> {
        let detail = json!({
            "count": policies.count(),
            "digest": policies.digest().to_string(),
        });
        let transaction = self.store.begin()?;
        transaction.record(&Entry::new(now, "policies", detail))?;
        Ok(transaction.commit(now)?)
    }

    /// The answer that a submission got before.
    fn again(&self, transaction: &Transaction, stored: Stored) -> Result<Reply, Refusal> {
        let own = [self.key.public()];
        match stored {
            Stored::Token(serial, _) if transaction.is_revoked(serial)? => {
                Err(Refusal::Revoked(serial))
            }
            Stored::Token(_, bytes) => Ok(Reply::Token(Box::new(Signed::open(&bytes, &own)?))),
            Stored::Offer(bytes) => Ok(Reply::Offer(Box::new(Signed::open(&bytes, &own)?))),
        }
    }

    fn issue(
        &self,
        transaction: &Transaction,
        submission: &Submission,
        offer: &Offer,
        now: Timestamp,
        event: &'static str,
    ) -> Result<Reply, Refusal> {
        let manifest = submission.manifest();
        let number = transaction.application_number(manifest.publisher(), manifest.name())?;
        let claims = Claims {
            issuer: self.terms.issuer.clone(),
            hosts: submission.hosts().to_vec(),
            expires: offer.expires,
            not_before: now,
            serial: transaction.next_serial()?,
            publisher: *manifest.publisher(),
            application: manifest.name().clone(),
            number: number.ok_or(Refusal::TooManyApplications)?,
            manifest: manifest.digest(),
            image: submission.image(),
            holder: *submission.holder(),
            grants: covered(manifest, offer.grants()),
            on_fail: manifest.on_fail(),
            limit: offer.limit,
            bill: manifest.bill().clone(),
        };
        let token = Token::new(claims).map_err(|_| Refusal::NothingGranted)?;
        let token = Signed::sign(token, &self.key);
        let (serial, expires) = (token.document().serial(), token.document().expires());
        transaction.put_token(offer.submission, serial, expires, token.bytes())?;
        let mut detail = described(submission, offer);
        detail["serial"] = serial.0.into();
        transaction.record(&Entry::new(now, event, detail))?;
        Ok(Reply::Token(Box::new(token)))
    }

    fn offer(
        &self,
        transaction: &Transaction,
        submission: &Signed<Submission>,
        offer: Offer,
        now: Timestamp,
    ) -> Result<Reply, Refusal> {
        let event = if offer.grants().is_empty() {
            "refused"
        } else {
            "offered"
        };
        let detail = described(submission.document(), &offer);
        let offer = Signed::sign(offer, &self.key);
        let digest = offer.document().digest();
        transaction.put_offer(
            (submission.document().digest(), submission.bytes()),
            (digest, offer.bytes()),
            offer.document().valid_until,
        )?;
        transaction.record(&Entry::new(now, event, detail))?;
        Ok(Reply::Offer(Box::new(offer)))
    }
}

fn not_an_operator(error: manifest::OpenError) -> Refusal {
    match error {
        manifest::OpenError::Forged => Refusal::NotAnOperator,
        other => Refusal::NotSigned(other),
    }
}

/// The grants, each of which is less than or the same as what was asked for.
///
/// # Panics
/// If a policy's narrowing gave more than was asked for: that would be a broken invariant of
/// [`manifest::Rule::within`], and no token may be signed.
fn covered(manifest: &Manifest, grants: Vec<Grant>) -> Vec<Grant> {
    for grant in &grants {
        let asked = &manifest.rules()[usize::from(grant.index)];
        assert!(asked.covers(&grant.rule), "{} within {asked}", grant.rule);
    }
    grants
}

/// What the audit log says of a submission and its answers.
fn described(submission: &Submission, offer: &Offer) -> Value {
    let manifest = submission.manifest();
    let answers = offer.answers.iter().map(|answer| {
        json!({
            "outcome": answer.outcome.as_str(),
            "rule": answer.outcome.rule().map(ToString::to_string),
            "policy": answer.policy,
        })
    });
    let hosts = submission.hosts().iter().map(Name::as_str);
    json!({
        "publisher": manifest.publisher().to_string(),
        "application": manifest.name().as_str(),
        "account": manifest.bill().account.as_str(),
        "submission": offer.submission.to_string(),
        "manifest": manifest.digest().to_string(),
        "image": submission.image().to_string(),
        "hosts": hosts.collect::<Vec<_>>(),
        "offer": offer.digest().to_string(),
        "expires": offer.expires.to_string(),
        "rate": rate(offer.limit),
        "answers": answers.collect::<Vec<_>>(),
    })
}

fn rate(limit: Limit) -> Option<String> {
    limit.rate.map(|rate| rate.to_string())
}
