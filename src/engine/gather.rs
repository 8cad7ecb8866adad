//! The rows of one request, which may run in several batches, joined again in order.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::domain::{Kind, Problem};
use crate::engine::batch::Urgency;

/// What a request's rows gave, together.
#[derive(Debug)]
pub struct Gathered<T> {
    /// In the order of the request's samples.
    pub outputs: Vec<T>,
    /// From admission to the start of the first batch.
    pub queue: Duration,
    /// From the start of its first batch to the end of its last.
    pub infer: Duration,
    /// Its share of those batches, by rows.
    pub work: Duration,
    /// Rows in the largest of them.
    pub batch_rows: usize,
}

impl<T> Default for Gathered<T> {
    fn default() -> Self {
        Self {
            outputs: Vec::new(),
            queue: Duration::ZERO,
            infer: Duration::ZERO,
            work: Duration::ZERO,
            batch_rows: 0,
        }
    }
}

type Outcome<T> = Result<Gathered<T>, Problem>;

/// A forward pass that is over.
#[derive(Debug, Clone, Copy)]
pub struct Pass {
    pub began: Instant,
    pub took: Duration,
    pub rows: u32,
}

/// Collects the outputs of one request.
pub struct Gather<T> {
    admitted: Instant,
    pub urgency: Urgency,
    /// Nobody waits for the answer any longer.
    over: Arc<AtomicBool>,
    state: Mutex<State<T>>,
}

struct State<T> {
    outputs: Vec<Option<T>>,
    missing: usize,
    timing: Gathered<T>,
    /// When its first batch began.
    first: Option<Instant>,
    /// Taken when the request is answered.
    sender: Option<oneshot::Sender<Outcome<T>>>,
}

/// Waits for the answer. Whoever drops it takes the request's rows out of the queue.
pub struct Waiter<T> {
    receiver: oneshot::Receiver<Outcome<T>>,
    over: Arc<AtomicBool>,
}

impl<T> Gather<T> {
    pub fn new(rows: usize, urgency: Urgency) -> (Arc<Self>, Waiter<T>) {
        let (sender, receiver) = oneshot::channel();
        let over = Arc::new(AtomicBool::new(false));
        let state = State {
            outputs: std::iter::repeat_with(|| None).take(rows).collect(),
            missing: rows,
            timing: Gathered::default(),
            first: None,
            sender: Some(sender),
        };
        let waiter = Waiter { receiver, over: Arc::clone(&over) };
        let gather = Self { admitted: Instant::now(), urgency, over, state: Mutex::new(state) };
        (Arc::new(gather), waiter)
    }

    /// Whether nobody waits for the answer any longer.
    pub fn is_dead(&self, now: Instant) -> bool {
        self.over.load(Ordering::Relaxed) || now >= self.urgency.deadline
    }

    pub fn admitted(&self) -> Instant {
        self.admitted
    }

    /// Takes the output of row `index`. The last row answers the request.
    pub fn put(&self, index: usize, output: T, pass: Pass) {
        let mut state = self.state();
        let state = &mut *state;
        let Some(place @ None) = state.outputs.get_mut(index) else { return };
        *place = Some(output);
        state.missing -= 1;
        // Batches may run side by side, and be told of in any order.
        let first = state.first.map_or(pass.began, |first| first.min(pass.began));
        let ended = (pass.began + pass.took)
            .max(state.first.map_or(first, |before| before + state.timing.infer));
        state.first = Some(first);
        state.timing.queue = first.saturating_duration_since(self.admitted);
        state.timing.infer = ended.saturating_duration_since(first);
        state.timing.work += pass.took / pass.rows.max(1);
        state.timing.batch_rows = state.timing.batch_rows.max(pass.rows as usize);
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
        self.over.store(true, Ordering::Relaxed);
        if let Some(sender) = self.state().sender.take() {
            let _ = sender.send(Err(problem));
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Waiter<T> {
    /// The answer, or what became of it.
    pub async fn wait(mut self, deadline: Instant) -> Outcome<T> {
        match tokio::time::timeout_at(deadline.into(), &mut self.receiver).await {
            Ok(Ok(outcome)) => outcome,
            // The queue drops what is late, and its timer may be a little ahead of ours.
            Ok(Err(_)) if Instant::now() >= deadline => Err(deadline_passed()),
            Ok(Err(_)) => Err(Problem::new(Kind::Unavailable, "the server is stopping")),
            Err(_) => Err(deadline_passed()),
        }
    }
}

impl<T> Drop for Waiter<T> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// What a waiter is told when its deadline passes.
pub fn deadline_passed() -> Problem {
    Problem::new(Kind::DeadlineExceeded, "the deadline passed before the answer was ready")
}
