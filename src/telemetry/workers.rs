//! How busy the compute threads are, from one scrape to the next.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::engine::Traffic;

/// A scrape that follows another at once would tell of one batch only.
const SPAN_MIN: Duration = Duration::from_secs(1);

/// The compute threads, as they were at the last scrape.
pub struct Workers {
    traffic: Traffic,
    last: Mutex<Sample>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    busy: Duration,
    ratio: f64,
}

impl Workers {
    pub fn new(traffic: Traffic) -> Self {
        let sample = Sample { at: Instant::now(), busy: traffic.busy(), ratio: 0.0 };
        Self { traffic, last: Mutex::new(sample) }
    }

    /// The share of its time that a core's worth of threads was busy since the last scrape; above 1 while both
    /// lanes have work.
    pub fn busy_ratio(&self) -> f64 {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, busy) = (Instant::now(), self.traffic.busy());
        *last = next(*last, now, busy, self.traffic.threads());
        last.ratio
    }
}

#[expect(clippy::cast_precision_loss, reason = "few threads")]
fn next(last: Sample, at: Instant, busy: Duration, threads: usize) -> Sample {
    let span = at.saturating_duration_since(last.at);
    if span < SPAN_MIN {
        return last;
    }
    let spent = busy.saturating_sub(last.busy).as_secs_f64();
    Sample { at, busy, ratio: spent / (span.as_secs_f64() * threads as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_of_the_time_since_the_last_scrape() {
        let start = Instant::now();
        let seconds = Duration::from_secs;
        let first = Sample { at: start, busy: seconds(5), ratio: 0.0 };
        let second = next(first, start + seconds(10), seconds(15), 2);
        assert!((second.ratio - 0.5).abs() < 1e-9);
        let hasty = next(second, start + seconds(10), seconds(20), 2);
        assert!((hasty.ratio - 0.5).abs() < 1e-9 && hasty.busy == seconds(15));
    }
}
