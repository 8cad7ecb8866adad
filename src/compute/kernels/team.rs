//! Threads that share the work of one operation.
//!
//! For throughput each worker runs batches of its own, with one thread inside. A team is for the other
//! case: one answer is wanted soon, and other cores have nothing to do. Its threads spin while an
//! installed closure runs, since an operation lasts some microseconds only, and sleep in between.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
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
    /// Counts tasks; a helper that sees a new number takes part in it.
    task: AtomicUsize,
    work: AtomicPtr<Task<'static>>,
    /// Helpers that have not finished the task.
    left: AtomicUsize,
    failed: AtomicBool,
    helpers: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Asleep,
    Awake,
    Over,
}

/// What each thread does with its number.
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
            task: AtomicUsize::new(0),
            work: AtomicPtr::new(std::ptr::null_mut()),
            left: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            helpers: wanted,
        });
        let start = |number: usize| {
            let shared = Arc::clone(&shared);
            let name = format!("maas-team-{number}");
            std::thread::Builder::new().name(name).spawn(move || shared.help(number)).ok()
        };
        let helpers = (1..=wanted).map_while(start).collect();
        Self { shared, helpers }
    }

    /// Runs `f` with the team at hand: operations inside share their work among its threads.
    pub fn install<R>(&self, f: impl FnOnce() -> R) -> R {
        if self.helpers.len() < self.shared.helpers || self.helpers.is_empty() {
            return f();
        }
        self.shared.set(Stage::Awake);
        let before = INSTALLED.replace(Arc::as_ptr(&self.shared));
        let result = catch_unwind(AssertUnwindSafe(f));
        INSTALLED.set(before);
        self.shared.set(Stage::Asleep);
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
    unsafe { shared.as_ref() }.map_or(1, |shared| shared.helpers + 1)
}

/// Calls `f` with every number below [`threads`], each on a thread of its own, and waits for all.
///
/// # Panics
/// When one of the calls does.
pub(super) fn each(f: &(dyn Fn(usize) + Sync)) {
    let shared = INSTALLED.get();
    // SAFETY: as above.
    match unsafe { shared.as_ref() } {
        Some(shared) => shared.run(f),
        None => f(0),
    }
}

impl Shared {
    fn set(&self, stage: Stage) {
        self.spinning.store(stage == Stage::Awake, Ordering::Release);
        *self.awake.lock().unwrap_or_else(PoisonError::into_inner) = stage;
        self.changed.notify_all();
    }

    fn run(&self, f: &(dyn Fn(usize) + Sync)) {
        let mut task = Task(f);
        self.left.store(self.helpers, Ordering::Relaxed);
        self.work.store((&raw mut task).cast(), Ordering::Relaxed);
        self.task.fetch_add(1, Ordering::Release);
        // Work inside a task is not shared again.
        let team = INSTALLED.replace(std::ptr::null());
        let own = catch_unwind(AssertUnwindSafe(|| f(0)));
        while self.left.load(Ordering::Acquire) > 0 {
            std::hint::spin_loop();
        }
        INSTALLED.set(team);
        if let Err(panic) = own {
            resume_unwind(panic);
        }
        assert!(!self.failed.swap(false, Ordering::Relaxed), "a thread of the team panicked");
    }

    /// The life of a helper.
    fn help(&self, number: usize) {
        let mut seen = 0;
        loop {
            while self.spinning.load(Ordering::Acquire) {
                let task = self.task.load(Ordering::Acquire);
                if task == seen {
                    std::hint::spin_loop();
                    continue;
                }
                seen = task;
                // SAFETY: whoever made the task waits until `left` is 0.
                let f = unsafe { (*self.work.load(Ordering::Relaxed)).0 };
                if catch_unwind(AssertUnwindSafe(|| f(number))).is_err() {
                    self.failed.store(true, Ordering::Relaxed);
                }
                self.left.fetch_sub(1, Ordering::Release);
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
