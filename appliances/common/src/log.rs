//! Lines on standard output: the appliance's name, what happened, and facts as `key=value`.
//!
//! They have no time, because whoever keeps them writes it down: xenconsoled in dom0, journald on
//! Linux. Values with spaces, quotes or control characters are quoted, so no client can write a
//! line of its own making.

use std::fmt::{self, Display, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::limits::REFUSAL_LINES_PER_SECOND;

/// Writes lines.
#[derive(Clone, Debug)]
pub struct Log {
    name: &'static str,
    allowance: Arc<Mutex<Allowance>>,
}

/// Lines that may be written in the second that began then.
#[derive(Debug)]
struct Allowance {
    since: Option<Instant>,
    written: u32,
    withheld: u64,
}

impl Log {
    /// The log of the appliance of a name.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            allowance: Arc::new(Mutex::new(Allowance {
                since: None,
                written: 0,
                withheld: 0,
            })),
        }
    }

    /// The appliance's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Writes what happened. For what the appliance does itself; a client must not be able to cause
    /// lines without limit ([`Log::often`]).
    pub fn say(&self, what: impl Display) {
        println!("{}: {what}", self.name);
    }

    /// Writes what happened, with facts.
    pub fn tell(&self, what: impl Display, facts: &[(&str, &dyn Display)]) {
        self.say(format_args!("{what}{}", Facts(facts)));
    }

    /// Writes what a client caused: at most [`REFUSAL_LINES_PER_SECOND`] of these, and then how many
    /// there were besides.
    pub fn often(&self, what: impl Display, facts: &[(&str, &dyn Display)]) {
        let allowance = self.allowance.lock();
        let verdict = allowance
            .unwrap_or_else(PoisonError::into_inner)
            .ask(Instant::now());
        if verdict.withheld > 0 {
            self.say(format_args!("not shown lines={}", verdict.withheld));
        }
        if verdict.write {
            self.tell(what, facts);
        }
    }
}

struct Verdict {
    write: bool,
    /// Of the seconds before, not told so far.
    withheld: u64,
}

impl Allowance {
    fn ask(&mut self, now: Instant) -> Verdict {
        let mut withheld = 0;
        let over = |since| now.duration_since(since) >= Duration::from_secs(1);
        if self.since.is_none_or(over) {
            self.since = Some(now);
            self.written = 0;
            withheld = std::mem::take(&mut self.withheld);
        }
        let write = self.written < REFUSAL_LINES_PER_SECOND;
        match write {
            true => self.written += 1,
            false => self.withheld += 1,
        }
        Verdict { write, withheld }
    }
}

struct Facts<'f>(&'f [(&'f str, &'f dyn Display)]);

impl Display for Facts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, value) in self.0 {
            write!(f, " {key}=")?;
            let value = value.to_string();
            let plain = |c: char| !c.is_control() && !c.is_whitespace() && !"\"=\\".contains(c);
            match !value.is_empty() && value.chars().all(plain) {
                true => f.write_str(&value)?,
                false => quote(f, &value)?,
            }
        }
        Ok(())
    }
}

fn quote(f: &mut fmt::Formatter<'_>, value: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in value.chars() {
        write!(f, "{}", c.escape_debug())?;
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_on_one_line_whatever_they_say() {
        let facts: [(&str, &dyn Display); 3] = [
            ("a", &"x/y"),
            ("b", &"two words"),
            ("c", &"\nhello: forged"),
        ];
        let line = Facts(&facts).to_string();
        assert_eq!(line, r#" a=x/y b="two words" c="\nhello: forged""#);
    }

    #[test]
    fn lines_that_clients_cause_are_bounded_and_counted() {
        let mut allowance = Allowance {
            since: None,
            written: 0,
            withheld: 0,
        };
        let start = Instant::now();
        let written = (0..100).filter(|_| allowance.ask(start).write).count();
        assert_eq!(written, REFUSAL_LINES_PER_SECOND as usize);
        let next = allowance.ask(start + Duration::from_secs(1));
        assert!(next.write && next.withheld == 90);
        assert_eq!(allowance.ask(start + Duration::from_secs(2)).withheld, 0);
    }
}
