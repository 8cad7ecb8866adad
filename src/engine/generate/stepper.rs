//! The step loop of one generating network, and the endpoint in front of it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc;

use crate::domain::{Kind, Problem};
use crate::engine::control::{Control, Rest};
use crate::engine::cpu::Where;
use crate::engine::generate::collector::Collector;
use crate::engine::generate::options::Options;
use crate::engine::generate::sequence::{Event, Opening, Sequence};
use crate::engine::lanes::{Again, Flow, Job};
use crate::engine::one_shot::Places;
use crate::engine::pace::Pace;
use crate::engine::{
    CpuPool, Curve, Endpoint, Language, Logits, Measured, ModelStats, Reply, Request, Stepwise,
};

/// A generating network with its sequences.
pub struct Stepper<N: Stepwise, L> {
    shared: Arc<Loop<N, L>>,
    cpu: CpuPool,
    flow: Flow,
}

struct Loop<N: Stepwise, L> {
    network: N,
    language: L,
    control: Control,
    /// Of steps, by the tokens that they read.
    pace: Pace,
    waiting: Mutex<VecDeque<Sequence<N::State>>>,
    running: Mutex<Vec<Sequence<N::State>>>,
    /// Whether a turn is asked for or under way: the loop has one thread at a time.
    scheduled: AtomicBool,
}

impl<N: Stepwise, L: Language> Stepper<N, L> {
    pub fn new(network: N, language: L, places: Places) -> Self {
        let Places { cpu, traffic, control } = places;
        let weight = control.limits.weight;
        let shared = Arc::new(Loop {
            network,
            language,
            control,
            pace: Pace::default(),
            waiting: Mutex::default(),
            running: Mutex::default(),
            scheduled: AtomicBool::new(false),
        });
        let flow = traffic.flow(Arc::clone(&shared) as Arc<dyn Job>, weight);
        Self { shared, cpu, flow }
    }

    async fn answer(&self, request: Request) -> Result<Reply, Problem> {
        let began = Instant::now();
        let limit = self.shared.control.limits.generated_tokens_max;
        let options = Options::read(&request.params, limit)?;
        let mut place = self.shared.control.enter(request.priority, request.deadline)?;
        let shared = Arc::clone(&self.shared);
        let payload = request.payload;
        let at = Where::decode(&payload);
        let prompts = self.cpu.run(at, move || shared.language.prompts(payload)).await?;
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
        place.counts(prompts.len());
        let collector =
            Collector::new(prompts.len(), request.deadline, receiver, began.elapsed(), place);
        self.shared.admit(prompts, &options, request.deadline, &events)?;
        // From here on the sequences alone hold the sender: when they are lost, the waiter is told.
        drop(events);
        if !self.shared.scheduled.swap(true, Ordering::AcqRel) {
            self.flow.ask(None);
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
        &self.shared.control.stats
    }

    fn rest(&self) -> Option<Rest> {
        self.shared.control.rest()
    }

    /// Each step is as wide as there are sequences: there is no size to choose.
    fn adopt(&self, _: &Curve) {}

    fn calibrate(&self, _: Measured) {}
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
        if rows > self.control.limits.queue_rows_max && !waiting.is_empty() {
            return Err(self.control.admission.full(waiting.len(), &self.control.stats));
        }
        for (index, prompt) in prompts.into_iter().enumerate() {
            self.control.stats.prompt_tokens.fetch_add(prompt.len() as u64, Ordering::Relaxed);
            let opening = Opening { index, prompt, deadline, events: events.clone() };
            waiting.push_back(Sequence::new(self.network.begin(), opening, options));
        }
        self.control.stats.queued.store(waiting.len(), Ordering::Relaxed);
        Ok(())
    }

    /// Sequences whose client has gone leave; waiting ones take the free places.
    fn join_and_leave(&self, running: &mut Vec<Sequence<N::State>>) {
        let now = Instant::now();
        let mut waiting = lock(&self.waiting);
        running.retain(|sequence| !sequence.is_dead(now));
        waiting.retain(|sequence| !sequence.is_dead(now));
        let free = self.control.limits.batch_rows_max.saturating_sub(running.len());
        let joining = free.min(waiting.len());
        running.extend(waiting.drain(..joining));
        self.control.stats.queued.store(waiting.len(), Ordering::Relaxed);
    }

    fn step(&self, running: &mut Vec<Sequence<N::State>>) {
        let began = Instant::now();
        let count = running.len();
        let mut rows: Vec<_> = running.iter_mut().map(|sequence| sequence.row(count)).collect();
        let tokens = rows.iter().map(|row| row.tokens.len()).sum();
        let outcome = self.network.step(&mut rows);
        let took = began.elapsed();
        self.control.stats.record_batch(count, took);
        self.pace.learn(tokens, took);
        let share = took / u32::try_from(count).unwrap_or(u32::MAX).max(1);
        for sequence in running.iter_mut() {
            sequence.worked(share);
        }
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
        self.control.stats.generated_tokens.fetch_add(sampled as u64, Ordering::Relaxed);
        let mut logits = logits.iter();
        running.retain_mut(|sequence| {
            let logits = logits.next().and_then(Option::as_deref);
            let goes_on = sequence.take(logits, &self.language);
            if !goes_on {
                let (work, since) = sequence.effort();
                self.control.admission.served(work, since.elapsed());
            }
            goes_on
        });
    }

    fn lose(&self, running: &mut Vec<Sequence<N::State>>, reason: &str) {
        fail(running, &self.control.lost(running.len(), reason));
    }
}

fn fail<S>(running: &mut Vec<Sequence<S>>, problem: &Problem) {
    for sequence in running.drain(..) {
        sequence.fail(problem.clone());
    }
}

impl<N: Stepwise, L: Language> Job for Loop<N, L> {
    fn predicted(&self) -> Option<Duration> {
        let rows = lock(&self.running).len() + lock(&self.waiting).len();
        self.pace.predict(rows.min(self.control.limits.batch_rows_max))
    }

    fn turn(&self) -> Again {
        let mut running = lock(&self.running);
        self.join_and_leave(&mut running);
        if !running.is_empty() {
            // Neither a network nor a vocabulary that panics takes more than its sequences with it.
            let step = catch_unwind(AssertUnwindSafe(|| self.step(&mut running)));
            if step.is_err() {
                let rows = running.len();
                fail(&mut running, &self.control.panicked(rows));
            }
        }
        if !running.is_empty() {
            return Again::Now;
        }
        self.scheduled.store(false, Ordering::Release);
        // A sequence may have come between the look at the queue and the line above: then its
        // sender saw a turn under way and asked for none.
        let missed = !lock(&self.waiting).is_empty();
        if missed && !self.scheduled.swap(true, Ordering::AcqRel) { Again::Now } else { Again::No }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
