//! What the link costs by time of day, in one line for each change:
//!
//! ```toml
//! timetable = ["06:00 price=8", "23:30 price=1 rate=250000"]
//! utc-offset-minutes = 60
//! ```
//!
//! `price` is a number without a unit, to be compared with the prices at which uploads go; `rate` is how many
//! bytes a second uploads may take together, without a limit if it is not there. Before the day's first line
//! the last one holds. Without lines the price is always 0.

const DAY_S: u64 = 24 * 3600;
/// One line every quarter of an hour.
const LINES_MAX: usize = 96;

/// The whole day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timetable {
    /// By their seconds of the day, which rise.
    lines: Vec<(u64, Terms)>,
    /// What is added to UTC.
    offset_s: i64,
}

/// What holds at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// What the link costs.
    pub price: u32,
    /// Bytes a second, if they are limited.
    pub rate: Option<u64>,
}

/// A line that makes no sense.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimetableError {
    /// It is not of the form.
    #[error("timetable has {0:?}; write it like \"06:00 price=8 rate=250000\"")]
    Line(String),
    /// They do not rise.
    #[error("timetable is not in the order of the day at {0:?}")]
    Order(String),
    /// There are too many.
    #[error("timetable has more than {LINES_MAX} lines")]
    Lines,
    /// No such zone.
    #[error("utc-offset-minutes = {0} is no time zone's; give -840 to 840")]
    Offset(i32),
}

impl Timetable {
    /// Reads lines.
    ///
    /// # Errors
    /// Lines of another form, or not in order.
    pub fn parse(lines: &[String], offset_minutes: i32) -> Result<Timetable, TimetableError> {
        if lines.len() > LINES_MAX {
            return Err(TimetableError::Lines);
        }
        if !(-840..=840).contains(&offset_minutes) {
            return Err(TimetableError::Offset(offset_minutes));
        }
        let mut parsed: Vec<(u64, Terms)> = Vec::new();
        for line in lines {
            let next = parse(line).ok_or_else(|| TimetableError::Line(line.clone()))?;
            if parsed.last().is_some_and(|(before, _)| *before >= next.0) {
                return Err(TimetableError::Order(line.clone()));
            }
            parsed.push(next);
        }
        Ok(Timetable {
            lines: parsed,
            offset_s: i64::from(offset_minutes) * 60,
        })
    }

    /// What holds at a time in seconds since 1970.
    pub fn at(&self, now_s: u64) -> Terms {
        let second = self.second_of_day(now_s);
        let before = self.lines.iter().rev().find(|(from, _)| *from <= second);
        before
            .or(self.lines.last())
            .map_or_else(Terms::default, |(_, terms)| *terms)
    }

    /// In how many seconds the price is next so low; `None` if it never is.
    pub fn seconds_until(&self, price_max: u32, now_s: u64) -> Option<u64> {
        if self.at(now_s).price <= price_max {
            return Some(0);
        }
        let second = self.second_of_day(now_s);
        let cheap = self
            .lines
            .iter()
            .filter(|(_, terms)| terms.price <= price_max);
        cheap.map(|(from, _)| (from + DAY_S - second) % DAY_S).min()
    }

    fn second_of_day(&self, now_s: u64) -> u64 {
        let local = i128::from(now_s) + i128::from(self.offset_s);
        u64::try_from(local.rem_euclid(i128::from(DAY_S))).unwrap_or_default()
    }
}

fn parse(line: &str) -> Option<(u64, Terms)> {
    let mut words = line.split_whitespace();
    let (hours, minutes) = words.next()?.split_once(':')?;
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    let mut terms = Terms::default();
    let mut has_price = false;
    for word in words {
        match word.split_once('=')? {
            ("price", price) => {
                (terms.price, has_price) = (u32::try_from(digits(price)?).ok()?, true)
            }
            ("rate", rate) => terms.rate = Some(digits(rate)?).filter(|rate| *rate > 0),
            _ => return None,
        }
    }
    (hours < 24 && minutes < 60 && has_price).then_some(((hours * 60 + minutes) * 60, terms))
}

fn digits(text: &str) -> Option<u64> {
    let all = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(lines: &[&str], offset: i32) -> Result<Timetable, TimetableError> {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        Timetable::parse(&lines, offset)
    }

    #[test]
    fn a_line_holds_until_the_next_one() {
        let table = table(&["06:00 price=8", "23:30 price=1 rate=1000"], 60).expect("good");
        let check = |hour: u64, minute: u64, price: u32, seconds: u64| {
            // A day long ago, in UTC.
            let now_s = 20_000 * DAY_S + (hour * 60 + minute) * 60;
            assert_eq!(table.at(now_s).price, price, "{hour}:{minute}");
            assert_eq!(
                table.seconds_until(1, now_s),
                Some(seconds),
                "{hour}:{minute}"
            );
        };
        check(4, 59, 1, 0);
        check(5, 0, 8, (17 * 60 + 30) * 60);
        check(22, 29, 8, 60);
        check(22, 30, 1, 0);
        check(23, 59, 1, 0);
        assert_eq!(table.seconds_until(0, 0), None);
        assert_eq!(Timetable::default().at(5), Terms::default());
    }

    #[test]
    fn lines_that_make_no_sense_are_refused() {
        for line in [
            "",
            "6",
            "24:00 price=1",
            "06:60 price=1",
            "06:00",
            "06:00 price=-1",
            "06:00 price=1 colour=2",
            "+6:00 price=1",
        ] {
            assert_eq!(
                table(&[line], 0),
                Err(TimetableError::Line(line.to_owned()))
            );
        }
        let late = "05:00 price=1";
        assert_eq!(
            table(&["06:00 price=1", late], 0),
            Err(TimetableError::Order(late.to_owned()))
        );
        assert_eq!(table(&[], 841), Err(TimetableError::Offset(841)));
    }
}
