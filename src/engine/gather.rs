//! The rows of one request, which may run in several batches, joined again in order.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::domain::Problem;

/// What a request's rows gave, together.
#[derive(Debug)]
pub struct Gathered<T> {
    /// In the order of the request's samples.
    pub outputs: Vec<T>,
    /// From admission to the start of the first batch.
    pub queue: Duration,
    /// Time in the batches that its rows were part of.
    pub infer: Duration,
    /// Rows in the largest of them.
    pub batch_rows: usize,
}

impl<T> Default for Gathered<T> {
    fn default() -> Self {
        Self { outputs: Vec::new(), queue: Duration::ZERO, infer: Duration::ZERO, batch_rows: 0 }
    }
}

type Outcome<T> = Result<Gathered<T>, Problem>;

/// Collects the outputs of one request.
pub struct Gather<T> {
    admitted: Instant,
    deadline: Instant,
    state: Mutex<State<T>>,
}

struct State<T> {
    outputs: Vec<Option<T>>,
    missing: usize,
    timing: Gathered<T>,
    last_batch: Option<Instant>,
    /// Taken when the request is answered.
    sender: Option<oneshot::Sender<Outcome<T>>>,
}

impl<T> Gather<T> {
    pub fn new(rows: usize, deadline: Instant) -> (Arc<Self>, oneshot::Receiver<Outcome<T>>) {
        let (sender, receiver) = oneshot::channel();
        let state = State {
            outputs: std::iter::repeat_with(|| None).take(rows).collect(),
            missing: rows,
            timing: Gathered::default(),
            last_batch: None,
            sender: Some(sender),
        };
        let gather = Self { admitted: Instant::now(), deadline, state: Mutex::new(state) };
        (Arc::new(gather), receiver)
    }

    /// Whether nobody waits for the answer any longer.
    pub fn is_dead(&self, now: Instant) -> bool {
        now >= self.deadline || self.state().sender.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    /// Takes the output of row `index`, from a batch of `rows` that `began` and `took`. The last row
    /// answers the request.
    pub fn put(&self, index: usize, output: T, began: Instant, took: Duration, rows: usize) {
        let mut state = self.state();
        let state = &mut *state;
        let Some(place @ None) = state.outputs.get_mut(index) else { return };
        *place = Some(output);
        state.missing -= 1;
        if state.last_batch.is_none() {
            state.timing.queue = began.saturating_duration_since(self.admitted);
        }
        // Several rows of one request in one batch count its time once.
        if state.last_batch.replace(began) != Some(began) {
            state.timing.infer += took;
        }
        state.timing.batch_rows = state.timing.batch_rows.max(rows);
        if state.missing == 0
            && let Some(sender) = state.sender.take()
        {
            let outputs = state.outputs.drain(..).flatten().collect();
            let timing = std::mem::take(&mut state.timing);
            // The receiver may have left in this very moment.
            let _ = sender.send(Ok(Gathered { outputs, ..timing }));
        }
    }

    /// Answers the request with a problem; its other rows are dead from now on.
    pub fn fail(&self, problem: Problem) {
        if let Some(sender) = self.state().sender.take() {
            let _ = sender.send(Err(problem));
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
