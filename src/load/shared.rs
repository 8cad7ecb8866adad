//! What the clients of one level share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::load::Target;
use crate::load::client::{Answer, Client, ClientError};
use crate::load::shot::Shot;
use crate::load::tally::Tally;
use crate::load::wire::Traffic;

/// The requests of a level, and what came of them.
#[derive(Debug)]
pub struct Shared {
    pub target: Arc<Target>,
    /// At least one; they take turns.
    pub shots: Arc<[Shot]>,
    turn: AtomicUsize,
    pub tally: Tally,
    pub traffic: Arc<Traffic>,
    /// How long an answer is waited for.
    pub timeout: Duration,
}

impl Shared {
    #[must_use]
    pub fn new(target: Arc<Target>, shots: Arc<[Shot]>, tally: Tally, timeout: Duration) -> Self {
        let (turn, traffic) = (AtomicUsize::new(0), Arc::default());
        Self { target, shots, turn, tally, traffic, timeout }
    }

    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(Arc::clone(&self.target), Arc::clone(&self.traffic))
    }

    /// Sends the request whose turn it is, which was due at `due`, and counts what comes of it. Nothing when
    /// the answer did not come in time.
    pub async fn send(
        &self,
        client: &mut Client,
        due: Instant,
    ) -> Option<Result<Answer, ClientError>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.shots.len();
        let outcome = timeout(self.timeout, client.send(&self.shots[turn], 0)).await.ok();
        self.tally.settle(due, Instant::now(), outcome.as_ref());
        outcome
    }
}
