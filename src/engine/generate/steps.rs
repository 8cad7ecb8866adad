//! The step loops of one network. Sequences join and leave between steps; the weights are read once a step,
//! however many there are.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::Problem;
use crate::engine::control::Control;
use crate::engine::generate::caller::Caller;
use crate::engine::generate::running::{Running, Seat};
use crate::engine::pace::Pace;
use crate::engine::{RunError, Sequence, Stepwise};

/// A sequence that somebody waits for.
pub trait Member: Sequence {
    type Output;

    fn caller(&self) -> &Caller<Self::Output>;
}

/// A network, and its sequences.
pub struct Steps<N, M> {
    network: Arc<N>,
    control: Arc<Control>,
    queue: Mutex<Queue<M>>,
    loops: Vec<Loop<M>>,
    pace: Pace,
}

/// One of the loops: a thread steps its sequences at a time.
struct Loop<M> {
    running: Mutex<Running<M>>,
    /// Tokens that its last step read.
    tokens: AtomicUsize,
}

struct Queue<M> {
    waiting: VecDeque<M>,
    /// By loop: whether a turn is asked for or under way.
    scheduled: Vec<bool>,
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
    /// With so many loops, each of which may have a thread.
    pub fn new(network: Arc<N>, control: Arc<Control>, loops: usize) -> Self {
        let queue = Queue { waiting: VecDeque::new(), scheduled: vec![false; loops] };
        let one = || Loop { running: Mutex::default(), tokens: AtomicUsize::new(1) };
        Self {
            network,
            control,
            queue: Mutex::new(queue),
            loops: std::iter::repeat_with(one).take(loops).collect(),
            pace: Pace::default(),
        }
    }

    /// Takes in all of `sequences`, or none where more than `queue_rows_max` would wait then: how many wait now is
    /// the error. Obliges the caller to ask for a turn of each loop that it is given.
    pub fn join(&self, sequences: Vec<M>, queue_rows_max: usize) -> Result<Vec<usize>, usize> {
        let mut queue = lock(&self.queue);
        if queue.waiting.len() + sequences.len() > queue_rows_max {
            // Those whose client has gone leave their places before anybody is refused.
            self.drop_dead(&mut queue.waiting, Instant::now());
        }
        let rows = queue.waiting.len() + sequences.len();
        // A request larger than the whole queue could never be admitted: it may have an empty one.
        if rows > queue_rows_max && !queue.waiting.is_empty() {
            return Err(queue.waiting.len());
        }
        self.control.stats.queued.fetch_add(sequences.len(), Ordering::Relaxed);
        queue.waiting.extend(sequences);
        let Queue { waiting, scheduled } = &mut *queue;
        let idle = scheduled.iter_mut().enumerate().filter(|(_, scheduled)| !**scheduled);
        // One that is idle steps for each that waits, so that none waits for the step of others.
        let woken = idle.take(waiting.len()).map(|(index, scheduled)| {
            *scheduled = true;
            index
        });
        Ok(woken.collect())
    }

    /// What the next step of a loop should take.
    pub fn predicted(&self, index: usize) -> Option<Duration> {
        self.pace.predict(self.loops[index].tokens.load(Ordering::Relaxed))
    }

    /// One step of all that run in a loop.
    pub fn turn(&self, index: usize) -> Turn<M> {
        let mut running = lock(&self.loops[index].running);
        let began = Instant::now();
        self.join_and_leave(&mut running, began);
        let mut over = Vec::new();
        if !running.seats.is_empty() {
            // Neither a network nor a vocabulary that panics takes more than its step's sequences with it.
            let step = catch_unwind(AssertUnwindSafe(|| self.step(index, &mut running, began)));
            over = running.leave();
            let lost = running.seats.len();
            match step {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    lose(&mut running, &self.control.lost(lost, &error.to_string()));
                }
                Err(_) => lose(&mut running, &self.control.panicked(lost)),
            }
        }
        Turn { over, again: !running.seats.is_empty() || self.is_wanted(index) }
    }

    /// Whether somebody waits. Where nobody does, the next one who joins asks for a turn.
    fn is_wanted(&self, index: usize) -> bool {
        let mut queue = lock(&self.queue);
        let wanted = !queue.waiting.is_empty();
        queue.scheduled[index] = wanted;
        wanted
    }

    /// Sequences that nobody waits for leave; waiting ones take the free places, the most urgent first.
    fn join_and_leave(&self, running: &mut Running<M>, now: Instant) {
        running.seats.retain(|seat| !seat.sequence.caller().is_dead(now));
        let mut queue = lock(&self.queue);
        self.drop_dead(&mut queue.waiting, now);
        queue.waiting.make_contiguous().sort_by_key(|sequence| sequence.caller().urgency);
        let free = self.control.limits.batch_rows_max.saturating_sub(running.seats.len());
        // Loops that run side by side share those that wait.
        let loops = queue.scheduled.iter().filter(|scheduled| **scheduled).count().max(1);
        let joining = free.min(queue.waiting.len().div_ceil(loops));
        queue.waiting.drain(..joining).for_each(|sequence| running.join(sequence));
        self.control.stats.queued.fetch_sub(joining, Ordering::Relaxed);
    }

    fn drop_dead(&self, waiting: &mut VecDeque<M>, now: Instant) {
        let before = waiting.len();
        waiting.retain(|sequence| !sequence.caller().is_dead(now));
        self.control.stats.queued.fetch_sub(before - waiting.len(), Ordering::Relaxed);
    }

    fn step(&self, index: usize, running: &mut Running<M>, began: Instant) -> Result<(), RunError> {
        let stepped = running.read(&*self.network)?;
        running.take(&stepped, |sequence, error| {
            sequence.caller().fail(self.control.lost(1, &error.to_string()));
        });
        let took = began.elapsed();
        running.share(took, stepped.rows);
        self.pace.learn(stepped.tokens, took);
        self.loops[index].tokens.store(stepped.tokens, Ordering::Relaxed);
        let stats = &self.control.stats;
        stats.record_batch(stepped.rows, took);
        stats.generated_tokens.fetch_add(stepped.generated as u64, Ordering::Relaxed);
        Ok(())
    }
}

fn lose<M: Member>(running: &mut Running<M>, problem: &Problem) {
    for seat in running.seats.drain(..) {
        seat.sequence.caller().fail(problem.clone());
    }
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
