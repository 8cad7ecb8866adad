//! Load on a server, and what it made of it: open and closed loops over HTTP/1.1. Knows packages, to make
//! requests of their golden samples, and nothing of the server: any will do.

mod arrivals;
mod bodies;
mod client;
mod closed;
mod cpu;
mod histogram;
mod open;
mod plan;
mod report;
mod run;
mod shared;
mod shot;
mod svg;
mod tally;
mod target;
mod tensor;
mod wire;

pub use arrivals::Spread;
pub use bodies::{Asked, BodyError, Protocol, samples, shot};
pub use plan::{Extent, Levels, LoadError, Plan};
pub use report::{HEADING, Row};
pub use run::run;
pub use shot::{Shot, ShotError};
pub use svg::chart;
pub use target::{Target, TargetError};

#[cfg(test)]
mod tests;
