//! The endpoint of a network of one forward a request: decode, wait in a bounded queue, run in a
//! batch, encode.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::domain::{Answer, Kind, Problem, Timings};
use crate::engine::batch::{self, Bounds, Waiting};
use crate::engine::gather::{Gather, Gathered};
use crate::engine::workers::{Job, Turns};
use crate::engine::{Codec, CpuPool, Endpoint, Limits, ModelStats, Network, Reply, Request};

/// A network behind its queue.
pub struct OneShot<N: Network, C> {
    queue: Arc<Queue<N>>,
    codec: Arc<C>,
    cpu: CpuPool,
    turns: Turns,
}

/// One row that waits.
struct Entry<N: Network> {
    sample: N::Sample,
    cost: usize,
    /// Which of its request's rows this is.
    index: usize,
    request: Arc<Gather<N::Output>>,
}

struct Queue<N: Network> {
    /// For the log.
    name: String,
    network: N,
    limits: Limits,
    waiting: Mutex<VecDeque<Entry<N>>>,
    /// Turns in line or under way: at most one a thread, so that a long queue takes no more places in
    /// the line than a short one.
    turns: AtomicUsize,
    stats: ModelStats,
}

impl<N, C> OneShot<N, C>
where
    N: Network,
    C: Codec<Sample = N::Sample, Output = N::Output>,
{
    pub fn new(
        name: &str,
        network: N,
        codec: C,
        limits: Limits,
        (cpu, turns): (CpuPool, Turns),
    ) -> Self {
        let queue = Queue {
            name: name.to_owned(),
            network,
            limits,
            waiting: Mutex::default(),
            turns: AtomicUsize::new(0),
            stats: ModelStats::default(),
        };
        Self { queue: Arc::new(queue), codec: Arc::new(codec), cpu, turns }
    }

    async fn answer(&self, request: Request) -> Result<Reply, Problem> {
        let Request { payload, params, deadline } = request;
        let began = Instant::now();
        let codec = Arc::clone(&self.codec);
        let (samples, ask) = self.cpu.run(move || codec.decode(payload, &params)).await?;
        let pre = began.elapsed();

        let Gathered { outputs, queue, infer, batch_rows } = self.infer(samples, deadline).await?;

        let began = Instant::now();
        let codec = Arc::clone(&self.codec);
        let outcomes = self.cpu.run(move || codec.encode(outputs, &ask)).await?;
        let timings = Timings { pre, queue, infer, post: began.elapsed(), tokens: None };
        Ok(Reply::Whole(Answer { outcomes, timings, batch_rows }))
    }

    async fn infer(
        &self,
        samples: Vec<N::Sample>,
        deadline: Instant,
    ) -> Result<Gathered<N::Output>, Problem> {
        // Silence, say, has no sample to run.
        if samples.is_empty() {
            return Ok(Gathered::default());
        }
        let (request, receiver) = Gather::new(samples.len(), deadline);
        let batches = self.queue.admit(samples, &request)?;
        // From here on the rows alone hold the sender: when they are lost, the waiter is told.
        drop(request);
        for _ in 0..batches {
            if !self.queue.claim_turn(self.turns.threads()) {
                break;
            }
            self.turns.ask(Arc::clone(&self.queue) as Arc<dyn Job>);
        }
        match tokio::time::timeout_at(deadline.into(), receiver).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Problem::new(Kind::Unavailable, "the server is stopping")),
            Err(_) => Err(deadline_passed()),
        }
    }
}

/// What a waiter is told when its deadline passes.
pub fn deadline_passed() -> Problem {
    Problem::new(Kind::DeadlineExceeded, "the deadline passed before the answer was ready")
}

/// What a caller is told when a network fails.
pub fn network_failed() -> Problem {
    Problem::new(Kind::Internal, "the network failed on this batch; it was logged")
}

impl<N, C> Endpoint for OneShot<N, C>
where
    N: Network,
    C: Codec<Sample = N::Sample, Output = N::Output>,
{
    fn predict(&self, request: Request) -> BoxFuture<'_, Result<Reply, Problem>> {
        self.answer(request).boxed()
    }

    fn stats(&self) -> &ModelStats {
        &self.queue.stats
    }
}

impl<N: Network> Queue<N> {
    /// All rows of a request, or none; how many batches they make.
    fn admit(
        &self,
        samples: Vec<N::Sample>,
        request: &Arc<Gather<N::Output>>,
    ) -> Result<usize, Problem> {
        let costs: Vec<usize> = samples.iter().map(|sample| self.network.cost(sample)).collect();
        let mut waiting = self.waiting();
        if waiting.len() + samples.len() > self.limits.queue_rows_max {
            // Those whose client has gone leave their places before anybody is refused.
            let now = Instant::now();
            waiting.retain(|entry| !entry.request.is_dead(now));
        }
        let rows = waiting.len() + samples.len();
        // A request larger than the whole queue could never be admitted: it may have an empty one.
        if rows > self.limits.queue_rows_max && !waiting.is_empty() {
            return Err(self.stats.overloaded(waiting.len()));
        }
        let entries = samples.into_iter().zip(&costs).enumerate();
        waiting.extend(entries.map(|(index, (sample, &cost))| Entry {
            cost,
            sample,
            index,
            request: Arc::clone(request),
        }));
        self.stats.queued.store(waiting.len(), Ordering::Relaxed);
        drop(waiting);
        Ok(batch::count(&costs, self.bounds()))
    }

    fn bounds(&self) -> Bounds {
        Bounds { rows_max: self.limits.batch_rows_max, cost_max: self.limits.batch_cost_max }
    }

    /// The next batch, and whether rows are left.
    fn take(&self) -> (Vec<Entry<N>>, bool) {
        let mut waiting = self.waiting();
        let now = Instant::now();
        let rows = waiting
            .iter()
            .map(|entry| Waiting { cost: entry.cost, dead: entry.request.is_dead(now) });
        let leave = batch::take(rows, self.bounds());
        let leaving = waiting.drain(..leave);
        let batch = leaving.filter(|entry| !entry.request.is_dead(now)).collect();
        self.stats.queued.store(waiting.len(), Ordering::Relaxed);
        (batch, !waiting.is_empty())
    }

    /// Takes one of the turns that this queue may have at once.
    fn claim_turn(&self, most: usize) -> bool {
        let claim = |turns| (turns < most).then_some(turns + 1);
        self.turns.fetch_update(Ordering::AcqRel, Ordering::Acquire, claim).is_ok()
    }

    fn run(&self, batch: Vec<Entry<N>>) {
        let began = Instant::now();
        let samples: Vec<&N::Sample> = batch.iter().map(|entry| &entry.sample).collect();
        let rows = samples.len();
        // A network that panics loses its batch and nothing else.
        let outcome = catch_unwind(AssertUnwindSafe(|| self.network.run(&samples)));
        let took = began.elapsed();
        self.stats.record_batch(rows, took);
        self.stats.finished.fetch_add(rows as u64, Ordering::Relaxed);
        let failure = match outcome {
            Ok(Ok(outputs)) if outputs.len() == rows => {
                return deliver(batch, outputs, began, took);
            }
            Ok(Ok(outputs)) => format!("{} outputs for {rows} samples", outputs.len()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it panicked".to_owned(),
        };
        tracing::error!(model = self.name, rows, reason = failure, "a batch was lost");
        for entry in batch {
            entry.request.fail(network_failed());
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Entry<N>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn deliver<N: Network>(
    batch: Vec<Entry<N>>,
    outputs: Vec<N::Output>,
    began: Instant,
    took: Duration,
) {
    let rows = batch.len();
    for (entry, output) in batch.into_iter().zip(outputs) {
        entry.request.put(entry.index, output, began, took, rows);
    }
}

impl<N: Network> Job for Queue<N> {
    fn turn(&self) -> bool {
        let (batch, left) = self.take();
        if !batch.is_empty() {
            self.run(batch);
        }
        if left {
            return true;
        }
        self.turns.fetch_sub(1, Ordering::AcqRel);
        // Rows may have come whose request found every turn taken. The last turn to end sees them.
        !self.waiting().is_empty() && self.claim_turn(1)
    }
}
