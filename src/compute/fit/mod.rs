//! Training: optimisers and learning-rate schedules. The loops live with each architecture.

mod optimiser;
mod schedule;

pub use optimiser::{Method, Optimiser, OptimiserConfig};
pub use schedule::Schedule;
