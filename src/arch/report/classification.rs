//! How well labels are foretold: from scores and labels, one at a time.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::arch::report::calibration::{Bin, Calibration, bars};
use crate::arch::report::share;
use crate::plot::{self, CLASSES_MAX, Picture, PlotError};

/// Answers that count for `top_5_accuracy`.
const TOP: usize = 5;

/// Why scores say nothing of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScoreError {
    #[error("label {label}: expected 0 to {}", classes.saturating_sub(1))]
    Label { label: usize, classes: usize },
    #[error("the network gives {got} scores for {classes} classes")]
    Width { got: usize, classes: usize },
    #[error("the network's scores are not finite")]
    NotFinite,
}

/// Counts of what was answered to what.
#[derive(Debug, Clone, PartialEq)]
pub struct Classification {
    labels: Vec<String>,
    /// Samples by label and by the class that was answered, where there are any.
    answers: BTreeMap<(usize, usize), u64>,
    count: u64,
    /// Samples whose label is among the first five.
    near: u64,
    nats: f64,
    calibration: Calibration,
}

/// One class, as a search for it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassScore {
    pub label: String,
    /// Of the samples answered so, the share that are so; `None` where there are none.
    pub precision: Option<f64>,
    /// Of the samples that are so, the share answered so; `None` where there are none.
    pub recall: Option<f64>,
    /// Harmonic mean of both, 2 TP / (2 TP + FP + FN); `None` where the class neither is nor is answered.
    pub f1: Option<f64>,
    /// Samples that are so.
    pub support: u64,
}

/// What lies behind the figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassificationDetail {
    pub classes: Vec<ClassScore>,
    /// `confusion[is][answered]`; left out of more than a thousand classes.
    pub confusion: Option<Vec<Vec<u64>>>,
    pub calibration: Vec<Bin>,
}

impl Classification {
    /// Of the classes with these names, in the order of their scores.
    #[must_use]
    pub fn new(labels: Vec<String>) -> Self {
        let calibration = Calibration::new();
        Self { labels, answers: BTreeMap::new(), count: 0, near: 0, nats: 0.0, calibration }
    }

    /// A sample's probabilities, and the class that it is of.
    ///
    /// # Errors
    /// [`ScoreError`] when the scores are not one finite number a class, or there is no such class.
    pub fn add(&mut self, scores: &[f32], label: usize) -> Result<(), ScoreError> {
        let classes = self.labels.len();
        if scores.len() != classes {
            return Err(ScoreError::Width { got: scores.len(), classes });
        }
        let score = *scores.get(label).ok_or(ScoreError::Label { label, classes })?;
        if !scores.iter().all(|score| score.is_finite()) {
            return Err(ScoreError::NotFinite);
        }
        // As an answer has them: the lower class first where two are alike.
        let before = |&(class, &other): &(usize, &f32)| {
            other > score || (other.total_cmp(&score).is_eq() && class < label)
        };
        let rank = scores.iter().enumerate().filter(before).count();
        let by_score =
            |a: &(usize, &f32), b: &(usize, &f32)| a.1.total_cmp(b.1).then(b.0.cmp(&a.0));
        let Some((answer, &confidence)) = scores.iter().enumerate().max_by(by_score) else {
            return Err(ScoreError::Label { label, classes });
        };
        *self.answers.entry((label, answer)).or_default() += 1;
        self.count += 1;
        self.near += u64::from(rank < TOP);
        self.nats -= f64::from(score.max(f32::MIN_POSITIVE)).ln();
        self.calibration.add(confidence.into(), answer == label);
        Ok(())
    }

    /// `accuracy`, `loss` (mean cross entropy in nats), `macro_f1`, `expected_calibration_error`, and
    /// `top_5_accuracy` where there are more than five classes. Nothing of no samples.
    #[must_use]
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let right = self.answers.iter().filter(|((is, answered), _)| is == answered);
        let right = right.map(|(_, count)| count).sum();
        let near = share(self.near, self.count).filter(|_| self.labels.len() > TOP);
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let loss = (self.count > 0).then(|| self.nats / self.count as f64);
        let figures = [
            ("accuracy", share(right, self.count)),
            ("top_5_accuracy", near),
            ("loss", loss),
            ("macro_f1", macro_f1(&self.classes())),
            ("expected_calibration_error", self.calibration.error()),
        ];
        let known = |(name, value): (&str, Option<f64>)| Some((name.to_owned(), value?));
        figures.into_iter().filter_map(known).collect()
    }

    #[must_use]
    pub fn detail(&self) -> ClassificationDetail {
        let (classes, calibration) = (self.classes(), self.calibration.bins());
        ClassificationDetail { classes, confusion: self.confusion(), calibration }
    }

    fn classes(&self) -> Vec<ClassScore> {
        // True positives, answers and samples of each class.
        let mut tallies = vec![[0_u64; 3]; self.labels.len()];
        for (&(is, answered), &count) in &self.answers {
            tallies[is][2] += count;
            tallies[answered][1] += count;
            tallies[is][0] += if is == answered { count } else { 0 };
        }
        let score = |(label, [right, answered, support]): (&String, [u64; 3])| ClassScore {
            label: label.clone(),
            precision: share(right, answered),
            recall: share(right, support),
            f1: share(2 * right, answered + support),
            support,
        };
        self.labels.iter().zip(tallies).map(score).collect()
    }

    fn confusion(&self) -> Option<Vec<Vec<u64>>> {
        let classes = self.labels.len();
        let mut rows = (classes <= CLASSES_MAX).then(|| vec![vec![0; classes]; classes])?;
        for (&(is, answered), &count) in &self.answers {
            rows[is][answered] = count;
        }
        Some(rows)
    }
}

/// Mean over the classes that have one.
fn macro_f1(classes: &[ClassScore]) -> Option<f64> {
    let scores: Vec<f64> = classes.iter().filter_map(|class| class.f1).collect();
    #[expect(clippy::cast_precision_loss, reason = "a number of classes")]
    let count = scores.len() as f64;
    (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / count)
}

impl ClassificationDetail {
    /// `confusion`, where there are few enough classes, and `calibration`.
    pub(super) fn pictures(
        &self,
        title: &str,
    ) -> Result<BTreeMap<&'static str, Picture>, PlotError> {
        let calibration = plot::reliability(title, &bars(&self.calibration))?;
        let mut pictures = BTreeMap::from([("calibration", calibration)]);
        if let Some(confusion) = &self.confusion {
            let labels: Vec<String> =
                self.classes.iter().map(|class| class.label.clone()).collect();
            pictures.insert("confusion", plot::matrix(title, &labels, confusion)?);
        }
        Ok(pictures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(classes: usize, samples: &[(&[f32], usize)]) -> Classification {
        let labels = (0..classes).map(|class| format!("class {class}")).collect();
        let mut classification = Classification::new(labels);
        for (scores, label) in samples {
            classification.add(scores, *label).unwrap();
        }
        classification
    }

    fn close(got: f64, expected: f64) {
        assert!((got - expected).abs() < 1e-6, "{got}: expected {expected}");
    }

    #[test]
    fn figures_are_those_worked_out_by_hand() {
        // Answers 0, 0, 1, 1, 0 to labels 0, 0, 1, 0, 2.
        let classification = of(
            3,
            &[
                (&[0.5, 0.25, 0.25], 0),
                (&[0.5, 0.25, 0.25], 0),
                (&[0.25, 0.5, 0.25], 1),
                (&[0.25, 0.5, 0.25], 0),
                (&[0.5, 0.25, 0.25], 2),
            ],
        );
        let metrics = classification.metrics();
        close(metrics["accuracy"], 0.6);
        // (3 ln 2 + 2 ln 4) / 5 = 7/5 ln 2
        close(metrics["loss"], 1.4 * std::f64::consts::LN_2);
        // Class 0: TP 2, FP 1, FN 1; class 1: TP 1, FP 1; class 2: FN 1.
        close(metrics["macro_f1"], (2.0 / 3.0 + 2.0 / 3.0 + 0.0) / 3.0);
        // One bin: 0.6 right, 0.5 sure.
        close(metrics["expected_calibration_error"], 0.1);
        assert_eq!(metrics.len(), 4, "five classes or fewer have no top 5: {metrics:?}");

        let detail = classification.detail();
        let confusion = [vec![2, 1, 0], vec![0, 1, 0], vec![1, 0, 0]];
        assert_eq!(detail.confusion.as_deref(), Some(&confusion[..]));
        let [zero, one, two] = &detail.classes[..] else { panic!("{detail:?}") };
        close(zero.precision.unwrap(), 2.0 / 3.0);
        close(zero.recall.unwrap(), 2.0 / 3.0);
        assert_eq!((one.precision, one.recall, one.support), (Some(0.5), Some(1.0), 1));
        // Never answered: it has no precision, and a recall of nothing.
        assert_eq!(
            (two.precision, two.recall, two.f1, two.support),
            (None, Some(0.0), Some(0.0), 1)
        );
    }

    #[test]
    fn what_neither_is_nor_is_answered_has_no_part_in_the_mean() {
        let classification = of(3, &[(&[1.0, 0.0, 0.0], 0), (&[0.0, 1.0, 0.0], 1)]);
        assert_eq!(classification.detail().classes[2].f1, None);
        close(classification.metrics()["macro_f1"], 1.0);
        assert!(of(3, &[]).metrics().is_empty());
    }

    #[test]
    fn the_first_five_count_and_of_equals_the_lower_class() {
        let near = |scores: &[f32], label| of(6, &[(scores, label)]).metrics()["top_5_accuracy"];
        let scores = [0.1, 0.3, 0.2, 0.15, 0.2, 0.05];
        close(near(&scores, 0), 1.0);
        close(near(&scores, 5), 0.0);
        let alike = [0.16; 6];
        close(near(&alike, 4), 1.0);
        close(near(&alike, 5), 0.0);
        // All alike: class 0 is answered.
        close(of(6, &[(&alike, 0)]).metrics()["accuracy"], 1.0);
        close(of(6, &[(&alike, 1)]).metrics()["accuracy"], 0.0);
    }

    #[test]
    fn a_score_of_nothing_costs_much_and_not_everything() {
        close(of(2, &[(&[1.0, 0.0], 1)]).metrics()["loss"], 87.336_544_75);
    }

    #[test]
    fn scores_that_say_nothing_are_refused() {
        let mut classification = of(2, &[]);
        let label = ScoreError::Label { label: 2, classes: 2 };
        assert_eq!(classification.add(&[0.5, 0.5], 2), Err(label));
        assert_eq!(label.to_string(), "label 2: expected 0 to 1");
        let width = ScoreError::Width { got: 3, classes: 2 };
        assert_eq!(classification.add(&[0.5, 0.5, 0.0], 0), Err(width));
        assert_eq!(classification.add(&[f32::NAN, 0.5], 1), Err(ScoreError::NotFinite));
        assert!(classification.metrics().is_empty());
    }

    #[test]
    fn many_classes_have_figures_and_no_matrix() {
        let mut scores = vec![0.0; CLASSES_MAX + 1];
        scores[CLASSES_MAX] = 1.0;
        let classification = of(CLASSES_MAX + 1, &[(&scores, CLASSES_MAX)]);
        close(classification.metrics()["accuracy"], 1.0);
        let detail = classification.detail();
        assert_eq!(detail.confusion, None);
        assert_eq!(detail.pictures("t").unwrap().into_keys().collect::<Vec<_>>(), ["calibration"]);
        let few = of(2, &[(&[0.5, 0.5], 0)]).detail();
        let names: Vec<_> = few.pictures("t").unwrap().into_keys().collect();
        assert_eq!(names, ["calibration", "confusion"]);
    }
}
