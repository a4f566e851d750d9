//! How a session begins: those end that have to go for it, it is written down and taken over, and the way
//! opens; or none of it.

use std::net::{IpAddr, SocketAddr};

use super::forget::Forget;
use super::{Hotspot, State, count, random};
use crate::gate::GateError;
use crate::limits::PLACE_TRIES;
use crate::refusal::Refused;
use crate::session::{End, Login};
use crate::store::Write;
use crate::table::{NoPlan, Plan};
use crate::token::{BadToken, Replayed, Verified};

/// By what somebody proved that it may log in. What may be withdrawn or used by another is looked at again
/// when the session begins.
#[derive(Clone, Debug)]
pub enum Proof {
    /// A voucher, by its code's hash.
    Voucher(String),
    /// A publisher's token.
    Token(Verified),
    /// A password of the operator's own list.
    Password,
    /// A RADIUS server's word.
    Radius {
        /// Seconds between interim accounting, if it asks for that.
        interim_seconds: Option<u64>,
    },
}

/// What came of an attempt to take a place.
enum Placed {
    /// It is taken.
    Taken(Begun),
    /// Not before these have ended.
    After(Vec<(IpAddr, End)>),
}

/// What to take back if the way does not open.
struct Begun {
    /// The session's.
    id: u64,
    /// The client had this session before.
    goes_on: bool,
    /// Nobody had used the pass before.
    is_new_pass: bool,
}

impl Hotspot {
    /// Lets a client in who proved that it may, by a connection from this address and port.
    ///
    /// # Errors
    /// Nothing is left, no room, the disk, or the controller.
    pub async fn begin(&self, from: SocketAddr, login: Login, proof: Proof) -> Result<(), Refused> {
        let client = from.ip();
        let begun = self.take_place(client, &login, &proof).await?;
        if let Err(error) = self.let_through(client, Some(from.port())).await {
            self.log.often(&error, &[("client", &client)]);
            self.undo(client, &login.key, &begun);
            return Err(match error {
                GateError::Refused(_) => Refused::ControllerRefuses,
                GateError::Away(_) => Refused::ControllerAway,
            });
        }
        if self.state().table.session(client).is_none() {
            // Another took its place while the way opened, and must not find it open beside its own.
            // If this fails, `reconcile` closes it.
            let closed = self.gate.close(client).await;
            closed.map_err(|_| Refused::ControllerAway)?;
            return Err(Refused::Busy);
        }
        self.figures.began.add(1);
        self.hear(client, None);
        let kind = login.key.split(':').next().unwrap_or_default();
        self.log
            .often("let in", &[("client", &client), ("by", &kind)]);
        Ok(())
    }

    /// Ends those that have to go, until nobody has to: others may begin while they end.
    async fn take_place(
        &self,
        client: IpAddr,
        login: &Login,
        proof: &Proof,
    ) -> Result<Begun, Refused> {
        let id = random()?;
        for _ in 0..PLACE_TRIES {
            match self.place(client, login, proof, id)? {
                Placed::Taken(begun) => return Ok(begun),
                Placed::After(ends) => {
                    for (gone, end) in ends {
                        self.end(gone, end).await;
                    }
                }
            }
        }
        Err(Refused::Busy)
    }

    /// Writes a session down and takes it over, if nobody has to go for it.
    fn place(
        &self,
        client: IpAddr,
        login: &Login,
        proof: &Proof,
        id: u64,
    ) -> Result<Placed, Refused> {
        let now = self.clock.now();
        let mut state = self.state();
        let state = &mut *state;
        self.still_holds(state, proof, client, now)?;
        let mut plan = self.plan(state, client, login, id, now)?;
        if !plan.ends.is_empty() {
            return Ok(Placed::After(plan.ends));
        }
        if let Proof::Radius { interim_seconds } = proof {
            plan.session.interim_seconds = *interim_seconds;
        }
        let mut writes = vec![
            Write::Session(&plan.session),
            Write::Pass(&login.key, &plan.pass),
            Write::Latest(now),
        ];
        if let Proof::Token(token) = proof {
            writes.push(Write::Token(&token.id, token.expires, client));
        }
        let written = self.store.write(&writes);
        written.map_err(|error| self.failed(&error))?;
        if let Proof::Token(token) = proof {
            let id = token.id.clone();
            state.replays.take(id, token.expires, client);
        }
        let begun = Begun {
            id: plan.session.id,
            goes_on: state.table.session(client).is_some(),
            is_new_pass: state.table.pass(&login.key).is_none(),
        };
        state.table.take(plan.session, plan.pass);
        self.figures.sessions.set(count(state.table.len()));
        Ok(Placed::Taken(begun))
    }

    /// What a login brings, when there is room for it or can be made.
    fn plan(
        &self,
        state: &mut State,
        client: IpAddr,
        login: &Login,
        id: u64,
        now: u64,
    ) -> Result<Plan, Refused> {
        let mut plan = state.table.plan(client, login, id, now);
        if plan == Err(NoPlan::Full) && self.forget(state, Forget::All) > 0 {
            plan = state.table.plan(client, login, id, now);
        }
        plan.map_err(|why| match why {
            NoPlan::UsedUp(_) => Refused::UsedUp,
            NoPlan::Full => Refused::Full,
        })
    }

    fn still_holds(
        &self,
        state: &mut State,
        proof: &Proof,
        client: IpAddr,
        now: u64,
    ) -> Result<(), Refused> {
        match proof {
            Proof::Voucher(hash) if !state.vouchers.contains_key(hash) => {
                Err(Refused::WrongVoucher)
            }
            Proof::Token(token) => self.unused(state, token, client, now),
            Proof::Voucher(_) | Proof::Password | Proof::Radius { .. } => Ok(()),
        }
    }

    /// Whether a client may use a token that is good.
    pub(super) fn unused(
        &self,
        state: &mut State,
        token: &Verified,
        client: IpAddr,
        now: u64,
    ) -> Result<(), Refused> {
        let mut free = state.replays.check(token, client, now);
        if free == Err(Replayed::Full) && self.forget(state, Forget::Old) > 0 {
            free = state.replays.check(token, client, now);
        }
        free.map_err(|why| match why {
            Replayed::Used => Refused::Replayed,
            Replayed::Full => Refused::Full,
            Replayed::Expired => Refused::Token(BadToken::Expired),
        })
    }

    /// Takes back a login that the controller did not carry out. A session that was there before stays as
    /// it was; one that another login has put there since is that login's.
    fn undo(&self, client: IpAddr, key: &str, begun: &Begun) {
        let mut state = self.state();
        let session = state.table.session(client);
        if begun.goes_on || session.is_none_or(|(session, _)| session.id != begun.id) {
            return;
        }
        state.table.end(client);
        let mut writes = vec![Write::NoSession(client)];
        if begun.is_new_pass && state.table.on(key).is_empty() {
            state.table.forget(key);
            writes.push(Write::NoPass(key));
        }
        self.figures.sessions.set(count(state.table.len()));
        if let Err(error) = self.store.write(&writes) {
            self.failed(&error);
        }
    }
}
