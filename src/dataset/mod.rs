//! Readers of training data.

pub mod text;
