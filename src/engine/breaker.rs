//! When a network fails too often, its model takes no more requests for a while.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Panics within [`WINDOW`] after which a model rests.
const PANICS_MAX: usize = 3;

/// How long a panic counts. Once fewer than [`PANICS_MAX`] count, the model is tried again.
const WINDOW: Duration = Duration::from_mins(1);

/// The panics of one network.
#[derive(Debug, Default)]
pub struct Breaker(Mutex<VecDeque<Instant>>);

impl Breaker {
    pub fn panicked(&self, now: Instant) {
        let mut panics = self.panics();
        panics.push_back(now);
        // One more than it takes would say nothing.
        while panics.len() > PANICS_MAX {
            panics.pop_front();
        }
    }

    /// How long the model rests yet; `None` when it serves.
    #[must_use]
    pub fn rests(&self, now: Instant) -> Option<Duration> {
        let panics = self.panics();
        if panics.len() < PANICS_MAX {
            return None;
        }
        let until = *panics.front()? + WINDOW;
        until.checked_duration_since(now).filter(|rest| !rest.is_zero())
    }

    fn panics(&self) -> MutexGuard<'_, VecDeque<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_panics_in_a_minute_make_it_rest_and_time_mends_it() {
        let breaker = Breaker::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        breaker.panicked(at(0));
        breaker.panicked(at(40));
        assert_eq!(breaker.rests(at(40)), None);
        breaker.panicked(at(70));
        assert_eq!(breaker.rests(at(70)), None, "the first is too long ago");
        breaker.panicked(at(80));
        assert_eq!(breaker.rests(at(80)), Some(Duration::from_secs(20)));
        assert_eq!(breaker.rests(at(100)), None);
    }
}
