//! A network whose operations are shared by several threads, where somebody wants one answer soon more than
//! many in a second.

use std::sync::{Mutex, PoisonError};

use crate::compute::kernels::Team;
use crate::engine::{Network, RunError};

/// A network, and as many teams as it has batches at once.
pub struct Teamed<N> {
    network: N,
    threads: usize,
    /// Of those that are not at work.
    idle: Mutex<Vec<Team>>,
}

impl<N> Teamed<N> {
    /// `threads` inside one forward pass; 1 is the thread that runs it.
    pub fn new(network: N, threads: usize) -> Self {
        Self { network, threads, idle: Mutex::default() }
    }

    /// Runs a forward pass with a team of its own.
    fn with_team<R>(&self, pass: impl FnOnce(&N) -> R) -> R {
        if self.threads <= 1 {
            return pass(&self.network);
        }
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let team = idle.unwrap_or_else(|| Team::new(self.threads));
        // A team whose pass panics is dropped.
        let done = team.install(|| pass(&self.network));
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(team);
        done
    }
}

impl<N: Network> Network for Teamed<N> {
    type Sample = N::Sample;
    type Output = N::Output;

    fn cost(&self, sample: &N::Sample) -> usize {
        self.network.cost(sample)
    }

    fn pads(&self) -> bool {
        self.network.pads()
    }

    fn run(&self, batch: &[&N::Sample]) -> Result<Vec<N::Output>, RunError> {
        self.with_team(|network| network.run(batch))
    }
}
