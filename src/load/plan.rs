//! What a load is made of.

use std::io;
use std::time::Duration;

use crate::load::Target;
use crate::load::arrivals::Spread;
use crate::load::client::ClientError;
use crate::load::shot::Shot;

/// What to do.
#[derive(Debug)]
pub struct Plan {
    pub target: Target,
    /// At least one; requests take turns.
    pub shots: Vec<Shot>,
    pub levels: Levels,
    pub extent: Extent,
    pub warm_up: Duration,
    /// An answer that comes later is no good one.
    pub deadline: Option<Duration>,
    /// How long an answer is waited for.
    pub timeout: Duration,
    /// A request that is sent at a low rate beside the load, where time is the extent.
    pub probe: Option<Shot>,
    /// Threads that send and receive.
    pub threads: usize,
}

/// What is different from level to level.
#[derive(Debug)]
pub enum Levels {
    /// Each at a rate, in requests a second.
    Open { rates: Vec<f64>, spread: Spread, seed: u64, connections_max: usize },
    /// Each with a number of clients; patient ones wait as long as a refusal asks for.
    Closed { clients: Vec<usize>, patient: bool },
}

/// One of them.
#[derive(Debug, Clone, Copy)]
pub enum Level {
    Open { rate: f64, spread: Spread, seed: u64, connections_max: usize },
    Closed { clients: usize, patient: bool },
}

/// How long a level is measured after its warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    Time(Duration),
    Requests(u64),
}

impl Levels {
    /// Each in turn.
    #[must_use]
    pub fn each(&self) -> Vec<Level> {
        match *self {
            Self::Open { ref rates, spread, seed, connections_max } => {
                let level = |&rate| Level::Open { rate, spread, seed, connections_max };
                rates.iter().map(level).collect()
            }
            Self::Closed { ref clients, patient } => {
                clients.iter().map(|&clients| Level::Closed { clients, patient }).collect()
            }
        }
    }
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("the threads of the load do not start: {0}")]
    Threads(#[source] io::Error),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{path} was not answered within {} s, before there was any load", timeout.as_secs_f64())]
    Silent { path: String, timeout: Duration },
    #[error(
        "{path} was answered with {status}, before there was any load: expected a success, or 429 or 503. \
         The answer: {said}"
    )]
    Refused { path: String, status: u16, said: String },
    #[error("a task of the load ended early: {0}")]
    Task(#[from] tokio::task::JoinError),
}
