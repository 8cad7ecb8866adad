//! The protocol of OpenAI's clients.

pub mod audio;
