//! The closed loop: a fixed number of clients, each of which sends its next request when it has the answer
//! to the last. Its latencies are those of callers who wait, not of callers who come when they want: a server
//! that stalls is not asked meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::load::client::{Answer, ClientError};
use crate::load::shared::Shared;

/// Between attempts to reach a server that cannot be reached.
const UNREACHABLE_PAUSE: Duration = Duration::from_millis(10);

/// Clients that go on until the window ends.
#[derive(Debug)]
pub struct Closed {
    pub shared: Arc<Shared>,
    /// How many requests are left, where their number is the end.
    pub left: AtomicU64,
    /// Whether clients wait as long as a refusal asks for.
    pub patient: bool,
}

impl Closed {
    /// Runs `clients` of them to their end.
    pub async fn run(self: Arc<Self>, clients: usize) {
        let mut running: JoinSet<()> = (0..clients).map(|_| Arc::clone(&self).client()).collect();
        while running.join_next().await.is_some() {}
    }

    async fn client(self: Arc<Self>) {
        let mut client = self.shared.client();
        while let Some(due) = self.turn() {
            let outcome = self.shared.send(&mut client, due).await;
            if let Some(pause) = self.pause(outcome.as_ref()) {
                let end = self.shared.tally.window.end;
                let left = end.map(|end| end.saturating_duration_since(Instant::now()));
                sleep(left.map_or(pause, |left| left.min(pause))).await;
            }
        }
    }

    /// When the next request is due: now, or never.
    fn turn(&self) -> Option<Instant> {
        let (now, window) = (Instant::now(), &self.shared.tally.window);
        let more = match window.end {
            Some(end) => now < end,
            None => now < window.begin || self.take(),
        };
        more.then_some(now)
    }

    /// Takes one of the requests that are left.
    fn take(&self) -> bool {
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        self.left.fetch_update(set, fetch, |left| left.checked_sub(1)).is_ok()
    }

    fn pause(&self, outcome: Option<&Result<Answer, ClientError>>) -> Option<Duration> {
        match outcome? {
            Ok(answer) => answer.retry_after.filter(|_| self.patient),
            Err(_) => Some(UNREACHABLE_PAUSE),
        }
    }
}
