//! Readers of training data.
