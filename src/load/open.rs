//! The open loop: requests are due at times of their own, and a slow server does not slow them. Latency
//! counts from the time a request was due, so that a stall shows in all that it delayed (what G. Tene calls
//! coordinated omission is what does not).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::{JoinSet, spawn_blocking};

use crate::load::arrivals::Arrivals;
use crate::load::shared::Shared;

/// Arrivals on their way to connections.
#[derive(Debug)]
pub struct Open {
    shared: Arc<Shared>,
    connections_max: usize,
    waiting: Mutex<Waiting>,
}

/// Who waits for whom: where there is an idle client, no request is held.
#[derive(Debug, Default)]
struct Waiting {
    /// The client that was busy last comes first: few connections do what few can.
    idle: Vec<oneshot::Sender<Instant>>,
    /// Requests that found all connections busy, by when they were due.
    held: VecDeque<Instant>,
    clients: JoinSet<()>,
    /// How many clients there were, each with a connection.
    opened: usize,
    over: bool,
}

/// When requests are due.
#[derive(Debug)]
pub struct Schedule {
    pub start: Instant,
    pub arrivals: Arrivals,
    /// How many requests count, where their number is the end.
    pub requests: Option<u64>,
}

impl Open {
    #[must_use]
    pub fn new(shared: Arc<Shared>, connections_max: usize) -> Arc<Self> {
        Arc::new(Self { shared, connections_max, waiting: Mutex::default() })
    }

    /// Sends what is due when it is due, and waits for the answers. Ends in the number of its connections.
    pub async fn run(self: Arc<Self>, schedule: Schedule) -> usize {
        let (pacer, runtime) = (Arc::clone(&self), Handle::current());
        // A thread of its own: the timers of the runtime count in milliseconds, which is longer than many
        // answers take. That the thread could not be waited for means that the runtime is going away.
        let _ = spawn_blocking(move || pacer.pace(schedule, &runtime)).await;
        let mut clients = self.finish();
        while clients.join_next().await.is_some() {}
        self.lock().opened
    }

    fn pace(self: &Arc<Self>, schedule: Schedule, runtime: &Handle) {
        let window = self.shared.tally.window;
        let mut left = schedule.requests;
        for after in schedule.arrivals {
            let due = schedule.start + after;
            if window.end.is_some_and(|end| due >= end) {
                break;
            }
            if let Some(left) = left.as_mut().filter(|_| due >= window.begin) {
                let Some(less) = left.checked_sub(1) else { break };
                *left = less;
            }
            sleep(due.saturating_duration_since(Instant::now()));
            self.offer(due, runtime);
        }
        if let Some(end) = window.end {
            sleep(end.saturating_duration_since(Instant::now()));
        }
    }

    /// Gives a request to an idle client or to a new one; there it is held when there are as many as may be.
    fn offer(self: &Arc<Self>, due: Instant, runtime: &Handle) {
        let mut waiting = self.lock();
        if let Some(idle) = waiting.idle.pop() {
            // An idle client is one that listens.
            let _ = idle.send(due);
        } else if waiting.opened < self.connections_max {
            waiting.opened += 1;
            waiting.clients.spawn_on(Arc::clone(self).client(due), runtime);
        } else {
            waiting.held.push_back(due);
            self.shared.tally.hold(due);
        }
    }

    async fn client(self: Arc<Self>, first: Instant) {
        let (mut client, mut next) = (self.shared.client(), Some(first));
        while let Some(due) = next {
            self.shared.send(&mut client, due).await;
            next = self.next().await;
        }
    }

    /// The next request of a client that has its answer; nothing when all is over.
    async fn next(&self) -> Option<Instant> {
        let call = {
            let mut waiting = self.lock();
            if let Some(due) = waiting.held.pop_front() {
                return Some(due);
            }
            if waiting.over {
                return None;
            }
            let (idle, call) = oneshot::channel();
            waiting.idle.push(idle);
            call
        };
        call.await.ok()
    }

    /// Nothing is due any longer. What is held is given up when time is the end, and still sent when a number
    /// of requests is.
    fn finish(&self) -> JoinSet<()> {
        let mut waiting = self.lock();
        waiting.over = true;
        waiting.idle.clear();
        if let Some(end) = self.shared.tally.window.end {
            waiting.held.drain(..).for_each(|due| self.shared.tally.miss(due, end));
        }
        std::mem::take(&mut waiting.clients)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
