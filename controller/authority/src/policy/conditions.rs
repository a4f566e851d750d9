//! What a policy's annotations ask for: `@narrow`, `@price`, `@reason`.

use manifest::{Outcome, Ports, Price, Rate, Rule};

use super::{Verdict, Wish};

/// Seconds of a day.
const DAY_SECONDS: u64 = 86_400;
/// The longest time that a policy may give, in days: more is no limit.
const DAYS_MAX: u64 = 36_500;

/// What a policy says beside permit and forbid.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    narrow: Option<Narrow>,
    price: Option<Price>,
    pub(super) reason: Option<String>,
}

/// How much is permitted; what is not named is not limited.
#[derive(Debug, Default, PartialEq, Eq)]
struct Narrow {
    tcp: Option<Ports>,
    udp: Option<Ports>,
    rate: Option<Rate>,
    days: Option<u64>,
}

impl Conditions {
    /// Reads a policy's annotations. An unknown one is an error: it would be a condition that
    /// nobody checks.
    pub(super) fn parse<'a>(
        annotations: impl Iterator<Item = (&'a str, &'a str)>,
        forbids: bool,
    ) -> Result<Self, String> {
        let mut conditions = Self::default();
        for (name, value) in annotations {
            match name {
                "id" => {}
                "reason" => conditions.reason = Some(value.to_owned()),
                "narrow" | "price" if forbids => {
                    return Err(format!(
                        "@{name} stands before `forbid`: use it with `permit`"
                    ));
                }
                "narrow" => conditions.narrow = Some(Narrow::parse(value)?),
                "price" => {
                    let price = value.parse().map_err(|error| format!("@price: {error}"))?;
                    conditions.price = Some(price);
                }
                other => {
                    return Err(format!(
                        "@{other} means nothing here: there are @id, @reason, @narrow and @price"
                    ));
                }
            }
        }
        Ok(conditions)
    }

    /// How much a permit asks of the publisher: nothing, less than wanted, money.
    pub(super) fn burden(&self) -> u8 {
        match (&self.narrow, &self.price) {
            (None, None) => 0,
            (Some(_), None) => 1,
            (_, Some(_)) => 2,
        }
    }

    /// What remains of a rule, and of what all rules share; nothing if nothing remains.
    pub(super) fn apply(
        &self,
        rule: &Rule,
        wish: &Wish<'_>,
        verdict: &mut Verdict,
    ) -> Option<Outcome> {
        let none = Narrow::default();
        let narrow = self.narrow.as_ref().unwrap_or(&none);
        let remains = narrow.ports_of(rule)?;
        let shared = narrow.limits(wish);
        if let Some(rate) = narrow.rate {
            let current = verdict.limit.rate.unwrap_or(rate);
            verdict.limit.rate = Some(current.min(rate));
        }
        if let Some(days) = narrow.days {
            verdict.expires = verdict.expires.min(wish.now.after(days * DAY_SECONDS));
        }
        Some(match self.price {
            Some(price) => Outcome::Priced {
                rule: remains,
                price,
            },
            None if remains != *rule || shared => Outcome::Narrowed { to: remains },
            None => Outcome::Granted(remains),
        })
    }
}

impl Narrow {
    /// Words such as `tcp=443,8000-8100`, `udp=443`, `rate=10Mbit`, `days=7`.
    fn parse(text: &str) -> Result<Self, String> {
        let mut narrow = Self::default();
        for word in text.split_whitespace() {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            let problem = |error: &dyn std::fmt::Display| format!("@narrow: {name}: {error}");
            let twice = match name {
                "tcp" => set(
                    &mut narrow.tcp,
                    value.parse().map_err(|error| problem(&error))?,
                ),
                "udp" => set(
                    &mut narrow.udp,
                    value.parse().map_err(|error| problem(&error))?,
                ),
                "rate" => set(
                    &mut narrow.rate,
                    value.parse().map_err(|error| problem(&error))?,
                ),
                "days" => {
                    let days = value
                        .parse()
                        .ok()
                        .filter(|days| (1..=DAYS_MAX).contains(days));
                    let cure = format!("write a number from 1 to {DAYS_MAX}");
                    set(&mut narrow.days, days.ok_or_else(|| problem(&cure))?)
                }
                _ => {
                    return Err(format!(
                        "@narrow: {word:?} means nothing: write tcp=, udp=, rate= or days="
                    ));
                }
            };
            if twice {
                return Err(format!("@narrow: {name} stands twice"));
            }
        }
        if narrow == Self::default() {
            return Err("@narrow is empty: write such as @narrow(\"tcp=443\")".to_owned());
        }
        Ok(narrow)
    }

    fn ports_of(&self, rule: &Rule) -> Option<Rule> {
        if self.tcp.is_none() && self.udp.is_none() {
            return Some(rule.clone());
        }
        rule.within(self.tcp.as_ref(), self.udp.as_ref())
    }

    /// Whether less than was wished for remains of what all rules share.
    fn limits(&self, wish: &Wish<'_>) -> bool {
        let rate = self
            .rate
            .is_some_and(|most| wish.limit.rate.is_none_or(|rate| rate > most));
        let days = self
            .days
            .is_some_and(|days| wish.expires > wish.now.after(days * DAY_SECONDS));
        rate || days
    }
}

/// Whether the place was taken already.
fn set<T>(place: &mut Option<T>, value: T) -> bool {
    place.replace(value).is_some()
}
