//! Sequences that join and leave between the steps of one loop.

mod caller;
mod collector;
mod drive;
mod generation;
mod leaning;
mod options;
mod pieces;
mod recognition;
mod running;
mod sampler;
mod scores;
mod steps;
mod text;
mod windows;
mod writing;

pub use drive::drive;
pub use generation::Generation;
pub use recognition::Recognition;
pub use sampler::likeliest;

#[cfg(test)]
mod tests;
