//! Load on a server, and what it made of it: open and closed loops over HTTP/1.1. Knows packages, to make
//! requests of their golden samples, and nothing of the server: any will do.

mod arrivals;
mod client;
mod closed;
mod cpu;
mod histogram;
mod open;
mod plan;
mod report;
mod run;
mod shared;
mod tally;
mod target;
mod wire;

pub use arrivals::Spread;
pub use client::Shot;
pub use plan::{Extent, Levels, LoadError, Plan};
pub use report::{HEADING, Row};
pub use run::run;
pub use target::{Target, TargetError};
