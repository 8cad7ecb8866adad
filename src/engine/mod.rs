//! Workers, queues and batches. Knows tokio; never names a tensor or HTTP.

mod batch;
mod contract;
mod cpu;
mod gather;
mod generate;
mod one_shot;
mod stats;
mod workers;

pub use contract::{
    Codec, Decoding, EncoderDecoder, Endpoint, Generator, Language, Network, Reply, Request, Row,
    RunError, Scores, Sequence, Stepwise, TokenId,
};
pub use cpu::CpuPool;
pub use generate::drive;
pub use stats::{BATCH_BUCKETS, ModelStats};

use std::sync::Arc;

use generate::{Generation, Recognition};
use one_shot::OneShot;
use workers::Workers;

/// What bounds one model in the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows in one forward pass, or sequences (texts, or windows of sound) that run at once.
    pub batch_rows_max: usize,
    /// Rows times the largest [`Network::cost`] among them, in one forward pass.
    pub batch_cost_max: usize,
    /// Rows that may wait.
    pub queue_rows_max: usize,
    /// The most `max_tokens` that a caller may ask for.
    pub generated_tokens_max: usize,
}

// What serves gets its limits from the settings, which hold the defaults.
#[cfg(test)]
impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_rows_max: 32,
            batch_cost_max: 1 << 15,
            queue_rows_max: 256,
            generated_tokens_max: 4096,
        }
    }
}

/// Owns the compute threads and the CPU pool. A value that is passed; there is no global one.
pub struct Engine {
    workers: Workers,
    cpu: CpuPool,
}

impl Engine {
    /// Starts `threads` compute threads; 0 takes one per core.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(threads: usize) -> std::io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = if threads == 0 { cores } else { threads };
        Ok(Self { workers: Workers::start(threads)?, cpu: CpuPool::new(cores) })
    }

    /// Puts a network of one forward a request behind a queue. `name` is for the log.
    pub fn one_shot<N, C>(
        &self,
        name: &str,
        network: N,
        codec: C,
        limits: Limits,
    ) -> Box<dyn Endpoint>
    where
        N: Network,
        C: Codec<Sample = N::Sample, Output = N::Output>,
    {
        let places = (self.cpu.clone(), self.workers.turns());
        Box::new(OneShot::new(name, network, codec, limits, places))
    }

    /// Puts a network that goes on from texts behind a step loop. `name` is for the log.
    pub fn stepwise<N, L>(
        &self,
        name: &str,
        network: N,
        language: L,
        limits: Limits,
    ) -> Box<dyn Endpoint>
    where
        N: Generator,
        L: Language,
    {
        let places = (self.cpu.clone(), self.workers.turns());
        Box::new(Generation::new(name, network, language, limits, places))
    }

    /// Puts an encoder behind a queue and its decoder behind a step loop. `name` is for the log.
    pub fn encoder_decoder<E, C>(
        &self,
        name: &str,
        network: Arc<E>,
        codec: C,
        limits: Limits,
    ) -> Box<dyn Endpoint>
    where
        E: EncoderDecoder,
        C: Codec<Sample = E::Sample, Output = <E::Decoding as Decoding>::Output>,
    {
        let places = (self.cpu.clone(), self.workers.turns());
        Box::new(Recognition::new(name, network, codec, limits, places))
    }

    /// Whether every compute thread is there and none is stuck.
    #[must_use]
    pub fn alive(&self) -> bool {
        self.workers.alive()
    }

    #[must_use]
    pub fn threads(&self) -> usize {
        self.workers.count()
    }
}

#[cfg(test)]
mod tests;
