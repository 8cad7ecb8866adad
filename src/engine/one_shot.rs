//! The endpoint of a network of one forward a request: let in, decode, wait in the queue, run in a batch,
//! encode.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::domain::{Answer, Problem, Timings};
use crate::engine::batch::Urgency;
use crate::engine::calibration::{Calibration, Measured};
use crate::engine::control::Rest;
use crate::engine::cpu::Where;
use crate::engine::curve::Curve;
use crate::engine::gather::{Gather, Gathered};
use crate::engine::lanes::{Flow, Job};
use crate::engine::queue::Queue;
use crate::engine::{Batches, Codec, Endpoint, ModelStats, Network, Places, Reply, Request};

/// A network behind its queue.
pub struct OneShot<N: Network, C> {
    queue: Arc<Queue<N>>,
    codec: Arc<C>,
    places: Places,
    flow: Flow,
    /// A row to measure with, until that is done.
    probe: Mutex<Option<N::Sample>>,
    /// Its turns, while it is measured.
    calibration: Mutex<Option<Flow>>,
}

impl<N, C> OneShot<N, C>
where
    N: Network,
    C: Codec<Sample = N::Sample, Output = N::Output>,
{
    pub fn new(network: N, codec: C, probe: Option<N::Sample>, places: Places) -> Self {
        let control = Arc::clone(&places.control);
        let queue = Arc::new(Queue::new(network, control, places.traffic.threads()));
        let flow = places.flow(Arc::clone(&queue) as Arc<dyn Job>);
        let codec = Arc::new(codec);
        let (probe, calibration) = (Mutex::new(probe), Mutex::default());
        Self { queue, codec, places, flow, probe, calibration }
    }

    async fn answer(&self, request: Request) -> Result<Reply, Problem> {
        let mut place = self.places.control.enter(request.priority, request.deadline)?;
        let Request { payload, params, deadline, priority } = request;
        let began = Instant::now();
        let codec = Arc::clone(&self.codec);
        let at = Where::decode(&payload, |item| codec.is_light(item));
        let decode = move || timed(at, || codec.decode(payload, &params));
        let ((samples, ask), decoding) = self.places.cpu.run(at, decode).await?;
        let pre = began.elapsed();

        let predicted = self.predict(&samples);
        let control = &self.places.control;
        // Its batches may run side by side.
        let beside = control.limits.instances(self.places.traffic.threads()).min(samples.len());
        let soonest = predicted / u32::try_from(beside).unwrap_or(u32::MAX).max(1);
        control.admission.check(soonest, deadline, self.stats())?;
        // What was decoded counts on: as much is being decoded for others meanwhile.
        place.takes(decoding.work + predicted);
        let gathered = self.infer(samples, Urgency { priority, deadline }).await?;
        let Gathered { outputs, queue, infer, work, batch_rows } = gathered;

        let began = Instant::now();
        let codec = Arc::clone(&self.codec);
        let at = at.encode(outputs.len());
        let encode = move || timed(at, || codec.encode(outputs, &ask));
        let (outcomes, encoding) = self.places.cpu.run(at, encode).await?;
        let post = began.elapsed();
        // Without what it waited for the pool: under load that would make every service look long.
        let service = decoding.elapsed + infer + encoding.elapsed;
        self.places.control.admission.served(decoding.work + work + encoding.work, service);
        let timings = Timings { pre, queue, infer, post, tokens: None };
        Ok(Reply::Whole(Answer { outcomes, timings, batch_rows }))
    }

    /// What these rows should take of a thread; nothing where nothing is known.
    fn predict(&self, samples: &[N::Sample]) -> Duration {
        let cost = samples.iter().map(|sample| self.queue.network.cost(sample)).sum();
        self.queue.pace.predict(cost).unwrap_or_default()
    }

    async fn infer(
        &self,
        samples: Vec<N::Sample>,
        urgency: Urgency,
    ) -> Result<Gathered<N::Output>, Problem> {
        // Silence, say, has no sample to run.
        if samples.is_empty() {
            return Ok(Gathered::default());
        }
        let (request, waiter) = Gather::new(samples.len(), urgency);
        self.queue.admit(samples, &request, &self.flow)?;
        // From here on the rows alone hold the sender: when they are lost, the waiter is told.
        drop(request);
        waiter.wait(urgency.deadline).await
    }
}

/// What something took.
struct Spent {
    elapsed: Duration,
    /// Of a thread: where more threads would run than there are cores, each takes longer and does no more.
    work: Duration,
}

/// What some work gave, and what it took.
fn timed<T>(
    place: Where,
    work: impl FnOnce() -> Result<T, Problem>,
) -> Result<(T, Spent), Problem> {
    // What is light takes hardly longer than to ask the system.
    let thread = || (place == Where::Pool).then(thread_time).flatten();
    let (began, worked) = (Instant::now(), thread());
    let done = work()?;
    let elapsed = began.elapsed();
    let work = worked.zip(thread()).map_or(elapsed, |(from, to)| to.saturating_sub(from));
    Ok((done, Spent { elapsed, work }))
}

/// How long this thread has run, where the system says so.
fn thread_time() -> Option<Duration> {
    #[cfg(target_os = "linux")]
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime).try_into().ok();
    #[cfg(not(target_os = "linux"))]
    let now = None;
    now
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
        &self.places.control.stats
    }

    fn streams(&self) -> bool {
        false
    }

    fn rest(&self) -> Option<Rest> {
        self.places.control.rest()
    }

    fn batches(&self) -> Option<&dyn Batches> {
        Some(self)
    }
}

impl<N, C> Batches for OneShot<N, C>
where
    N: Network,
    C: Codec<Sample = N::Sample, Output = N::Output>,
{
    fn adopt(&self, curve: &Curve) {
        self.queue.tune(curve);
    }

    fn calibrate(&self, measured: Measured) {
        let probe = self.probe.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(probe) = probe else { return };
        let (queue, traffic) = (Arc::clone(&self.queue), self.places.traffic.clone());
        let job = Calibration::new(queue, probe, traffic, measured);
        let flow = self.places.measuring(Arc::new(job));
        flow.ask(None);
        *self.calibration.lock().unwrap_or_else(PoisonError::into_inner) = Some(flow);
    }
}
