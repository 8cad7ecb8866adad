//! Readers of training data: pictures, spoken clips and texts, in parts that a seed fixes.

mod ahead;
mod bad;
pub mod pictures;
pub mod speech;
mod split;
mod store;
pub mod text;

pub use ahead::Ahead;
pub use bad::{BadSamples, DataError, OnBadSample};
pub use split::{order, random};
pub use store::Store;
