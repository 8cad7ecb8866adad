//! Threads that share the work of one operation.
//!
//! For throughput each worker runs batches of its own, with one thread inside. A team is for the other
//! case: one answer is wanted soon, and other cores have nothing to do. Its threads spin while an
//! installed closure runs, since an operation lasts some microseconds only, and sleep in between.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Some threads, the calling one included.
pub struct Team {
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Whether a closure is installed: helpers spin then.
    awake: Mutex<Stage>,
    changed: Condvar,
    spinning: AtomicBool,
    busy: AtomicBool,
    /// The task, how many pieces it has, and the next one that nobody has claimed: see [`Claim`].
    claim: AtomicU64,
    work: AtomicPtr<Task<'static>>,
    /// Pieces of the task that are done.
    done: AtomicUsize,
    failed: AtomicBool,
    /// Threads beside the calling one.
    helpers: AtomicUsize,
}

/// What the word `claim` holds. A piece is claimed by raising `next` while the task is still the same; who
/// has claimed one may use the task's work until it says that the piece is done.
#[derive(Clone, Copy)]
struct Claim {
    task: u32,
    pieces: u16,
    next: u16,
}

impl Claim {
    fn of(word: u64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "the parts of the word")]
        Self { task: (word >> 32) as u32, pieces: (word >> 16) as u16, next: word as u16 }
    }

    fn word(self) -> u64 {
        u64::from(self.task) << 32 | u64::from(self.pieces) << 16 | u64::from(self.next)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Asleep,
    Awake,
    Over,
}

/// What is done with each piece's number.
struct Task<'a>(&'a (dyn Fn(usize) + Sync));

thread_local! {
    /// The team that is installed on this thread.
    static INSTALLED: Cell<*const Shared> = const { Cell::new(std::ptr::null()) };
}

impl Team {
    /// A team of `threads`; fewer when the system gives no more.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        let wanted = threads.saturating_sub(1);
        let shared = Arc::new(Shared {
            awake: Mutex::new(Stage::Asleep),
            changed: Condvar::new(),
            spinning: AtomicBool::new(false),
            busy: AtomicBool::new(false),
            claim: AtomicU64::new(0),
            work: AtomicPtr::new(std::ptr::null_mut()),
            done: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            helpers: AtomicUsize::new(0),
        });
        let start = |number: usize| {
            let shared = Arc::clone(&shared);
            let name = format!("maas-team-{number}");
            std::thread::Builder::new().name(name).spawn(move || shared.help()).ok()
        };
        let helpers: Vec<JoinHandle<()>> = (1..=wanted).map_while(start).collect();
        shared.helpers.store(helpers.len(), Ordering::Relaxed);
        Self { shared, helpers }
    }

    /// Runs `f` with the team at hand: operations inside share their work among its threads.
    pub fn install<R>(&self, f: impl FnOnce() -> R) -> R {
        // One closure at a time: another one runs without the team.
        if self.helpers.is_empty() || self.shared.busy.swap(true, Ordering::Acquire) {
            return f();
        }
        self.shared.set(Stage::Awake);
        let before = INSTALLED.replace(Arc::as_ptr(&self.shared));
        let result = catch_unwind(AssertUnwindSafe(f));
        INSTALLED.set(before);
        self.shared.set(Stage::Asleep);
        self.shared.busy.store(false, Ordering::Release);
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.set(Stage::Over);
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

/// Calls `f` with every number below `pieces`, on whichever thread of the team has nothing to do, and
/// returns when all are done. A thread that the system does not run holds up no piece but its own.
///
/// # Panics
/// When one of the calls does.
pub(super) fn each(pieces: usize, f: &(dyn Fn(usize) + Sync)) {
    let shared = INSTALLED.get();
    // SAFETY: as above.
    match (unsafe { shared.as_ref() }, u16::try_from(pieces)) {
        (Some(shared), Ok(pieces)) => shared.run(pieces, f),
        _ => (0..pieces).for_each(f),
    }
}

impl Shared {
    fn set(&self, stage: Stage) {
        self.spinning.store(stage == Stage::Awake, Ordering::Release);
        *self.awake.lock().unwrap_or_else(PoisonError::into_inner) = stage;
        self.changed.notify_all();
    }

    fn run(&self, pieces: u16, f: &(dyn Fn(usize) + Sync)) {
        let mut task = Task(f);
        self.done.store(0, Ordering::Relaxed);
        self.work.store((&raw mut task).cast(), Ordering::Relaxed);
        let before = Claim::of(self.claim.load(Ordering::Relaxed));
        let now = Claim { task: before.task.wrapping_add(1), pieces, next: 0 };
        self.claim.store(now.word(), Ordering::Release);
        // Work inside a task is not shared again.
        let team = INSTALLED.replace(std::ptr::null());
        self.take_part();
        while self.done.load(Ordering::Acquire) < usize::from(pieces) {
            std::hint::spin_loop();
        }
        INSTALLED.set(team);
        assert!(!self.failed.swap(false, Ordering::Relaxed), "a piece of shared work panicked");
    }

    /// Does pieces of the task until none is left to claim.
    fn take_part(&self) {
        while let Some(piece) = self.claim_piece() {
            // SAFETY: whoever made the task waits until this piece is done.
            let f = unsafe { (*self.work.load(Ordering::Relaxed)).0 };
            if catch_unwind(AssertUnwindSafe(|| f(piece))).is_err() {
                self.failed.store(true, Ordering::Relaxed);
            }
            self.done.fetch_add(1, Ordering::Release);
        }
    }

    fn claim_piece(&self) -> Option<usize> {
        let next = |word| {
            let claim = Claim::of(word);
            (claim.next < claim.pieces).then(|| Claim { next: claim.next + 1, ..claim }.word())
        };
        let before = self.claim.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).ok()?;
        Some(usize::from(Claim::of(before).next))
    }

    /// The life of a helper.
    fn help(&self) {
        loop {
            while self.spinning.load(Ordering::Acquire) {
                self.take_part();
                std::hint::spin_loop();
            }
            let mut stage = self.awake.lock().unwrap_or_else(PoisonError::into_inner);
            while *stage == Stage::Asleep {
                stage = self.changed.wait(stage).unwrap_or_else(PoisonError::into_inner);
            }
            if *stage == Stage::Over {
                return;
            }
        }
    }
}
