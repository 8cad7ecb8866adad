//! What batching wins: the time of a forward pass over the number of its rows, measured on this machine.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A batch that is this close to the best by the row is good enough: a larger one makes its rows wait.
const GOOD_ENOUGH: f64 = 1.05;

/// What ends sooner makes nobody wait: up to here a larger batch saves the queue some work.
const HARMLESS: Duration = Duration::from_millis(2);

/// Measured times, by number of rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Curve {
    /// In growing order of rows.
    pub points: Vec<Point>,
}

/// The time of an undisturbed forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    pub rows: usize,
    /// What those rows cost against the limit of a batch.
    pub cost: usize,
    pub nanos: u64,
}

impl Point {
    #[must_use]
    pub fn time(self) -> Duration {
        Duration::from_nanos(self.nanos)
    }

    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    fn per_row(self) -> f64 {
        self.nanos as f64 / self.rows.max(1) as f64
    }
}

impl Curve {
    /// A good batch: the fewest rows that are nearly as cheap by the row as any, or more where they take no time
    /// that anybody would notice.
    #[must_use]
    pub fn good(&self) -> Option<Point> {
        let best = self.points.iter().map(|point| point.per_row()).min_by(f64::total_cmp)?;
        let good = self.points.iter().find(|point| point.per_row() <= best * GOOD_ENOUGH)?;
        let harmless = self.points.iter().rev().find(|point| point.time() <= HARMLESS);
        [Some(good), harmless].into_iter().flatten().max_by_key(|point| point.rows).copied()
    }

    /// How long a row may wait for others while a batch runs: what a good batch saves it.
    #[must_use]
    pub fn delay(&self) -> Duration {
        let (Some(alone), Some(good)) = (self.points.first(), self.good()) else {
            return Duration::ZERO;
        };
        let saved = (alone.per_row() - good.per_row()).max(0.0);
        Duration::from_secs_f64(saved / 1e9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(micros: &[(usize, u64)]) -> Curve {
        let point = |&(rows, micros)| Point { rows, cost: rows, nanos: micros * 1000 };
        Curve { points: micros.iter().map(point).collect() }
    }

    fn rows(curve: &Curve) -> Option<usize> {
        curve.good().map(|point| point.rows)
    }

    #[test]
    fn a_batch_is_no_larger_than_it_needs_to_be() {
        // A picture network whose rows cost the same in any batch.
        let flat = curve(&[(1, 9061), (2, 18000), (8, 71_592), (32, 278_014)]);
        assert_eq!(rows(&flat), Some(1));
        assert_eq!(flat.delay(), Duration::ZERO);
        // One that reads its weights once a batch.
        let steep = curve(&[(1, 3964), (2, 7000), (4, 13_400), (8, 26_230), (16, 52_000)]);
        assert_eq!(rows(&steep), Some(4));
        assert_eq!(steep.delay(), Duration::from_micros(614));
    }

    #[test]
    fn batches_that_take_no_time_are_large() {
        let tiny = curve(&[(1, 20), (8, 147), (32, 586), (64, 1170), (128, 2340)]);
        assert_eq!(rows(&tiny), Some(64));
    }

    #[test]
    fn nothing_measured_says_nothing() {
        let none = curve(&[]);
        assert_eq!((rows(&none), none.delay()), (None, Duration::ZERO));
    }
}
