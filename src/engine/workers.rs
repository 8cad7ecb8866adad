//! The compute threads. Each takes a turn of some model's job, runs one batch or one step, and takes
//! the next: models share the threads turn by turn.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A worker that has been in one turn for this long is stuck: no batch of ours takes a minute.
const STALL: Duration = Duration::from_mins(1);

/// Something that has work now and then.
pub trait Job: Send + Sync {
    /// Does one piece of work; `true` asks for another turn.
    fn turn(&self) -> bool;
}

/// The threads. Dropping it lets each finish its turn and waits for it.
pub struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// Asks for turns.
#[derive(Clone)]
pub struct Turns(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    started: Instant,
    seats: Vec<Seat>,
}

#[derive(Default)]
struct Queue {
    turns: VecDeque<Arc<dyn Job>>,
    stopping: bool,
}

/// What one thread shows of itself.
#[derive(Default)]
struct Seat {
    /// When the current turn began, in nanoseconds since the start; 0 while idle.
    busy_since: AtomicU64,
}

impl Workers {
    /// Starts `count` threads, at least one.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(count: usize) -> std::io::Result<Self> {
        let seats = (0..count.max(1)).map(|_| Seat::default()).collect();
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
            started: Instant::now(),
            seats,
        });
        let threads = (0..count.max(1))
            .map(|index| {
                let shared = Arc::clone(&shared);
                std::thread::Builder::new()
                    .name(format!("compute-{index}"))
                    .spawn(move || shared.work(&shared.seats[index]))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { shared, threads })
    }

    #[must_use]
    pub fn turns(&self) -> Turns {
        Turns(Arc::clone(&self.shared))
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.threads.len()
    }

    /// Whether every thread is there and none is stuck in a turn.
    #[must_use]
    pub fn alive(&self) -> bool {
        let now = self.shared.now();
        let stall = u64::try_from(STALL.as_nanos()).unwrap_or(u64::MAX);
        self.threads.iter().all(|thread| !thread.is_finished())
            && self.shared.seats.iter().all(|seat| {
                let since = seat.busy_since.load(Ordering::Relaxed);
                since == 0 || now.saturating_sub(since) < stall
            })
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.queue().stopping = true;
        self.shared.wake.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing left to wait for.
            let _ = thread.join();
        }
    }
}

impl Turns {
    /// Gives `job` a turn as soon as a thread is free.
    pub fn ask(&self, job: Arc<dyn Job>) {
        self.0.queue().turns.push_back(job);
        self.0.wake.notify_one();
    }
}

impl Shared {
    fn work(&self, seat: &Seat) {
        while let Some(job) = self.next() {
            seat.busy_since.store(self.now().max(1), Ordering::Relaxed);
            let again = job.turn();
            seat.busy_since.store(0, Ordering::Relaxed);
            if again {
                // At the tail, so that models take turns. This thread looks next: nobody to wake.
                self.queue().turns.push_back(job);
            }
        }
    }

    fn next(&self) -> Option<Arc<dyn Job>> {
        let mut queue = self.queue();
        loop {
            if queue.stopping {
                return None;
            }
            if let Some(job) = queue.turns.pop_front() {
                return Some(job);
            }
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing that can panic runs under this lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    struct Countdown {
        left: AtomicU64,
        done: mpsc::Sender<()>,
    }

    impl Job for Countdown {
        fn turn(&self) -> bool {
            if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
                self.done.send(()).unwrap();
                return false;
            }
            true
        }
    }

    #[test]
    fn a_job_gets_as_many_turns_as_it_asks_for() {
        let workers = Workers::start(2).unwrap();
        let (done, finished) = mpsc::channel();
        for _ in 0..3 {
            let job = Countdown { left: AtomicU64::new(5), done: done.clone() };
            workers.turns().ask(Arc::new(job));
        }
        for _ in 0..3 {
            finished.recv_timeout(Duration::from_secs(10)).unwrap();
        }
        assert!(workers.alive());
    }
}
