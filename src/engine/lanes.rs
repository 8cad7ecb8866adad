//! The compute threads. A batch in flight cannot be interrupted, so short work must not wait behind long
//! work: there are two lanes, each with as many threads as there are cores, and the long one yields to the
//! short one by its priority in the operating system. Inside a lane models share the threads by weight, in
//! predicted time. Each thread runs one batch or one step with one thread inside, and takes the next; only a turn
//! that begins alone may have the other cores, too. A turn of some microseconds, where nobody waits, is done by
//! whoever asks for it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::engine::fair::{Claim, FairQueue, FlowId, Next};
use crate::engine::pace::nanos;

/// What takes longer goes to the long lane: short work waits for no more than this.
pub const SHORT_MAX: Duration = Duration::from_millis(20);

/// A thread that has been in one turn for this long is stuck: no batch of ours takes a minute.
const STALL: Duration = Duration::from_mins(1);

/// What is shorter is over before other threads have woken.
const ALONE_MIN: Duration = Duration::from_millis(2);

/// What is shorter is over before one thread has been woken and has woken another in its turn.
const HERE_MAX: Duration = Duration::from_micros(100);

/// When a job whose turn panicked is asked again.
const AFTER_PANIC: Duration = Duration::from_millis(100);

/// Of the long lane's threads: a third of the weight of the others where both want a core.
#[cfg(target_os = "linux")]
const LONG_NICENESS: i32 = 5;

/// Something that has work now and then.
pub trait Job: Send + Sync {
    /// What the next turn should take; `None` where nothing is known yet.
    fn predicted(&self) -> Option<Duration>;

    /// Does one piece of work.
    fn turn(&self) -> Again;
}

/// Runs a turn within something: a team of threads that share its operations, say.
pub type Around = Arc<dyn Fn(&mut dyn FnMut()) + Send + Sync>;

/// What turns are run within, and which of them.
#[derive(Clone)]
pub struct Within {
    pub around: Around,
    /// Only turns that have the machine to themselves when they begin.
    pub only_alone: bool,
}

/// Whether a job wants another turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    No,
    Now,
    /// Not before then.
    At(Instant),
}

/// Owns the threads. Dropping it lets each finish its turn and waits for it.
pub struct Lanes {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// Sees how busy the lanes are, and makes flows.
#[derive(Clone)]
pub struct Traffic(Arc<Shared>);

/// A job's place in the lanes. Dropping it takes the job's turns out of line.
pub struct Flow {
    shared: Arc<Shared>,
    member: Arc<Member>,
}

struct Member {
    id: FlowId,
    /// Its flow was dropped.
    gone: AtomicBool,
    weight: u32,
    job: Arc<dyn Job>,
    within: Option<Within>,
}

impl Member {
    fn turn(&self, alone: bool) -> Again {
        let Some(within) = self.within.as_ref().filter(|within| alone || !within.only_alone) else {
            return self.job.turn();
        };
        let mut again = Again::No;
        (within.around)(&mut || again = self.job.turn());
        again
    }
}

struct Shared {
    short: Lane,
    long: Lane,
    started: Instant,
    flows: AtomicU64,
}

struct Lane {
    state: Mutex<State>,
    wake: Condvar,
    seats: Vec<Seat>,
    /// For turns on the threads of those who ask for them: as many as the lane has threads.
    guests: Vec<Seat>,
}

#[derive(Default)]
struct State {
    queue: FairQueue<Arc<Member>>,
    /// Threads that wait to be woken. While all are at work, nobody need be: each looks here next.
    asleep: usize,
    stopping: bool,
}

/// What one thread shows of itself, in nanoseconds.
#[derive(Default)]
struct Seat {
    /// When the current turn began, since the start; 0 while idle.
    busy_since: AtomicU64,
    /// In turns that are over.
    busy: AtomicU64,
}

impl Lanes {
    /// Starts `count` threads a lane, at least one.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(count: usize) -> std::io::Result<Self> {
        let count = count.max(1);
        let shared = Arc::new(Shared {
            short: Lane::new(count),
            long: Lane::new(count),
            started: Instant::now(),
            flows: AtomicU64::new(0),
        });
        let mut threads = Vec::with_capacity(2 * count);
        for long in [false, true] {
            for index in 0..count {
                let shared = Arc::clone(&shared);
                let name = if long { "long" } else { "short" };
                let body = move || {
                    if long {
                        yield_to_others();
                    }
                    shared.work(shared.lane(long), index);
                };
                let name = format!("{name}-{index}");
                threads.push(std::thread::Builder::new().name(name).spawn(body)?);
            }
        }
        Ok(Self { shared, threads })
    }

    #[must_use]
    pub fn traffic(&self) -> Traffic {
        Traffic(Arc::clone(&self.shared))
    }

    /// Whether every thread is there and none is stuck in a turn.
    #[must_use]
    pub fn alive(&self) -> bool {
        let now = self.shared.now();
        self.threads.iter().all(|thread| !thread.is_finished())
            && self.shared.seats().all(|seat| {
                let since = seat.busy_since.load(Ordering::Relaxed);
                since == 0 || now.saturating_sub(since) < nanos(STALL)
            })
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        for lane in [&self.shared.short, &self.shared.long] {
            lane.state().stopping = true;
            lane.wake.notify_all();
        }
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing left to wait for.
            let _ = thread.join();
        }
    }
}

impl Traffic {
    /// Threads a lane: how many turns of one kind can run at once.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.0.short.seats.len()
    }

    /// A name for the flows of one model.
    #[must_use]
    pub fn name(&self) -> FlowId {
        self.0.flows.fetch_add(1, Ordering::Relaxed)
    }

    /// Puts a job of the model `id` among the others. While several models have work, each gets time by its
    /// weight.
    pub fn flow(&self, id: FlowId, job: Arc<dyn Job>, weight: u32, within: Option<Within>) -> Flow {
        let member = Arc::new(Member {
            id,
            weight: weight.max(1),
            gone: AtomicBool::new(false),
            job,
            within,
        });
        Flow { shared: Arc::clone(&self.0), member }
    }

    /// Turns under way.
    #[must_use]
    pub fn running(&self) -> usize {
        self.0.running()
    }

    /// What all threads have spent in turns since the start, those under way included.
    #[must_use]
    pub fn busy(&self) -> Duration {
        let now = self.0.now();
        let seats = self.0.seats().map(|seat| {
            let since = seat.busy_since.load(Ordering::Relaxed);
            let current = if since == 0 { 0 } else { now.saturating_sub(since) };
            seat.busy.load(Ordering::Relaxed) + current
        });
        Duration::from_nanos(seats.sum())
    }
}

impl Flow {
    /// Asks for a turn as soon as a thread is free, and not before that time where one is given.
    pub fn ask(&self, not_before: Option<Instant>) {
        self.shared.ask(&self.member, not_before, None);
    }

    /// Does a turn on this thread, if it is so short that waking another would take longer and nobody waits for
    /// one. Says whether it did.
    pub fn here(&self) -> bool {
        self.shared.here(&self.member)
    }

    /// Turns that were to wait go on at once.
    pub fn hurry(&self) {
        for lane in [&self.shared.short, &self.shared.long] {
            lane.state().queue.hurry(self.member.id);
            lane.wake.notify_all();
        }
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.member.gone.store(true, Ordering::Release);
        for lane in [&self.shared.short, &self.shared.long] {
            let gone = |member: &Arc<Member>| Arc::ptr_eq(member, &self.member);
            lane.state().queue.forget(self.member.id, gone);
        }
    }
}

impl Shared {
    fn lane(&self, long: bool) -> &Lane {
        if long { &self.long } else { &self.short }
    }

    /// Whether the turn that asks is the only one, and none waits.
    fn is_quiet(&self) -> bool {
        self.running() == 1
            && self.short.state().queue.is_empty()
            && self.long.state().queue.is_empty()
    }

    /// What nobody has seen run may take long.
    fn lane_of(&self, predicted: Option<Duration>) -> &Lane {
        self.lane(predicted.is_none_or(|time| time > SHORT_MAX))
    }

    fn running(&self) -> usize {
        self.seats().filter(|seat| seat.busy_since.load(Ordering::Relaxed) != 0).count()
    }

    fn seats(&self) -> impl Iterator<Item = &Seat> {
        [&self.short, &self.long].into_iter().flat_map(|lane| lane.seats.iter().chain(&lane.guests))
    }

    /// `looking` is the lane where the thread that asks looks next.
    fn ask(&self, member: &Arc<Member>, not_before: Option<Instant>, looking: Option<&Lane>) {
        let predicted = member.job.predicted();
        let lane = self.lane_of(predicted);
        let predicted = predicted.unwrap_or(SHORT_MAX);
        let claim = Claim { flow: member.id, weight: member.weight, predicted, not_before };
        let mut state = lane.state();
        // Looked at under the lock, so that a flow that is dropped meanwhile finds the turn or prevents it.
        if member.gone.load(Ordering::Acquire) {
            return;
        }
        state.queue.push(claim, Arc::clone(member));
        // A text's next step is taken by the thread that took the last: a wake would cost more than the step.
        let wakes = state.asleep > 0 && looking.is_none_or(|own| !std::ptr::eq(own, lane));
        drop(state);
        if wakes {
            lane.wake.notify_one();
        }
    }

    fn work(&self, lane: &Lane, index: usize) {
        let seat = &lane.seats[index];
        while let Some((claim, member)) = lane.next() {
            // Other work may have come before what the turn was asked for.
            if !std::ptr::eq(self.lane_of(member.job.predicted()), lane) {
                lane.state().queue.correct(claim, Duration::ZERO);
                self.ask(&member, None, Some(lane));
                continue;
            }
            seat.busy_since.store(self.now(), Ordering::Relaxed);
            let alone = claim.predicted >= ALONE_MIN && self.is_quiet();
            let (again, took) = seat.turn(&member, alone);
            lane.state().queue.correct(claim, took);
            self.go_on(&member, again, Some(lane));
        }
    }

    fn here(&self, member: &Arc<Member>) -> bool {
        let lane = &self.short;
        if member.job.predicted().is_none_or(|time| time > HERE_MAX) || !lane.nobody_waits() {
            return false;
        }
        let now = self.now();
        let Some(seat) = lane.guests.iter().find(|seat| seat.claim(now)) else { return false };
        let (again, _) = seat.turn(member, false);
        self.go_on(member, again, None);
        true
    }

    fn go_on(&self, member: &Arc<Member>, again: Again, looking: Option<&Lane>) {
        match again {
            Again::No => {}
            Again::Now => self.ask(member, None, looking),
            Again::At(time) => self.ask(member, Some(time), looking),
        }
    }

    /// Since the start, and never 0.
    fn now(&self) -> u64 {
        nanos(self.started.elapsed()).max(1)
    }
}

impl Seat {
    fn claim(&self, now: u64) -> bool {
        self.busy_since.compare_exchange(0, now, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Does one turn of whoever has this seat, and leaves it. A job guards its own network; whatever else
    /// panics must not take the thread with it.
    fn turn(&self, member: &Member, alone: bool) -> (Again, Duration) {
        let began = Instant::now();
        let again = catch_unwind(AssertUnwindSafe(|| member.turn(alone))).unwrap_or_else(|_| {
            tracing::error!("a turn panicked");
            // It may have left work that nobody else would ask a turn for.
            Again::At(Instant::now() + AFTER_PANIC)
        });
        let took = began.elapsed();
        self.busy.fetch_add(nanos(took), Ordering::Relaxed);
        self.busy_since.store(0, Ordering::Release);
        (again, took)
    }
}

impl Lane {
    fn new(threads: usize) -> Self {
        let seats = || (0..threads).map(|_| Seat::default()).collect();
        Self { state: Mutex::default(), wake: Condvar::new(), seats: seats(), guests: seats() }
    }

    fn nobody_waits(&self) -> bool {
        self.state().queue.is_empty()
    }

    /// The next turn, once there is one; `None` when the lane closes.
    fn next(&self) -> Option<(Claim, Arc<Member>)> {
        let mut state = self.state();
        loop {
            if state.stopping {
                return None;
            }
            let now = Instant::now();
            let patience = match state.queue.pop(now) {
                Next::Turn(claim, member) => {
                    // This thread may have been the one that would wake for a turn that waits.
                    if state.asleep > 0 && !state.queue.is_empty() {
                        self.wake.notify_one();
                    }
                    return Some((claim, member));
                }
                Next::At(time) => time.saturating_duration_since(now),
                Next::Nothing => Duration::MAX,
            };
            state.asleep += 1;
            let woken = self.wake.wait_timeout(state, patience);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
            state.asleep -= 1;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets every thread of ordinary priority go first. Where the system refuses, the lanes are equals.
#[cfg(target_os = "linux")]
fn yield_to_others() {
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), LONG_NICENESS) {
        tracing::warn!(%error, "the long lane keeps the priority of the short one");
    }
}

/// Linux alone has a priority for each thread.
#[cfg(not(target_os = "linux"))]
fn yield_to_others() {}

#[cfg(test)]
mod tests;
