//! The step loop of one network. Sequences join and leave between steps; the weights are read once a step,
//! however many there are.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::engine::generate::caller::Caller;
use crate::engine::generate::running::{Running, Seat};
use crate::engine::{ModelStats, RunError, Sequence, Stepwise};

/// A sequence that somebody waits for.
pub trait Member: Sequence {
    type Output;

    fn caller(&self) -> &Caller<Self::Output>;
}

/// A network, and its sequences.
pub struct Steps<N, M> {
    /// For the log.
    name: String,
    network: Arc<N>,
    /// Sequences that run at once.
    rows_max: usize,
    queue: Mutex<Queue<M>>,
    running: Mutex<Running<M>>,
    pub stats: Arc<ModelStats>,
}

struct Queue<M> {
    waiting: VecDeque<M>,
    /// Whether a turn is asked for or under way: the loop has one thread at a time.
    scheduled: bool,
}

/// What a turn gave.
pub struct Turn<M> {
    /// Sequences that have left by themselves.
    pub over: Vec<Seat<M>>,
    /// Whether another turn is wanted.
    pub again: bool,
}

impl<N, M> Steps<N, M>
where
    N: Stepwise,
    M: Member<State = N::State>,
{
    pub fn new(name: &str, network: Arc<N>, rows_max: usize, stats: Arc<ModelStats>) -> Self {
        Self {
            name: name.to_owned(),
            network,
            rows_max,
            queue: Mutex::new(Queue { waiting: VecDeque::new(), scheduled: false }),
            running: Mutex::default(),
            stats,
        }
    }

    /// Takes in all of `sequences`, or none where more than `queue_rows_max` would wait then: how many wait now is
    /// the error. `true` obliges the caller to ask for a turn.
    pub fn join(&self, sequences: Vec<M>, queue_rows_max: usize) -> Result<bool, usize> {
        let mut queue = lock(&self.queue);
        if queue.waiting.len() + sequences.len() > queue_rows_max {
            // Those whose client has gone leave their places before anybody is refused.
            self.drop_dead(&mut queue.waiting);
        }
        let rows = queue.waiting.len() + sequences.len();
        // A request larger than the whole queue could never be admitted: it may have an empty one.
        if rows > queue_rows_max && !queue.waiting.is_empty() {
            return Err(queue.waiting.len());
        }
        self.stats.queued.fetch_add(sequences.len(), Ordering::Relaxed);
        queue.waiting.extend(sequences);
        let idle = !queue.scheduled && !queue.waiting.is_empty();
        queue.scheduled |= idle;
        Ok(idle)
    }

    /// One step of all that run.
    pub fn turn(&self) -> Turn<M> {
        let mut running = lock(&self.running);
        self.join_and_leave(&mut running);
        let mut over = Vec::new();
        if !running.seats.is_empty() {
            // Neither a network nor a vocabulary that panics takes more than its step's sequences with it.
            let step = catch_unwind(AssertUnwindSafe(|| self.step(&mut running)));
            over = running.leave();
            match step {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.lose(&mut running, &error.to_string()),
                Err(_) => self.lose(&mut running, "it panicked"),
            }
        }
        Turn { over, again: !running.seats.is_empty() || self.is_wanted() }
    }

    /// Whether somebody waits. Where nobody does, the next one who joins asks for a turn.
    fn is_wanted(&self) -> bool {
        let mut queue = lock(&self.queue);
        queue.scheduled = !queue.waiting.is_empty();
        queue.scheduled
    }

    /// Sequences that nobody waits for leave; waiting ones take the free places.
    fn join_and_leave(&self, running: &mut Running<M>) {
        let now = Instant::now();
        running.seats.retain(|seat| !seat.sequence.caller().is_dead(now));
        let mut queue = lock(&self.queue);
        self.drop_dead(&mut queue.waiting);
        let free = self.rows_max.saturating_sub(running.seats.len());
        let joining = free.min(queue.waiting.len());
        queue.waiting.drain(..joining).for_each(|sequence| running.join(sequence));
        self.stats.queued.fetch_sub(joining, Ordering::Relaxed);
    }

    fn drop_dead(&self, waiting: &mut VecDeque<M>) {
        let (now, before) = (Instant::now(), waiting.len());
        waiting.retain(|sequence| !sequence.caller().is_dead(now));
        self.stats.queued.fetch_sub(before - waiting.len(), Ordering::Relaxed);
    }

    fn step(&self, running: &mut Running<M>) -> Result<(), RunError> {
        let began = Instant::now();
        let stepped = running.read(&*self.network)?;
        running.take(&stepped, |sequence, error| {
            tracing::error!(model = self.name, reason = %error, "a sequence was lost");
            sequence.caller().fail();
        });
        self.stats.record_batch(stepped.rows, began.elapsed());
        self.stats.generated_tokens.fetch_add(stepped.scored as u64, Ordering::Relaxed);
        Ok(())
    }

    fn lose(&self, running: &mut Running<M>, reason: &str) {
        tracing::error!(
            model = self.name,
            sequences = running.seats.len(),
            reason,
            "a step was lost"
        );
        for seat in running.seats.drain(..) {
            seat.sequence.caller().fail();
        }
    }
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
