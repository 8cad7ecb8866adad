//! `maas bench MODEL --in-process`: a network timed without a server around it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::arch::{self, OpenContext, Timed};
use crate::cli::Outcome;
use crate::cli::bench::{self, newest, read};
use crate::cli::settings::placement;
use crate::compute::Device;
use crate::compute::kernels::{self, Team};
use crate::domain::Item;
use crate::engine::Engine;
use crate::package::Store;

/// How long each row of the table is measured, and how often at least.
const MEASURED: Duration = Duration::from_secs(1);
const RUNS_MIN: usize = 11;
const WARM_UP_RUNS: usize = 3;

#[derive(Debug, clap::Args)]
#[group(id = "in-process flags")]
pub struct Args {
    /// Time a model of the store in this process, without a server
    #[arg(long)]
    pub in_process: bool,
    /// Rows in a batch
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,8,32")]
    #[arg(requires = "in_process")]
    batch: Vec<usize>,
    /// Time the network alone: a ready sample, no decoding; of a generating model one step
    #[arg(long, requires = "in_process")]
    network: bool,
}

/// One row of the table.
#[derive(Debug, Serialize)]
struct Figure {
    model: String,
    batch: usize,
    threads: usize,
    cpu: String,
    median_us: f64,
    p90_us: f64,
    rows_per_s: f64,
    peak_rss_bytes: u64,
}

pub fn run(bench: &bench::Args) -> Outcome {
    let (args, threads) = (&bench.in_process, &bench.threads);
    if args.batch.contains(&0) || threads.contains(&0) {
        return Err("--batch and --threads: expected numbers above 0".into());
    }
    let settings = bench.settings.read()?;
    let (package, _) = newest(&Store::open(&settings.store)?, &bench.target)?;
    let level = kernels::resolve(settings.cpu)?;
    let placement = placement(&settings, Some(&package.manifest.name));
    let engine = Engine::start(1)?;
    let context = OpenContext {
        device: &Device::Cpu,
        level,
        engine: &engine,
        limits: placement.limits,
        media: placement.media,
        intra_op_threads: 1,
    };
    let input = match bench.input.as_slice() {
        [] => None,
        [path] => Some(Item::Opaque(read(path)?.into())),
        _ => return Err("--input with --in-process: expected one file".into()),
    };
    let architecture = arch::find(&package.manifest.architecture.name)?;
    let measured = (architecture.measure)(&package, &context, input)?;
    if !bench.json {
        println!(
            "{:<24} {:>5} {:>7} {:>12} {:>12} {:>10} {:>9}",
            "model", "batch", "threads", "median µs", "p90 µs", "rows/s", "peak MB"
        );
    }
    for &threads in threads {
        for &batch in &args.batch {
            let whole = !args.network;
            let (median, p90) = time(measured.as_ref(), whole, batch, threads)?;
            #[expect(clippy::cast_precision_loss, reason = "a batch is small")]
            let rows_per_s = batch as f64 / median.as_secs_f64();
            let figure = Figure {
                model: package.label(),
                batch,
                threads,
                cpu: level.to_string(),
                median_us: microseconds(median),
                p90_us: microseconds(p90),
                rows_per_s: (rows_per_s * 10.0).round() / 10.0,
                peak_rss_bytes: peak_rss_bytes(),
            };
            print(&figure, bench.json)?;
        }
    }
    Ok(())
}

/// Median and 90th percentile of running a batch whose rows are shared among threads. Where there are more
/// threads than rows, those of a row share its operations.
fn time(
    measured: &dyn Timed,
    whole: bool,
    batch: usize,
    threads: usize,
) -> Result<(Duration, Duration), String> {
    let shares = threads.min(batch);
    let part = |all: usize, share: usize| all / shares + usize::from(share < all % shares);
    let run = |share: usize, team: &Team| {
        let rows = part(batch, share);
        let run = || if whole { measured.whole(rows) } else { measured.network(rows) };
        catch_unwind(AssertUnwindSafe(|| team.install(run)))
            .unwrap_or_else(|_| Err("the network panicked".to_owned()))
    };
    let team = |share: usize| Team::new(part(threads, share));
    let (go, done, over) = (Gate::new(shares), Gate::new(shares), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for share in 1..shares {
            let (run, go, done, over) = (&run, &go, &done, &over);
            let team = team(share);
            scope.spawn(move || {
                loop {
                    go.wait();
                    if over.load(Ordering::Acquire) {
                        return;
                    }
                    // The same rows fail on the first thread, which says so.
                    let _ = run(share, &team);
                    done.wait();
                }
            });
        }
        let team = team(0);
        let once = || {
            let began = Instant::now();
            go.wait();
            let outcome = run(0, &team);
            done.wait();
            outcome.map(|()| began.elapsed())
        };
        let times = repeat(once);
        over.store(true, Ordering::Release);
        go.wait();
        let mut times = times?;
        times.sort();
        Ok((times[times.len() / 2], times[times.len() * 9 / 10]))
    })
}

/// Where threads wait for each other. They spin: some networks take less time than waking a thread does.
struct Gate {
    threads: usize,
    arrived: AtomicUsize,
}

impl Gate {
    fn new(threads: usize) -> Self {
        Self { threads, arrived: AtomicUsize::new(0) }
    }

    fn wait(&self) {
        let place = self.arrived.fetch_add(1, Ordering::AcqRel);
        let all = (place / self.threads + 1) * self.threads;
        while self.arrived.load(Ordering::Acquire) < all {
            std::hint::spin_loop();
        }
    }
}

/// The times of as many runs as there is time for, after some that do not count.
fn repeat(once: impl Fn() -> Result<Duration, String>) -> Result<Vec<Duration>, String> {
    for _ in 0..WARM_UP_RUNS {
        once()?;
    }
    let began = Instant::now();
    let mut times = Vec::new();
    while began.elapsed() < MEASURED || times.len() < RUNS_MIN {
        times.push(once()?);
    }
    Ok(times)
}

fn microseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e7).round() / 10.0
}

/// The most memory that the process has held at once; 0 where the system does not say.
fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = kilobytes.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    number.unwrap_or(0) * 1024
}

fn print(figure: &Figure, json: bool) -> Outcome {
    if json {
        println!("{}", serde_json::to_string(figure)?);
    } else {
        let Figure { model, batch, threads, median_us, p90_us, rows_per_s, .. } = figure;
        let megabytes = figure.peak_rss_bytes / 1_000_000;
        println!(
            "{model:<24} {batch:>5} {threads:>7} {median_us:>12.1} {p90_us:>12.1} {rows_per_s:>10.1} {megabytes:>9}"
        );
    }
    Ok(())
}
