//! Workers, queues and batches. Knows tokio; never names a tensor or HTTP.

mod contract;
mod stats;

pub use contract::{
    Codec, Endpoint, Language, Logits, Network, Reply, Request, Row, RunError, Stepwise, TokenId,
};
pub use stats::{BATCH_BUCKETS, ModelStats};

use crate::domain::Problem;

/// What bounds one model in the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows in one forward pass, or sequences that run at once.
    pub batch_rows_max: usize,
    /// Rows that may wait.
    pub queue_rows_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { batch_rows_max: 32, queue_rows_max: 256 }
    }
}

/// Owns the compute threads and the CPU pool. A value that is passed; there is no global one.
pub struct Engine {}

impl Engine {
    /// Puts a network of one forward a request behind a queue.
    pub fn one_shot<N, C>(&self, _network: N, _codec: C, _limits: Limits) -> Box<dyn Endpoint>
    where
        N: Network,
        C: Codec<Sample = N::Sample, Output = N::Output>,
    {
        unimplemented!()
    }

    /// Puts a network of steps behind a stepper.
    pub fn stepwise<N, L>(&self, _network: N, _language: L, _limits: Limits) -> Box<dyn Endpoint>
    where
        N: Stepwise,
        L: Language,
    {
        unimplemented!()
    }
}
