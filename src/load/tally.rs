//! What came of the requests of one level.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::load::client::{Answer, ClientError};
use crate::load::histogram::Histogram;

/// Which part of a level counts.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// The end of the warm-up.
    pub begin: Instant,
    /// Nothing where a number of requests is the end.
    pub end: Option<Instant>,
    /// Whether requests have times at which they are due, whatever became of those before.
    pub open: bool,
}

impl Window {
    /// Whether a request is part of the figures. In an open loop all that were due are, however late their
    /// answers. Clients of a closed loop are in the middle of a request at either end: its answer decides.
    fn counts(&self, due: Instant, done: Instant) -> bool {
        if self.open || self.end.is_none() { due >= self.begin } else { self.holds(due, done) }
    }

    /// Whether an answer is part of the rates, which are those of answers within the window.
    fn holds(&self, due: Instant, done: Instant) -> bool {
        match self.end {
            Some(end) => (self.begin..end).contains(&done),
            None => due >= self.begin,
        }
    }
}

/// Counts the requests of a level, from any thread.
#[derive(Debug)]
pub struct Tally {
    pub window: Window,
    /// An answer that comes later is no good one.
    deadline: Option<Duration>,
    counts: Mutex<Counts>,
}

/// The sums.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// From the time a request was due. Of successes, and of requests that were never answered, which count
    /// with the time that they were waited for; a refusal is fast and says nothing of the others.
    pub latency: Histogram,
    /// All that were sent.
    pub requests: u64,
    /// Answers within the window, of whatever status.
    pub answered: u64,
    /// Successes within the window, and within the deadline.
    pub good: u64,
    pub ok: u64,
    pub too_many: u64,
    pub unavailable: u64,
    pub other: u64,
    /// The waits that refusals asked for.
    pub retry_after: Histogram,
    /// Connections that were refused or broke.
    pub errors: u64,
    pub first_error: Option<String>,
    /// Requests whose answer did not come in time to be waited for.
    pub unanswered: u64,
    /// Requests that found every connection busy and waited for one.
    pub held: u64,
    /// Of those, the ones that were still waiting when the level was over.
    pub unsent: u64,
    /// When the last request that counts was due, and when it was done with.
    pub last: Option<(Instant, Instant)>,
}

impl Tally {
    #[must_use]
    pub fn new(window: Window, deadline: Option<Duration>) -> Self {
        Self { window, deadline, counts: Mutex::default() }
    }

    /// What has been counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.lock().clone()
    }

    /// A request that was due at `due` came to its end at `done`: by an answer, or an error, or neither
    /// because nobody waits any longer.
    pub fn settle(
        &self,
        due: Instant,
        done: Instant,
        outcome: Option<&Result<Answer, ClientError>>,
    ) {
        if !self.window.counts(due, done) && outcome.is_some() {
            return;
        }
        let latency = done.saturating_duration_since(due);
        let within = self.window.holds(due, done);
        let mut counts = self.lock();
        counts.requests += 1;
        counts.seen(due, done);
        match outcome {
            Some(Ok(answer)) => {
                let in_time = self.deadline.is_none_or(|deadline| latency <= deadline);
                counts.answered(answer, latency);
                counts.answered += u64::from(within);
                counts.good += u64::from(within && in_time && is_success(answer.status));
            }
            Some(Err(error)) => {
                counts.errors += 1;
                counts.first_error.get_or_insert_with(|| error.to_string());
            }
            None => {
                counts.unanswered += 1;
                counts.latency.record(latency);
            }
        }
    }

    /// A request that was due at `due` found no connection.
    pub fn hold(&self, due: Instant) {
        self.lock().held += u64::from(due >= self.window.begin);
    }

    /// A request that was due at `due` was never sent.
    pub fn miss(&self, due: Instant, now: Instant) {
        if due >= self.window.begin {
            let mut counts = self.lock();
            counts.unsent += 1;
            counts.seen(due, now);
            counts.latency.record(now.saturating_duration_since(due));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn answered(&mut self, answer: &Answer, latency: Duration) {
        match answer.status {
            200 => self.ok += 1,
            429 => self.too_many += 1,
            503 => self.unavailable += 1,
            _ => self.other += 1,
        }
        if is_success(answer.status) {
            self.latency.record(latency);
        }
        if let Some(wait) = answer.retry_after {
            self.retry_after.record(wait);
        }
    }

    fn seen(&mut self, due: Instant, done: Instant) {
        let (last_due, last_done) = self.last.unwrap_or((due, done));
        self.last = Some((last_due.max(due), last_done.max(done)));
    }
}

fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16) -> Answer {
        Answer { status, ..Answer::default() }
    }

    /// A window from the first to the second second after `start`.
    fn tally(start: Instant, open: bool) -> Tally {
        let (begin, end) = (start + Duration::from_secs(1), start + Duration::from_secs(2));
        let deadline = Some(Duration::from_millis(500));
        Tally::new(Window { begin, end: Some(end), open }, deadline)
    }

    #[test]
    fn an_open_loop_counts_what_was_due_and_rates_what_was_answered_in_time() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let tally = tally(start, true);
        // Due in the warm-up; due and answered; late; after the end; refused.
        for (due, done, status) in [
            (900, 1100, 200),
            (1100, 1200, 200),
            (1100, 1900, 200),
            (1900, 2900, 200),
            (1500, 1501, 503),
        ] {
            tally.settle(at(due), at(done), Some(&Ok(answer(status))));
        }
        let counts = tally.counts();
        assert_eq!((counts.requests, counts.ok, counts.unavailable), (4, 3, 1));
        assert_eq!((counts.answered, counts.good), (3, 1));
        assert_eq!(
            (counts.latency.count(), counts.latency.max()),
            (3, Some(Duration::from_secs(1)))
        );
    }

    #[test]
    fn a_closed_loop_counts_the_answers_of_its_window() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let tally = tally(start, false);
        for (due, done) in [(800, 900), (900, 1100), (1100, 1200), (1900, 2100)] {
            tally.settle(at(due), at(done), Some(&Ok(answer(200))));
        }
        assert_eq!((tally.counts().requests, tally.counts().answered), (2, 2));
    }

    #[test]
    fn what_was_never_answered_or_sent_counts_with_the_time_it_was_waited_for() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let tally = tally(start, true);
        tally.settle(at(1000), at(4000), None);
        tally.hold(at(1500));
        tally.miss(at(1500), at(2000));
        let counts = tally.counts();
        assert_eq!((counts.requests, counts.unanswered), (1, 1));
        assert_eq!((counts.held, counts.unsent, counts.latency.count()), (1, 1, 2));
        assert_eq!(counts.latency.max(), Some(Duration::from_secs(3)));
        assert_eq!(counts.latency.min(), Some(Duration::from_millis(500)));
    }
}
