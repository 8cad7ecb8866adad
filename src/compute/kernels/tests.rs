//! Each kernel, at every level that this machine has, against plain arithmetic in f64 on shapes that
//! include the odd ones. Outputs are poisoned first: what a kernel does not write is found.

use proptest::prelude::*;

use super::*;

mod digits;
mod learning;
mod pictures;
mod team;

const POISON: f32 = f32::NAN;

fn levels() -> impl Iterator<Item = Level> {
    Level::ALL.into_iter().filter(|&level| is_available(level))
}

/// Values in ±1 that depend on the seed and the place.
fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        #[expect(clippy::cast_precision_loss, reason = "24 bits")]
        let fraction = (state >> 40) as f32 / (1 << 24) as f32;
        fraction * 2.0 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn near(got: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len());
    for (i, (&got, &expected)) in got.iter().zip(expected).enumerate() {
        let away = (f64::from(got) - expected).abs();
        // An infinity is no distance from itself.
        let same = f64::from(got).total_cmp(&expected).is_eq();
        assert!(same || away <= tolerance * (1.0 + expected.abs()), "{i}: {got} for {expected}");
    }
}

fn plain(activation: Activation, x: f64) -> f64 {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    match activation {
        Activation::None => x,
        Activation::Relu => x.max(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::Silu => x * sigmoid(x),
        Activation::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Activation::Gelu => x * 0.5 * (1.0 + erf(x / std::f64::consts::SQRT_2)),
        Activation::Tanh => x.tanh(),
        Activation::Sigmoid => sigmoid(x),
    }
}

/// The error function by its series, good for |x| below 5.
fn erf(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for n in 1..120 {
        let n = f64::from(n);
        term *= -x * x / n;
        sum += term / (2.0 * n + 1.0);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

const ACTIVATIONS: [Activation; 8] = [
    Activation::None,
    Activation::Relu,
    Activation::Relu6,
    Activation::Silu,
    Activation::HardSwish,
    Activation::Gelu,
    Activation::Tanh,
    Activation::Sigmoid,
];

#[test]
fn activations_are_what_their_formulas_say() {
    let x: Vec<f32> = (-320_i16..320).map(|i| f32::from(i) / 64.0 * 1.01).collect();
    for level in levels() {
        for activation in ACTIVATIONS {
            let mut got = x.clone();
            activate(level, &mut got, activation);
            let expected: Vec<f64> = x.iter().map(|&x| plain(activation, x.into())).collect();
            near(&got, &expected, 1e-6);
        }
    }
}

#[test]
fn extreme_values_saturate_and_what_is_no_number_stays_none() {
    for level in levels() {
        for activation in [Activation::Tanh, Activation::Sigmoid] {
            let mut got = [f32::NEG_INFINITY, -1e30, -100.0, 100.0, 1e30, f32::INFINITY, f32::NAN];
            activate(level, &mut got, activation);
            let low = if activation == Activation::Tanh { -1.0 } else { 0.0 };
            near(&got[..6], &[low, low, low, 1.0, 1.0, 1.0], 1e-6);
            assert!(got[6].is_nan(), "{level:?}");
        }
    }
}

#[test]
fn gelu_ends_in_nothing_and_in_its_input_and_keeps_what_is_no_number() {
    for level in levels() {
        let mut got = [f32::NEG_INFINITY, -1e30, -6.0, 6.0, 1e30, f32::INFINITY, f32::NAN];
        activate(level, &mut got, Activation::Gelu);
        near(&got[..4], &[0.0, 0.0, 0.0, 6.0], 1e-6);
        assert_eq!(&got[4..6], [1e30, f32::INFINITY], "{level:?}");
        assert!(got[6].is_nan(), "{level:?}");
    }
}

/// Weights of any size in a level's own form.
fn formed(level: Level, packed: Packed) -> Packed {
    if level == Level::Amx { packed.into_digits() } else { packed }
}

struct Case {
    m: usize,
    n: usize,
    k: usize,
    seed: u64,
}

fn product(level: Level, case: &Case, rows: std::ops::Range<usize>) -> Vec<f32> {
    let &Case { m, n, k, seed } = case;
    let (a, w, bias) = (values(m * k, seed), values(n * k, seed + 1), values(n, seed + 2));
    let residual = values(m * n, seed + 3);
    let packed = formed(level, Packed::new(&w, Some(&bias), n, k));
    let mut out = vec![POISON; rows.len() * n];
    let product = Product {
        a: &a[rows.start * k..rows.end * k],
        a_stride: k,
        m: rows.len(),
        out: &mut out,
        out_stride: n,
        residual: Some(&residual[rows.start * n..rows.end * n]),
        activation: Activation::Relu,
    };
    gemm(level, &packed, product);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn products_agree_with_plain_arithmetic(
        m in 1_usize..40, n in 1_usize..70, k in 1_usize..50, seed in 1_u64..1000,
    ) {
        let (a, w, bias) = (values(m * k, seed), values(n * k, seed + 1), values(n, seed + 2));
        let residual = values(m * n, seed + 3);
        let one = |row: usize, column: usize| {
            let terms = (0..k).map(|d| f64::from(a[row * k + d]) * f64::from(w[column * k + d]));
            let sum = terms.sum::<f64>() + f64::from(bias[column]);
            (sum + f64::from(residual[row * n + column])).max(0.0)
        };
        let expected: Vec<f64> = (0..m * n).map(|i| one(i / n, i % n)).collect();
        let case = Case { m, n, k, seed };
        for level in levels() {
            let whole = product(level, &case, 0..m);
            near(&whole, &expected, 1e-5);
            // A row's bits do not depend on its neighbours.
            let last = product(level, &case, m - 1..m);
            prop_assert_eq!(&whole[(m - 1) * n..], last.as_slice());
        }
    }
}

#[test]
fn recurrent_rows_agree_with_their_formulas() {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    for hidden in [1, 16, 23, 128] {
        let (x, h) = (values(4 * hidden, 1), values(4 * hidden, 2));
        let (state, cell) = (values(hidden, 3), values(hidden, 4));
        let at = |gate: usize, unit: usize| {
            (f64::from(x[gate * hidden + unit]), f64::from(h[gate * hidden + unit]))
        };
        let sum = |gate, unit| at(gate, unit).0 + at(gate, unit).1;
        let gru = |unit| {
            let (reset, update) = (sigmoid(sum(0, unit)), sigmoid(sum(1, unit)));
            let new = (at(2, unit).0 + reset * at(2, unit).1).tanh();
            (1.0 - update) * new + update * f64::from(state[unit])
        };
        let lstm_cell = |unit| {
            sigmoid(sum(1, unit)) * f64::from(cell[unit])
                + sigmoid(sum(0, unit)) * sum(2, unit).tanh()
        };
        let units = || 0..hidden;
        for level in levels() {
            let mut next = state.clone();
            gru_row(level, &x[..3 * hidden], &h[..3 * hidden], &mut next);
            near(&next, &units().map(gru).collect::<Vec<_>>(), 2e-6);
            let (mut next, mut kept) = (state.clone(), cell.clone());
            lstm_row(level, &x, &h, &mut kept, &mut next);
            near(&kept, &units().map(lstm_cell).collect::<Vec<_>>(), 2e-6);
            let state = |unit| sigmoid(sum(3, unit)) * lstm_cell(unit).tanh();
            near(&next, &units().map(state).collect::<Vec<_>>(), 2e-6);
        }
    }
}

#[test]
fn softmax_and_layer_norm_agree_with_their_formulas() {
    for count in [1, 7, 16, 100] {
        let x: Vec<f32> = values(count, 5).iter().map(|v| v * 20.0).collect();
        let (scale, shift) = (values(count, 6), values(count, 7));
        let wide: Vec<f64> = x.iter().map(|&v| v.into()).collect();
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let share = 1.0 / count as f64;
        let total: f64 = wide.iter().map(|v| v.exp()).sum();
        let soft: Vec<f64> = wide.iter().map(|v| v.exp() / total).collect();
        let mean = wide.iter().sum::<f64>() * share;
        let spread = wide.iter().map(|v| (v - mean).powi(2)).sum::<f64>() * share;
        let one = |i: usize| {
            (wide[i] - mean) / (spread + 1e-5).sqrt() * f64::from(scale[i]) + f64::from(shift[i])
        };
        let normed: Vec<f64> = (0..count).map(one).collect();
        for level in levels() {
            let mut row = x.clone();
            softmax_row(level, &mut row);
            near(&row, &soft, 1e-6);
            let mut row = vec![POISON; count];
            let norm = Norm { scale: scale.clone(), shift: shift.clone(), epsilon: 1e-5 };
            norm.rows(level, &x, &mut row);
            near(&row, &normed, 1e-5);
        }
    }
}

/// Sizes of one attention.
#[derive(Clone, Copy)]
struct Heads {
    heads: usize,
    depth: usize,
}

/// One query's answer by the definition.
fn attended(sizes: Heads, query: &[f32], keys: &[f32], rows: &[f32], seen: usize) -> Vec<f64> {
    let Heads { heads, depth } = sizes;
    let width = heads * depth;
    let one = |column: usize| {
        let head = column / depth * depth;
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let scale = 1.0 / (depth as f64).sqrt();
        let score = |p: usize| -> f64 {
            let pair =
                |d: usize| f64::from(query[head + d]) * f64::from(keys[p * width + head + d]);
            (0..depth).map(pair).sum::<f64>() * scale
        };
        let powers: Vec<f64> = (0..seen).map(|p| score(p).exp()).collect();
        let weighed = |p: usize| powers[p] * f64::from(rows[p * width + column]);
        (0..seen).map(weighed).sum::<f64>() / powers.iter().sum::<f64>()
    };
    (0..width).map(one).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn attention_agrees_with_the_definition_whole_and_step_by_step(
        heads in 1_usize..4, depth in 1_usize..40, positions in 1_usize..70,
        first in 1_usize..70, seed in 1_u64..1000,
    ) {
        let sizes = Heads { heads, depth };
        let width = heads * depth;
        let (q, k, v) = (
            values(positions * width, seed),
            values(positions * width, seed + 1),
            values(positions * width, seed + 2),
        );
        for level in levels() {
            let scratch = Scratch::default();
            // Room for fewer than come, in two parts.
            let mut memory = KeyValues::new(heads, depth, 1);
            let cut = first.min(positions) * width;
            memory.push(&k[..cut], &v[..cut], width, cut / width);
            memory.push(&k[cut..], &v[cut..], width, positions - cut / width);
            prop_assert_eq!(memory.len(), positions);
            // Shown alone, the scores of the last head are its queries against its keys.
            let head = (heads - 1) * depth;
            let score = |row: usize, at: usize| {
                let (q, k) = (&q[row * width + head..][..depth], &k[at * width + head..][..depth]);
                let products = q.iter().zip(k).map(|(&q, &k)| f64::from(q) * f64::from(k));
                products.sum::<f64>() / f64::from(u8::try_from(depth).unwrap()).sqrt()
            };
            let rows = (0..positions).flat_map(|row| (0..positions).map(move |at| (row, at)));
            let expected: Vec<f64> = rows.map(|(row, at)| score(row, at)).collect();
            near(&memory.scores(heads - 1, &q), &expected, 1e-5);
            for causal in [None, Some(1)] {
                let mut out = vec![POISON; positions * width];
                let all = Attention {
                    queries: &q, stride: width, rows: positions, memory: &memory, causal,
                    out: &mut out,
                };
                attend(level, all, &scratch);
                for row in [0, positions / 2, positions - 1] {
                    let at = row * width..(row + 1) * width;
                    let seen = causal.map_or(positions, |first| first + row);
                    near(&out[at.clone()], &attended(sizes, &q[at.clone()], &k, &v, seen), 1e-5);
                    // Alone against what it sees, it has the same bits.
                    let mut own = KeyValues::new(heads, depth, seen);
                    own.push(&k[..seen * width], &v[..seen * width], width, seen);
                    let mut alone = vec![POISON; width];
                    let one = Attention {
                        queries: &q[at.clone()], stride: width, rows: 1, memory: &own,
                        causal: None, out: &mut alone,
                    };
                    attend(level, one, &scratch);
                    prop_assert_eq!(&alone[..], &out[at]);
                }
            }
        }
    }
}

/// What is large enough to be shared, and to be done in several blocks.
fn large(level: Level) -> Vec<f32> {
    let mut out = products(level);

    let frame = Frame { channels: 70, size: [40, 40], before: [1, 1], after: [1, 1] };
    let to = Frame::bare(70, [40, 40]);
    let geometry = Geometry { kernel: [3, 3], padding: [1, 1], ..Geometry::POINT };
    let (weights, scale, bias) = (values(70 * 9, 3), values(70, 6), values(70, 4));
    let filters = Filters { weights: &weights, scale: &scale, bias: &bias };
    let depthwise = Depthwise::new(filters, &geometry, (frame, to), Activation::Relu);
    let mut made = vec![POISON; to.len()];
    depthwise.run(level, Band::whole(&geometry, &to), &values(frame.len(), 5), &mut made);
    out.extend(made);

    // Blocks of 228 rows.
    let (rows, width) = (300, 3 * 32);
    let mut memory = KeyValues::new(3, 32, rows);
    memory.push(&values(rows * width, 6), &values(rows * width, 7), width, rows);
    out.extend(causal(level, &memory, width, &values(rows * width, 8)));

    // Enough to be moved by several threads.
    let (rows, width) = (700, 12 * 33);
    let mut memory = KeyValues::new(12, 33, rows);
    memory.push(&values(rows * width, 9), &values(rows * width, 10), width, rows);
    out.extend(causal(level, &memory, width, &values(50 * width, 11)));

    let norm = Norm { scale: values(width, 12), shift: values(width, 13), epsilon: 1e-5 };
    let mut normal = vec![POISON; rows * width];
    norm.rows(level, &values(rows * width, 14), &mut normal);
    out.extend(normal);
    out
}

/// Of many rows, whose last ones are a part of a tile, and of one row of a wide matrix, which is shared by its columns.
fn products(level: Level) -> Vec<f32> {
    let (m, n, k) = (142, 130, 64);
    let packed = formed(level, Packed::new(&values(n * k, 1), None, n, k));
    let mut out = vec![POISON; m * n];
    gemm(level, &packed, Product::rows(&packed, &values(m * k, 2), &mut out));
    let wide = formed(level, Packed::new(&values(1040 * 600, 1), None, 1040, 600));
    let mut row = vec![POISON; 1040];
    gemm(level, &wide, Product::rows(&wide, &values(600, 2), &mut row));
    out.extend(row);
    out
}

/// The first query sees one position, each next one more.
fn causal(level: Level, memory: &KeyValues, width: usize, queries: &[f32]) -> Vec<f32> {
    let mut mixed = vec![POISON; queries.len()];
    let attention = Attention {
        queries,
        stride: width,
        rows: queries.len() / width,
        memory,
        causal: Some(1),
        out: &mut mixed,
    };
    attend(level, attention, &Scratch::default());
    mixed
}

#[test]
fn a_row_of_a_later_block_has_the_bits_that_it_has_alone() {
    let (rows, width) = (300, 3 * 32);
    let (q, k, v) = (values(rows * width, 1), values(rows * width, 2), values(rows * width, 3));
    for level in levels() {
        let mut memory = KeyValues::new(3, 32, rows);
        memory.push(&k, &v, width, rows);
        let all = causal(level, &memory, width, &q);
        for row in [0, 227, 228, 299] {
            let seen = row + 1;
            let mut own = KeyValues::new(3, 32, seen);
            own.push(&k[..seen * width], &v[..seen * width], width, seen);
            let query = &q[row * width..seen * width];
            let mut alone = vec![POISON; width];
            let one = Attention {
                queries: query,
                stride: width,
                rows: 1,
                memory: &own,
                causal: None,
                out: &mut alone,
            };
            attend(level, one, &Scratch::default());
            assert_eq!(alone, &all[row * width..seen * width], "{level:?} {row}");
        }
    }
}

#[test]
fn a_team_gives_the_same_bits_as_one_thread() {
    for level in levels() {
        let alone = large(level);
        assert!(alone.iter().all(|value| value.is_finite()));
        for threads in [1, 2, 3] {
            let team = Team::new(threads);
            for _ in 0..3 {
                assert_eq!(team.install(|| large(level)), alone, "{level}, {threads} threads");
            }
        }
    }
}
