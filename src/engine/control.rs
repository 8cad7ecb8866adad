//! What one model shares between its endpoint and its turns: its name, its bounds, its door and its counts.

use std::time::{Duration, Instant};

use crate::domain::{Kind, Priority, Problem};
use crate::engine::Limits;
use crate::engine::admission::{Admission, Loads, Place};
use crate::engine::breaker::Breaker;
use crate::engine::stats::{Cause, ModelStats};

/// Why a model takes no requests, and for how long yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rest {
    pub reason: String,
    pub left: Duration,
}

/// The controls of one model.
pub struct Control {
    /// For the log.
    name: String,
    pub limits: Limits,
    pub admission: Admission,
    pub stats: ModelStats,
    breaker: Breaker,
}

impl Control {
    /// Of a model with `threads` turns at once at the most, each of which serves `seats` requests side by side.
    #[must_use]
    pub fn new(name: &str, limits: Limits, loads: &Loads, threads: usize, seats: usize) -> Self {
        let instances = limits.instances(threads);
        Self {
            name: name.to_owned(),
            limits,
            admission: Admission::new(
                loads,
                limits.weight,
                (instances, seats),
                limits.queue_wait_max,
            ),
            stats: ModelStats::default(),
            breaker: Breaker::default(),
        }
    }

    /// Lets a request in before anything is done for it.
    ///
    /// # Errors
    /// As [`Admission::enter`], and [`Kind::Unavailable`] while the model rests.
    pub fn enter(&self, priority: Priority, deadline: Instant) -> Result<Place, Problem> {
        if let Some(Rest { reason, left }) = self.rest() {
            self.stats.refused(Cause::Resting);
            return Err(Problem::new(Kind::Unavailable, reason).retry_after(left));
        }
        self.admission.enter(priority, deadline, &self.stats)
    }

    /// Why the model takes no requests, where it does not.
    #[must_use]
    pub fn rest(&self) -> Option<Rest> {
        let left = self.breaker.rests(Instant::now())?;
        let reason =
            "the network of this model failed again and again; the log says how".to_owned();
        Some(Rest { reason, left })
    }

    /// A forward pass of `rows` panicked.
    pub fn panicked(&self, rows: usize) -> Problem {
        self.breaker.panicked(Instant::now());
        self.lost(rows, "it panicked")
    }

    /// A forward pass of `rows` was lost for another reason. What its callers are told.
    pub fn lost(&self, rows: usize, reason: &str) -> Problem {
        tracing::error!(model = self.name, rows, reason, "a forward pass was lost");
        Problem::new(Kind::Internal, "the network failed on this batch; it was logged")
    }
}
