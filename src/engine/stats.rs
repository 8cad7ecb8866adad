//! Counts that the engine keeps of each model. Telemetry reads them at each scrape.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::domain::{Kind, Problem};

/// Upper bounds of the batch-size buckets.
pub const BATCH_BUCKETS: [u64; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/// Counters of one model since it became ready.
#[derive(Debug, Default)]
pub struct ModelStats {
    /// Rows (samples or sequences) that wait for a worker now.
    pub queued: AtomicUsize,
    /// Rows that were run.
    pub rows: AtomicU64,
    /// Rows that are answered: samples that were run, sequences that ended.
    pub finished: AtomicU64,
    /// Forward passes.
    pub batches: AtomicU64,
    /// Batches of at most [`BATCH_BUCKETS`] rows, by bucket; the last holds the larger ones.
    pub batch_rows: [AtomicU64; BATCH_BUCKETS.len() + 1],
    pub prompt_tokens: AtomicU64,
    pub generated_tokens: AtomicU64,
    /// Nanoseconds that workers spent in this model.
    pub busy_nanos: AtomicU64,
}

impl ModelStats {
    /// Counts one forward pass.
    pub fn record_batch(&self, rows: usize, took: Duration) {
        let rows = rows as u64;
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        let bucket = BATCH_BUCKETS.iter().position(|&bound| rows <= bound);
        self.batch_rows[bucket.unwrap_or(BATCH_BUCKETS.len())].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.busy_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// The refusal of a full queue: try again when the rows that wait now have run, at the rate of
    /// the past.
    #[must_use]
    pub fn overloaded(&self, waiting: usize) -> Problem {
        let finished = self.finished.load(Ordering::Relaxed).max(1);
        let per_row = self.busy_nanos.load(Ordering::Relaxed) / finished;
        let wait = Duration::from_nanos(per_row.saturating_mul(waiting as u64));
        let detail = format!("the queue of this model is full: {waiting} rows wait");
        Problem::new(Kind::Overloaded, detail).retry_after(wait.max(Duration::from_secs(1)))
    }
}
