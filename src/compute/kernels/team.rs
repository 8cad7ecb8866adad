//! Threads that share the work of one operation.
//!
//! For throughput each worker runs batches of its own, with one thread inside. A team is for the other
//! case: one answer is wanted soon, and other cores have nothing to do. Its threads spin while an
//! installed closure runs and a little longer, since an operation lasts some microseconds only and to wake a
//! thread takes more, and sleep after that.

use std::cell::Cell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A bit of a word for each piece of a task, and so no more threads than that.
const PIECES_MAX: usize = u64::BITS as usize;

/// How long helpers spin after a closure has ended: another one often follows at once.
const LINGER: Duration = Duration::from_micros(100);

/// Some threads, the calling one included.
pub struct Team {
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Whether a closure is installed: helpers look for pieces then.
    installed: AtomicBool,
    over: AtomicBool,
    /// Helpers that sleep, or are about to.
    asleep: AtomicUsize,
    lock: Mutex<()>,
    woken: Condvar,
    /// Pieces of the task that nobody has claimed, a bit each. Who has claimed one may use the task's work
    /// until it says that the piece is done.
    open: AtomicU64,
    /// How many pieces the task has.
    pieces: AtomicUsize,
    work: AtomicPtr<Task<'static>>,
    /// Pieces of the task that are done.
    done: AtomicUsize,
    failed: AtomicBool,
    /// Threads beside the calling one.
    helpers: AtomicUsize,
}

/// What is done with each piece's number.
struct Task<'a>(&'a (dyn Fn(usize) + Sync));

thread_local! {
    /// The team that is installed on this thread.
    static INSTALLED: Cell<*const Shared> = const { Cell::new(std::ptr::null()) };
}

impl Team {
    /// A team of `threads`, 64 at most; fewer when the system gives no more.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        let wanted = threads.min(PIECES_MAX).saturating_sub(1);
        let shared = Arc::new(Shared {
            installed: AtomicBool::new(false),
            over: AtomicBool::new(false),
            asleep: AtomicUsize::new(0),
            lock: Mutex::new(()),
            woken: Condvar::new(),
            open: AtomicU64::new(0),
            pieces: AtomicUsize::new(0),
            work: AtomicPtr::new(std::ptr::null_mut()),
            done: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            helpers: AtomicUsize::new(0),
        });
        let start = |number: usize| {
            let shared = Arc::clone(&shared);
            let name = format!("maas-team-{number}");
            std::thread::Builder::new().name(name).spawn(move || shared.help(number)).ok()
        };
        let helpers: Vec<JoinHandle<()>> = (1..=wanted).map_while(start).collect();
        shared.helpers.store(helpers.len(), Ordering::Relaxed);
        Self { shared, helpers }
    }

    /// Runs `f` with the team at hand: operations inside share their work among its threads.
    pub fn install<R>(&self, f: impl FnOnce() -> R) -> R {
        // One closure at a time: another one runs without the team.
        if self.helpers.is_empty() || self.shared.installed.swap(true, Ordering::SeqCst) {
            return f();
        }
        self.shared.wake();
        let before = INSTALLED.replace(Arc::as_ptr(&self.shared));
        let result = catch_unwind(AssertUnwindSafe(f));
        INSTALLED.set(before);
        self.shared.installed.store(false, Ordering::Release);
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        self.shared.wake();
        for helper in self.helpers.drain(..) {
            // A helper never panics: it catches what its tasks do.
            let _ = helper.join();
        }
    }
}

/// How many threads an operation on this thread may share its work among.
pub(super) fn threads() -> usize {
    let shared = INSTALLED.get();
    // SAFETY: a team that is installed lives until the closure it was installed for has ended.
    unsafe { shared.as_ref() }.map_or(1, |shared| shared.helpers.load(Ordering::Relaxed) + 1)
}

/// Calls `f` with every number below `pieces`, and returns when all are done. Each thread of the team begins
/// at its own share of them, the same one each time, so that what it wrote for one operation is in its
/// cache for the next; then it does what others have not begun. A thread that the system does not run
/// holds up no piece but its own.
///
/// # Panics
/// When one of the calls does.
pub(super) fn each(pieces: usize, f: &(dyn Fn(usize) + Sync)) {
    let shared = INSTALLED.get();
    // SAFETY: as above.
    let Some(shared) = (unsafe { shared.as_ref() }) else {
        return (0..pieces).for_each(f);
    };
    // A bit for each piece, or for some of them.
    let some = pieces.div_ceil(PIECES_MAX).max(1);
    shared.run(pieces.div_ceil(some), &|group| {
        (group * some..((group + 1) * some).min(pieces)).for_each(f);
    });
}

/// Multiply-adds, or floats that are moved, that are worth a second thread: some microseconds.
pub(super) const SHARED_MIN: usize = 1 << 18;

/// Pieces of shared work for each thread: some more than one, as none waits for another.
const PIECES: usize = 3;

/// As many where work lasts: a core that others use too may be a third slower than the next for a while.
const PIECES_MOST: usize = 8;

/// Multiply-adds that a piece beyond the first ones is worth, twenty or thirty microseconds.
const PIECE_WORK: usize = 1 << 20;

/// Calls `f` with ranges that are all of `0..count` together, each but the last a multiple of `unit` and
/// about as long as the others: see [`each`]. `work` is how many multiply-adds they are together.
pub(super) fn share(count: usize, unit: usize, work: usize, f: &(dyn Fn(Range<usize>) + Sync)) {
    let (units, threads) = (count.div_ceil(unit), threads());
    let most = PIECES_MAX / threads;
    let each_of = (work / PIECE_WORK / threads).clamp(PIECES.min(most), PIECES_MOST.min(most));
    let pieces = units.min(threads * each_of);
    let start = |piece: usize| (units * piece / pieces * unit).min(count);
    each(pieces, &|piece| f(start(piece)..start(piece + 1)));
}

/// Calls `f` with rows of `out`, `width` floats each, and their numbers: all of them together, shared as by
/// [`share`] where that is worth it.
pub(super) fn share_rows(
    out: &mut [f32],
    width: usize,
    work: usize,
    f: &(dyn Fn(Range<usize>, &mut [f32]) + Sync),
) {
    let count = out.len() / width.max(1);
    if work < SHARED_MIN || threads() == 1 {
        return f(0..count, &mut out[..count * width]);
    }
    let out = &Place(out.as_mut_ptr());
    share(count, 1, work, &|own| {
        // SAFETY: the rows are within the slice, which is borrowed until all pieces are done, and no two pieces have
        // one in common.
        let rows =
            unsafe { std::slice::from_raw_parts_mut(out.at(own.start * width), own.len() * width) };
        f(own, rows);
    });
}

/// Where rows lie that threads write, each its own.
struct Place(*mut f32);

// SAFETY: see `share_rows`, which alone makes one.
unsafe impl Sync for Place {}

impl Place {
    fn at(&self, offset: usize) -> *mut f32 {
        self.0.wrapping_add(offset)
    }
}

impl Shared {
    /// Wakes the helpers that sleep, after what they wait for has become true.
    fn wake(&self) {
        // A helper counts itself before it looks a last time: one of the two sees the other.
        if self.asleep.load(Ordering::SeqCst) > 0 {
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.woken.notify_all();
        }
    }

    fn run(&self, pieces: usize, f: &(dyn Fn(usize) + Sync)) {
        if pieces == 0 {
            return;
        }
        let mut task = Task(f);
        self.done.store(0, Ordering::Relaxed);
        self.pieces.store(pieces, Ordering::Relaxed);
        self.work.store((&raw mut task).cast(), Ordering::Relaxed);
        self.open.store(u64::MAX >> (PIECES_MAX - pieces), Ordering::Release);
        // Work inside a task is not shared again.
        let team = INSTALLED.replace(std::ptr::null());
        self.take_part(0);
        while self.done.load(Ordering::Acquire) < pieces {
            std::hint::spin_loop();
        }
        INSTALLED.set(team);
        assert!(!self.failed.swap(false, Ordering::Relaxed), "a piece of shared work panicked");
    }

    /// Does pieces of the task until none is left to claim.
    fn take_part(&self, thread: usize) {
        while let Some(piece) = self.claim(thread) {
            // SAFETY: whoever made the task waits until this piece is done.
            let f = unsafe { (*self.work.load(Ordering::Relaxed)).0 };
            if catch_unwind(AssertUnwindSafe(|| f(piece))).is_err() {
                self.failed.store(true, Ordering::Relaxed);
            }
            self.done.fetch_add(1, Ordering::Release);
        }
    }

    /// A piece that nobody has claimed: the first from the thread's own share on, and around the end.
    fn claim(&self, thread: usize) -> Option<usize> {
        let mut open = self.open.load(Ordering::Acquire);
        while open != 0 {
            let threads = self.helpers.load(Ordering::Relaxed) + 1;
            let own = thread * self.pieces.load(Ordering::Relaxed) / threads;
            let later = open >> own << own;
            let piece = if later == 0 { open } else { later }.trailing_zeros();
            let rest = open & !(1 << piece);
            match self.open.compare_exchange_weak(open, rest, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(piece as usize),
                Err(now) => open = now,
            }
        }
        None
    }

    /// The life of a helper.
    fn help(&self, number: usize) {
        let mut ended = Instant::now();
        while !self.over.load(Ordering::SeqCst) {
            if self.installed.load(Ordering::Acquire) {
                while self.installed.load(Ordering::Acquire) {
                    self.take_part(number);
                    std::hint::spin_loop();
                }
                ended = Instant::now();
            } else if ended.elapsed() < LINGER {
                std::hint::spin_loop();
            } else {
                self.sleep();
            }
        }
    }

    fn sleep(&self) {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.asleep.fetch_add(1, Ordering::SeqCst);
        while !self.installed.load(Ordering::SeqCst) && !self.over.load(Ordering::SeqCst) {
            lock = self.woken.wait(lock).unwrap_or_else(PoisonError::into_inner);
        }
        self.asleep.fetch_sub(1, Ordering::SeqCst);
    }
}
