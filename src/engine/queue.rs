//! The rows that wait for one network, and its turns: take a batch, run it, hand out what it gave.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::{Kind, Problem};
use crate::engine::Network;
use crate::engine::batch::{self, Bounds, Size, Taken, Waiting};
use crate::engine::control::Control;
use crate::engine::curve::Curve;
use crate::engine::gather::{Gather, Pass};
use crate::engine::lanes::{Again, Flow, Job, SHORT_MAX};
use crate::engine::pace::{Pace, nanos};
use crate::engine::stats::Cause;

/// One row that waits.
pub struct Entry<N: Network> {
    pub sample: N::Sample,
    pub cost: usize,
    /// Which of its request's rows this is.
    pub index: usize,
    pub request: Arc<Gather<N::Output>>,
}

/// A network behind its queue.
pub struct Queue<N: Network> {
    pub network: N,
    pub control: Arc<Control>,
    pub pace: Pace,
    waiting: Mutex<VecDeque<Entry<N>>>,
    /// Turns in line or under way: at most one an instance, so that a long queue takes no more places in
    /// the lanes than a short one.
    turns: AtomicUsize,
    instances: usize,
    /// Batches under way.
    running: AtomicUsize,
    tuning: Tuning,
}

/// How large a batch is and how long it may wait to fill.
struct Tuning {
    /// In cost, not in rows: a long text leaves less to be won by the next one than a short one does.
    cost: AtomicUsize,
    delay_nanos: AtomicU64,
}

impl<N: Network> Queue<N> {
    pub fn new(network: N, control: Arc<Control>, threads: usize) -> Self {
        let limits = &control.limits;
        let delay = if limits.batch_auto { Duration::ZERO } else { limits.batch_delay_max };
        let tuning = Tuning {
            cost: AtomicUsize::new(limits.batch_cost_max),
            delay_nanos: nanos(delay).into(),
        };
        Self {
            instances: limits.instances(threads),
            network,
            control,
            pace: Pace::default(),
            waiting: Mutex::default(),
            turns: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            tuning,
        }
    }

    /// Lets what was measured decide, within the limits, unless the settings do.
    pub fn tune(&self, curve: &Curve) {
        for point in &curve.points {
            self.pace.learn(point.cost, point.time());
        }
        let limits = &self.control.limits;
        if let (true, Some(good)) = (limits.batch_auto, curve.good()) {
            self.tuning.cost.store(good.cost.min(limits.batch_cost_max), Ordering::Relaxed);
            let delay = curve.delay().min(limits.batch_delay_max);
            self.tuning.delay_nanos.store(nanos(delay), Ordering::Relaxed);
        }
    }

    /// All rows of a request, or none; then `flow` is asked for the turns that they need.
    pub fn admit(
        &self,
        samples: Vec<N::Sample>,
        request: &Arc<Gather<N::Output>>,
        flow: &Flow,
    ) -> Result<(), Problem> {
        let most = self.control.limits.queue_rows_max;
        let mut waiting = self.waiting();
        if waiting.len() + samples.len() > most {
            // Those whose client has gone leave their places before anybody is refused.
            let now = Instant::now();
            waiting.retain(|entry| !entry.request.is_dead(now));
        }
        // A request larger than the whole queue could never be admitted: it may have an empty one.
        if waiting.len() + samples.len() > most && !waiting.is_empty() {
            let rows = waiting.len();
            drop(waiting);
            return Err(self.control.admission.full(rows, &self.control.stats));
        }
        waiting.extend(samples.into_iter().enumerate().map(|(index, sample)| Entry {
            cost: self.network.cost(&sample),
            sample,
            index,
            request: Arc::clone(request),
        }));
        self.count(&waiting);
        let (whole, all) = self.batches(&waiting);
        let oldest = waiting.front().map(|entry| entry.request.admitted());
        drop(waiting);
        self.wake(whole, all, oldest, flow);
        Ok(())
    }

    /// How many batches wait: whole ones, and all. More than there are turns for need not be counted.
    fn batches(&self, waiting: &VecDeque<Entry<N>>) -> (usize, usize) {
        let rows_max = self.control.limits.batch_rows_max.max(1);
        let cost_max = self.tuning.cost.load(Ordering::Relaxed).max(1);
        let costs = waiting.iter().take(rows_max * self.instances).map(|entry| entry.cost);
        let (rows, cost) = costs.fold((0, 0_usize), |(rows, sum), cost| {
            // One that is more than a batch is one all the same.
            (rows + 1, sum.saturating_add(cost.clamp(1, cost_max)))
        });
        let whole = (rows / rows_max).max(cost / cost_max);
        (whole, rows.div_ceil(rows_max).max(cost.div_ceil(cost_max)))
    }

    /// Asks for as many turns as there are batches. A batch that is not full may wait while another runs,
    /// counted from its oldest row; where nothing runs, nobody waits.
    fn wake(&self, whole: usize, all: usize, oldest: Option<Instant>, flow: &Flow) {
        let delay = Duration::from_nanos(self.tuning.delay_nanos.load(Ordering::Relaxed));
        let running = self.running.load(Ordering::Relaxed);
        let may_wait = !delay.is_zero() && running > 0;
        // Those that run take none of the rows that wait.
        let wanted = (running + all).min(self.instances);
        let not_before = oldest.filter(|_| may_wait && whole == 0).map(|oldest| oldest + delay);
        // As many as lack now, and not until as many are in line: the lanes may end turns as fast as they are asked for.
        for _ in self.turns.load(Ordering::Acquire)..wanted {
            if !self.claim_turn(wanted) {
                break;
            }
            // A turn that is done here asks for what it leaves by itself. It waits for no other row: to wake a thread for both
            // takes longer than each alone.
            if flow.here() {
                return;
            }
            flow.ask(not_before);
        }
        if may_wait && whole > 0 {
            flow.hurry();
        }
    }

    /// Takes one of the turns that this queue may have at once.
    fn claim_turn(&self, most: usize) -> bool {
        let claim = |turns| (turns < most).then_some(turns + 1);
        self.turns.fetch_update(Ordering::AcqRel, Ordering::Acquire, claim).is_ok()
    }

    /// A batch that would be short work stays so.
    fn bounds(&self, head: usize) -> Bounds {
        let short = self.pace.predict(head).is_some_and(|time| time <= SHORT_MAX);
        let cost_max = self.tuning.cost.load(Ordering::Relaxed);
        Bounds {
            rows_max: self.control.limits.batch_rows_max.max(1),
            cost_max: if short { cost_max.min(self.pace.fitting(SHORT_MAX)) } else { cost_max },
            pads: self.network.pads(),
        }
    }

    /// The next batch, and whether rows are left.
    fn take(&self) -> (Vec<Entry<N>>, bool) {
        let now = Instant::now();
        let mut waiting = self.waiting();
        self.shed(&waiting, now);
        let rows: Vec<Waiting> = waiting
            .iter()
            .map(|entry| Waiting {
                cost: entry.cost,
                dead: entry.request.is_dead(now),
                urgency: entry.request.urgency,
            })
            .collect();
        let head = head(&waiting, now);
        let taken = batch::take(&rows, self.bounds(head));
        let batch = part(&mut waiting, taken);
        self.count(&waiting);
        (batch, !waiting.is_empty())
    }

    /// Under lasting overload, those who could not be answered in good time are told so. They are the ones
    /// who came while it was taken for a burst: later ones are refused at the door.
    fn shed(&self, waiting: &VecDeque<Entry<N>>, now: Instant) {
        let Some(wait) = self.control.admission.wait_under_pressure(now) else { return };
        // Twice, so that a wavering estimate sends nobody away who was just let in.
        let most = self.control.admission.work_within(2 * wait);
        let mut order: Vec<&Entry<N>> = waiting.iter().collect();
        order.sort_by_key(|entry| entry.request.urgency);
        let mut before = Duration::ZERO;
        for entry in order.into_iter().filter(|entry| !entry.request.is_dead(now)) {
            // A request whose first row has run goes on to its end.
            if entry.index == 0 && before > most {
                self.control.stats.refused(Cause::Shed);
                let detail =
                    "more was asked of this model than it can do, and there was no time for this";
                entry.request.fail(Problem::new(Kind::Overloaded, detail).retry_after(wait));
            } else {
                before += self.pace.predict(entry.cost).unwrap_or_default();
            }
        }
    }

    fn run(&self, batch: Vec<Entry<N>>) {
        let samples: Vec<&N::Sample> = batch.iter().map(|entry| &entry.sample).collect();
        let rows = samples.len();
        let size = Size::of(batch.iter().map(|entry| entry.cost));
        self.running.fetch_add(1, Ordering::Relaxed);
        let began = Instant::now();
        // A network that panics loses its batch and nothing else.
        let outcome = catch_unwind(AssertUnwindSafe(|| self.network.run(&samples)));
        let took = began.elapsed();
        self.running.fetch_sub(1, Ordering::Relaxed);
        self.control.stats.record_batch(rows, took);
        self.control.admission.runs(took);
        let pads = self.network.pads();
        if pads {
            self.control.stats.record_padding(size);
        }
        let problem = match outcome {
            Ok(Ok(outputs)) if outputs.len() == rows => {
                self.pace.learn(size.cost(pads), took);
                return deliver(batch, outputs, began, took);
            }
            Ok(Ok(outputs)) => {
                self.control.lost(rows, &format!("{} outputs for {rows} samples", outputs.len()))
            }
            Ok(Err(error)) => self.control.lost(rows, &error.to_string()),
            Err(_) => self.control.panicked(rows),
        };
        for entry in batch {
            entry.request.fail(problem.clone());
        }
    }

    fn count(&self, waiting: &VecDeque<Entry<N>>) {
        self.control.stats.queued.store(waiting.len(), Ordering::Relaxed);
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Entry<N>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a batch and the dead out of the queue.
fn part<N: Network>(waiting: &mut VecDeque<Entry<N>>, taken: Taken) -> Vec<Entry<N>> {
    let mut places: Vec<Option<Entry<N>>> = waiting.drain(..).map(Some).collect();
    let batch = taken.batch.into_iter().filter_map(|index| places[index].take()).collect();
    for index in taken.dead {
        places[index] = None;
    }
    waiting.extend(places.into_iter().flatten());
    batch
}

/// The cost of the row that leads the next batch.
fn head<N: Network>(waiting: &VecDeque<Entry<N>>, now: Instant) -> usize {
    let living = waiting.iter().filter(|entry| !entry.request.is_dead(now));
    living.min_by_key(|entry| entry.request.urgency).map_or(1, |entry| entry.cost)
}

fn deliver<N: Network>(
    batch: Vec<Entry<N>>,
    outputs: Vec<N::Output>,
    began: Instant,
    took: Duration,
) {
    let rows = u32::try_from(batch.len()).unwrap_or(u32::MAX);
    for (entry, output) in batch.into_iter().zip(outputs) {
        entry.request.put(entry.index, output, Pass { began, took, rows });
    }
}

impl<N: Network> Job for Queue<N> {
    fn predicted(&self) -> Option<Duration> {
        let waiting = self.waiting();
        let head = head(&waiting, Instant::now());
        let bounds = self.bounds(head);
        let rows = waiting.iter().take(bounds.rows_max);
        let cost = Size::of(rows.map(|entry| entry.cost)).cost(bounds.pads);
        drop(waiting);
        self.pace.predict(cost.min(bounds.cost_max).max(head))
    }

    fn turn(&self) -> Again {
        let (batch, left) = self.take();
        if !batch.is_empty() {
            self.run(batch);
        }
        if left {
            return Again::Now;
        }
        self.turns.fetch_sub(1, Ordering::AcqRel);
        // Rows may have come whose request found every turn taken. The last turn to end sees them.
        let missed = !self.waiting().is_empty() && self.claim_turn(self.instances);
        if missed { Again::Now } else { Again::No }
    }
}
