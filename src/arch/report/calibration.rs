//! Whether a classifier is as often right as it says: expected calibration error over equal-width bins
//! (Guo, Pleiss, Sun and Weinberger 2017).

use serde::Serialize;

use crate::arch::report::share;
use crate::plot::Bar;

/// As in the paper.
const BINS: u8 = 15;

/// The answers whose confidence is above `from` and at most `to`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bin {
    pub from: f64,
    pub to: f64,
    pub count: u64,
    /// Mean score of the answers; `None` where there are none.
    pub confidence: Option<f64>,
    /// Share of right answers; `None` where there are none.
    pub accuracy: Option<f64>,
}

/// Counts by bin.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration(Vec<Tally>);

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Tally {
    count: u64,
    right: u64,
    confidences: f64,
}

impl Calibration {
    pub fn new() -> Self {
        Self(vec![Tally::default(); BINS.into()])
    }

    /// An answer with this score, 0 to 1, that was right or not.
    pub fn add(&mut self, confidence: f64, right: bool) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 15")]
        let above = (confidence.clamp(0.0, 1.0) * f64::from(BINS)).ceil() as usize;
        let tally = &mut self.0[above.saturating_sub(1)];
        tally.count += 1;
        tally.right += u64::from(right);
        tally.confidences += confidence;
    }

    pub fn bins(&self) -> Vec<Bin> {
        let bin = |(index, tally): (u8, &Tally)| {
            let bound = |index: u8| f64::from(index) / f64::from(BINS);
            #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
            let confidence = (tally.count > 0).then(|| tally.confidences / tally.count as f64);
            let accuracy = share(tally.right, tally.count);
            let (from, to) = (bound(index), bound(index + 1));
            Bin { from, to, count: tally.count, confidence, accuracy }
        };
        (0..).zip(&self.0).map(bin).collect()
    }

    /// Σ over the bins of their share of the answers times |accuracy − confidence|. `None` of no answers.
    pub fn error(&self) -> Option<f64> {
        let all = self.0.iter().map(|tally| tally.count).sum();
        let terms = self.bins().into_iter().map(|bin| {
            let gap = (bin.accuracy? - bin.confidence?).abs();
            Some(share(bin.count, all)? * gap)
        });
        (all > 0).then(|| terms.flatten().sum())
    }
}

/// Bins as a diagram shows them.
pub fn bars(bins: &[Bin]) -> Vec<Bar> {
    let all = bins.iter().map(|bin| bin.count).sum();
    let bar = |bin: &Bin| {
        let share = share(bin.count, all).unwrap_or(0.0);
        Bar { from: bin.from, to: bin.to, accuracy: bin.accuracy, share }
    };
    bins.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_the_mean_gap_weighted_by_answers() {
        let mut calibration = Calibration::new();
        assert_eq!(calibration.error(), None);
        // Bin 15, above 14/15: confidence 0.97, accuracy 1/2. Bin 8, up to 8/15: 0.5 and 1.
        for (confidence, right) in [(0.96, true), (0.98, false), (0.5, true), (0.5, true)] {
            calibration.add(confidence, right);
        }
        // 2/4 × |0.5 − 0.97| + 2/4 × |1 − 0.5|
        assert!((calibration.error().unwrap() - 0.485).abs() < 1e-12);
        let bins = calibration.bins();
        assert_eq!((bins.len(), bins[7].count, bins[14].count), (15, 2, 2));
        assert_eq!((bins[7].accuracy, bins[7].confidence), (Some(1.0), Some(0.5)));
        assert_eq!((bins[0].accuracy, bins[0].confidence), (None, None));
        assert!((bars(&bins)[14].share - 0.5).abs() < 1e-12);
    }

    #[test]
    fn a_bound_belongs_to_the_bin_below_it() {
        let mut calibration = Calibration::new();
        for confidence in [0.0, 0.2, 0.21, 1.0] {
            calibration.add(confidence, true);
        }
        let counts: Vec<u64> = calibration.bins().iter().map(|bin| bin.count).collect();
        assert_eq!(counts, [1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    }
}
