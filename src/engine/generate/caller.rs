//! The way back from one item of a request to whoever waits for it.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;

use crate::domain::{Fragment, Problem};
use crate::engine::admission::Place;
use crate::engine::batch::Urgency;
use crate::engine::gather::deadline_passed;

/// What an item tells the request it belongs to.
#[derive(Debug)]
pub struct Event<T> {
    /// Which of the request's items.
    pub index: usize,
    pub what: What<T>,
}

#[derive(Debug)]
pub enum What<T> {
    Text(Fragment),
    Ended(Ended<T>),
    Failed(Problem),
}

/// The end of an item.
#[derive(Debug)]
pub struct Ended<T> {
    pub output: T,
    /// When its first forward began.
    pub started: Instant,
    pub at: Instant,
    /// Rows in the widest step that it was part of.
    pub batch_rows: usize,
    /// Where a text was generated.
    pub pace: Option<Pace>,
}

/// When the tokens of a text came.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub first: Instant,
    pub last: Instant,
    pub tokens: usize,
}

/// Who waits for one item.
pub struct Caller<T> {
    pub index: usize,
    pub urgency: Urgency,
    /// Unbounded, but an item sends few events, and a text that is streamed one a token at most: a slow reader
    /// costs that much memory and holds up nobody.
    pub events: UnboundedSender<Event<T>>,
    /// Given back when the last item of the request is over, whether or not its answer is read.
    pub place: Arc<Place>,
}

impl<T> Caller<T> {
    /// The caller of another item of the same request.
    pub fn of(&self, index: usize) -> Self {
        let (events, place) = (self.events.clone(), Arc::clone(&self.place));
        Self { index, urgency: self.urgency, events, place }
    }

    /// Whether nobody waits any longer; tells a waiter whose deadline has passed.
    pub fn is_dead(&self, now: Instant) -> bool {
        if now >= self.urgency.deadline {
            self.fail(deadline_passed());
            return true;
        }
        self.events.is_closed()
    }

    pub fn fail(&self, problem: Problem) {
        self.tell(What::Failed(problem));
    }

    pub fn tell(&self, what: What<T>) {
        // A receiver that has gone is noticed by `is_dead` before the next piece of work.
        let _ = self.events.send(Event { index: self.index, what });
    }
}
