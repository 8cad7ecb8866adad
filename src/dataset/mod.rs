//! Readers of training data.

pub mod speech;
