//! What operators see: one log line a request, and metrics. Never a payload, never a key.

mod exposition;
mod levels;
mod log;
mod metrics;
mod models;
mod workers;

pub use levels::{Levels, Logging};
pub use log::{LogError, check_filter, init};
pub use metrics::{Finished, Metrics, Outcome};
