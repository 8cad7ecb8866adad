//! The way back from one item of a request to whoever waits for it.

use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;

use crate::domain::Problem;
use crate::engine::one_shot::{deadline_passed, network_failed};

/// What an item tells the request it belongs to.
#[derive(Debug)]
pub struct Event<T> {
    /// Which of the request's items.
    pub index: usize,
    pub what: What<T>,
}

#[derive(Debug)]
pub enum What<T> {
    /// Its first forward begins.
    Started(Instant),
    Text(String),
    Ended(Ended<T>),
    Failed(Problem),
}

/// The end of an item.
#[derive(Debug)]
pub struct Ended<T> {
    pub output: T,
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
    pub deadline: Instant,
    /// Unbounded, but an item sends few events, and a text one a token at most: a slow reader costs that much
    /// memory and holds up nobody.
    pub events: UnboundedSender<Event<T>>,
}

impl<T> Caller<T> {
    /// Whether nobody waits any longer; tells a waiter whose deadline has passed.
    pub fn is_dead(&self, now: Instant) -> bool {
        if now >= self.deadline {
            self.tell(What::Failed(deadline_passed()));
            return true;
        }
        self.events.is_closed()
    }

    pub fn fail(&self) {
        self.tell(What::Failed(network_failed()));
    }

    pub fn tell(&self, what: What<T>) {
        // A receiver that has gone is noticed by `is_dead` before the next piece of work.
        let _ = self.events.send(Event { index: self.index, what });
    }
}
