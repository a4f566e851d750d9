//! What the operator sees, from what is known: a pure function.

use std::time::Duration;

use serde::Serialize;

/// Uploads that are shown; the rest is counted.
pub(crate) const SHOWN_MAX: usize = 500;

/// All of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Bytes of the disk, and those that may still be promised.
    pub(crate) disk_bytes: u64,
    pub(crate) disk_bytes_free: u64,
    /// Why nothing is taken any more, if that is so.
    pub(crate) disk_failed: Option<String>,
    /// What the link costs now, and whether originals go at that.
    pub(crate) price: u32,
    pub(crate) is_cheap: bool,
    /// In how long they do otherwise; `None` if never.
    pub(crate) cheap_in_s: Option<u64>,
    /// What origins took lately; `None` if that is not known.
    pub(crate) bytes_per_second: Option<u64>,
    pub(crate) waiting: usize,
    pub(crate) waiting_bytes: u64,
    /// Those that are not shown.
    pub(crate) more: usize,
    pub(crate) uploads: Vec<Shown>,
}

/// An upload.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Shown {
    /// By which logs tell it too; it gives no power over the upload.
    pub(crate) id: String,
    /// What the phone calls it.
    pub(crate) name: Option<String>,
    pub(crate) origin: String,
    pub(crate) is_thumbnail: bool,
    pub(crate) state: State,
    pub(crate) digest: Option<String>,
    /// `None` while the client has not said.
    pub(crate) bytes: Option<u64>,
    /// Durable bytes.
    pub(crate) received: u64,
    /// Bytes that its origin took.
    pub(crate) sent: u64,
    pub(crate) attempts: u32,
    /// What the origin said last, if that was final.
    pub(crate) status: Option<u16>,
    pub(crate) age_s: u64,
    /// How long it rests still.
    pub(crate) rests_s: u64,
    /// In how long its origin has it, as far as can be told.
    pub(crate) estimate_s: Option<u64>,
}

/// Where an upload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    Sending,
    Waiting,
    Arriving,
    Part,
    /// Another that is the same goes for it.
    Twin,
    Refused,
    Damaged,
    Delivered,
}

impl Report {
    /// Puts uploads in order, says when each is there, and leaves out those that are too many.
    pub(crate) fn conclude(&mut self) {
        let order = |shown: &Shown| {
            (
                shown.state as u8,
                !shown.is_thumbnail,
                u64::MAX - shown.age_s,
            )
        };
        self.uploads.sort_by_key(order);
        let mut ahead = 0;
        for shown in &mut self.uploads {
            let left = shown.bytes.unwrap_or_default().saturating_sub(shown.sent);
            if matches!(shown.state, State::Sending | State::Waiting) {
                ahead += left;
                self.waiting += 1;
                self.waiting_bytes += left;
            }
            let wait = match shown.state {
                State::Sending => Some(0),
                State::Waiting if shown.is_thumbnail || self.is_cheap => Some(shown.rests_s),
                State::Waiting => self.cheap_in_s.map(|cheap| cheap.max(shown.rests_s)),
                _ => None,
            };
            let speed = self.bytes_per_second.filter(|speed| *speed > 0);
            shown.estimate_s = match (wait, speed) {
                (Some(wait), Some(speed)) => Some(wait + ahead.div_ceil(speed)),
                _ => None,
            };
        }
        self.more = self.uploads.len().saturating_sub(SHOWN_MAX);
        self.uploads.truncate(SHOWN_MAX);
    }

    /// As a page, which loads itself again.
    pub(crate) fn page(&self) -> String {
        let mut rows = String::new();
        for shown in &self.uploads {
            rows.push_str(&row(shown));
        }
        let link = match (self.is_cheap, self.cheap_in_s) {
            (true, _) => format!("price {}: originals go", self.price),
            (false, Some(wait)) => {
                format!("price {}: originals go in {}", self.price, time(Some(wait)))
            }
            (false, None) => format!("price {}: originals go when they are old", self.price),
        };
        let disk = match &self.disk_failed {
            Some(why) => format!("<strong>fails: {}</strong>", escaped(why)),
            None => format!(
                "{} of {} free",
                size(self.disk_bytes_free),
                size(self.disk_bytes)
            ),
        };
        let speed = self
            .bytes_per_second
            .map_or_else(|| "—".to_owned(), |speed| format!("{}/s", size(speed)));
        let more = match self.more {
            0 => String::new(),
            more => format!("<p>and {more} more</p>"),
        };
        format!(
            "{HEAD}<p>Disk: {disk} · Link: {link} · Speed: {speed} · Waiting: {} with {}</p>\n\
             <table><tr><th>Upload<th>State<th>Origin<th>Size<th>Progress<th>Age<th>There in</tr>\n\
             {rows}</table>{more}\n",
            self.waiting,
            size(self.waiting_bytes),
        )
    }
}

const HEAD: &str = "<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content=2>\n\
    <title>Uploads</title><style>body{font:15px system-ui,sans-serif;margin:2em;color:#222}\
    table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3em .6em;border-bottom:1px solid #ddd}\
    progress{width:10em}.refused,.damaged,strong{color:#b00}.delivered{color:#070}</style>\n<h1>Uploads</h1>\n";

fn row(shown: &Shown) -> String {
    let name = shown.name.as_deref().unwrap_or(&shown.id);
    let state = serde_json::to_string(&shown.state).unwrap_or_default();
    let state = state.trim_matches('"');
    let said = shown
        .status
        .map_or_else(String::new, |status| format!(" ({status})"));
    let again = match shown.attempts {
        0 => String::new(),
        attempts => format!(", failed {attempts} times"),
    };
    let done = if shown.state == State::Arriving {
        shown.received
    } else {
        shown.sent
    };
    let progress = match (shown.state, shown.bytes) {
        (State::Delivered, _) => "all".to_owned(),
        (_, Some(bytes)) => format!(
            "<progress max={} value={done}></progress> {}",
            bytes.max(1),
            size(done)
        ),
        (_, None) => size(done),
    };
    let kind = if shown.is_thumbnail {
        " (thumbnail)"
    } else {
        ""
    };
    format!(
        "<tr><td>{}{kind}<td class={state}>{state}{said}{again}<td>{}<td>{}<td>{progress}<td>{}<td>{}</tr>\n",
        escaped(name),
        escaped(&shown.origin),
        shown.bytes.map_or_else(|| "?".to_owned(), size),
        time(Some(shown.age_s)),
        time(shown.estimate_s),
    )
}

/// Names come from clients.
fn escaped(text: &str) -> String {
    let escape = |c: char| match c {
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '&' => "&amp;".to_owned(),
        '"' => "&quot;".to_owned(),
        '\'' => "&#39;".to_owned(),
        c if c.is_control() => " ".to_owned(),
        c => c.to_string(),
    };
    text.chars().take(200).map(escape).collect()
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

fn time(seconds: Option<u64>) -> String {
    let Some(seconds) = seconds else {
        return "—".to_owned();
    };
    match Duration::from_secs(seconds).as_secs() {
        0..100 => format!("{seconds} s"),
        100..6000 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(id: &str, state: State, bytes: u64, sent: u64, age_s: u64) -> Shown {
        Shown {
            id: id.to_owned(),
            name: Some("<script>alert('x')</script>.jpg".to_owned()),
            origin: "photos.example".to_owned(),
            is_thumbnail: false,
            state,
            digest: None,
            bytes: Some(bytes),
            received: bytes,
            sent,
            attempts: 2,
            status: None,
            age_s,
            rests_s: 3,
            estimate_s: None,
        }
    }

    fn report(is_cheap: bool) -> Report {
        let mut report = Report {
            disk_bytes: 64 << 20,
            disk_bytes_free: 1 << 20,
            disk_failed: None,
            price: 8,
            is_cheap,
            cheap_in_s: Some(3600),
            bytes_per_second: Some(1000),
            waiting: 0,
            waiting_bytes: 0,
            more: 0,
            uploads: vec![
                shown("new", State::Waiting, 5000, 0, 10),
                shown("done", State::Delivered, 5000, 5000, 99),
                shown("old", State::Waiting, 5000, 0, 20),
                shown("now", State::Sending, 5000, 2000, 5),
            ],
        };
        report.conclude();
        report
    }

    #[test]
    fn each_is_there_after_those_before_it() {
        let told = |report: Report| -> Vec<(String, Option<u64>)> {
            report
                .uploads
                .into_iter()
                .map(|shown| (shown.id, shown.estimate_s))
                .collect()
        };
        let wanted = |now, old, new| {
            [
                ("now", Some(now)),
                ("old", Some(old)),
                ("new", Some(new)),
                ("done", None),
            ]
            .map(|(id, time)| (id.to_owned(), time))
        };
        assert_eq!(told(report(true)), wanted(3, 3 + 8, 3 + 13));
        assert_eq!(told(report(false)), wanted(3, 3600 + 8, 3600 + 13));
        assert_eq!(report(true).waiting_bytes, 13_000);
    }

    #[test]
    fn a_page_shows_what_clients_say_as_text() {
        let page = report(false).page();
        assert!(
            page.contains("&lt;script&gt;") && !page.contains("<script>"),
            "{page}"
        );
        assert!(
            page.contains("originals go in 60 min") && page.contains("failed 2 times"),
            "{page}"
        );
    }
}
