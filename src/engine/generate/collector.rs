//! The waiting side of one request: turns the events of its items into an answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::domain::{Answer, Fragment, Kind, Outcome, Piece, Problem, Timings, TokenTimings};
use crate::engine::admission::Place;
use crate::engine::batch::Urgency;
use crate::engine::gather::deadline_passed;
use crate::engine::generate::caller::{Caller, Ended, Event, Pace, What};

/// Collects one output per item.
pub struct Collector<T> {
    events: UnboundedReceiver<Event<T>>,
    outputs: Vec<Option<T>>,
    urgency: Urgency,
    pre: Duration,
    admitted: Instant,
    started: Option<Instant>,
    ended: Option<Instant>,
    /// Of the text that ended last.
    pace: Option<Pace>,
    batch_rows: usize,
}

/// What a request's items gave, together.
pub struct Collected<T> {
    /// In the order of the items.
    pub outputs: Vec<T>,
    /// Without what comes after.
    pub timings: Timings,
    pub batch_rows: usize,
}

/// What comes next.
pub enum Step<T> {
    /// Of one item.
    Text(Fragment),
    End(Collected<T>),
}

impl<T> Collector<T> {
    /// For `items` whose payload took `pre` to decode, and the caller of the first one, of which those of the
    /// others are made. The way to the collector is theirs alone: when they are lost, the waiter is told.
    pub fn new(items: usize, urgency: Urgency, pre: Duration, place: Place) -> (Self, Caller<T>) {
        let (sender, events) = unbounded_channel();
        let caller = Caller { index: 0, urgency, events: sender, place: Arc::new(place) };
        let collector = Self {
            events,
            outputs: std::iter::repeat_with(|| None).take(items).collect(),
            urgency,
            pre,
            admitted: Instant::now(),
            started: None,
            ended: None,
            pace: None,
            batch_rows: 0,
        };
        (collector, caller)
    }

    /// The next piece of text, or the end.
    pub async fn next(&mut self) -> Result<Step<T>, Problem> {
        loop {
            if self.outputs.iter().all(Option::is_some) {
                return Ok(Step::End(self.end()));
            }
            let event = tokio::time::timeout_at(self.urgency.deadline.into(), self.events.recv())
                .await
                .map_err(|_| deadline_passed())?;
            let Some(Event { index, what }) = event else {
                return Err(Problem::new(Kind::Unavailable, "the server is stopping"));
            };
            match what {
                What::Text(fragment) => return Ok(Step::Text(fragment)),
                What::Ended(ended) => self.put(index, ended),
                What::Failed(problem) => return Err(problem),
            }
        }
    }

    fn put(&mut self, index: usize, ended: Ended<T>) {
        let Ended { output, started, at, batch_rows, pace } = ended;
        self.started = Some(self.started.map_or(started, |first| first.min(started)));
        self.ended = self.ended.max(Some(at));
        self.pace = pace.or(self.pace);
        self.batch_rows = self.batch_rows.max(batch_rows);
        self.outputs[index] = Some(output);
    }

    /// The first item that is not over.
    pub fn open(&self) -> Option<usize> {
        self.outputs.iter().position(Option::is_none)
    }

    /// Waits for every item.
    pub async fn all(mut self) -> Result<Collected<T>, Problem> {
        loop {
            if let Step::End(collected) = self.next().await? {
                return Ok(collected);
            }
        }
    }

    fn end(&mut self) -> Collected<T> {
        let started = self.started.unwrap_or(self.admitted);
        let timings = Timings {
            pre: self.pre,
            queue: started.saturating_duration_since(self.admitted),
            infer: self.ended.unwrap_or(started).saturating_duration_since(started),
            post: Duration::ZERO,
            tokens: self.pace.map(|pace| self.token_timings(pace)),
        };
        let outputs = self.outputs.iter_mut().filter_map(Option::take).collect();
        Collected { outputs, timings, batch_rows: self.batch_rows }
    }

    fn token_timings(&self, pace: Pace) -> TokenTimings {
        let steps = u32::try_from(pace.tokens.saturating_sub(1)).unwrap_or(u32::MAX);
        let between = pace.last.saturating_duration_since(pace.first).checked_div(steps);
        let first = self.pre + pace.first.saturating_duration_since(self.admitted);
        TokenTimings { first, between }
    }
}

impl Collector<Outcome> {
    /// As a stream: the state is gone after the end or a problem.
    pub async fn piece(state: Option<Self>) -> Option<(Result<Piece, Problem>, Option<Self>)> {
        let mut collector = state?;
        let piece = collector.next().await.map(|step| match step {
            Step::Text(fragment) => Piece::Text(fragment),
            Step::End(collected) => Piece::End(collected.into()),
        });
        let more = matches!(piece, Ok(Piece::Text(_)));
        Some((piece, more.then_some(collector)))
    }
}

impl From<Collected<Outcome>> for Answer {
    fn from(collected: Collected<Outcome>) -> Self {
        let Collected { outputs, timings, batch_rows } = collected;
        Self { outcomes: outputs, timings, batch_rows }
    }
}
