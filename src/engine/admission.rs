//! Who may wait. A request is admitted before anything is done for it: by the time that the work before it
//! should take, by its deadline, and by how long the model has been asked for more than it can do.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::domain::{Kind, Priority, Problem};
use crate::engine::lanes::SHORT_MAX;
use crate::engine::pace::{Least, Mean, nanos};
use crate::engine::pressure::Pressure;
use crate::engine::stats::{Cause, ModelStats};

/// Without a setting, so much work may wait: a burst is worth waiting for.
const WAIT_AUTO: Duration = Duration::from_millis(500);
/// Or so many requests, where they are long: no few clients that each wait for an answer make an overload.
const WAITING_AUTO: u32 = 128;

/// Under lasting overload nobody waits for longer than three services, and this little may always wait.
const SERVICES_UNDER_PRESSURE: u32 = 3;
const WAIT_UNDER_PRESSURE_MIN: Duration = Duration::from_millis(10);

/// What was learned of services refuses nobody after this time without an answer: it may have been wrong.
const KNOWN_FOR: Duration = Duration::from_secs(10);

const LEVELS: usize = Priority::LEVELS as usize;

/// The work of all models, so that each can tell its share of the threads.
#[derive(Debug, Clone)]
pub struct Loads {
    threads: usize,
    all: Arc<Mutex<Vec<Weak<Load>>>>,
}

/// The admitted work of one model that is not done, in nanoseconds of a thread.
#[derive(Debug)]
struct Load {
    weight: u32,
    /// Whether it runs in the long lane, which yields to the other.
    long: AtomicBool,
    by_priority: [AtomicU64; LEVELS],
}

/// The door of one model.
pub struct Admission {
    loads: Loads,
    load: Arc<Load>,
    /// Batches or step loops that run at once.
    instances: usize,
    /// Requests that are served side by side: one an instance, or as many as a step has room for.
    seats: usize,
    /// The setting; zero chooses.
    wait_max: Duration,
    /// What one request takes of a thread.
    work: Mean,
    /// From a request's turn to its answer.
    service: Mean,
    /// The same of a small request: what a caller who is in a hurry may hope for.
    least: Least,
    /// When a request was answered last.
    last: Mutex<Option<Instant>>,
    pressure: Mutex<Pressure>,
}

/// A request's place among those that are admitted. Given back when it is dropped, however that comes.
#[derive(Debug)]
pub struct Place {
    load: Arc<Load>,
    priority: Priority,
    work: u64,
}

/// Why a request is refused, and when trying again may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// More waits than may.
    Full { wait: Duration },
    /// Those before it would take until after its deadline.
    Late { wait: Duration, over: Duration },
    /// Its deadline is shorter than what it takes alone.
    Hopeless { service: Duration },
}

/// What a decision is made of.
#[derive(Debug, Clone, Copy)]
struct Prospect {
    /// Until its turn.
    wait: Duration,
    /// From its turn to its answer.
    service: Duration,
    /// Until its deadline.
    left: Duration,
    /// The longest wait that is allowed now.
    wait_max: Duration,
}

fn decide(prospect: Prospect) -> Result<(), Refusal> {
    let Prospect { wait, service, left, wait_max } = prospect;
    if service > left {
        return Err(Refusal::Hopeless { service });
    }
    if wait > wait_max {
        return Err(Refusal::Full { wait });
    }
    match (wait + service).checked_sub(left) {
        Some(over) if !over.is_zero() => Err(Refusal::Late { wait, over }),
        _ => Ok(()),
    }
}

impl Loads {
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self { threads, all: Arc::default() }
    }

    fn join(&self, weight: u32) -> Arc<Load> {
        let load = Arc::new(Load {
            weight: weight.max(1),
            long: AtomicBool::new(false),
            by_priority: Default::default(),
        });
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| other.strong_count() > 0);
        all.push(Arc::downgrade(&load));
        load
    }

    /// How many threads work for `load` while the others that have work take their share.
    fn threads_of(&self, load: &Arc<Load>) -> f64 {
        let long = load.long.load(Ordering::Relaxed);
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let rivals = all.iter().filter_map(Weak::upgrade).filter(|other| {
            !Arc::ptr_eq(other, load)
                && (long || !other.long.load(Ordering::Relaxed))
                && other.ahead(None) > 0
        });
        let others: f64 = rivals.map(|other| f64::from(other.weight)).sum();
        let own = f64::from(load.weight);
        as_f64(self.threads as u64) * own / (own + others)
    }
}

impl Load {
    /// Work that goes before a request of this priority, or all of it.
    fn ahead(&self, priority: Option<Priority>) -> u64 {
        let levels = priority.map_or(LEVELS, |priority| priority.index() + 1);
        self.by_priority[..levels].iter().map(|work| work.load(Ordering::Relaxed)).sum()
    }
}

impl Admission {
    /// The door of a model with `instances` turns at once, each of which serves so many requests side by side;
    /// `wait_max` zero chooses the longest wait.
    #[must_use]
    pub fn new(
        loads: &Loads,
        weight: u32,
        (instances, seats): (usize, usize),
        wait_max: Duration,
    ) -> Self {
        Self {
            loads: loads.clone(),
            load: loads.join(weight),
            instances: instances.max(1),
            seats: instances.max(1) * seats.max(1),
            wait_max,
            least: Least::default(),
            work: Mean::default(),
            service: Mean::default(),
            last: Mutex::default(),
            pressure: Mutex::default(),
        }
    }

    /// Lets a request in, or says why not.
    ///
    /// # Errors
    /// [`Kind::Overloaded`] when too much waits, or when those before it would take until after its
    /// deadline; [`Kind::DeadlineExceeded`] when even alone it would come too late.
    pub fn enter(
        &self,
        priority: Priority,
        deadline: Instant,
        stats: &ModelStats,
    ) -> Result<Place, Problem> {
        let now = Instant::now();
        let wait = self.wait(priority);
        let prospect = Prospect {
            wait,
            service: if self.knows(now) { self.least.get() } else { Duration::ZERO },
            left: deadline.saturating_duration_since(now),
            wait_max: self.longest_wait(now),
        };
        decide(prospect).map_err(|refusal| self.refuse(refusal, now, stats))?;
        let work = nanos(self.work.get());
        self.load.by_priority[priority.index()].fetch_add(work, Ordering::Relaxed);
        Ok(Place { load: Arc::clone(&self.load), priority, work })
    }

    /// A request that is admitted turns out to take so long, once its turn has come.
    ///
    /// # Errors
    /// [`Kind::DeadlineExceeded`] when that is until after its deadline.
    pub fn check(
        &self,
        service: Duration,
        deadline: Instant,
        stats: &ModelStats,
    ) -> Result<(), Problem> {
        let now = Instant::now();
        if service <= deadline.saturating_duration_since(now) || !self.knows(now) {
            return Ok(());
        }
        Err(self.refuse(Refusal::Hopeless { service }, now, stats))
    }

    /// A request was refused because too many rows wait, which the queue alone can count.
    pub fn full(&self, rows: usize, stats: &ModelStats) -> Problem {
        let wait = self.wait(Priority::default());
        let problem = self.refuse(Refusal::Full { wait }, Instant::now(), stats);
        Problem { detail: format!("the queue of this model is full: {rows} rows wait"), ..problem }
    }

    /// What one request took: of a thread, and from its turn to its answer.
    pub fn served(&self, work: Duration, service: Duration) {
        self.work.learn(work);
        self.service.learn(service);
        self.least.learn(service);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// A turn took so long: it tells the lane that the model runs in.
    pub fn runs(&self, took: Duration) {
        self.load.long.store(took > SHORT_MAX, Ordering::Relaxed);
    }

    /// Whether what is known of services may refuse anybody for ever: only those who are let in teach it more.
    fn knows(&self, now: Instant) -> bool {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| now.saturating_duration_since(last) < KNOWN_FOR)
    }

    /// The longest wait that is allowed to those who are in the queue already, while there is pressure.
    #[must_use]
    pub fn wait_under_pressure(&self, now: Instant) -> Option<Duration> {
        let mut pressure = self.pressure.lock().unwrap_or_else(PoisonError::into_inner);
        pressure.lasts(now).then(|| {
            let short = (self.service.get() * SERVICES_UNDER_PRESSURE).max(WAIT_UNDER_PRESSURE_MIN);
            short.min(self.wait_in_calm())
        })
    }

    /// Work that is done within `wait`, in the time of a thread.
    #[must_use]
    pub fn work_within(&self, wait: Duration) -> Duration {
        wait.mul_f64(self.threads())
    }

    /// Until a request that came now would have its turn.
    #[must_use]
    pub fn wait(&self, priority: Priority) -> Duration {
        let threads = self.threads();
        // What the other threads are at is no wait: a request waits for the first of them. Where a step has
        // room for more than there are threads, it waits for the first place.
        let beside = if self.seats > self.instances { as_f64(self.seats as u64) } else { threads };
        let at_work = as_f64(nanos(self.work.get())) * (beside - 1.0).max(0.0);
        let ahead = as_f64(self.load.ahead(Some(priority))) - at_work;
        Duration::from_secs_f64((ahead / threads / 1e9).max(0.0))
    }

    fn threads(&self) -> f64 {
        self.loads.threads_of(&self.load).min(as_f64(self.instances as u64))
    }

    fn longest_wait(&self, now: Instant) -> Duration {
        self.wait_under_pressure(now).unwrap_or_else(|| self.wait_in_calm())
    }

    fn wait_in_calm(&self) -> Duration {
        if !self.wait_max.is_zero() {
            return self.wait_max;
        }
        let requests = as_f64(nanos(self.work.get())) * f64::from(WAITING_AUTO) / self.threads();
        WAIT_AUTO.max(Duration::from_secs_f64(requests / 1e9))
    }

    fn refuse(&self, refusal: Refusal, now: Instant, stats: &ModelStats) -> Problem {
        match refusal {
            Refusal::Full { wait } => {
                self.pressure.lock().unwrap_or_else(PoisonError::into_inner).refused(now);
                stats.refused(Cause::Full);
                let detail = format!("too much waits for this model: {} ms of work", millis(wait));
                Problem::new(Kind::Overloaded, detail).retry_after(wait)
            }
            Refusal::Late { wait, over } => {
                stats.refused(Cause::Deadline);
                let detail = format!(
                    "the deadline cannot be met: this request would wait for {} ms",
                    millis(wait)
                );
                Problem::new(Kind::Overloaded, detail).retry_after(over)
            }
            Refusal::Hopeless { service } => {
                stats.refused(Cause::Deadline);
                let detail = format!(
                    "the deadline cannot be met: such a request takes about {} ms, and nothing waits \
                     before it",
                    millis(service)
                );
                Problem::new(Kind::DeadlineExceeded, detail)
            }
        }
    }
}

impl Place {
    /// The request is as much work as so many others.
    pub fn counts(&mut self, requests: usize) {
        self.takes(Duration::from_nanos(self.work.saturating_mul(requests as u64)));
    }

    /// The request's own work is known by now.
    pub fn takes(&mut self, work: Duration) {
        let place = &self.load.by_priority[self.priority.index()];
        let work = nanos(work);
        place.fetch_add(work, Ordering::Relaxed);
        place.fetch_sub(self.work, Ordering::Relaxed);
        self.work = work;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.load.by_priority[self.priority.index()].fetch_sub(self.work, Ordering::Relaxed);
    }
}

fn millis(time: Duration) -> u64 {
    // A wait of no milliseconds would read as if there were none.
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn prospect(wait: u32, service: u32, left: u32, wait_max: u32) -> Result<(), Refusal> {
        decide(Prospect {
            wait: wait * MS,
            service: service * MS,
            left: left * MS,
            wait_max: wait_max * MS,
        })
    }

    #[test]
    fn a_request_is_refused_for_the_first_reason_that_holds() {
        assert_eq!(prospect(10, 5, 15, 10), Ok(()));
        assert_eq!(prospect(0, 5, 4, 10), Err(Refusal::Hopeless { service: 5 * MS }));
        assert_eq!(prospect(11, 5, 100, 10), Err(Refusal::Full { wait: 11 * MS }));
        assert_eq!(prospect(10, 5, 12, 10), Err(Refusal::Late { wait: 10 * MS, over: 3 * MS }));
    }

    /// A door with two threads, where each request takes 10 ms.
    fn door(wait_max: Duration) -> (Admission, ModelStats) {
        let admission = Admission::new(&Loads::new(2), 1, (2, 1), wait_max);
        admission.served(10 * MS, 10 * MS);
        (admission, ModelStats::default())
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_mins(1)
    }

    #[test]
    fn the_wait_is_the_work_before_a_request_over_the_threads_that_do_it() {
        let (admission, stats) = door(Duration::ZERO);
        let waits = |count: usize| {
            let places: Vec<Place> = (0..count)
                .map(|_| admission.enter(Priority::default(), soon(), &stats).unwrap())
                .collect();
            let wait = admission.wait(Priority::default());
            drop(places);
            wait
        };
        assert_eq!([0, 1, 2, 5].map(waits), [Duration::ZERO, Duration::ZERO, 5 * MS, 20 * MS]);
        assert_eq!(admission.wait(Priority::default()), Duration::ZERO, "places are given back");
    }

    #[test]
    fn more_than_may_wait_is_refused_with_the_time_that_the_rest_takes() {
        let (admission, stats) = door(20 * MS);
        let mut places = Vec::new();
        let problem = loop {
            match admission.enter(Priority::default(), soon(), &stats) {
                Ok(place) => places.push(place),
                Err(problem) => break problem,
            }
        };
        assert_eq!(places.len(), 6);
        assert_eq!(problem.kind, Kind::Overloaded);
        assert_eq!(problem.retry_after, Some(25 * MS));
        assert_eq!(stats.refusals(Cause::Full), 1);
        let urgent = Priority::new(1).unwrap();
        admission.enter(urgent, soon(), &stats).expect("others do not go before an urgent one");
    }

    #[test]
    fn a_deadline_that_cannot_be_met_is_refused_at_once() {
        let (admission, stats) = door(Duration::ZERO);
        let _places: Vec<Place> =
            (0..6).map(|_| admission.enter(Priority::default(), soon(), &stats).unwrap()).collect();
        let soon = |ms| Instant::now() + ms * MS;
        let late = admission.enter(Priority::default(), soon(30), &stats).unwrap_err();
        assert_eq!(late.kind, Kind::Overloaded);
        assert!(late.retry_after.is_some_and(|wait| wait < 10 * MS), "{late:?}");
        let hopeless = admission.enter(Priority::default(), soon(3), &stats).unwrap_err();
        assert_eq!((hopeless.kind, hopeless.retry_after), (Kind::DeadlineExceeded, None));
        assert_eq!(stats.refusals(Cause::Deadline), 2);
        // What was learned once does not lock out those who could teach otherwise.
        let (idle, stats) = door(Duration::ZERO);
        *idle.last.lock().unwrap() = Instant::now().checked_sub(KNOWN_FOR);
        idle.enter(Priority::default(), soon(3), &stats).unwrap();
        idle.check(10 * MS, soon(3), &stats).unwrap();
    }

    #[test]
    fn where_a_step_has_room_nobody_waits() {
        let admission = Admission::new(&Loads::new(2), 1, (2, 4), Duration::ZERO);
        admission.served(10 * MS, 10 * MS);
        let stats = ModelStats::default();
        let enter = || admission.enter(Priority::default(), soon(), &stats).unwrap();
        let _eight: Vec<Place> = (0..8).map(|_| enter()).collect();
        assert_eq!(admission.wait(Priority::default()), 5 * MS, "for the first place");
        let hurried = Instant::now() + 12 * MS;
        let problem = admission.check(20 * MS, hurried, &stats).unwrap_err();
        assert_eq!(problem.kind, Kind::DeadlineExceeded);
        admission.check(2 * MS, hurried, &stats).unwrap();
    }

    #[test]
    fn a_model_counts_on_its_share_of_the_threads_only() {
        let loads = Loads::new(2);
        let [quiet, busy] =
            [1, 3].map(|weight| Admission::new(&loads, weight, (2, 1), Duration::ZERO));
        let stats = ModelStats::default();
        for admission in [&quiet, &busy] {
            admission.served(10 * MS, 10 * MS);
        }
        let four = |admission: &Admission| -> Vec<Place> {
            (0..4).map(|_| admission.enter(Priority::default(), soon(), &stats).unwrap()).collect()
        };
        let _own = four(&quiet);
        assert_eq!(quiet.wait(Priority::default()), 15 * MS);
        let _others = four(&busy);
        assert_eq!(quiet.wait(Priority::default()), 80 * MS, "half a thread is left to it");
    }

    #[test]
    fn under_lasting_overload_nobody_waits_long() {
        let (admission, stats) = door(Duration::ZERO);
        let start = Instant::now();
        let calm = WAITING_AUTO * 5 * MS;
        assert_eq!(admission.longest_wait(start), calm, "so many requests over two threads");
        admission.refuse(Refusal::Full { wait: WAIT_AUTO }, start, &stats);
        assert_eq!(admission.wait_under_pressure(start), None, "a burst");
        let later = start + 100 * MS;
        admission.refuse(Refusal::Full { wait: WAIT_AUTO }, later, &stats);
        assert_eq!(admission.wait_under_pressure(later), Some(30 * MS));
        assert_eq!(admission.longest_wait(later), 30 * MS);
        assert_eq!(admission.work_within(30 * MS), 60 * MS, "two threads");
        assert_eq!(admission.longest_wait(later + 1000 * MS), calm, "calm again");
    }

    #[test]
    fn what_a_request_takes_is_corrected_once_it_is_known() {
        let (admission, stats) = door(Duration::ZERO);
        let mut place = admission.enter(Priority::default(), soon(), &stats).unwrap();
        place.takes(110 * MS);
        assert_eq!(admission.wait(Priority::default()), 50 * MS);
        drop(place);
        assert_eq!(admission.load.ahead(None), 0);
    }
}
