//! Clients that appliances let through the switch: what is written of them, and what follows. Pure.
//!
//! An admission has a *place* among its application's, which names its flows' counters and its meter.
//! *States.* admitted → ending (its flows go, and tell what they counted last) → forgotten; a place is
//! given again only then, so nobody is counted what another carried.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use manifest::{Rate, Timestamp};
use serde::{Deserialize, Serialize};

use crate::accounting::{Amount, Delta};
use crate::pipeline::{ADMITTED_MAX, Admitted};
use crate::state::{Change, State};

/// What is written of a client that is let through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdmissionRecord {
    /// Its number among the application's.
    pub place: u16,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Kilobits a second, both directions together.
    pub kbit: Option<u32>,
    /// Until when, in Unix time.
    pub expires: u64,
    /// What it sent.
    pub sent: Amount,
    /// What it received.
    pub received: Amount,
    /// Its flows are gone, or are to go.
    pub ending: bool,
}

/// Who: the application that lets the client through, and the client.
pub type AdmissionKey = (u32, IpAddr);

impl State {
    /// An application's admissions.
    pub fn admissions_of(
        &self,
        application: u32,
    ) -> impl Iterator<Item = (IpAddr, &AdmissionRecord)> {
        let from = (application, IpAddr::from([0, 0, 0, 0]));
        let all = self.admissions.range(from..);
        let own = all.take_while(move |((of, _), _)| *of == application);
        own.map(|((_, client), record)| (*client, record))
    }

    /// Whether another application lets a client through.
    pub fn is_let_through_by_another(&self, application: u32, client: IpAddr) -> bool {
        let mut others = self.applications.keys().filter(|of| **of != application);
        others.any(|of| self.admissions.contains_key(&(*of, client)))
    }

    /// A place that no admission of the application has.
    pub fn free_place(&self, application: u32) -> Option<u16> {
        let taken: BTreeSet<u16> = self
            .admissions_of(application)
            .map(|(_, r)| r.place)
            .collect();
        (0..ADMITTED_MAX).find(|place| !taken.contains(place))
    }

    /// What the switch should hold of an application's admissions.
    pub fn admitted(&self, application: u32) -> Vec<Admitted> {
        let live = self
            .admissions_of(application)
            .filter(|(_, record)| !record.ending);
        live.map(|(address, record)| Admitted {
            place: record.place,
            address,
            mac: record.mac,
            rate: record.kbit.and_then(Rate::from_kbit),
        })
        .collect()
    }

    /// Whose flows are to go: those that expired, and those of applications that are served no more.
    pub fn ending_admissions(&self, now: Timestamp) -> Vec<AdmissionKey> {
        let over = |((application, _), record): &(&AdmissionKey, &AdmissionRecord)| {
            let of = self.applications.get(application);
            let is_served = of.is_some_and(|a| a.record.withdrawn.is_none());
            record.ending || record.expires <= now.seconds() || !is_served
        };
        let all = self.admissions.iter().filter(over);
        all.map(|(key, _)| *key).collect()
    }

    /// What becomes different when admissions are to end.
    pub fn ends(&self, keys: &[AdmissionKey]) -> Vec<Change> {
        let known = keys
            .iter()
            .filter_map(|key| Some((key, self.admissions.get(key)?)));
        let changes = known
            .filter(|(_, record)| !record.ending)
            .map(|(key, record)| {
                let ending = AdmissionRecord {
                    ending: true,
                    ..record.clone()
                };
                Change::Admission(*key, ending)
            });
        changes.collect()
    }

    /// Adds what admissions' flows counted; what else was counted comes back.
    pub fn accounted_admissions(&self, deltas: Vec<Delta>) -> (Vec<Delta>, Vec<Change>) {
        let mut changed: BTreeMap<AdmissionKey, AdmissionRecord> = BTreeMap::new();
        let mut places: BTreeMap<u32, BTreeMap<u16, IpAddr>> = BTreeMap::new();
        let mut others = Vec::new();
        for delta in deltas {
            let Some((place, is_received)) = Admitted::of_cookie_rule(delta.rule) else {
                others.push(delta);
                continue;
            };
            let of = |application| {
                let all = self.admissions_of(application);
                all.map(|(client, record)| (record.place, client)).collect()
            };
            let places = places
                .entry(delta.application)
                .or_insert_with(|| of(delta.application));
            let Some(client) = places.get(&place) else {
                continue;
            };
            let key = (delta.application, *client);
            let Some(before) = self.admissions.get(&key) else {
                continue;
            };
            let record = changed.entry(key).or_insert_with(|| before.clone());
            let sum = match is_received {
                true => &mut record.received,
                false => &mut record.sent,
            };
            *sum = sum.plus(delta.amount);
        }
        let changes = changed.into_iter();
        let changes = changes.map(|(key, record)| Change::Admission(key, record));
        (others, changes.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORTAL: u32 = 3;

    fn client(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn admit(state: &mut State, last: u8, expires: u64) {
        let record = AdmissionRecord {
            place: state.free_place(PORTAL).expect("a place"),
            mac: [2, 0, 0, 0, 0, last],
            kbit: Some(2000),
            expires,
            sent: Amount::default(),
            received: Amount::default(),
            ending: false,
        };
        state.take(Change::Admission((PORTAL, client(last)), record));
    }

    fn delta(application: u32, rule: u16, bytes: u64) -> Delta {
        let amount = Amount { packets: 1, bytes };
        Delta {
            application,
            rule,
            amount,
        }
    }

    #[test]
    fn what_flows_counted_goes_to_the_client_of_their_place() {
        let mut state = State::default();
        admit(&mut state, 5, 100);
        admit(&mut state, 6, 100);
        let place = state.admitted(PORTAL)[1];
        assert_eq!((place.place, place.address), (1, client(6)));
        let deltas = vec![
            delta(PORTAL, place.cookie_rule(false), 10),
            delta(PORTAL, place.cookie_rule(true), 200),
            delta(PORTAL, 2, 7),
            delta(4, place.cookie_rule(true), 1),
        ];
        let (others, changes) = state.accounted_admissions(deltas);
        assert_eq!(others, [delta(PORTAL, 2, 7)]);
        changes.into_iter().for_each(|change| state.take(change));
        let of = |last| {
            let record = &state.admissions[&(PORTAL, client(last))];
            (record.sent.bytes, record.received.bytes)
        };
        assert_eq!((of(5), of(6)), ((0, 0), (10, 200)));
    }

    #[test]
    fn a_place_is_given_again_when_its_client_is_forgotten() {
        let mut state = State::default();
        admit(&mut state, 5, 100);
        for change in state.ends(&[(PORTAL, client(5))]) {
            state.take(change);
        }
        assert!(state.admitted(PORTAL).is_empty());
        assert_eq!(
            state.free_place(PORTAL),
            Some(1),
            "its counters may still come"
        );
        state.take(Change::NoAdmission((PORTAL, client(5))));
        assert_eq!(state.free_place(PORTAL), Some(0));
    }

    #[test]
    fn admissions_end_with_their_application() {
        let mut state = State::default();
        admit(&mut state, 5, 100);
        let at = |seconds| Timestamp::from_seconds(seconds).expect("a moment");
        assert_eq!(
            state.ending_admissions(at(0)),
            [(PORTAL, client(5))],
            "no such application"
        );
    }
}
