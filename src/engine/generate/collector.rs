//! The waiting side of one request: turns the events of its sequences into an answer.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::domain::{Answer, Kind, Outcome, Piece, Problem, Timings, TokenTimings};
use crate::engine::admission::Place;
use crate::engine::gather::deadline_passed;
use crate::engine::generate::sequence::{Event, Pace, What};

/// Collects one outcome per item.
pub struct Collector {
    events: mpsc::UnboundedReceiver<Event>,
    outcomes: Vec<Option<Outcome>>,
    deadline: Instant,
    admitted: Instant,
    started: Option<Instant>,
    /// Of the sequence that ended last.
    pace: Option<Pace>,
    pre: Duration,
    batch_rows: usize,
    /// Given back when the answer is whole, or when nobody waits for it any longer.
    _place: Place,
}

impl Collector {
    pub fn new(
        items: usize,
        deadline: Instant,
        events: mpsc::UnboundedReceiver<Event>,
        pre: Duration,
        place: Place,
    ) -> Self {
        Self {
            events,
            outcomes: vec![None; items],
            deadline,
            admitted: Instant::now(),
            started: None,
            pace: None,
            pre,
            batch_rows: 0,
            _place: place,
        }
    }

    /// The next piece of text, or the end.
    async fn next(&mut self) -> Result<Piece, Problem> {
        loop {
            if self.outcomes.iter().all(Option::is_some) {
                return Ok(Piece::End(self.end()));
            }
            let event = tokio::time::timeout_at(self.deadline.into(), self.events.recv())
                .await
                .map_err(|_| deadline_passed())?;
            let Some(Event { index, what }) = event else {
                return Err(Problem::new(Kind::Unavailable, "the server is stopping"));
            };
            match what {
                What::Started(at) => self.started = self.started.or(Some(at)),
                What::Text(text) => return Ok(Piece::Text(text)),
                What::Ended { outcome, batch_rows, pace } => {
                    self.pace = Some(pace);
                    self.batch_rows = self.batch_rows.max(batch_rows);
                    self.outcomes[index] = Some(outcome);
                }
                What::Failed(problem) => return Err(problem),
            }
        }
    }

    pub async fn whole(mut self) -> Result<Answer, Problem> {
        loop {
            if let Piece::End(answer) = self.next().await? {
                return Ok(answer);
            }
        }
    }

    /// As a stream: the state is gone after the end or a problem.
    pub async fn piece(state: Option<Self>) -> Option<(Result<Piece, Problem>, Option<Self>)> {
        let mut collector = state?;
        let piece = collector.next().await;
        let more = matches!(piece, Ok(Piece::Text(_)));
        Some((piece, more.then_some(collector)))
    }

    fn end(&mut self) -> Answer {
        let started = self.started.unwrap_or(self.admitted);
        let ended = self.pace.map_or(started, |pace| pace.last);
        let timings = Timings {
            pre: self.pre,
            queue: started.saturating_duration_since(self.admitted),
            infer: ended.saturating_duration_since(started),
            post: Duration::ZERO,
            tokens: self.pace.map(|pace| self.token_timings(pace)),
        };
        let outcomes = self.outcomes.iter_mut().filter_map(Option::take).collect();
        Answer { outcomes, timings, batch_rows: self.batch_rows }
    }

    fn token_timings(&self, pace: Pace) -> TokenTimings {
        let steps = u32::try_from(pace.tokens.saturating_sub(1)).unwrap_or(u32::MAX);
        let between = pace.last.saturating_duration_since(pace.first).checked_div(steps);
        let first = self.pre + pace.first.saturating_duration_since(self.admitted);
        TokenTimings { first, between }
    }
}
