//! How fast a model has answered, by the clock. What a request takes of a thread says less where threads share a crowded
//! processor: each takes longer then.

use std::time::{Duration, Instant};

/// So many answers tell how fast they come.
const ENOUGH: u32 = 16;

/// After this time what was counted gives way to what is.
const WINDOW: Duration = Duration::from_millis(500);

/// The answers of one model.
#[derive(Debug, Default)]
pub struct Answers {
    last: Option<Instant>,
    /// Since when they are counted, and how many there were.
    since: Option<Instant>,
    count: u32,
    /// The time from one to the next before that.
    before: Option<Duration>,
}

impl Answers {
    /// A request came while nothing was to be done.
    pub fn begin(&mut self, now: Instant) {
        *self = Self { last: self.last, since: Some(now), ..Self::default() };
    }

    /// A request was answered.
    pub fn came(&mut self, now: Instant) {
        self.last = Some(now);
        self.count = self.count.saturating_add(1);
        let counted_for = self.since.map(|since| now.saturating_duration_since(since));
        if counted_for.is_some_and(|time| time >= WINDOW) && self.count >= ENOUGH {
            self.before = self.apart(now);
            (self.since, self.count) = (Some(now), 0);
        }
    }

    #[must_use]
    pub fn last(&self) -> Option<Instant> {
        self.last
    }

    /// From one answer to the next, where enough came to tell since the model began to work.
    #[must_use]
    pub fn apart(&self, now: Instant) -> Option<Duration> {
        let since = self.since.filter(|_| self.count >= ENOUGH);
        let apart = since.map(|since| now.saturating_duration_since(since) / self.count);
        apart.or(self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_pace_is_that_of_the_answers_since_the_work_began_and_follows_them() {
        let start = Instant::now();
        let mut answers = Answers::default();
        let mut now = start;
        answers.begin(now);
        let mut come = |answers: &mut Answers, count: u32, apart: u32| {
            for _ in 0..count {
                now += apart * MS;
                answers.came(now);
            }
            now
        };
        let at = come(&mut answers, 15, 10);
        assert_eq!(answers.apart(at), None, "too few to tell");
        let at = come(&mut answers, 1, 10);
        assert_eq!(answers.apart(at), Some(10 * MS));
        let at = come(&mut answers, 34, 10);
        assert_eq!(answers.apart(at), Some(10 * MS), "the last window's");
        let at = come(&mut answers, 16, 30);
        assert_eq!(answers.apart(at), Some(30 * MS));
        assert_eq!(answers.last(), Some(at));
        answers.begin(at);
        assert_eq!((answers.apart(at), answers.last()), (None, Some(at)), "it had rested");
    }
}
