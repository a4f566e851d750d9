//! What a packet carries from table to table, beside what it is.

use openflow::{Action, Field, Match, Subfield};

use super::Application;

/// Domains that one packet may leave. Two cross one link: the caller and the called. What the
/// called one sends on is a packet of its own, so a longer way is a loop.
pub const HOPS_MAX: u32 = 2;

/// A register of the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Register {
    /// The number of the application that the packet concerns; 0 for none.
    Application,
    /// Where it came from: one bit of [`From`].
    From,
    /// The number of the replica that sent it or that gets it; 0 while none is chosen.
    Replica,
    /// What it is addressed to: [`Towards`].
    Towards,
    /// 1 if it may begin a connection.
    Opening,
    /// How it leaves: [`Exit`].
    Exit,
    /// How many more domains it may leave.
    Hops,
    /// 1 if it is of a protocol that `control` permitted.
    Spoken,
}

impl Register {
    /// The switch's register.
    pub const fn field(self) -> Field {
        match self {
            Register::Application => Field::Reg0,
            Register::From => Field::Reg1,
            Register::Replica => Field::Reg2,
            Register::Towards => Field::Reg3,
            Register::Opening => Field::Reg4,
            Register::Exit => Field::Reg5,
            Register::Hops => Field::Reg6,
            Register::Spoken => Field::Reg7,
        }
    }

    /// Sets it.
    pub(super) fn set(self, value: u32) -> Action {
        Action::set(self.field(), value)
    }
}

/// Where a packet came from: one bit each, so that a flow can mean several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum From {
    /// The access side, from an address of the operator's clients.
    Client = 1,
    /// The access side, from elsewhere: it passes, and reaches no domain.
    Stranger = 2,
    /// The backhaul side.
    Backhaul = 4,
    /// Dom0.
    Host = 8,
    /// Another domain, whose own token let it go.
    Neighbour = 16,
    /// A domain, from an address of its own.
    Replica = 32,
    /// A domain, from an address that is not its own: a reply, or a lie.
    Foreign = 64,
    /// One of the operator's clients, where an appliance keeps the gate and has not let it through.
    Visitor = 128,
}

impl From {
    /// The bits that say that a domain sent it, and that its own token is not yet asked.
    const DOMAINS: u32 = From::Replica as u32 | From::Foreign as u32;
    /// The bits of who may open what a domain serves.
    const CALLERS: u32 = From::Client as u32 | From::Neighbour as u32;
    /// The bits of who may open what is served to a range without clients in it.
    const BEHIND: u32 = From::Backhaul as u32 | From::Neighbour as u32;
    /// The bits of all clients, let through or not.
    const CLIENTS: u32 = From::Client as u32 | From::Visitor as u32;
}

/// What a packet is addressed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Towards {
    /// Somebody else.
    Elsewhere = 0,
    /// An address of a replica.
    Replica = 1,
}

/// How a packet leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Exit {
    /// As if there were no domains.
    Transit = 1,
    /// To the replica in the register.
    ToReplica = 2,
    /// From a domain, in a connection that it opened.
    Depart = 3,
    /// From a domain, in a connection that was opened to it.
    Answer = 4,
    /// From a domain to another one.
    Cross = 5,
}

/// The parts of `ct_label`: what the first packet of a connection to a replica had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// The MAC address of who opened it.
    Opener,
    /// The MAC address that it was sent to.
    Intended,
    /// Where it came from: [`From`].
    From,
}

impl Label {
    /// The bits.
    pub fn subfield(self) -> Subfield {
        let (offset, bits) = match self {
            Label::Opener => (0, 48),
            Label::Intended => (48, 48),
            Label::From => (96, 16),
        };
        Subfield::new(Field::CtLabel, offset, bits).unwrap_or(Subfield::whole(Field::CtLabel))
    }
}

/// Matches on registers, in their words.
pub(super) trait OnRegisters {
    fn register(self, register: Register, value: u32) -> Match;
    fn from(self, from: From) -> Match;
    /// From anybody but a domain that speaks for itself.
    fn came_from_outside(self) -> Match;
    /// From who may open what an application serves: those whom gates have let through, and others
    /// where it keeps the gate or pays for them.
    fn called_at(self, application: &Application) -> Match;
    /// From the backhaul side, and from other domains: who may open what is served to others than clients.
    fn came_from_behind(self) -> Match;
    /// From whose flows an application intercepts: of those at its own gate only who has to wait there.
    fn intercepted_by(self, application: &Application) -> Match;
    /// From clients, let through or not.
    fn came_from_clients(self) -> Match;
    fn application(self, number: u32) -> Match;
    fn exit(self, exit: Exit) -> Match;
}

impl OnRegisters for Match {
    fn register(self, register: Register, value: u32) -> Match {
        self.with(register.field(), value)
    }

    fn from(self, from: From) -> Match {
        self.register(Register::From, from as u32)
    }

    fn came_from_outside(self) -> Match {
        self.with_masked(Register::From.field(), 0, From::DOMAINS.into())
    }

    fn called_at(self, application: &Application) -> Match {
        match application.keeps_gate().is_some() || application.free_to_client {
            true => among(self, From::CALLERS | From::CLIENTS),
            false => among(self, From::CALLERS),
        }
    }

    fn came_from_behind(self) -> Match {
        among(self, From::BEHIND)
    }

    fn intercepted_by(self, application: &Application) -> Match {
        match (application.keeps_gate(), application.free_to_client) {
            (Some(_), _) => self.from(From::Visitor),
            (None, true) => self.came_from_clients(),
            (None, false) => self.from(From::Client),
        }
    }

    fn came_from_clients(self) -> Match {
        among(self, From::CLIENTS)
    }

    fn application(self, number: u32) -> Match {
        self.register(Register::Application, number)
    }

    fn exit(self, exit: Exit) -> Match {
        self.register(Register::Exit, exit as u32)
    }
}

/// From one of these: the other bits are clear.
fn among(matching: Match, bits: u32) -> Match {
    let others = Field::Reg1.full_mask() & !u128::from(bits);
    matching.with_masked(Register::From.field(), 0, others)
}
