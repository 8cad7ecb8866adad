//! What models have done, as Triton's statistics extension tells it.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use serde::Serialize;

use crate::domain::ModelName;
use crate::engine::{ModelStats, Spent};
use crate::registry::Model;

/// How often something was done, and how long all of it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct DurationStatistic {
    pub count: u64,
    pub ns: u64,
}

impl From<Spent> for DurationStatistic {
    fn from(spent: Spent) -> Self {
        Self { count: spent.count, ns: spent.nanos }
    }
}

/// Requests by how they ended, and where their time went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct InferStatistics {
    pub success: DurationStatistic,
    pub fail: DurationStatistic,
    pub queue: DurationStatistic,
    pub compute_input: DurationStatistic,
    pub compute_infer: DurationStatistic,
    pub compute_output: DurationStatistic,
    /// Nothing is cached: always zero.
    pub cache_hit: DurationStatistic,
    pub cache_miss: DurationStatistic,
}

/// Forward passes of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BatchStatistics {
    pub batch_size: u64,
    pub compute_input: DurationStatistic,
    pub compute_infer: DurationStatistic,
    pub compute_output: DurationStatistic,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemoryUsage {
    pub r#type: &'static str,
    pub id: i64,
    /// Of the weights, in the package.
    pub byte_size: u64,
}

/// What one version has done since it became ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelStatistics {
    pub name: ModelName,
    pub version: String,
    /// Milliseconds since 1970; 0 before the first.
    pub last_inference: u64,
    /// Rows.
    pub inference_count: u64,
    /// Forward passes.
    pub execution_count: u64,
    pub inference_stats: InferStatistics,
    /// Of models that answer one request with several responses; they are counted by request here.
    pub response_stats: BTreeMap<String, DurationStatistic>,
    pub batch_stats: Vec<BatchStatistics>,
    pub memory_usage: Vec<MemoryUsage>,
}

/// What a version that serves has done.
#[must_use]
pub fn statistics(model: &Model) -> ModelStatistics {
    let stats: &ModelStats = model.endpoint.stats();
    let requests = stats.requests();
    let gpu = model.device.strip_prefix("cuda:").and_then(|index| index.parse().ok());
    ModelStatistics {
        name: model.card.name.clone(),
        version: model.card.version.to_string(),
        last_inference: requests.last_unix_ms,
        inference_count: stats.rows.load(Relaxed),
        execution_count: stats.batches.load(Relaxed),
        inference_stats: InferStatistics {
            success: requests.success.into(),
            fail: requests.fail.into(),
            queue: requests.queue.into(),
            compute_input: requests.pre.into(),
            compute_infer: requests.infer.into(),
            compute_output: requests.post.into(),
            ..InferStatistics::default()
        },
        response_stats: BTreeMap::new(),
        batch_stats: stats.by_size().into_iter().map(of_size).collect(),
        memory_usage: vec![MemoryUsage {
            r#type: if gpu.is_some() { "GPU" } else { "CPU" },
            id: gpu.unwrap_or(0),
            byte_size: model.bytes,
        }],
    }
}

/// Decoding and encoding are done a request, not a batch: only the network's time is known by size.
fn of_size((size, spent): (usize, Spent)) -> BatchStatistics {
    let none = DurationStatistic { count: spent.count, ns: 0 };
    BatchStatistics {
        batch_size: size as u64,
        compute_input: none,
        compute_infer: spent.into(),
        compute_output: none,
    }
}
