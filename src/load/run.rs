//! Level by level: warm-up, window, the last answers, figures.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;
use tokio::time::{sleep_until, timeout};

use crate::load::arrivals::{Arrivals, Spread};
use crate::load::client::Client;
use crate::load::closed::Closed;
use crate::load::cpu;
use crate::load::open::{Open, Schedule};
use crate::load::plan::{Extent, Level, LoadError, Plan};
use crate::load::report::{Latency, ProbeRow, Row, rounded};
use crate::load::shared::Shared;
use crate::load::shot::Shot;
use crate::load::tally::{Counts, Tally, Window};

/// Probes a second: enough for a 99th percentile of a level of some seconds, too few to be a load.
const PROBES_PER_S: f64 = 20.0;
const PROBE_CONNECTIONS_MAX: usize = 64;

/// Of a failure's body, in its error text.
const QUOTED_BYTES: usize = 400;

/// Runs every level of a plan, after one request of each kind that must not be refused. `shown` is given each
/// level's figures as soon as they are there, and the first connection error where there was one.
///
/// # Errors
/// [`LoadError`] when the server cannot be reached, or refuses what it is to be loaded with.
pub fn run(plan: &Plan, mut shown: impl FnMut(&Row, Option<&str>)) -> Result<Vec<Row>, LoadError> {
    let main = runtime(plan.threads)?;
    // A thread of its own: a probe must not wait for the load's answers to be read.
    let probes = runtime(1)?;
    main.block_on(rehearse(plan))?;
    let mut rows = Vec::new();
    for level in plan.levels.each() {
        let (row, error) = main.block_on(run_level(plan, level, probes.handle()))?;
        shown(&row, error.as_deref());
        rows.push(row);
    }
    Ok(rows)
}

fn runtime(threads: usize) -> Result<Runtime, LoadError> {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(LoadError::Threads)
}

/// Sends each request once: a load of requests that are all refused would measure nothing.
async fn rehearse(plan: &Plan) -> Result<(), LoadError> {
    let mut client = Client::new(Arc::new(plan.target.clone()), Arc::default());
    for shot in plan.shots.iter().chain(&plan.probe) {
        let path = shot.uri.to_string();
        let Ok(answer) = timeout(plan.timeout, client.send(shot, QUOTED_BYTES)).await else {
            return Err(LoadError::Silent { path, timeout: plan.timeout });
        };
        let answer = answer?;
        if !matches!(answer.status, 200..300 | 429 | 503) {
            let said = String::from_utf8_lossy(&answer.start).into_owned();
            return Err(LoadError::Refused { path, status: answer.status, said });
        }
    }
    Ok(())
}

async fn run_level(
    plan: &Plan,
    level: Level,
    probes: &Handle,
) -> Result<(Row, Option<String>), LoadError> {
    let start = Instant::now();
    let begin = start + plan.warm_up;
    let end = match plan.extent {
        Extent::Time(time) => Some(begin + time),
        Extent::Requests(_) => None,
    };
    let window = Window { begin, end, open: matches!(level, Level::Open { .. }) };
    let shared = plan.shared(plan.shots.clone(), window, plan.deadline);
    let load = plan.start(level, &shared, start);
    let probe = plan.probe.as_ref().zip(end).map(|(shot, _)| {
        let window = Window { open: true, ..window };
        let shared = plan.shared(vec![shot.clone()], window, None);
        (probe(&shared, start, probes), shared)
    });
    sleep_until(begin.into()).await;
    let before = Reading::now(&shared);
    let (after, connections) = if let Some(end) = end {
        sleep_until(end.into()).await;
        (Reading::now(&shared), load.await?)
    } else {
        let connections = load.await?;
        (Reading::now(&shared), connections)
    };
    let counts = shared.tally.counts();
    let mut row = row(plan, level, &counts, window);
    row.connections = connections;
    before.until(&after, &mut row);
    if let Some((running, shared)) = probe {
        running.await?;
        row.probe = Some(probe_row(&shared));
    }
    Ok((row, counts.first_error))
}

impl Plan {
    fn shared(&self, shots: Vec<Shot>, window: Window, deadline: Option<Duration>) -> Arc<Shared> {
        let tally = Tally::new(window, deadline);
        Arc::new(Shared::new(Arc::new(self.target.clone()), shots.into(), tally, self.timeout))
    }

    /// Starts a level. It ends in the number of its connections.
    fn start(&self, level: Level, shared: &Arc<Shared>, start: Instant) -> JoinHandle<usize> {
        let requests = match self.extent {
            Extent::Time(_) => None,
            Extent::Requests(number) => Some(number),
        };
        let shared = Arc::clone(shared);
        match level {
            Level::Closed { clients, patient } => {
                let left = AtomicU64::new(requests.unwrap_or(0));
                let closed = Arc::new(Closed { shared, left, patient });
                tokio::spawn(async move {
                    closed.run(clients).await;
                    clients
                })
            }
            Level::Open { rate, spread, seed, connections_max } => {
                let arrivals = Arrivals::new(spread, rate, seed);
                let open = Open::new(shared, connections_max);
                tokio::spawn(open.run(Schedule { start, arrivals, requests }))
            }
        }
    }
}

fn probe(shared: &Arc<Shared>, start: Instant, runtime: &Handle) -> JoinHandle<usize> {
    let arrivals = Arrivals::new(Spread::Constant, PROBES_PER_S, 0);
    let open = Open::new(Arc::clone(shared), PROBE_CONNECTIONS_MAX);
    runtime.spawn(open.run(Schedule { start, arrivals, requests: None }))
}

/// What is read at both ends of the window.
struct Reading {
    at: Instant,
    cpu: Option<Duration>,
    sent: u64,
    received: u64,
}

impl Reading {
    fn now(shared: &Shared) -> Self {
        let (sent, received) = (shared.traffic.sent(), shared.traffic.received());
        Self { at: Instant::now(), cpu: cpu::used(), sent, received }
    }

    fn until(&self, end: &Self, row: &mut Row) {
        row.bytes_sent = end.sent - self.sent;
        row.bytes_received = end.received - self.received;
        let cores = |(from, to): (Duration, Duration)| {
            let used = to.saturating_sub(from).as_secs_f64();
            rounded(used / (end.at - self.at).as_secs_f64(), 1e3)
        };
        row.generator_cores = self.cpu.zip(end.cpu).map(cores);
    }
}

fn row(plan: &Plan, level: Level, counts: &Counts, window: Window) -> Row {
    let last = counts.last.unwrap_or((window.begin, window.begin));
    let since = |end: Instant| end.saturating_duration_since(window.begin).as_secs_f64();
    // Where a number of requests is the end, arrivals end with the last and answers with the last of them.
    let (arrivals, answers) = window.end.map_or((last.0, last.1), |end| (end, end));
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let per_s = |count: u64, seconds: f64| {
        if seconds > 0.0 { rounded(count as f64 / seconds, 1e2) } else { 0.0 }
    };
    let seconds = since(answers);
    let (kind, rate, concurrency) = match level {
        Level::Open { rate, .. } => ("open", Some(rate), None),
        Level::Closed { clients, .. } => ("closed", None, Some(clients)),
    };
    Row {
        url: format!(
            "http://{}{}",
            plan.target.host,
            plan.shots.first().map_or("", |shot| shot.uri.path())
        ),
        kind,
        rate,
        concurrency,
        seconds: rounded(seconds, 1e3),
        requests: counts.requests,
        offered_per_s: rate.map(|_| per_s(counts.requests + counts.unsent, since(arrivals))),
        achieved_per_s: per_s(counts.answered, seconds),
        goodput_per_s: per_s(counts.good, seconds),
        deadline_ms: plan.deadline.and_then(|time| u64::try_from(time.as_millis()).ok()),
        latency_ms: Latency::from(&counts.latency),
        status: counts.into(),
        retry_after_s: (&counts.retry_after).into(),
        connections: 0,
        connection_errors: counts.errors,
        unanswered: counts.unanswered,
        held: counts.held,
        unsent: counts.unsent,
        bytes_sent: 0,
        bytes_received: 0,
        generator_cores: None,
        probe: None,
    }
}

fn probe_row(shared: &Shared) -> ProbeRow {
    let counts = shared.tally.counts();
    ProbeRow {
        path: shared.shots[0].uri.to_string(),
        requests: counts.requests,
        failed: counts.requests + counts.unsent - counts.ok,
        latency_ms: Latency::from(&counts.latency),
    }
}
