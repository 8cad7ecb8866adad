//! Counts that the engine keeps of each model. Telemetry reads them at each scrape.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::domain::Timings;

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

/// How often something was done, and how long all of it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    pub count: u64,
    pub nanos: u64,
}

impl Spent {
    fn add(&mut self, took: Duration) {
        self.count += 1;
        self.nanos += nanos(took);
    }
}

/// Requests that ended, and where the time of those went that were answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Requests {
    pub success: Spent,
    pub fail: Spent,
    pub queue: Spent,
    pub pre: Spent,
    pub infer: Spent,
    pub post: Spent,
    /// When the last one was answered, in milliseconds since 1970.
    pub last_unix_ms: u64,
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
    requests: Mutex<Requests>,
    /// Forward passes by their number of rows.
    by_size: Mutex<BTreeMap<usize, Spent>>,
}

impl ModelStats {
    /// Counts one forward pass.
    pub fn record_batch(&self, rows: usize, took: Duration) {
        lock(&self.by_size).entry(rows).or_default().add(took);
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

    /// Counts a request that ended: `timings` of one that was answered.
    pub fn record_request(&self, took: Duration, timings: Option<Timings>) {
        let mut requests = lock(&self.requests);
        let Some(timings) = timings else { return requests.fail.add(took) };
        requests.success.add(took);
        requests.queue.add(timings.queue);
        requests.pre.add(timings.pre);
        requests.infer.add(timings.infer);
        requests.post.add(timings.post);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        requests.last_unix_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    }

    #[must_use]
    pub fn requests(&self) -> Requests {
        *lock(&self.requests)
    }

    /// Forward passes by their number of rows, the fewest first.
    #[must_use]
    pub fn by_size(&self) -> Vec<(usize, Spent)> {
        lock(&self.by_size).iter().map(|(&rows, &spent)| (rows, spent)).collect()
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

/// Numbers are whole between any two operations: a panic elsewhere spoils none.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
