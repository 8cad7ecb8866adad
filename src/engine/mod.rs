//! Lanes, queues and batches. Knows tokio; never names a tensor or HTTP.
//!
//! A request is let in ([`admission`]), its rows wait ([`queue`]), a thread of a lane takes as many as make
//! a batch ([`batch`]) when its model's turn has come ([`fair`]), and [`gather`] joins what they gave.

mod admission;
mod batch;
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

use std::time::Duration;

pub use calibration::Measured;
pub use contract::{
    Codec, Endpoint, Language, Logits, Network, Reply, Request, Row, RunError, Stepwise, TokenId,
};
pub use control::Rest;
pub use cpu::CpuPool;
pub use curve::{Curve, Point};
pub use lanes::Traffic;
pub use stats::{BATCH_BUCKETS, Cause, Histogram, ModelStats, PADDING_BUCKETS};

use admission::Loads;
use control::Control;
use generate::Stepper;
use lanes::Lanes;
use one_shot::{OneShot, Places};

/// What bounds one model in the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows in one forward pass, or sequences that run at once.
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

    /// Puts a network of one forward a request behind a queue. `name` is for the log; `probe` is a row to
    /// measure its batches with.
    pub fn one_shot<N, C>(
        &self,
        name: &str,
        network: N,
        codec: C,
        limits: Limits,
        probe: Option<N::Sample>,
    ) -> Box<dyn Endpoint>
    where
        N: Network,
        C: Codec<Sample = N::Sample, Output = N::Output>,
    {
        Box::new(OneShot::new(network, codec, probe, self.places(name, limits)))
    }

    /// Puts a network of steps behind a step loop. `name` is for the log.
    pub fn stepwise<N, L>(
        &self,
        name: &str,
        network: N,
        language: L,
        limits: Limits,
    ) -> Box<dyn Endpoint>
    where
        N: Stepwise,
        L: Language,
    {
        Box::new(Stepper::new(network, language, self.places(name, limits)))
    }

    fn places(&self, name: &str, limits: Limits) -> Places {
        let traffic = self.lanes.traffic();
        let control = Control::new(name, limits, &self.loads, traffic.threads());
        Places { cpu: self.cpu.clone(), traffic, control }
    }

    /// Whether the compute threads make progress. Never asks about models.
    #[must_use]
    pub fn alive(&self) -> bool {
        self.lanes.alive()
    }

    /// Sees how busy the compute threads are.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.lanes.traffic()
    }
}

#[cfg(test)]
mod tests;
