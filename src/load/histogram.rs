//! Counts of durations in buckets of a constant relative width, as `HdrHistogram` has them
//! (G. Tene, hdrhistogram.org): percentiles of any number of values in a bounded piece of memory.

use std::time::Duration;

/// Buckets that each doubling is divided into: a percentile is off by at most 1/256.
const PARTS: usize = 256;
const PARTS_BITS: u32 = PARTS.trailing_zeros();
/// The values below `2 × PARTS` have a bucket each; every doubling above them has `PARTS`.
const BUCKETS: usize = PARTS * (64 - PARTS_BITS as usize + 1);

/// Durations to the nanosecond; 117 KB, of which the system lends what was touched.
#[derive(Debug, Clone)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    sum: u128,
    least: u64,
    most: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0, sum: 0, least: u64::MAX, most: 0 }
    }
}

impl Histogram {
    pub fn record(&mut self, value: Duration) {
        let value = u64::try_from(value.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(value)] += 1;
        self.count += 1;
        self.sum += u128::from(value);
        self.least = self.least.min(value);
        self.most = self.most.max(value);
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The smallest, to the nanosecond; nothing of no values.
    #[must_use]
    pub fn min(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_nanos(self.least))
    }

    /// The largest, to the nanosecond; nothing of no values.
    #[must_use]
    pub fn max(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_nanos(self.most))
    }

    /// Nothing of no values.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        let mean = self.sum.checked_div(u128::from(self.count))?;
        Some(Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX)))
    }

    /// The least value that at least `share` (0 to 1) of all values do not exceed, rounded up to the end of
    /// its bucket; nothing of no values.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "a share of a count that is far below 2^53"
        )]
        let rank = ((share * self.count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let found = self.buckets.iter().position(|&count| {
            seen += count;
            seen >= rank
        })?;
        Some(Duration::from_nanos(end(found).clamp(self.least, self.most)))
    }
}

fn bucket(value: u64) -> usize {
    // How often the value must be halved to be below 2 × PARTS.
    let halved = (64 - PARTS_BITS - 1).saturating_sub(value.leading_zeros());
    let part = usize::try_from(value >> halved).unwrap_or(2 * PARTS - 1);
    halved as usize * PARTS + part
}

/// The largest value of a bucket.
fn end(bucket: usize) -> u64 {
    let halved = (bucket / PARTS).saturating_sub(1);
    let part = bucket - halved * PARTS;
    ((part as u128 + 1) << halved).saturating_sub(1).try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::default();
        values.into_iter().for_each(|value| histogram.record(Duration::from_nanos(value)));
        histogram
    }

    #[test]
    fn of_a_thousand_values_each_percentile_is_the_value_of_its_rank() {
        let histogram = of((1..=1000).map(|n| n * 1_000_000));
        for (share, expected) in [(0.5, 500.0), (0.99, 990.0), (0.999, 999.0), (1.0, 1000.0)] {
            let got = histogram.quantile(share).unwrap().as_secs_f64() * 1e3;
            assert!(got >= expected && got <= expected * (1.0 + 1.0 / 256.0), "{share}: {got}");
        }
        assert_eq!(histogram.min(), Some(Duration::from_millis(1)));
        assert_eq!(histogram.max(), Some(Duration::from_secs(1)));
        assert_eq!(histogram.mean(), Some(Duration::from_micros(500_500)));
    }

    #[test]
    fn of_nothing_there_is_nothing_to_say() {
        let none = Histogram::default();
        assert_eq!(
            (none.min(), none.max(), none.mean(), none.quantile(0.5)),
            (None, None, None, None)
        );
    }

    proptest! {
        #[test]
        fn every_value_lies_in_a_bucket_whose_end_is_near(value: u64) {
            let end = end(bucket(value));
            prop_assert!(end >= value && end - value <= value / PARTS as u64, "{value} {end}");
        }

        #[test]
        fn a_lone_value_is_every_percentile(value: u64, share in 0.0..=1.0) {
            prop_assert_eq!(of([value]).quantile(share), Some(Duration::from_nanos(value)));
        }
    }
}
