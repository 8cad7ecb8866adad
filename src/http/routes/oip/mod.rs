//! The Open Inference Protocol v2 over REST, with Triton's extensions. What it means is in [`crate::oip`].

pub mod generate;
pub mod infer;
pub mod logging;
pub mod models;
pub mod repository;
pub mod server;

mod write;
