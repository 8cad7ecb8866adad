//! How fast this machine computes and reads, at its best: what a network's time is compared with. One JSON line:
//! `cargo bench --bench floors -- --threads=2`.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use maas::compute::kernels::{self, Packed, Product, gemm};

/// Rows, depth and columns of a product whose operands stay in the second-level cache.
const PRODUCT: [usize; 3] = [192, 256, 512];

/// Floats that each thread reads: far more than a cache holds.
const READ: usize = 32 << 20;

const MEASURED: Duration = Duration::from_millis(400);

fn main() {
    let argument = std::env::args().find_map(|a| Some(a.strip_prefix("--threads=")?.parse()));
    let threads: usize = argument.and_then(Result::ok).unwrap_or(1).max(1);
    let gflops = together(threads, product);
    let gbytes = together(threads, read);
    println!(r#"{{"threads":{threads},"gflops":{gflops:.1},"gbytes_per_s":{gbytes:.1}}}"#);
}

/// What all threads do at once, in thousand millions a second, from the best time of each.
fn together(threads: usize, work: fn(&Barrier) -> f64) -> f64 {
    let barrier = &Barrier::new(threads);
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(|| work(barrier))).collect();
        all.into_iter().filter_map(|thread| thread.join().ok()).sum()
    })
}

/// The best of the times that there is room for; `count` is what one run does.
#[expect(clippy::cast_precision_loss, reason = "a count is below 2^52")]
fn best(barrier: &Barrier, count: usize, mut run: impl FnMut()) -> f64 {
    run();
    barrier.wait();
    let (began, mut least) = (Instant::now(), Duration::MAX);
    while began.elapsed() < MEASURED {
        let start = Instant::now();
        run();
        least = least.min(start.elapsed());
    }
    count as f64 / least.as_secs_f64() / 1e9
}

/// Operations of a product.
fn product(barrier: &Barrier) -> f64 {
    let [m, k, n] = PRODUCT;
    let level = kernels::best();
    let weights = Packed::new(&vec![0.5; n * k], None, n, k);
    let (a, mut out) = (vec![0.5; m * k], vec![0.0; m * n]);
    best(barrier, 2 * m * k * n, || {
        gemm(level, &weights, Product::rows(&weights, black_box(&a), &mut out));
        black_box(&out);
    })
}

/// Bytes that are read, one after the other.
fn read(barrier: &Barrier) -> f64 {
    let values = vec![1.0_f32; READ];
    best(barrier, 4 * READ, || {
        // Sixty-four sums side by side, so that none waits for another.
        let mut sums = [0.0_f32; 64];
        for line in values.chunks_exact(64) {
            sums.iter_mut().zip(line).for_each(|(sum, value)| *sum += value);
        }
        black_box(sums);
    })
}
