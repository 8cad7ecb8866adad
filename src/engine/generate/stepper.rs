//! The step loop of one generating network, and the endpoint in front of it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc;

use crate::domain::{Kind, Problem};
use crate::engine::generate::collector::Collector;
use crate::engine::generate::options::Options;
use crate::engine::generate::sequence::{Event, Opening, Sequence};
use crate::engine::one_shot::network_failed;
use crate::engine::workers::{Job, Turns};
use crate::engine::{
    CpuPool, Endpoint, Language, Limits, Logits, ModelStats, Reply, Request, Stepwise,
};

/// A generating network with its sequences.
pub struct Stepper<N: Stepwise, L> {
    shared: Arc<Loop<N, L>>,
    cpu: CpuPool,
    turns: Turns,
}

struct Loop<N: Stepwise, L> {
    /// For the log.
    name: String,
    network: N,
    language: L,
    limits: Limits,
    waiting: Mutex<VecDeque<Sequence<N::State>>>,
    running: Mutex<Vec<Sequence<N::State>>>,
    /// Whether a turn is asked for or under way: the loop has one thread at a time.
    scheduled: AtomicBool,
    stats: ModelStats,
}

impl<N: Stepwise, L: Language> Stepper<N, L> {
    pub fn new(
        name: &str,
        network: N,
        language: L,
        limits: Limits,
        (cpu, turns): (CpuPool, Turns),
    ) -> Self {
        let shared = Loop {
            name: name.to_owned(),
            network,
            language,
            limits,
            waiting: Mutex::default(),
            running: Mutex::default(),
            scheduled: AtomicBool::new(false),
            stats: ModelStats::default(),
        };
        Self { shared: Arc::new(shared), cpu, turns }
    }

    async fn answer(&self, request: Request) -> Result<Reply, Problem> {
        let began = Instant::now();
        let options = Options::read(&request.params, self.shared.limits.generated_tokens_max)?;
        let shared = Arc::clone(&self.shared);
        let payload = request.payload;
        let prompts = self.cpu.run(move || shared.language.prompts(payload)).await?;
        if options.stream && prompts.len() != 1 {
            return Err(Problem::fault(
                Kind::Unsupported,
                "/parameters/stream",
                "one item when streaming",
                format!("{} items", prompts.len()),
                "send one request per item, or leave `stream` out",
            ));
        }
        let (events, receiver) = mpsc::unbounded_channel();
        let collector = Collector::new(prompts.len(), request.deadline, receiver, began.elapsed());
        self.shared.admit(prompts, &options, request.deadline, &events)?;
        // From here on the sequences alone hold the sender: when they are lost, the waiter is told.
        drop(events);
        if !self.shared.scheduled.swap(true, Ordering::AcqRel) {
            self.turns.ask(Arc::clone(&self.shared) as Arc<dyn Job>);
        }
        if options.stream {
            let pieces = futures_util::stream::unfold(Some(collector), Collector::piece);
            return Ok(Reply::Stream(pieces.boxed()));
        }
        collector.whole().await.map(Reply::Whole)
    }
}

impl<N: Stepwise, L: Language> Endpoint for Stepper<N, L> {
    fn predict(&self, request: Request) -> BoxFuture<'_, Result<Reply, Problem>> {
        self.answer(request).boxed()
    }

    fn stats(&self) -> &ModelStats {
        &self.shared.stats
    }
}

impl<N: Stepwise, L: Language> Loop<N, L> {
    fn admit(
        &self,
        prompts: Vec<Vec<u32>>,
        options: &Options,
        deadline: Instant,
        events: &mpsc::UnboundedSender<Event>,
    ) -> Result<(), Problem> {
        let mut waiting = lock(&self.waiting);
        let rows = waiting.len() + prompts.len();
        if rows > self.limits.queue_rows_max && !waiting.is_empty() {
            return Err(self.stats.overloaded(waiting.len()));
        }
        for (index, prompt) in prompts.into_iter().enumerate() {
            self.stats.prompt_tokens.fetch_add(prompt.len() as u64, Ordering::Relaxed);
            let opening = Opening { index, prompt, deadline, events: events.clone() };
            waiting.push_back(Sequence::new(self.network.begin(), opening, options));
        }
        self.stats.queued.store(waiting.len(), Ordering::Relaxed);
        Ok(())
    }

    /// Sequences whose client has gone leave; waiting ones take the free places.
    fn join_and_leave(&self, running: &mut Vec<Sequence<N::State>>) {
        let now = Instant::now();
        let mut waiting = lock(&self.waiting);
        running.retain(|sequence| !sequence.is_dead(now));
        waiting.retain(|sequence| !sequence.is_dead(now));
        let free = self.limits.batch_rows_max.saturating_sub(running.len());
        let joining = free.min(waiting.len());
        running.extend(waiting.drain(..joining));
        self.stats.queued.store(waiting.len(), Ordering::Relaxed);
    }

    fn step(&self, running: &mut Vec<Sequence<N::State>>) {
        let began = Instant::now();
        let count = running.len();
        let mut rows: Vec<_> = running.iter_mut().map(|sequence| sequence.row(count)).collect();
        let outcome = self.network.step(&mut rows);
        self.stats.record_batch(count, began.elapsed());
        match outcome {
            Ok(logits) if logits.len() == count => self.advance(running, &logits),
            Ok(logits) => {
                self.lose(running, &format!("{} logits for {count} rows", logits.len()));
            }
            Err(error) => self.lose(running, &error.to_string()),
        }
    }

    fn advance(&self, running: &mut Vec<Sequence<N::State>>, logits: &[Option<Logits>]) {
        let sampled = logits.iter().flatten().count();
        self.stats.generated_tokens.fetch_add(sampled as u64, Ordering::Relaxed);
        let mut logits = logits.iter();
        let before = running.len();
        running.retain_mut(|sequence| {
            let logits = logits.next().and_then(Option::as_deref);
            sequence.take(logits, &self.language)
        });
        let ended = before - running.len();
        self.stats.finished.fetch_add(ended as u64, Ordering::Relaxed);
    }

    fn lose(&self, running: &mut Vec<Sequence<N::State>>, reason: &str) {
        tracing::error!(model = self.name, rows = running.len(), reason, "a step was lost");
        for sequence in running.drain(..) {
            sequence.fail(network_failed());
        }
    }
}

impl<N: Stepwise, L: Language> Job for Loop<N, L> {
    fn turn(&self) -> bool {
        let mut running = lock(&self.running);
        self.join_and_leave(&mut running);
        if !running.is_empty() {
            // Neither a network nor a vocabulary that panics takes more than its sequences with it.
            let step = catch_unwind(AssertUnwindSafe(|| self.step(&mut running)));
            if step.is_err() {
                self.lose(&mut running, "it panicked");
            }
        }
        if !running.is_empty() {
            return true;
        }
        self.scheduled.store(false, Ordering::Release);
        // A sequence may have come between the look at the queue and the line above: then its
        // sender saw a turn under way and asked for none.
        let missed = !lock(&self.waiting).is_empty();
        missed && !self.scheduled.swap(true, Ordering::AcqRel)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
