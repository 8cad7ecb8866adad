//! What OpenAI's clients ask for. One file an endpoint; what they share lies beside them.
//!
//! A body is read in one pass, key by key: what is not honoured is refused with its place, and `null` is as
//! good as absent.

pub mod audio;
pub mod chat;
pub mod completions;
pub mod embeddings;
pub mod models;

mod document;
mod fields;
mod generation;
mod logprobs;
mod prompts;
mod sampling;
mod shape;

#[cfg(test)]
mod tests;
