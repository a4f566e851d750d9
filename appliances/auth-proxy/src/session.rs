//! Who may use the network, and for how much longer: pure, without clock and I/O.
//!
//! A *pass* is what a client was given: by a voucher, as a subscriber, by a publisher's token. It has a
//! quota and knows what of it was used. A *session* is a client that uses the network on a pass. Times
//! are seconds since 1970, and whoever asks sees to it that they never go back ([`crate::clock`]).
//!
//! *States of a session.* begun → ended, with one [`End`]. A pass that does not renew goes on when its
//! client comes back, with what is left of it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// What a pass is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Quota {
    /// Seconds from its first use.
    #[serde(default = "an_hour")]
    pub seconds: u64,
    /// Bytes to and from all of its clients together; without it, as many as they like.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// Kilobits a second for each client, both directions together; without it, the line's.
    #[serde(default)]
    pub kbit: Option<u32>,
    /// Clients at once.
    #[serde(default = "one")]
    pub devices: u16,
}

fn an_hour() -> u64 {
    3600
}

fn one() -> u16 {
    1
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            seconds: an_hour(),
            bytes: None,
            kbit: None,
            devices: one(),
        }
    }
}

/// What a client carried, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// By the client.
    pub sent: u64,
    /// To the client.
    pub received: u64,
}

impl Carried {
    /// Both directions together.
    pub fn bytes(self) -> u64 {
        self.sent.saturating_add(self.received)
    }
}

/// What somebody who logged in is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The pass's name: `voucher:…`, `subscriber:…`, `radius:…` or `token:…`.
    pub key: String,
    /// What it is good for.
    pub quota: Quota,
    /// Whether a login after the end begins anew: subscribers' do, vouchers' do not.
    pub renews: bool,
    /// What a RADIUS server wants repeated in accounting (RFC 2865, section 5.25).
    pub class: Option<Vec<u8>>,
}

/// What a client was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    /// What it is good for.
    pub quota: Quota,
    /// When it was used first.
    pub began: u64,
    /// What all of its clients carried.
    pub bytes: u64,
}

/// A client that uses the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The client.
    pub client: IpAddr,
    /// The name of its pass.
    pub pass: String,
    /// When it began.
    pub began: u64,
    /// What it carried.
    pub carried: Carried,
    /// What the controller's counters said when that was added up last.
    pub counted: Carried,
    /// What a RADIUS server wants repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Vec<u8>>,
    /// Seconds between interim accounting, if a RADIUS server asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interim_seconds: Option<u64>,
    /// Distinguishes it in accounting: random.
    pub id: u64,
}

/// What is left of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Seconds, at least one.
    pub seconds: u64,
    /// Bytes, at least one, if they are counted.
    pub bytes: Option<u64>,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// The time of the pass is over.
    Time,
    /// Its volume is used up.
    Volume,
    /// The client logged out.
    LoggedOut,
    /// The operator ended it.
    Operator,
    /// Another device of the same pass took its place.
    Replaced,
    /// The RADIUS server asked for it (RFC 5176).
    Disconnected,
}

impl End {
    /// All of them.
    pub const ALL: [End; 6] = [
        End::Time,
        End::Volume,
        End::LoggedOut,
        End::Operator,
        End::Replaced,
        End::Disconnected,
    ];

    /// Its name in logs and metrics.
    pub fn reason(self) -> &'static str {
        match self {
            End::Time => "time",
            End::Volume => "volume",
            End::LoggedOut => "logged-out",
            End::Operator => "operator",
            End::Replaced => "replaced",
            End::Disconnected => "disconnected",
        }
    }

    /// `Acct-Terminate-Cause` (RFC 2866, section 5.10).
    pub fn radius(self) -> u32 {
        match self {
            End::Time => 5,
            // Port Preempted; there is no cause for volume, and Session-Timeout is told as well.
            End::Volume => 5,
            End::LoggedOut => 1,
            End::Operator | End::Disconnected => 6,
            End::Replaced => 13,
        }
    }
}

impl Pass {
    /// A pass that is used for the first time.
    pub fn begun(quota: Quota, now: u64) -> Self {
        Self {
            quota,
            began: now,
            bytes: 0,
        }
    }

    /// When its time is over.
    pub fn until(&self) -> u64 {
        self.began.saturating_add(self.quota.seconds)
    }

    /// What is left of it.
    ///
    /// # Errors
    /// Nothing, and of what.
    pub fn left(&self, now: u64) -> Result<Left, End> {
        let seconds = self.until().saturating_sub(now);
        if seconds == 0 {
            return Err(End::Time);
        }
        let bytes = self
            .quota
            .bytes
            .map(|bytes| bytes.saturating_sub(self.bytes));
        match bytes {
            Some(0) => Err(End::Volume),
            bytes => Ok(Left { seconds, bytes }),
        }
    }
}

impl Session {
    /// Adds what the controller's counters say now; how many bytes that were. A counter below the one
    /// before began anew.
    pub fn count(&mut self, total: Carried) -> u64 {
        let more = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        let more = Carried {
            sent: more(total.sent, self.counted.sent),
            received: more(total.received, self.counted.received),
        };
        self.counted = total;
        self.carried = Carried {
            sent: self.carried.sent.saturating_add(more.sent),
            received: self.carried.received.saturating_add(more.received),
        };
        more.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: Quota = Quota {
        seconds: 60,
        bytes: Some(1000),
        kbit: None,
        devices: 1,
    };

    fn check(bytes: u64, now: u64, expected: Result<(u64, u64), End>) {
        let pass = Pass {
            bytes,
            ..Pass::begun(QUOTA, 100)
        };
        let left = pass
            .left(now)
            .map(|left| (left.seconds, left.bytes.unwrap_or(0)));
        assert_eq!(left, expected, "{bytes} bytes at {now}");
    }

    #[test]
    fn a_pass_ends_by_time_or_volume() {
        check(0, 100, Ok((60, 1000)));
        check(999, 159, Ok((1, 1)));
        check(0, 160, Err(End::Time));
        check(1000, 100, Err(End::Volume));
        check(u64::MAX, u64::MAX, Err(End::Time));
    }

    #[test]
    fn a_pass_without_end_does_not_overflow() {
        let quota = Quota {
            seconds: u64::MAX,
            ..QUOTA
        };
        assert_eq!(Pass::begun(quota, 7).until(), u64::MAX);
    }

    #[test]
    fn counters_are_added_up_once_and_may_begin_anew() {
        let mut session = Session {
            client: "10.0.0.1".parse().expect("an address"),
            pass: "voucher:x".to_owned(),
            began: 1,
            carried: Carried::default(),
            counted: Carried::default(),
            class: None,
            interim_seconds: None,
            id: 1,
        };
        let total = |sent, received| Carried { sent, received };
        assert_eq!(session.count(total(3, 7)), 10);
        assert_eq!(session.count(total(3, 7)), 0);
        assert_eq!(session.count(total(4, 11)), 5);
        assert_eq!(
            session.count(total(1, 3)),
            4,
            "the switch was started again"
        );
        assert_eq!(session.carried, total(5, 14));
    }
}
