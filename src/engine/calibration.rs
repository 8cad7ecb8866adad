//! Measures the curve of a network in idle time, one forward pass a turn, so that no request waits for more.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::engine::Network;
use crate::engine::batch::Size;
use crate::engine::curve::{Curve, Point};
use crate::engine::lanes::{Again, Job, Traffic};
use crate::engine::pace::nanos;
use crate::engine::queue::Queue;

/// Passes of one size. The fastest is kept: what disturbs a pass only ever adds to it.
const PASSES: usize = 5;
/// A batch that takes this long is the largest that is tried.
const LONGEST: Duration = Duration::from_millis(200);
/// While others run: when to look again.
const PATIENCE: Duration = Duration::from_millis(100);

/// What is done with the curve.
pub type Measured = Box<dyn FnOnce(&Curve) + Send>;

/// A measurement under way.
pub struct Calibration<N: Network> {
    queue: Arc<Queue<N>>,
    probe: N::Sample,
    traffic: Traffic,
    progress: Mutex<Progress>,
}

struct Progress {
    rows: usize,
    /// Of this size.
    passes: usize,
    fastest: Duration,
    points: Vec<Point>,
    measured: Option<Measured>,
}

impl<N: Network> Calibration<N> {
    pub fn new(
        queue: Arc<Queue<N>>,
        probe: N::Sample,
        traffic: Traffic,
        measured: Measured,
    ) -> Self {
        let progress = Progress {
            rows: 1,
            passes: 0,
            fastest: Duration::MAX,
            points: Vec::new(),
            measured: Some(measured),
        };
        Self { queue, probe, traffic, progress: Mutex::new(progress) }
    }

    /// One forward pass; `None` when the network fails, which a request will meet and tell.
    fn pass(&self, rows: usize) -> Option<Duration> {
        let samples = vec![&self.probe; rows];
        let began = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| self.queue.network.run(&samples)));
        matches!(outcome, Ok(Ok(_))).then(|| began.elapsed())
    }

    fn cost(&self, rows: usize) -> usize {
        let cost = self.queue.network.cost(&self.probe);
        Size::of(std::iter::repeat_n(cost, rows)).cost(self.queue.network.pads())
    }

    /// Takes one time; `false` when all is measured.
    fn note(&self, progress: &mut Progress, time: Duration) -> bool {
        progress.passes += 1;
        progress.fastest = progress.fastest.min(time);
        if progress.passes < PASSES {
            return true;
        }
        let fastest = std::mem::replace(&mut progress.fastest, Duration::MAX);
        progress.passes = 0;
        let (rows, cost) = (progress.rows, self.cost(progress.rows));
        progress.points.push(Point { rows, cost, nanos: nanos(fastest) });
        self.queue.pace.learn(cost, fastest);
        progress.rows *= 2;
        let limits = &self.queue.control.limits;
        fastest < LONGEST
            && progress.rows <= limits.batch_rows_max
            && self.cost(progress.rows) <= limits.batch_cost_max
    }
}

impl<N: Network> Job for Calibration<N> {
    fn predicted(&self) -> Option<Duration> {
        let rows = self.progress.lock().unwrap_or_else(PoisonError::into_inner).rows;
        self.queue.pace.predict(self.cost(rows))
    }

    fn turn(&self) -> Again {
        // This turn is one of those that run.
        if self.traffic.running() > 1 {
            return Again::At(Instant::now() + PATIENCE);
        }
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(time) = self.pass(progress.rows) else { return Again::No };
        if self.note(&mut progress, time) {
            return Again::Now;
        }
        let curve = Curve { points: std::mem::take(&mut progress.points) };
        self.queue.tune(&curve);
        if let Some(measured) = progress.measured.take() {
            measured(&curve);
        }
        Again::No
    }
}
