//! Samples whose next window waits for the encoder. What is encoded is large, so it has a bounded number of
//! places, from the encoder to the end of its steps.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::domain::Priority;
use crate::engine::control::Control;
use crate::engine::generate::caller::Caller;
use crate::engine::generate::steps::{Member, lock};
use crate::engine::{Decoding, Row, RunError, Scores, Sequence};

/// A sample on its way.
pub struct Listening<D: Decoding> {
    pub decoding: D,
    pub caller: Caller<D::Output>,
    /// Windows of its request that have a place.
    request: Arc<AtomicUsize>,
    /// While a window of it is encoded or decoded.
    place: Option<Place>,
    /// When its first window's turn came.
    pub started: Option<Instant>,
    /// What it took of a thread so far.
    pub work: Duration,
    /// Rows in the widest step that it was part of.
    pub batch_rows: usize,
}

/// Counts itself, for the encoder and for its request.
struct Place([Arc<AtomicUsize>; 2]);

/// The queue of the encoder.
pub struct Windows<D: Decoding> {
    places_max: usize,
    taken: Arc<AtomicUsize>,
    /// One a thread.
    turns_max: usize,
    queue: Mutex<Queue<D>>,
    control: Arc<Control>,
}

struct Queue<D: Decoding> {
    waiting: VecDeque<Listening<D>>,
    /// Turns that are asked for or under way.
    turns: usize,
    /// Those of them that have taken no window yet.
    coming: usize,
}

impl<D: Decoding> Listening<D> {
    /// `request` is shared by all samples of one.
    pub fn new(decoding: D, caller: Caller<D::Output>, request: Arc<AtomicUsize>) -> Self {
        Self {
            decoding,
            caller,
            request,
            place: None,
            started: None,
            work: Duration::ZERO,
            batch_rows: 0,
        }
    }

    fn take_place(&mut self, taken: &Arc<AtomicUsize>) {
        self.place = Some(Place::new([Arc::clone(taken), Arc::clone(&self.request)]));
        self.started.get_or_insert_with(Instant::now);
    }

    pub fn leave_place(&mut self) {
        self.place = None;
    }
}

impl Place {
    fn new(counts: [Arc<AtomicUsize>; 2]) -> Self {
        for count in &counts {
            count.fetch_add(1, Ordering::AcqRel);
        }
        Self(counts)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for count in &self.0 {
            count.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl<D: Decoding> Windows<D> {
    pub fn new(places_max: usize, turns_max: usize, control: Arc<Control>) -> Self {
        let queue = Mutex::new(Queue { waiting: VecDeque::new(), turns: 0, coming: 0 });
        Self { places_max, taken: Arc::default(), turns_max, queue, control }
    }

    /// Takes in all of `samples`, or none where more than `queue_rows_max` would wait then: how many wait now is
    /// the error.
    pub fn admit(&self, samples: Vec<Listening<D>>, queue_rows_max: usize) -> Result<(), usize> {
        let mut queue = lock(&self.queue);
        if queue.waiting.len() + samples.len() > queue_rows_max {
            self.drop_dead(&mut queue.waiting);
        }
        let rows = queue.waiting.len() + samples.len();
        // A request larger than the whole queue could never be admitted: it may have an empty one.
        if rows > queue_rows_max && !queue.waiting.is_empty() {
            return Err(queue.waiting.len());
        }
        self.control.stats.queued.fetch_add(samples.len(), Ordering::Relaxed);
        queue.waiting.extend(samples);
        Ok(())
    }

    /// Takes back a sample that has another window: it waits behind those that came meanwhile.
    pub fn put_back(&self, sample: Listening<D>) {
        self.control.stats.queued.fetch_add(1, Ordering::Relaxed);
        lock(&self.queue).waiting.push_back(sample);
    }

    /// Whether a turn should be asked for: there is something to encode, and a place for it. Whoever is told so
    /// must ask.
    pub fn claim_turn(&self) -> bool {
        let mut queue = lock(&self.queue);
        let claimed = queue.turns < self.turns_max && self.has_more(&queue);
        queue.turns += usize::from(claimed);
        queue.coming += usize::from(claimed);
        claimed
    }

    /// Whether a turn that has done its work goes on; else it is given back. Under the same lock as claims, so
    /// that a place that is left meanwhile is seen here or by a claim.
    pub fn keep_turn(&self) -> bool {
        let mut queue = lock(&self.queue);
        let kept = self.has_more(&queue);
        queue.turns -= usize::from(!kept);
        queue.coming += usize::from(kept);
        kept
    }

    /// Whether the next step should wait for more windows.
    pub fn gather(&self) -> bool {
        let queue = lock(&self.queue);
        let encoding = queue.turns - queue.coming;
        let ready = self.taken.load(Ordering::Acquire).saturating_sub(encoding);
        gathers(ready, encoding, queue.waiting.len(), self.places_max)
    }

    /// Whether there is work beside that of the turns that are coming.
    fn has_more(&self, queue: &Queue<D>) -> bool {
        let places = self.places_max.saturating_sub(self.taken.load(Ordering::Acquire));
        queue.coming < places.min(queue.waiting.len())
    }

    /// The sample whose window this turn encodes, with a place.
    pub fn next(&self) -> Option<Listening<D>> {
        let mut queue = lock(&self.queue);
        queue.coming -= 1;
        self.drop_dead(&mut queue.waiting);
        if self.taken.load(Ordering::Acquire) >= self.places_max {
            return None;
        }
        let chosen = next(queue.waiting.iter().map(|sample| {
            let priority = sample.caller.urgency.priority;
            (priority, sample.request.load(Ordering::Acquire))
        }))?;
        let mut sample = queue.waiting.remove(chosen)?;
        self.control.stats.queued.fetch_sub(1, Ordering::Relaxed);
        sample.take_place(&self.taken);
        Some(sample)
    }

    fn drop_dead(&self, waiting: &mut VecDeque<Listening<D>>) {
        let (now, before) = (Instant::now(), waiting.len());
        waiting.retain(|sample| !sample.caller.is_dead(now));
        self.control.stats.queued.fetch_sub(before - waiting.len(), Ordering::Relaxed);
    }
}

/// Which waiting sample is next, by its priority and the windows of its request that are under way: of the
/// highest priority the request that has the fewest, so that many parts of one do not keep another waiting; of
/// those the one that has waited longest.
fn next(waiting: impl Iterator<Item = (Priority, usize)>) -> Option<usize> {
    waiting.enumerate().min_by_key(|&(_, rank)| rank).map(|(at, _)| at)
}

/// Whether `ready` windows wait for others to be stepped with. Where some wait for the encoder, every thread is at
/// work and every window late: then it counts what steps take, and that is nearly the same for one window as for
/// half of all that have a place. Else a window is stepped at once.
fn gathers(ready: usize, encoding: usize, waiting: usize, places: usize) -> bool {
    encoding > 0 && waiting > 0 && ready < places / 2
}

impl<D: Decoding> Sequence for Listening<D> {
    type State = D::State;

    fn unread(&self) -> usize {
        self.decoding.unread()
    }

    fn rows<'a>(&'a mut self, most: usize, rows: &mut Vec<Row<'a, D::State>>) {
        self.decoding.rows(most, rows);
    }

    fn take(&mut self, scores: Scores<'_>) -> Result<bool, RunError> {
        self.decoding.take(scores)
    }
}

impl<D: Decoding> Member for Listening<D> {
    type Output = D::Output;

    fn caller(&self) -> &Caller<D::Output> {
        &self.caller
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_with_the_fewest_windows_under_way_is_next_and_of_equals_the_first() {
        let chosen = |under_way: &[usize]| {
            next(under_way.iter().map(|&windows| (Priority::default(), windows)))
        };
        assert_eq!(chosen(&[]), None);
        assert_eq!(chosen(&[2, 2, 0, 1, 0]), Some(2));
        assert_eq!(chosen(&[1, 1]), Some(0));
        let urgent = Priority::new(1).unwrap();
        assert_eq!(next([(Priority::default(), 0), (urgent, 3)].into_iter()), Some(1));
    }

    #[test]
    fn steps_wait_for_more_windows_while_some_wait_for_the_encoder() {
        assert!(gathers(3, 2, 1, 8) && !gathers(4, 2, 1, 8));
        // Nobody waits, or nothing comes that would end the wait.
        assert!(!gathers(1, 2, 0, 8) && !gathers(1, 0, 3, 8));
        assert!(!gathers(1, 1, 1, 2) && !gathers(1, 1, 1, 1));
    }
}
