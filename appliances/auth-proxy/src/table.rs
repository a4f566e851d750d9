//! All passes and sessions: who begins, who is displaced, whose time is over. Pure, and bounded.
//!
//! What is to become different is decided first ([`Table::plan`]), written down by the caller, and
//! taken over then ([`Table::take`]), so that a crash between leaves nothing half done.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use crate::limits::{PASSES_MAX, SESSIONS_MAX};
use crate::session::{Carried, End, Left, Login, Pass, Session};

/// All passes and sessions.
#[derive(Debug, Default)]
pub struct Table {
    passes: HashMap<String, Pass>,
    sessions: HashMap<IpAddr, Session>,
    /// Clients by their passes, in the order in which they began.
    clients: HashMap<String, Vec<IpAddr>>,
    /// When each session's time is over.
    deadlines: BTreeSet<(u64, IpAddr)>,
}

/// What a login brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The session that begins, or goes on.
    pub session: Session,
    /// Its pass.
    pub pass: Pass,
    /// Sessions that end for it.
    pub ends: Vec<(IpAddr, End)>,
}

/// Why a login brings nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlan {
    /// The pass is used up.
    UsedUp(End),
    /// No room for another session or pass.
    Full,
}

impl Table {
    /// What a client's login brings. `id` is for the session, if one begins.
    ///
    /// # Errors
    /// The pass is used up, or there is no room.
    pub fn plan(&self, client: IpAddr, login: &Login, id: u64, now: u64) -> Result<Plan, NoPlan> {
        let known = self.passes.get(&login.key);
        let on_it = self.clients.get(&login.key).map_or(&[][..], Vec::as_slice);
        let pass = match known {
            Some(pass) if !login.renews || !on_it.is_empty() => pass.clone(),
            _ => Pass::begun(login.quota, now),
        };
        pass.left(now).map_err(NoPlan::UsedUp)?;
        let own = self.sessions.get(&client);
        if let Some(session) = own.filter(|session| session.pass == login.key) {
            let mut session = session.clone();
            session.class = login.class.clone().or(session.class);
            return Ok(Plan {
                session,
                pass,
                ends: Vec::new(),
            });
        }
        let is_full = self.sessions.len() >= SESSIONS_MAX && own.is_none()
            || self.passes.len() >= PASSES_MAX && known.is_none();
        if is_full {
            return Err(NoPlan::Full);
        }
        let devices = usize::from(pass.quota.devices.max(1));
        let too_many = (on_it.len() + 1).saturating_sub(devices);
        let displaced = on_it.iter().take(too_many).map(|c| (*c, End::Replaced));
        let own = own.map(|_| (client, End::Replaced));
        Ok(Plan {
            session: Session {
                client,
                pass: login.key.clone(),
                began: now,
                carried: Carried::default(),
                counted: Carried::default(),
                class: login.class.clone(),
                interim_seconds: None,
                id,
            },
            pass,
            ends: displaced.chain(own).collect(),
        })
    }

    /// Takes over a session and its pass, as they were written down.
    pub fn take(&mut self, session: Session, pass: Pass) {
        self.end(session.client);
        let clients = self.clients.entry(session.pass.clone()).or_default();
        clients.push(session.client);
        self.deadlines.insert((pass.until(), session.client));
        self.change(&session.pass, pass);
        self.sessions.insert(session.client, session);
    }

    /// Takes over a pass without a session.
    pub fn take_pass(&mut self, key: String, pass: Pass) {
        self.passes.insert(key, pass);
    }

    /// A pass is as given; its sessions end when it says.
    pub fn change(&mut self, key: &str, pass: Pass) {
        let until = pass.until();
        let before = self.passes.get(key).map(Pass::until);
        self.passes.insert(key.to_owned(), pass);
        if before == Some(until) {
            return;
        }
        for client in self.clients.get(key).map_or(&[][..], Vec::as_slice) {
            if let Some(before) = before {
                self.deadlines.remove(&(before, *client));
            }
            self.deadlines.insert((until, *client));
        }
    }

    /// Ends a session; what it was.
    pub fn end(&mut self, client: IpAddr) -> Option<Session> {
        let session = self.sessions.remove(&client)?;
        if let Some(pass) = self.passes.get(&session.pass) {
            self.deadlines.remove(&(pass.until(), client));
        }
        if let Some(clients) = self.clients.get_mut(&session.pass) {
            clients.retain(|c| *c != client);
            if clients.is_empty() {
                self.clients.remove(&session.pass);
            }
        }
        Some(session)
    }

    /// Forgets a pass that no session is on.
    pub fn forget(&mut self, key: &str) {
        if !self.clients.contains_key(key) {
            self.passes.remove(key);
        }
    }

    /// A client's session with its pass.
    pub fn session(&self, client: IpAddr) -> Option<(&Session, &Pass)> {
        let session = self.sessions.get(&client)?;
        Some((session, self.passes.get(&session.pass)?))
    }

    /// A pass.
    pub fn pass(&self, key: &str) -> Option<&Pass> {
        self.passes.get(key)
    }

    /// What is left to a client, if it may use the network.
    pub fn left(&self, client: IpAddr, now: u64) -> Option<Left> {
        self.session(client)?.1.left(now).ok()
    }

    /// All sessions with their passes.
    pub fn sessions(&self) -> impl Iterator<Item = (&Session, &Pass)> {
        let all = self.sessions.values();
        all.filter_map(|session| Some((session, self.passes.get(&session.pass)?)))
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Passes that no session is on.
    pub fn idle(&self) -> impl Iterator<Item = (&String, &Pass)> {
        let nobody = |(key, _): &(&String, &Pass)| !self.clients.contains_key(*key);
        self.passes.iter().filter(nobody)
    }

    /// Adds what a client's counters say; its session and pass, if that was anything.
    pub fn count(&mut self, client: IpAddr, total: Carried) -> Option<(&Session, &Pass)> {
        let session = self.sessions.get_mut(&client)?;
        let more = session.count(total);
        let pass = self.passes.get_mut(&session.pass)?;
        pass.bytes = pass.bytes.saturating_add(more);
        (more > 0).then_some((&*session, &*pass))
    }

    /// Sessions whose time is over, by the order of their ends.
    pub fn due(&self, now: u64) -> Vec<IpAddr> {
        let over = self.deadlines.iter().take_while(|(until, _)| *until <= now);
        over.map(|(_, client)| *client).collect()
    }

    /// Why a client's session is over, if it is.
    pub fn verdict(&self, client: IpAddr, now: u64) -> Option<End> {
        self.session(client)?.1.left(now).err()
    }

    /// The clients on a pass.
    pub fn on(&self, key: &str) -> &[IpAddr] {
        self.clients.get(key).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Quota;

    fn client(number: u8) -> IpAddr {
        [10, 0, 0, number].into()
    }

    fn login(key: &str, renews: bool, devices: u16) -> Login {
        let quota = Quota {
            seconds: 100,
            bytes: Some(1000),
            kbit: None,
            devices,
        };
        Login {
            key: key.to_owned(),
            quota,
            renews,
            class: None,
        }
    }

    fn received(bytes: u64) -> Carried {
        Carried {
            sent: 0,
            received: bytes,
        }
    }

    fn begin(table: &mut Table, number: u8, login: &Login, now: u64) -> Result<Plan, NoPlan> {
        let plan = table.plan(client(number), login, u64::from(number), now)?;
        for (gone, _) in &plan.ends {
            table.end(*gone);
        }
        table.take(plan.session.clone(), plan.pass.clone());
        Ok(plan)
    }

    #[test]
    fn a_voucher_goes_on_where_it_was_and_ends() {
        let mut table = Table::default();
        let voucher = login("voucher:a", false, 1);
        begin(&mut table, 1, &voucher, 0).expect("it begins");
        table.count(client(1), received(400));
        table.end(client(1));
        let plan = begin(&mut table, 2, &voucher, 50).expect("it goes on");
        assert_eq!(
            plan.pass.left(50).map(|l| (l.seconds, l.bytes)),
            Ok((50, Some(600)))
        );
        table.count(client(2), received(600));
        assert_eq!(table.verdict(client(2), 60), Some(End::Volume));
        table.end(client(2));
        let again = begin(&mut table, 2, &voucher, 61);
        assert_eq!(again, Err(NoPlan::UsedUp(End::Volume)));
        assert_eq!(table.idle().count(), 1);
    }

    #[test]
    fn a_subscriber_begins_anew_but_not_beside_himself() {
        let mut table = Table::default();
        let ada = login("subscriber:ada", true, 2);
        begin(&mut table, 1, &ada, 0).expect("it begins");
        table.count(client(1), received(999));
        let second = begin(&mut table, 2, &ada, 1).expect("a second device");
        assert_eq!((second.pass.bytes, second.ends.len()), (999, 0));
        let third = begin(&mut table, 3, &ada, 2).expect("a third device");
        assert_eq!(third.ends, [(client(1), End::Replaced)]);
        assert_eq!(table.on("subscriber:ada"), [client(2), client(3)]);
        table.end(client(2));
        table.end(client(3));
        let anew = begin(&mut table, 1, &ada, 3).expect("it begins anew");
        assert_eq!(anew.pass.bytes, 0);
    }

    #[test]
    fn the_same_login_again_changes_nothing() {
        let mut table = Table::default();
        let voucher = login("voucher:a", false, 1);
        let first = begin(&mut table, 1, &voucher, 0).expect("it begins");
        let again = table.plan(client(1), &voucher, 77, 5).expect("it goes on");
        assert_eq!((again.session, again.ends), (first.session, vec![]));
        let other = table.plan(client(1), &login("voucher:b", false, 1), 78, 5);
        let other = other.expect("another pass");
        assert_eq!(other.ends, [(client(1), End::Replaced)]);
    }

    #[test]
    fn those_whose_time_is_over_are_found_in_order() {
        let mut table = Table::default();
        for (number, now) in [(3, 30), (1, 10), (2, 20)] {
            let voucher = login(&format!("voucher:{number}"), false, 1);
            begin(&mut table, number, &voucher, now).expect("it begins");
        }
        assert!(table.due(109).is_empty());
        assert_eq!(table.due(120), [client(1), client(2)]);
        assert_eq!(table.verdict(client(3), 129), None);
        assert_eq!(table.verdict(client(3), 130), Some(End::Time));
    }

    #[test]
    fn a_full_table_refuses() {
        let mut table = Table::default();
        for number in 0..SESSIONS_MAX {
            let [.., a, b] = number.to_be_bytes();
            let address: IpAddr = [10, 1, a, b].into();
            let own = login(&format!("subscriber:{number}"), true, 1);
            let plan = table.plan(address, &own, 0, 0).expect("room");
            table.take(plan.session, plan.pass);
        }
        let own = login("subscriber:77", true, 1);
        assert_eq!(table.plan(client(1), &own, 0, 0), Err(NoPlan::Full));
        assert!(table.plan([10, 1, 0, 77].into(), &own, 0, 0).is_ok());
    }
}
