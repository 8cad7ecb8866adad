//! The kernels on the shapes that the known networks have: `cargo bench --bench kernels`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use maas::compute::kernels::{
    Activation, Attention, Band, Buffer, Convolution, Depthwise, Filters, Frame, Geometry,
    KeyValues, Level, Norm, Packed, Product, Scratch, activate, attend, gemm, gru_row,
    is_available, softmax_row,
};

/// Values in ±1.
fn values(count: usize) -> Vec<f32> {
    let value = |i: usize| u16::try_from(i * 7919 % 1000).unwrap_or(0);
    (0..count).map(|i| f32::from(value(i)) / 500.0 - 1.0).collect()
}

fn levels() -> impl Iterator<Item = Level> {
    Level::ALL.into_iter().filter(|&level| is_available(level))
}

/// Multiply-adds a second.
fn work(count: usize) -> Throughput {
    Throughput::Elements(count as u64)
}

/// `[m, k] · [k, n]`: a recurrent step, a block of MiniLM, one position and 1500 of Whisper.
fn products(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gemm");
    for (m, k, n) in
        [(1, 128, 384), (32, 128, 384), (128, 384, 1536), (1, 384, 51_864), (1500, 384, 384)]
    {
        let (a, mut out) = (values(m * k), vec![0.0; m * n]);
        group.throughput(work(m * k * n));
        for level in levels() {
            let weights = Packed::new(&values(n * k), None, n, k).at(level);
            group.bench_function(BenchmarkId::new(format!("{m}x{k}x{n}"), level), |b| {
                b.iter(|| gemm(level, &weights, Product::rows(&weights, &a, &mut out)));
            });
        }
    }
}

/// A picture of `size` and a border as `kernel` needs, and where it goes.
fn frames(channels: [usize; 2], size: usize, kernel: usize) -> (Frame, Frame) {
    let border = [kernel / 2; 2];
    let from = Frame { channels: channels[0], size: [size; 2], before: border, after: border };
    (from, Frame::bare(channels[1], [size; 2]))
}

fn window(kernel: usize) -> Geometry {
    Geometry { kernel: [kernel; 2], padding: [kernel / 2; 2], ..Geometry::POINT }
}

/// EfficientNet-Lite0's expansions and ResNet's 3x3.
fn convolutions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("convolution");
    for (size, input, output, kernel) in [(56, 24, 144, 1), (14, 480, 80, 1), (28, 128, 128, 3)] {
        let frames = frames([input, output], size, kernel);
        let (weights, bias) = (values(input * output * kernel * kernel), values(output));
        let filters = Filters { weights: &weights, scale: &bias, bias: &bias };
        let geometry = window(kernel);
        let (from, mut to) = (Buffer::zeros(frames.0.len()), Buffer::zeros(frames.1.len()));
        group.throughput(work(size * size * input * output * kernel * kernel));
        for level in levels() {
            let layer = Convolution::new(filters, &geometry, frames, Activation::Relu6).at(level);
            let name = format!("{size}x{size}x{input}-{output} {kernel}x{kernel}");
            group.bench_function(BenchmarkId::new(name, level), |b| {
                let band = Band::whole(&geometry, &frames.1);
                b.iter(|| layer.run(level, band, &from, &mut to, None));
            });
        }
    }
}

fn depthwise(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("depthwise");
    for (size, channels, kernel) in [(56, 144, 3), (28, 240, 5), (7, 1152, 5)] {
        let frames = frames([channels, channels], size, kernel);
        let (weights, bias) = (values(channels * kernel * kernel), values(channels));
        let filters = Filters { weights: &weights, scale: &bias, bias: &bias };
        let geometry = window(kernel);
        let layer = Depthwise::new(filters, &geometry, frames, Activation::Relu6);
        let (from, mut to) = (Buffer::zeros(frames.0.len()), Buffer::zeros(frames.1.len()));
        group.throughput(work(size * size * channels * kernel * kernel));
        for level in levels() {
            let name = format!("{size}x{size}x{channels} {kernel}x{kernel}");
            group.bench_function(BenchmarkId::new(name, level), |b| {
                let band = Band::whole(&geometry, &frames.1);
                b.iter(|| layer.run(level, band, &from, &mut to));
            });
        }
    }
}

/// MiniLM at 128 tokens; Whisper's encoder; one position of its decoder.
fn attention(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("attention");
    for (rows, positions, heads, depth) in
        [(128, 128, 12, 32), (1500, 1500, 6, 64), (1, 1500, 6, 64)]
    {
        let width = heads * depth;
        let mut memory = KeyValues::new(heads, depth, positions);
        let all = values(positions * width);
        memory.push(&all, &all, width, positions);
        let (queries, mut out) = (values(rows * width), vec![0.0; rows * width]);
        let scratch = Scratch::default();
        group.throughput(work(2 * rows * positions * width));
        for level in levels() {
            memory.settle(level);
            let name = format!("{rows}x{positions} {heads} heads of {depth}");
            group.bench_function(BenchmarkId::new(name, level), |b| {
                b.iter(|| {
                    let (queries, memory, out) = (&queries, &memory, &mut out);
                    let call =
                        Attention { queries, stride: width, rows, memory, causal: None, out };
                    attend(level, call, &scratch);
                });
            });
        }
    }
}

/// What is done value by value, at MiniLM's sizes; a GRU's cell.
fn rows(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rows");
    for level in levels() {
        let norm = Norm { scale: values(384), shift: values(384), epsilon: 1e-5 };
        let (from, mut to) = (values(128 * 384), vec![0.0; 128 * 384]);
        group.bench_function(BenchmarkId::new("layer norm 128x384", level), |b| {
            b.iter(|| norm.rows(level, &from, &mut to));
        });
        let mut wide = values(128 * 1536);
        group.bench_function(BenchmarkId::new("gelu 128x1536", level), |b| {
            b.iter(|| activate(level, &mut wide, Activation::Gelu));
        });
        let mut row = values(1500);
        group.bench_function(BenchmarkId::new("softmax 1500", level), |b| {
            b.iter(|| softmax_row(level, &mut row));
        });
        let (gates, mut state) = (values(384), values(128));
        group.bench_function(BenchmarkId::new("gru cell 128", level), |b| {
            b.iter(|| gru_row(level, &gates, &gates, &mut state));
        });
    }
}

criterion_group!(benches, products, convolutions, depthwise, attention, rows);
criterion_main!(benches);
