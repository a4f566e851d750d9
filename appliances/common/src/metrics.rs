//! Counters, gauges and histograms, and their text form (Prometheus, exposition format 0.0.4).
//!
//! Every series is made at the start with fixed labels, so their number cannot grow with what
//! clients send; counting is one atomic addition. Names are the program's own: a wrong one is a
//! panic at the start.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The media type of [`Registry::text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Bounds of a histogram of times in seconds: from a cached answer to a slow origin.
pub const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Labels of a series, as name and value.
pub type Labels<'l> = &'l [(&'l str, &'l str)];

/// What is measured. Clones speak of the same figures.
#[derive(Clone, Debug, Default)]
pub struct Registry(Arc<Mutex<Vec<Family>>>);

/// Counts what happens. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

/// Something that rises and falls. Clones speak of the same.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicI64>);

/// How often a value was how large. Clones observe together.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Buckets>);

#[derive(Debug)]
struct Buckets {
    bounds: &'static [f64],
    /// One for each bound, and one for what is above them all.
    counts: Vec<AtomicU64>,
    /// The bits of an `f64`.
    sum: AtomicU64,
}

#[derive(Debug)]
struct Family {
    name: String,
    help: String,
    kind: &'static str,
    series: Vec<(String, Value)>,
}

#[derive(Clone, Debug)]
enum Value {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

impl Registry {
    /// A counter; the same one for the same name and labels. Names end in `_total`.
    ///
    /// # Panics
    /// On a name that Prometheus would not take, or that another kind of figure has.
    pub fn counter(&self, name: &str, help: &str, labels: Labels<'_>) -> Counter {
        match self.series(name, help, labels, || Value::Counter(Counter::default())) {
            Value::Counter(counter) => counter,
            other => panic!("{name} is a {}", other.kind()),
        }
    }

    /// A gauge; the same one for the same name and labels.
    ///
    /// # Panics
    /// As [`Registry::counter`].
    pub fn gauge(&self, name: &str, help: &str, labels: Labels<'_>) -> Gauge {
        match self.series(name, help, labels, || Value::Gauge(Gauge::default())) {
            Value::Gauge(gauge) => gauge,
            other => panic!("{name} is a {}", other.kind()),
        }
    }

    /// A histogram with rising upper bounds, for instance [`SECONDS`].
    ///
    /// # Panics
    /// As [`Registry::counter`], and on bounds that do not rise.
    pub fn histogram(
        &self,
        name: &str,
        help: &str,
        labels: Labels<'_>,
        bounds: &'static [f64],
    ) -> Histogram {
        assert!(bounds.is_sorted_by(|a, b| a < b), "{name} has odd bounds");
        match self.series(name, help, labels, || {
            Value::Histogram(Histogram::of(bounds))
        }) {
            Value::Histogram(histogram) => histogram,
            other => panic!("{name} is a {}", other.kind()),
        }
    }

    fn series(
        &self,
        name: &str,
        help: &str,
        labels: Labels<'_>,
        make: impl FnOnce() -> Value,
    ) -> Value {
        assert!(is_name(name), "{name:?} is no metric's name");
        let labels = label_text(labels);
        let mut families = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let position = families.iter().position(|family| family.name == name);
        let Some(position) = position else {
            let value = make();
            families.push(Family {
                name: name.to_owned(),
                help: help.to_owned(),
                kind: value.kind(),
                series: vec![(labels, value.clone())],
            });
            return value;
        };
        let family = &mut families[position];
        let same = family.series.iter().find(|(of, _)| *of == labels);
        if let Some((_, value)) = same {
            return value.clone();
        }
        let value = make();
        assert!(family.kind == value.kind(), "{name} is a {}", family.kind);
        family.series.push((labels, value.clone()));
        value
    }

    /// All figures as a scraper reads them.
    pub fn text(&self) -> String {
        let families = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for family in families.iter() {
            let (name, help, kind) = (&family.name, &family.help, family.kind);
            // Writing to a string cannot fail.
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
            for (labels, value) in &family.series {
                value.write(&mut text, name, labels);
            }
        }
        text
    }
}

/// The rule of the format, which also keeps `le` and its kind for histograms apart.
fn is_name(name: &str) -> bool {
    let mut characters = name.chars();
    let first = characters.next();
    first.is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && characters.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `a="b",c="d"`, without the braces.
fn label_text(labels: Labels<'_>) -> String {
    let mut text = String::new();
    for (name, value) in labels {
        assert!(is_name(name) && *name != "le", "{name:?} is no label");
        let comma = if text.is_empty() { "" } else { "," };
        let value = value.replace('\\', r"\\");
        let value = value.replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(text, "{comma}{name}=\"{value}\"");
    }
    text
}

impl Value {
    fn kind(&self) -> &'static str {
        match self {
            Value::Counter(_) => "counter",
            Value::Gauge(_) => "gauge",
            Value::Histogram(_) => "histogram",
        }
    }

    fn write(&self, text: &mut String, name: &str, labels: &str) {
        let braced = match labels {
            "" => String::new(),
            labels => format!("{{{labels}}}"),
        };
        let _ = match self {
            Value::Counter(counter) => writeln!(text, "{name}{braced} {}", counter.get()),
            Value::Gauge(gauge) => writeln!(text, "{name}{braced} {}", gauge.get()),
            Value::Histogram(histogram) => {
                histogram.write(text, name, labels);
                writeln!(text, "{name}_sum{braced} {}", histogram.sum())
                    .and_then(|()| writeln!(text, "{name}_count{braced} {}", histogram.count()))
            }
        };
    }
}

impl Counter {
    /// Counts so many.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// How many there were.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Gauge {
    /// It is this now.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// It rises, or falls, by this.
    pub fn add(&self, difference: i64) {
        self.0.fetch_add(difference, Ordering::Relaxed);
    }

    /// What it is.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Histogram {
    fn of(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Buckets {
            bounds,
            counts,
            sum: AtomicU64::new(0f64.to_bits()),
        }))
    }

    /// Notes a value.
    pub fn observe(&self, value: f64) {
        let Buckets {
            bounds,
            counts,
            sum,
        } = &*self.0;
        let bucket = bounds.partition_point(|bound| *bound < value);
        counts[bucket].fetch_add(1, Ordering::Relaxed);
        let add = |sum| Some((f64::from_bits(sum) + value).to_bits());
        // The function never gives up, so neither does the update.
        let _ = sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Notes a time, in seconds.
    pub fn observe_time(&self, time: Duration) {
        self.observe(time.as_secs_f64());
    }

    fn sum(&self) -> f64 {
        f64::from_bits(self.0.sum.load(Ordering::Relaxed))
    }

    fn count(&self) -> u64 {
        let counts = self.0.counts.iter();
        counts.map(|count| count.load(Ordering::Relaxed)).sum()
    }

    fn write(&self, text: &mut String, name: &str, labels: &str) {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut below = 0;
        let bounds = self.0.bounds.iter().map(f64::to_string);
        let bounds = bounds.chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(&self.0.counts) {
            below += count.load(Ordering::Relaxed);
            let _ = writeln!(
                text,
                "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {below}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_as_prometheus_reads_them() {
        let registry = Registry::default();
        let refused = |reason| registry.counter("refused_total", "Refused.", &[("reason", reason)]);
        refused("a").add(2);
        refused("b\"\\\n").add(1);
        refused("a").add(1);
        registry.gauge("open", "Open.", &[]).add(-3);
        let time = registry.histogram("time_seconds", "Time.", &[("to", "x")], &[0.1, 1.0]);
        for value in [0.05, 0.1, 0.5, 7.0] {
            time.observe(value);
        }
        assert_eq!(
            registry.text(),
            "# HELP refused_total Refused.\n# TYPE refused_total counter\n\
             refused_total{reason=\"a\"} 3\nrefused_total{reason=\"b\\\"\\\\\\n\"} 1\n\
             # HELP open Open.\n# TYPE open gauge\nopen -3\n\
             # HELP time_seconds Time.\n# TYPE time_seconds histogram\n\
             time_seconds_bucket{to=\"x\",le=\"0.1\"} 2\n\
             time_seconds_bucket{to=\"x\",le=\"1\"} 3\n\
             time_seconds_bucket{to=\"x\",le=\"+Inf\"} 4\n\
             time_seconds_sum{to=\"x\"} 7.65\ntime_seconds_count{to=\"x\"} 4\n"
        );
    }

    #[test]
    #[should_panic(expected = "open is a gauge")]
    fn a_name_has_one_kind() {
        let registry = Registry::default();
        registry.gauge("open", "Open.", &[]);
        registry.counter("open", "Open.", &[("a", "b")]);
    }

    #[test]
    #[should_panic(expected = "no metric's name")]
    fn a_name_is_one() {
        Registry::default().counter("9 lives", "Lives.", &[]);
    }
}
