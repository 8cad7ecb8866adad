//! The shipped networks, and those of another store: `MAAS_PRETRAINED=STORE cargo bench --bench networks`.
//!
//! Each is timed on its first golden sample: the network alone, and with decoding and encoding.

#![expect(clippy::expect_used, reason = "a bench stops at what it cannot open")]

use std::path::PathBuf;

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use maas::arch::{self, OpenContext, Timed};
use maas::compute::{Device, kernels};
use maas::domain::MediaLimits;
use maas::engine::{Engine, Limits};
use maas::package::{Package, Store};

const BATCHES: [usize; 2] = [1, 8];

/// Every package of the stores, ready to be timed.
fn networks() -> Vec<(String, Box<dyn Timed>)> {
    let stores =
        [Some(PathBuf::from("models")), std::env::var_os("MAAS_PRETRAINED").map(PathBuf::from)];
    let mut networks = Vec::new();
    for store in stores.into_iter().flatten() {
        let store = Store::open(&store).expect("the store is a directory");
        for entry in store.entries().expect("the store lists its models") {
            let package = store.package(&entry).expect("the package is whole");
            networks.push((package.label(), open(&package)));
        }
    }
    networks
}

fn open(package: &Package) -> Box<dyn Timed> {
    let engine = Engine::start(1).expect("a thread");
    let limits = Limits {
        batch_rows_max: 32,
        batch_cost_max: 1 << 15,
        batch_delay_max: Duration::ZERO,
        batch_auto: false,
        queue_rows_max: 256,
        queue_wait_max: Duration::ZERO,
        instances: 0,
        weight: 1,
        generated_tokens_max: 4096,
    };
    let context = OpenContext {
        intra_op_threads: 1,
        device: &Device::Cpu,
        level: kernels::best(),
        engine: &engine,
        limits,
        media: MediaLimits::default(),
    };
    let architecture =
        arch::find(&package.manifest.architecture.name).expect("a known architecture");
    (architecture.measure)(package, &context, None).expect("the package opens")
}

fn whole_networks(criterion: &mut Criterion) {
    for (name, network) in networks() {
        let mut group = criterion.benchmark_group(name);
        group.sample_size(20);
        for batch in BATCHES {
            group.throughput(Throughput::Elements(batch as u64));
            group.bench_function(BenchmarkId::new("network", batch), |b| {
                b.iter(|| network.network(batch).expect("it runs"));
            });
            group.bench_function(BenchmarkId::new("whole", batch), |b| {
                b.iter(|| network.whole(batch).expect("it runs"));
            });
        }
    }
}

criterion_group!(benches, whole_networks);
criterion_main!(benches);
