//! What it costs to choose a batch: `cargo bench --bench scheduling`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use maas::domain::Priority;
use maas::engine::batch::{Bounds, Urgency, Waiting, take};

/// A queue of `rows`, of which every tenth has lost its client; `mixed` ones differ in length and urgency.
fn queue(rows: usize, mixed: bool) -> Vec<Waiting> {
    let start = Instant::now();
    let row = |index: usize| {
        let spread = if mixed { index * 7919 % 97 } else { 0 };
        let deadline = start + Duration::from_millis(30_000 - spread as u64);
        let urgency = Urgency { priority: Priority::default(), deadline };
        Waiting { cost: 1 + spread, dead: mixed && index % 10 == 9, urgency }
    };
    (0..rows).map(row).collect()
}

fn choose(bench: &mut Criterion) {
    for (name, mixed) in [("equal", false), ("mixed", true)] {
        for rows in [1, 32, 256, 1024] {
            let waiting = queue(rows, mixed);
            let bounds = Bounds { rows_max: 32, cost_max: 1 << 15, pads: mixed };
            bench.bench_function(&format!("batch/take/{name}/{rows}"), |bench| {
                bench.iter(|| take(black_box(&waiting), bounds));
            });
        }
    }
}

criterion_group!(scheduling, choose);
criterion_main!(scheduling);
