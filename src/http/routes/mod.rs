//! The handlers: extract, call, return.

pub mod admin;
pub mod metrics;
pub mod oip;
pub mod predict;
pub mod probes;
pub mod torchserve;

pub mod target;
