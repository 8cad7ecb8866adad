//! Generation: sequences that join and leave between the steps of one loop.

mod collector;
mod options;
mod sampler;
mod sequence;
mod stepper;
mod text;

pub use stepper::Stepper;
