//! Figures as `cargo xtask bench` prints them: one JSON line each.

use serde_json::{Value, json};

/// Which of two figures is the better one.
#[derive(Clone, Copy)]
pub(crate) enum Better {
    Higher,
    Lower,
}

/// One line.
pub(crate) struct Figure(Value);

impl Figure {
    pub(crate) fn new(bench: &str, figure: &str, unit: &str, better: Better) -> Figure {
        let better = match better {
            Better::Higher => "higher",
            Better::Lower => "lower",
        };
        Figure(json!({ "bench": bench, "figure": figure, "unit": unit, "better": better }))
    }

    /// Of values that have no peer's beside them.
    pub(crate) fn alone(mut self, ours: &[f64]) -> Figure {
        self.0["ours"] = rounded(quantile(ours, 0.5)).into();
        self.0["rounds"] = ours.len().into();
        let quartiles = [0.25, 0.75].map(|share| rounded(quantile(ours, share)));
        self.0["ours_quartiles"] = json!(quartiles);
        self
    }

    /// Of medians, and of a peer's.
    pub(crate) fn beside(self, ours: &[f64], name: &str, peer: &[f64]) -> Figure {
        let median = quantile(peer, 0.5);
        let ratio = quantile(ours, 0.5) / median;
        self.alone(ours).with_peer(name, median, ratio)
    }

    /// Of one number, and a bound that it must keep.
    pub(crate) fn bounded(mut self, ours: f64, rounds: usize, name: &str, bound: f64) -> Figure {
        self.0["ours"] = rounded(ours).into();
        self.0["rounds"] = rounds.into();
        self.with_peer(name, bound, ours / bound)
    }

    fn with_peer(mut self, name: &str, peer: f64, ratio: f64) -> Figure {
        self.0["peer"] = rounded(peer).into();
        self.0["peer_name"] = name.into();
        self.0["ratio"] = rounded(ratio).into();
        self
    }

    /// Ours by the peer's.
    pub(crate) fn ratio(&self) -> f64 {
        self.0["ratio"].as_f64().unwrap_or(f64::NAN)
    }

    pub(crate) fn print(&self) {
        println!("{}", self.0);
    }
}

/// The value below which a share of the values lies, between its neighbours in proportion.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let place = share * sorted.len().saturating_sub(1) as f64;
    let at = |place: f64| sorted.get(place as usize).copied().unwrap_or(f64::NAN);
    let (below, above) = (at(place.floor()), at(place.ceil()));
    below + (above - below) * place.fract()
}

/// Seconds to the microsecond, and enough for a ratio.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_has_medians_and_their_ratio() {
        let figure = Figure::new("reconcile", "rate", "1/s", Better::Higher);
        let Figure(line) = figure.beside(&[3.0, 1.0, 2.0], "peer", &[4.0, 8.0]);
        assert_eq!(
            (
                &line["ours"],
                &line["peer"],
                &line["ratio"],
                &line["rounds"]
            ),
            (&json!(2.0), &json!(6.0), &json!(0.333333), &json!(3))
        );
        assert_eq!(quantile(&[4.0, 1.0, 3.0, 2.0], 0.5), 2.5);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
