//! Counts that the engine keeps of each model. Telemetry reads them at each scrape.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::engine::batch::Size;
use crate::engine::pace::nanos;

/// Upper bounds of the batch-size buckets.
pub const BATCH_BUCKETS: [u64; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/// Upper bounds of the buckets of a batch's padding, in hundredths of the batch.
pub const PADDING_BUCKETS: [u64; 6] = [0, 10, 20, 30, 40, 50];

/// Why a request was refused before anything was done for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Too much waits.
    Full,
    /// Its deadline cannot be met.
    Deadline,
    /// The network failed too often.
    Resting,
    /// It waited when lasting overload was found, and there was no time for it.
    Shed,
}

impl Cause {
    pub const ALL: [Self; 4] = [Self::Full, Self::Deadline, Self::Resting, Self::Shed];

    /// What it is called in the metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Deadline => "deadline",
            Self::Resting => "resting",
            Self::Shed => "shed",
        }
    }
}

/// Counts by bucket, the last of which holds what is over every bound, and their sum.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    pub counts: [AtomicU64; N],
    pub sum: AtomicU64,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self { counts: [const { AtomicU64::new(0) }; N], sum: AtomicU64::new(0) }
    }
}

impl<const N: usize> Histogram<N> {
    fn record(&self, bounds: &[u64], value: u64) {
        let bucket = bounds.iter().position(|&bound| value <= bound).unwrap_or(bounds.len());
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }
}

/// Counters of one model since it became ready.
#[derive(Debug, Default)]
pub struct ModelStats {
    /// Rows (samples or sequences) that wait for a worker now.
    pub queued: AtomicUsize,
    /// Rows that were run.
    pub rows: AtomicU64,
    /// Forward passes.
    pub batches: AtomicU64,
    /// Rows in a forward pass, by [`BATCH_BUCKETS`].
    pub batch_rows: Histogram<{ BATCH_BUCKETS.len() + 1 }>,
    /// Padding in hundredths, by [`PADDING_BUCKETS`]; of networks that pad.
    pub padding: Histogram<{ PADDING_BUCKETS.len() + 1 }>,
    pub prompt_tokens: AtomicU64,
    pub generated_tokens: AtomicU64,
    /// Nanoseconds that workers spent in this model.
    pub busy_nanos: AtomicU64,
    refusals: [AtomicU64; Cause::ALL.len()],
}

impl ModelStats {
    /// Counts one forward pass.
    pub fn record_batch(&self, rows: usize, took: Duration) {
        let rows = rows as u64;
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.batch_rows.record(&BATCH_BUCKETS, rows);
        self.busy_nanos.fetch_add(nanos(took), Ordering::Relaxed);
    }

    /// Counts the padding of one forward pass of a network that pads.
    pub fn record_padding(&self, size: Size) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 100")]
        let hundredths = (size.padding() * 100.0).round() as u64;
        self.padding.record(&PADDING_BUCKETS, hundredths);
    }

    /// Counts a refusal.
    pub fn refused(&self, cause: Cause) {
        self.refusals[cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    #[must_use]
    pub fn refusals(&self, cause: Cause) -> u64 {
        self.refusals[cause as usize].load(Ordering::Relaxed)
    }
}
