//! Readers of training data.

pub mod idx;
pub mod text;
