//! When requests of an open loop are due: a pure sequence of times, the same for the same seed.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// How the gaps between arrivals are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// Independent callers: gaps are exponential, so that bursts come as they do in life.
    Poisson,
    /// Every gap is the same.
    Constant,
}

/// Times since the start of a level, in order and without end.
#[derive(Debug)]
pub struct Arrivals {
    spread: Spread,
    /// A second.
    rate: f64,
    rng: ChaCha8Rng,
    /// Seconds, for a Poisson process.
    at: f64,
    /// How many came, for a constant one: adding up gaps would add up their rounding.
    count: u32,
}

impl Arrivals {
    /// `rate` is in arrivals a second, above 0.
    #[must_use]
    pub fn new(spread: Spread, rate: f64, seed: u64) -> Self {
        Self { spread, rate, rng: ChaCha8Rng::seed_from_u64(seed), at: 0.0, count: 0 }
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let seconds = match self.spread {
            Spread::Poisson => {
                // 1 − u is above 0, so its logarithm is finite.
                self.at -= (1.0 - self.rng.random::<f64>()).ln() / self.rate;
                self.at
            }
            Spread::Constant => {
                let seconds = f64::from(self.count) / self.rate;
                self.count = self.count.checked_add(1)?;
                seconds
            }
        };
        Duration::try_from_secs_f64(seconds).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: f64 = 200.0;

    fn seconds(spread: Spread, seed: u64, count: usize) -> Vec<f64> {
        Arrivals::new(spread, RATE, seed).take(count).map(|at| at.as_secs_f64()).collect()
    }

    #[test]
    fn poisson_arrivals_have_exponential_gaps_and_independent_counts() {
        let times = seconds(Spread::Poisson, 7, 20_000);
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let count = f64::from(u32::try_from(gaps.len()).unwrap());
        let mean = gaps.iter().sum::<f64>() / count;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / count;
        assert!((mean * RATE - 1.0).abs() < 0.03, "{mean}");
        // Of an exponential the standard deviation is the mean.
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.03, "{variance}");
        // A gap above the mean comes with probability 1/e.
        let long = gaps.iter().filter(|&&gap| gap > mean).count();
        let share = f64::from(u32::try_from(long).unwrap()) / count;
        assert!((share - (-1.0_f64).exp()).abs() < 0.01, "{share}");
        assert!(gaps.iter().all(|&gap| gap >= 0.0));
    }

    #[test]
    fn one_seed_gives_one_sequence() {
        assert_eq!(seconds(Spread::Poisson, 1, 100), seconds(Spread::Poisson, 1, 100));
        assert_ne!(seconds(Spread::Poisson, 1, 100), seconds(Spread::Poisson, 2, 100));
    }

    #[test]
    fn constant_arrivals_do_not_drift() {
        let times = seconds(Spread::Constant, 0, 200_001);
        assert!((times[1] - 0.005).abs() < 1e-9);
        assert!((times[200_000] - 1000.0).abs() < 1e-9, "{}", times[200_000]);
    }
}
