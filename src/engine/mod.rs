//! Lanes, queues and batches. Knows tokio; never names a tensor or HTTP.
//!
//! A request is let in (`admission`), its rows wait (`queue`), a thread of a lane takes as many as make
//! a batch ([`batch`]) when its model's turn has come (`fair`), and `gather` joins what they gave.

mod admission;
pub mod batch;
mod breaker;
mod calibration;
mod contract;
mod control;
mod cpu;
mod curve;
mod fair;
mod gather;
mod generate;
mod lanes;
mod one_shot;
mod pace;
mod pressure;
mod queue;
mod stats;

use std::sync::Arc;
use std::time::Duration;

pub use calibration::Measured;
pub use contract::{
    Batches, Codec, Decoding, EncoderDecoder, Endpoint, Generator, Language, Network, Reply,
    Request, Row, RunError, Scores, Sequence, Stepwise, TokenId,
};
pub use control::Rest;
pub use cpu::{CpuPool, LIGHT_VALUES_MAX};
pub use curve::{Curve, Point};
pub use generate::{drive, likeliest};
pub use lanes::{Around, Traffic, Within};
pub use stats::{BATCH_BUCKETS, Cause, Histogram, ModelStats, PADDING_BUCKETS, Requests, Spent};

use tokio::runtime::Handle;

use admission::Loads;
use control::Control;
use fair::FlowId;
use generate::{Generation, Recognition};
use lanes::{Flow, Job, Lanes};
use one_shot::OneShot;

/// How one model is run.
pub struct Manner<'a> {
    /// For the log.
    pub name: &'a str,
    pub limits: Limits,
    /// What its turns are run within.
    pub within: Option<Within>,
}

/// What an endpoint needs of the engine.
struct Places {
    cpu: CpuPool,
    traffic: Traffic,
    within: Option<Within>,
    control: Arc<Control>,
    /// Of all its flows.
    name: FlowId,
}

impl Places {
    /// Puts a job of this model among the others.
    fn flow(&self, job: Arc<dyn Job>) -> Flow {
        self.traffic.flow(self.name, job, self.control.limits.weight, self.within.clone())
    }

    /// Puts a measurement among the others: it is of what runs under load.
    fn measuring(&self, job: Arc<dyn Job>) -> Flow {
        let within = self.within.clone().filter(|within| !within.only_alone);
        self.traffic.flow(self.name, job, self.control.limits.weight, within)
    }
}

/// What bounds one model in the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows in one forward pass, or sequences (texts, or windows of sound) that run at once.
    pub batch_rows_max: usize,
    /// What one forward pass may cost: the sum of [`Network::cost`], or rows times the largest of them
    /// where the network pads.
    pub batch_cost_max: usize,
    /// How long rows may wait for others while a batch runs.
    pub batch_delay_max: Duration,
    /// Whether what was measured chooses the rows and the delay, within their limits.
    pub batch_auto: bool,
    /// Rows that may wait.
    pub queue_rows_max: usize,
    /// How much work may wait, in the time that it takes; zero chooses.
    pub queue_wait_max: Duration,
    /// Batches that run at once; 0 allows one a thread.
    pub instances: usize,
    /// Its share of the threads beside other models.
    pub weight: u32,
    /// The most `max_tokens` that a caller may ask for.
    pub generated_tokens_max: usize,
}

impl Limits {
    /// Batches that run at once, of `threads`.
    fn instances(&self, threads: usize) -> usize {
        if self.instances == 0 { threads } else { self.instances.min(threads) }
    }
}

// What serves gets its limits from the settings, which hold the defaults.
#[cfg(test)]
impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_rows_max: 32,
            batch_cost_max: 1 << 15,
            batch_delay_max: Duration::ZERO,
            batch_auto: false,
            queue_rows_max: 256,
            queue_wait_max: Duration::ZERO,
            instances: 0,
            weight: 1,
            generated_tokens_max: 4096,
        }
    }
}

/// Owns the compute threads and the CPU pool. A value that is passed; there is no global one.
pub struct Engine {
    lanes: Lanes,
    cpu: CpuPool,
    loads: Loads,
}

impl Engine {
    /// Starts two lanes of `threads` compute threads each; 0 takes one per core.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(threads: usize) -> std::io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = if threads == 0 { cores } else { threads };
        let lanes = Lanes::start(threads)?;
        Ok(Self { lanes, cpu: CpuPool::new(cores), loads: Loads::new(threads) })
    }

    /// The engine whose CPU pool has the threads of this runtime, whichever runtimes its callers are in.
    #[must_use]
    pub fn on(self, runtime: Handle) -> Self {
        Self { cpu: self.cpu.on(runtime), ..self }
    }

    /// Puts a network of one forward a request behind a queue. `probe` is a row to measure its batches with.
    pub fn one_shot<N, C>(
        &self,
        manner: Manner<'_>,
        network: N,
        codec: C,
        probe: Option<N::Sample>,
    ) -> Box<dyn Endpoint>
    where
        N: Network,
        C: Codec<Sample = N::Sample, Output = N::Output>,
    {
        Box::new(OneShot::new(network, codec, probe, self.places(manner, 1)))
    }

    /// Puts a network that goes on from texts behind step loops.
    pub fn stepwise<N, L>(&self, manner: Manner<'_>, network: N, language: L) -> Box<dyn Endpoint>
    where
        N: Generator,
        L: Language,
    {
        let seats = manner.limits.batch_rows_max;
        Box::new(Generation::new(network, language, self.places(manner, seats)))
    }

    /// Puts an encoder behind a queue and its decoder behind a step loop.
    pub fn encoder_decoder<E, C>(
        &self,
        manner: Manner<'_>,
        network: Arc<E>,
        codec: C,
    ) -> Box<dyn Endpoint>
    where
        E: EncoderDecoder,
        C: Codec<Sample = E::Sample, Output = <E::Decoding as Decoding>::Output>,
    {
        Box::new(Recognition::new(network, codec, self.places(manner, 1)))
    }

    fn places(&self, manner: Manner<'_>, seats: usize) -> Places {
        let Manner { name: label, limits, within } = manner;
        let traffic = self.lanes.traffic();
        let control = Control::new(label, limits, &self.loads, traffic.threads(), seats);
        let name = traffic.name();
        Places { cpu: self.cpu.of_model(), traffic, within, control: Arc::new(control), name }
    }

    /// Whether the compute threads make progress. Never asks about models.
    #[must_use]
    pub fn alive(&self) -> bool {
        self.lanes.alive()
    }

    /// Compute threads in a lane.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.lanes.traffic().threads()
    }

    /// Sees how busy the compute threads are.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.lanes.traffic()
    }
}

#[cfg(test)]
mod tests;
