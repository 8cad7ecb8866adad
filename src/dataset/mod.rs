//! Readers of training data.

pub mod idx;
