//! Cookies: generation 16 | class 8 | application 24 | rule 16. They say which rule put a flow
//! there, whose traffic it counts, and why it denies.

use std::fmt;

/// The generation of the pipeline's layout. A daemon that lays the tables out otherwise raises it:
/// then every flow differs from what is installed, and one bundle replaces them all.
pub const GENERATION: u16 = 1;

/// Why a packet is dropped. Each reason is counted by flows of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Deny {
    /// A port that nobody was given.
    UnknownPort,
    /// A domain with a VLAN tag.
    Tagged,
    /// Another source MAC address than the domain's.
    SpoofedMac,
    /// Another source address of IP than the domain's, and no reply to a client of its own.
    SpoofedAddress,
    /// ARP that speaks for another.
    SpoofedArp,
    /// Neighbour or router discovery that speaks for another.
    SpoofedNeighbour,
    /// Something else than ARP and IP.
    OtherProtocol,
    /// A protocol with the network itself that the token does not grant.
    NotSpoken,
    /// Whoever has this address is the one who asks for it.
    OwnAddress,
    /// No rule speaks of it.
    Unspoken,
    /// A domain to dom0, other than the services that it is given.
    Host,
    /// The metadata address, from who is no domain.
    Metadata,
    /// A domain to its own application.
    Hairpin,
    /// No replica can take it, and the rule says `block`, or nobody else serves it.
    NoReplica,
    /// It went through more domains than [`super::HOPS_MAX`].
    Hops,
    /// A client of a gate that was not let through.
    NotAdmitted,
}

impl Deny {
    /// All reasons.
    pub const ALL: [Deny; 16] = [
        Deny::UnknownPort,
        Deny::Tagged,
        Deny::SpoofedMac,
        Deny::SpoofedAddress,
        Deny::SpoofedArp,
        Deny::SpoofedNeighbour,
        Deny::OtherProtocol,
        Deny::NotSpoken,
        Deny::OwnAddress,
        Deny::Unspoken,
        Deny::Host,
        Deny::Metadata,
        Deny::Hairpin,
        Deny::NoReplica,
        Deny::Hops,
        Deny::NotAdmitted,
    ];

    /// One word for logs, metrics and interfaces.
    pub const fn as_str(self) -> &'static str {
        match self {
            Deny::UnknownPort => "unknown-port",
            Deny::Tagged => "tagged",
            Deny::SpoofedMac => "spoofed-mac",
            Deny::SpoofedAddress => "spoofed-address",
            Deny::SpoofedArp => "spoofed-arp",
            Deny::SpoofedNeighbour => "spoofed-neighbour",
            Deny::OtherProtocol => "other-protocol",
            Deny::NotSpoken => "not-spoken",
            Deny::OwnAddress => "own-address",
            Deny::Unspoken => "unspoken",
            Deny::Host => "host",
            Deny::Metadata => "metadata",
            Deny::Hairpin => "hairpin",
            Deny::NoReplica => "no-replica",
            Deny::Hops => "hops",
            Deny::NotAdmitted => "not-admitted",
        }
    }
}

/// What a flow is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Lets a sender in.
    Admit,
    /// Delivers or recognises a protocol with the network.
    Control,
    /// Finds the application.
    Track,
    /// Follows a connection.
    Established,
    /// A rule of a token, or a part of it.
    Rule,
    /// Chooses a replica.
    Replica,
    /// Commits a connection by its first packet.
    Commit,
    /// Sends a packet out to, or from, a domain.
    Deliver,
    /// Passes what concerns no application.
    Transit,
    /// Wakes an appliance.
    Summon,
    /// A client's traffic past a gate; the cookie's rule is its place and direction.
    Session,
    /// Traffic that all clients may have at a rule's expense.
    Free,
    /// Drops.
    Deny(Deny),
}

/// Classes from here on deny; the rest of the number is the reason.
const DENY: u8 = 0x80;

impl Class {
    const PERMITTING: [Class; 12] = [
        Class::Admit,
        Class::Control,
        Class::Track,
        Class::Established,
        Class::Rule,
        Class::Replica,
        Class::Commit,
        Class::Deliver,
        Class::Transit,
        Class::Summon,
        Class::Session,
        Class::Free,
    ];

    /// Whether its flows count what an application's rules carried: each packet of each connection
    /// once, the first by its commit and the others as established, in both directions.
    pub const fn is_traffic(self) -> bool {
        matches!(
            self,
            Class::Commit | Class::Established | Class::Session | Class::Free
        )
    }

    fn number(self) -> u8 {
        match self {
            Class::Deny(reason) => DENY | reason as u8,
            // There are twelve.
            other => Class::PERMITTING
                .iter()
                .position(|c| *c == other)
                .unwrap_or_default() as u8,
        }
    }

    fn with_number(number: u8) -> Option<Class> {
        match number.checked_sub(DENY) {
            Some(reason) => Deny::ALL.get(usize::from(reason)).copied().map(Class::Deny),
            None => Class::PERMITTING.get(usize::from(number)).copied(),
        }
    }
}

/// What a flow's cookie says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cookie {
    /// What the flow is for.
    pub class: Class,
    /// The application's number; 0 for the operator's own.
    pub application: u32,
    /// The rule's index in the manifest; [`Cookie::NO_RULE`] for none.
    pub rule: u16,
}

impl Cookie {
    /// Of no rule.
    pub const NO_RULE: u16 = u16::MAX;

    /// A flow of the host itself.
    pub const fn host(class: Class) -> Cookie {
        Cookie::of(class, 0)
    }

    /// A flow of an application, of no rule in particular.
    pub const fn of(class: Class, application: u32) -> Cookie {
        Cookie {
            class,
            application,
            rule: Cookie::NO_RULE,
        }
    }

    /// The number in the switch.
    pub fn number(self) -> u64 {
        u64::from(GENERATION) << 48
            | u64::from(self.class.number()) << 40
            | u64::from(self.application & 0x00ff_ffff) << 16
            | u64::from(self.rule)
    }

    /// What a number says; None if it is not of this generation or has an unknown class.
    pub fn with_number(number: u64) -> Option<Cookie> {
        if number >> 48 != u64::from(GENERATION) {
            return None;
        }
        // Cutting off is what is meant in each line.
        Some(Cookie {
            class: Class::with_number((number >> 40) as u8)?,
            application: (number >> 16) as u32 & 0x00ff_ffff,
            rule: number as u16,
        })
    }
}

impl fmt::Display for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.class {
            Class::Deny(reason) => write!(f, "deny {}", reason.as_str())?,
            class => write!(f, "{class:?}")?,
        }
        if self.application != 0 {
            write!(f, " application {}", self.application)?;
        }
        match self.rule {
            Cookie::NO_RULE => Ok(()),
            rule => write!(f, " rule {}", u32::from(rule) + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_say_what_they_were_given() {
        let denials = Deny::ALL.map(Class::Deny);
        for class in Class::PERMITTING.into_iter().chain(denials) {
            let cookie = Cookie {
                class,
                application: 0xfe_dcba,
                rule: 511,
            };
            assert_eq!(Cookie::with_number(cookie.number()), Some(cookie));
        }
        let first = Cookie {
            rule: 7,
            ..Cookie::of(Class::Deny(Deny::Unspoken), 5)
        };
        assert_eq!(first.number(), 0x0001_8900_0005_0007);
        assert_eq!(first.to_string(), "deny unspoken application 5 rule 8");
        assert_eq!(Cookie::with_number(0), None);
        assert_eq!(Cookie::with_number(0x0001_ff00_0000_0000), None);
    }
}
