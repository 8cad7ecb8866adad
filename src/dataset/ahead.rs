//! Work that threads do ahead of whoever needs it: the next batches are decoded while a step is computed.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use crate::dataset::DataError;

/// More threads than this wait for the step, not the step for them.
const THREADS_MAX: usize = 4;

/// What each thread may have ready, beside the one it works on: a bound on memory.
const READY_MAX: usize = 2;

/// The results of jobs `0..count`, in their order, each prepared before it is asked for. Dropping it ends
/// the threads after the job they are at.
pub struct Ahead<T> {
    /// Thread t does the jobs t, t + threads, …, so that the order needs no sorting.
    lanes: Vec<Receiver<Result<T, DataError>>>,
    next: usize,
    count: usize,
}

impl<T: Send + 'static> Ahead<T> {
    /// Starts as many threads as there are processors, at most four, and at most one a job.
    ///
    /// # Errors
    /// [`DataError::Lost`] when a thread cannot be started.
    pub fn new(
        count: usize,
        make: impl Fn(usize) -> Result<T, DataError> + Send + Sync + 'static,
    ) -> Result<Self, DataError> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let threads = processors.min(THREADS_MAX).min(count);
        let make = Arc::new(make);
        let mut lanes = Vec::with_capacity(threads);
        for first in 0..threads {
            let (sender, receiver) = sync_channel(READY_MAX);
            let make = Arc::clone(&make);
            let jobs = (first..count).step_by(threads);
            thread::Builder::new()
                .name(format!("maas-data-{first}"))
                .spawn(move || work(jobs, &*make, &sender))
                .map_err(|error| DataError::Lost { reason: error.to_string() })?;
            lanes.push(receiver);
        }
        Ok(Self { lanes, next: 0, count })
    }
}

fn work<T>(
    jobs: impl Iterator<Item = usize>,
    make: &impl Fn(usize) -> Result<T, DataError>,
    sender: &SyncSender<Result<T, DataError>>,
) {
    for job in jobs {
        // Nobody waits any longer.
        if sender.send(make(job)).is_err() {
            return;
        }
    }
}

impl<T> Iterator for Ahead<T> {
    type Item = Result<T, DataError>;

    /// After an error no more come.
    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.count {
            return None;
        }
        let made = self.lanes[self.next % self.lanes.len()].recv().unwrap_or_else(|_| {
            Err(DataError::Lost { reason: "it panicked, which is a fault of maas".to_owned() })
        });
        self.next = if made.is_err() { self.count } else { self.next + 1 };
        Some(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn results_come_in_order_and_no_further_ahead_than_the_bound() {
        let begun = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&begun);
        let mut ahead = Ahead::new(100, move |job| {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok(job * job)
        })
        .unwrap();
        let first: Vec<usize> = ahead.by_ref().take(10).map(Result::unwrap).collect();
        assert_eq!(first, (0..10).map(|i| i * i).collect::<Vec<_>>());
        assert!(begun.load(Ordering::SeqCst) <= 10 + THREADS_MAX * (READY_MAX + 1));
        assert_eq!(ahead.count(), 90);
        assert_eq!(Ahead::new(0, Ok).unwrap().count(), 0);
    }

    #[test]
    fn an_error_and_a_panic_are_told_and_end_it() {
        let refuse = |job| if job == 2 { Err(DataError::key("x", "y")) } else { Ok(job) };
        let results: Vec<_> = Ahead::new(5, refuse).unwrap().collect();
        assert_eq!(results.len(), 3);
        assert!(matches!(results[2], Err(DataError::Key { .. })));
        let panic = |job: usize| if job == 1 { panic!("in a test") } else { Ok(job) };
        let results: Vec<_> = Ahead::new(3, panic).unwrap().collect();
        assert!(matches!(results[..], [Ok(0), Err(DataError::Lost { .. })]));
    }
}
