//! Readers of training data.

pub mod idx;
pub mod speech;
pub mod text;
