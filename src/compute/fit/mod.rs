//! Training: losses, optimisers and learning-rate schedules. The loops live with each architecture.

mod loss;
mod optimiser;
mod schedule;

pub use loss::cross_entropy;
pub use optimiser::{Method, Optimiser, OptimiserConfig};
pub use schedule::Schedule;
