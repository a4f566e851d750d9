//! Table `rules`: what tokens permit to begin. The first rule of an application that matches
//! decides; what none speaks of is denied if it is from or to a domain, and passes otherwise.

use manifest::rule::{OnFail, Protocol};
use manifest::{Call, Grant, Intercept, Rule, Serve, Source};
use openflow::{Action, Instructions, Match};

use super::compile::{Flows, goto, leave, rate_meter};
use super::control::echo;
use super::cookie::{Class, Cookie, Deny};
use super::registers::{Exit, From, OnRegisters, Register, Towards};
use super::spread::{Outcome, Spread};
use super::{Application, DesiredState, Table};

/// Priorities, highest first.
mod priority {
    pub(super) const SPOKEN: u16 = 50_000;
    pub(super) const ECHO: u16 = 49_000;
    /// What visitors may reach for nothing.
    pub(super) const FREE: u16 = 48_000;
    /// What who keeps a gate may reach for its visitors; less the place among the rules of an address.
    pub(super) const ONWARD: u16 = 47_000;
    /// Less the rule's index.
    pub(super) const RULE: u16 = 40_000;
    pub(super) const UNSPOKEN: u16 = 100;
    pub(super) const MISS: u16 = 0;
}

const _: () = assert!(
    manifest::document::RULES_MAX < (priority::RULE - priority::UNSPOKEN) as usize,
    "each rule of an application has its own priority"
);

const _: () = assert!(priority::RULE < priority::ONWARD - super::onward::RULES_PER_ADDRESS_MAX);

pub(super) fn compile(state: &DesiredState, flows: &mut Flows) {
    spoken(flows);
    for application in state.applications() {
        for grant in &application.grants {
            let writer = RuleWriter {
                state,
                application,
                grant,
            };
            writer.write(flows);
        }
        echo_to(application, flows);
        unspoken(application, flows);
    }
    free(state, flows);
    super::onward::begins(state, priority::ONWARD, flows);
    let miss = (Table::Rules, priority::MISS);
    let cookie = Cookie::host(Class::Transit);
    flows.add(miss, Match::new(), cookie, leave(Exit::Transit));
}

/// Goes to `replica` to be committed, and leaves in a way.
fn commit(exit: Exit, actions: impl IntoIterator<Item = Action>) -> Instructions {
    let mut actions: Vec<Action> = actions.into_iter().collect();
    actions.push(Register::Exit.set(exit as u32));
    goto(Table::Replica, actions)
}

fn opening(matching: Match, is: bool) -> Match {
    matching.register(Register::Opening, is.into())
}

/// What `control` permitted, and dom0, which asks replicas how they are.
fn spoken(flows: &mut Flows) {
    let place = (Table::Rules, priority::SPOKEN);
    let cookie = Cookie::host(Class::Control);
    let says = opening(Match::new().from(From::Replica), true);
    let says = says.register(Register::Spoken, 1);
    flows.add(place, says, cookie, commit(Exit::Depart, []));
    let asks = opening(Match::new().from(From::Host), true);
    let asks = asks.register(Register::Towards, Towards::Replica as u32);
    flows.add(place, asks, cookie, commit(Exit::ToReplica, []));
}

fn echo_to(application: &Application, flows: &mut Flows) {
    if !application.speaks(Protocol::Icmp) {
        return;
    }
    let number = application.number.get();
    let to = Match::new().came_from_outside().application(number);
    let to = to.register(Register::Towards, Towards::Replica as u32);
    for request in echo(opening(to, true)) {
        let place = (Table::Rules, priority::ECHO);
        let cookie = Cookie::of(Class::Control, number);
        let instructions = commit(Exit::ToReplica, rate_meter(application));
        flows.add(place, request, cookie, instructions);
    }
}

/// Who keeps the gate intercepts whatever its visitors send, but not what somebody pays for.
fn free(state: &DesiredState, flows: &mut Flows) {
    let keepers = state.applications().iter();
    let mut keepers = keepers.filter(|a| a.keeps_gate().is_some()).peekable();
    if keepers.peek().is_none() {
        return;
    }
    let services = super::gate::free_from_visitors(state);
    for keeper in keepers {
        let number = keeper.number.get();
        for service in &services {
            let elsewhere = service.clone().application(number);
            let elsewhere = elsewhere.register(Register::Towards, Towards::Elsewhere as u32);
            let place = (Table::Rules, priority::FREE);
            let cookie = Cookie::of(Class::Transit, number);
            flows.add(place, elsewhere, cookie, leave(Exit::Transit));
        }
    }
}

fn unspoken(application: &Application, flows: &mut Flows) {
    let number = application.number.get();
    let place = (Table::Rules, priority::UNSPOKEN);
    let concerns = Match::new().application(number);
    let from = concerns.clone().from(From::Replica);
    flows.deny(place, from, Deny::Unspoken, number);
    let to = concerns.register(Register::Towards, Towards::Replica as u32);
    flows.deny(place, to.came_from_outside(), Deny::Unspoken, number);
}

/// One granted rule.
struct RuleWriter<'a> {
    state: &'a DesiredState,
    application: &'a Application,
    grant: &'a Grant,
}

impl RuleWriter<'_> {
    fn write(&self, flows: &mut Flows) {
        let spread = match &self.grant.rule {
            Rule::Intercept(rule) => self.intercept(rule),
            Rule::Serve(rule) => self.serve(rule),
            Rule::Call(rule) => self.call(rule),
            // `speak` is in `admission` and `control`. A kind of rule that this version does not
            // know permits nothing.
            _ => return,
        };
        spread.add(flows);
    }

    fn cookie(&self, class: Class) -> Cookie {
        Cookie {
            rule: self.grant.index,
            ..Cookie::of(class, self.application.number.get())
        }
    }

    fn base(&self) -> Match {
        Match::new().application(self.application.number.get())
    }

    fn outcome(&self, is_opening: bool, class: Class, instructions: Instructions) -> Outcome {
        Outcome {
            also: opening(Match::new(), is_opening),
            cookie: self.cookie(class),
            instructions,
        }
    }

    /// A new connection to a replica, if one lives or can be woken.
    fn attract(&self) -> Option<Outcome> {
        if self.application.live().next().is_some() {
            let any = rate_meter(self.application).into_iter();
            let any = any.chain([Register::Replica.set(0)]);
            let commit = commit(Exit::ToReplica, any);
            return Some(self.outcome(true, Class::Rule, commit));
        }
        let wake = || {
            let registers = [
                Register::Replica.set(0),
                Register::Exit.set(Exit::ToReplica as u32),
            ];
            self.outcome(true, Class::Rule, goto(Table::Summon, registers))
        };
        self.application.sleeping.then(wake)
    }

    fn intercept<'b>(&self, rule: &'b Intercept) -> Spread<'b> {
        let elsewhere = |is_opening: bool| match rule.on_fail().unwrap_or(self.application.on_fail)
        {
            OnFail::Pass => self.outcome(is_opening, Class::Rule, leave(Exit::Transit)),
            OnFail::Block => {
                let class = Class::Deny(Deny::NoReplica);
                self.outcome(is_opening, class, Instructions::drop())
            }
        };
        let begins = self.attract().unwrap_or_else(|| elsewhere(true));
        let base = self.base().intercepted_by(self.application);
        Spread {
            base: base.register(Register::Towards, Towards::Elsewhere as u32),
            source: range(rule.from()),
            targets: Some(self.state.current(rule.to())),
            ..self.spread(rule.services(), vec![begins, elsewhere(false)])
        }
    }

    fn serve<'b>(&self, rule: &'b Serve) -> Spread<'b> {
        let nobody = || {
            let class = Class::Deny(Deny::NoReplica);
            self.outcome(true, class, Instructions::drop())
        };
        let begins = self.attract().unwrap_or_else(nobody);
        // A server of the operator's, such as the one that ends sessions, is behind the backhaul.
        let base = match rule.from {
            Source::Net(range) if self.state.host().is_behind(&range) => {
                self.base().came_from_behind()
            }
            _ => self.base().called_at(self.application),
        };
        Spread {
            base: base.register(Register::Towards, Towards::Replica as u32),
            source: range(rule.from),
            ..self.spread(&rule.services, vec![begins])
        }
    }

    fn call<'b>(&self, rule: &'b Call) -> Spread<'b> {
        let commit = commit(Exit::Depart, rate_meter(self.application));
        // A clause must not match what its conjunction has no flow for: see `FakeSwitch`.
        let base = opening(self.base().from(From::Replica), true);
        Spread {
            base,
            targets: Some(self.state.current(&rule.to)),
            ..self.spread(
                &rule.services,
                vec![self.outcome(true, Class::Rule, commit)],
            )
        }
    }

    fn spread<'b>(&self, services: &'b manifest::Services, outcomes: Vec<Outcome>) -> Spread<'b> {
        Spread {
            table: Table::Rules,
            priority: priority::RULE - self.grant.index,
            base: Match::new(),
            source: None,
            targets: None,
            services,
            zone: self.application.zone,
            cookie: self.cookie(Class::Rule),
            outcomes,
        }
    }
}

fn range(source: Source) -> Option<manifest::Cidr> {
    match source {
        Source::Net(range) => Some(range),
        _ => None,
    }
}
