//! How long batches take, learned from those that ran. What is predicted decides the lane, the fair share
//! and who is admitted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The newest batch counts this much: one that was disturbed hardly shows.
const NEWEST: f64 = 0.125;

/// A batch whose thread lost its core looks many times longer than it is: no batch counts for more than this many
/// times what was known. Batches that did become longer are followed all the same, in some steps.
const ODD: f64 = 2.0;

/// Costs are told apart by their powers of two.
const BUCKETS: usize = 40;

/// Nanoseconds per unit of cost, by the batch's cost: a large batch is cheaper by the row.
#[derive(Debug)]
pub struct Pace {
    /// The bits of an f64; 0.0 where nothing is known.
    units: [AtomicU64; BUCKETS],
}

impl Default for Pace {
    fn default() -> Self {
        Self { units: [const { AtomicU64::new(0) }; BUCKETS] }
    }
}

impl Pace {
    /// A batch of this cost took so long.
    pub fn learn(&self, cost: usize, took: Duration) {
        let cost = cost.max(1);
        let unit = exact(took) / as_f64(cost);
        let place = &self.units[bucket(cost)];
        // Of two batches that end at once one is forgotten: the next is soon to come.
        let before = f64::from_bits(place.load(Ordering::Relaxed));
        let now =
            if before > 0.0 { before + (unit.min(ODD * before) - before) * NEWEST } else { unit };
        place.store(now.to_bits(), Ordering::Relaxed);
    }

    /// What a batch of this cost should take; `None` before anything ran.
    pub fn predict(&self, cost: usize) -> Option<Duration> {
        let cost = cost.max(1);
        let at = bucket(cost);
        // The nearest smaller batch errs on the safe side; the nearest larger one is better than nothing.
        let smaller = (0..=at).rev().find_map(|bucket| self.unit(bucket));
        let unit = smaller.or_else(|| (at + 1..BUCKETS).find_map(|bucket| self.unit(bucket)))?;
        Some(Duration::from_nanos(to_u64(unit * as_f64(cost))))
    }

    /// The largest cost that should take no longer than `limit`; at least 1.
    pub fn fitting(&self, limit: Duration) -> usize {
        let most = (0..BUCKETS).rev().find_map(|bucket| {
            let unit = self.unit(bucket)?;
            let least = 1_usize << bucket;
            let cost = to_usize(exact(limit) / unit);
            (cost >= least).then_some(cost)
        });
        most.unwrap_or(1).max(1)
    }

    fn unit(&self, bucket: usize) -> Option<f64> {
        let unit = f64::from_bits(self.units[bucket].load(Ordering::Relaxed));
        (unit > 0.0).then_some(unit)
    }
}

/// A mean that follows what it is told: the newest value counts an eighth. Zero before there was one.
#[derive(Debug, Default)]
pub struct Mean(AtomicU64);

impl Mean {
    pub fn learn(&self, value: Duration) {
        let before = f64::from_bits(self.0.load(Ordering::Relaxed));
        let value = exact(value);
        let now = if before > 0.0 { before + (value - before) * NEWEST } else { value };
        self.0.store(now.to_bits(), Ordering::Relaxed);
    }

    pub fn get(&self) -> Duration {
        Duration::from_nanos(to_u64(f64::from_bits(self.0.load(Ordering::Relaxed))))
    }
}

/// A floor that follows what it is told: it falls at once and rises slowly. Zero before there was a value.
#[derive(Debug, Default)]
pub struct Least(AtomicU64);

impl Least {
    /// How fast it rises towards larger values.
    const RISE: f64 = 1.0 / 64.0;

    pub fn learn(&self, value: Duration) {
        let before = f64::from_bits(self.0.load(Ordering::Relaxed));
        let value = exact(value);
        let rises = before > 0.0 && value > before;
        let now = if rises { before + (value - before) * Self::RISE } else { value };
        self.0.store(now.to_bits(), Ordering::Relaxed);
    }

    pub fn get(&self) -> Duration {
        Duration::from_nanos(to_u64(f64::from_bits(self.0.load(Ordering::Relaxed))))
    }
}

fn bucket(cost: usize) -> usize {
    (cost.ilog2() as usize).min(BUCKETS - 1)
}

/// As counters keep a time: whole nanoseconds, which fill a u64 in five centuries.
pub fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn exact(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn as_f64(number: usize) -> f64 {
    number as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts saturate")]
fn to_u64(number: f64) -> u64 {
    number as u64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts saturate")]
fn to_usize(number: f64) -> usize {
    number as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn nothing_is_predicted_from_nothing() {
        let pace = Pace::default();
        assert_eq!(pace.predict(3), None);
        assert_eq!(pace.fitting(MS), 1);
    }

    #[test]
    fn a_batch_is_predicted_from_its_like_or_from_the_next_smaller_one() {
        let pace = Pace::default();
        pace.learn(1, 10 * MS);
        pace.learn(8, 40 * MS);
        assert_eq!(pace.predict(1), Some(10 * MS));
        assert_eq!(pace.predict(3), Some(30 * MS));
        assert_eq!(pace.predict(12), Some(60 * MS));
        let larger = Pace::default();
        larger.learn(8, 40 * MS);
        assert_eq!(larger.predict(1), Some(5 * MS));
    }

    #[test]
    fn what_fits_a_time_is_found_at_the_pace_of_its_own_size() {
        let pace = Pace::default();
        pace.learn(1, 10 * MS);
        pace.learn(8, 40 * MS);
        assert_eq!(pace.fitting(5 * MS), 1);
        assert_eq!(pace.fitting(20 * MS), 2);
        assert_eq!(pace.fitting(60 * MS), 12);
    }

    #[test]
    fn a_floor_falls_at_once_and_rises_slowly() {
        let least = Least::default();
        for ms in [100, 10, 20] {
            least.learn(ms * MS);
        }
        assert!(least.get() > 10 * MS && least.get() < 11 * MS);
        (0..1000).for_each(|_| least.learn(20 * MS));
        assert!(least.get() > 19 * MS);
    }

    #[test]
    fn one_odd_batch_hardly_shows_and_many_do() {
        let pace = Pace::default();
        pace.learn(1, 10 * MS);
        pace.learn(1, 5000 * MS);
        assert_eq!(pace.predict(1), Some(Duration::from_micros(11_250)));
        (0..60).for_each(|_| pace.learn(1, 50 * MS));
        assert!(pace.predict(1).unwrap() > 49 * MS);
    }
}
