//! Training: losses, optimisers, learning-rate schedules, and the file that a run goes on from.

pub mod file;
mod loss;
mod optimiser;
mod schedule;

pub use loss::cross_entropy;
pub use optimiser::{Method, Optimiser, OptimiserConfig};
pub use schedule::Schedule;
