//! Products of digits, where this processor multiplies bytes: what they do that those of floats do not.

use super::*;
use crate::compute::kernels::digits::Digits;

fn exact(a: &[f32], w: &[f32], k: usize) -> Vec<f64> {
    let one = |row: &[f32], column: &[f32]| -> f64 {
        row.iter().zip(column).map(|(&a, &w)| f64::from(a) * f64::from(w)).sum()
    };
    let rows = a.chunks_exact(k);
    rows.flat_map(|row| w.chunks_exact(k).map(|column| one(row, column)).collect::<Vec<_>>())
        .collect()
}

fn multiplied(packed: &Packed, a: &[f32]) -> Vec<f32> {
    let mut out = vec![POISON; a.len() / packed.k() * packed.n()];
    gemm(Level::Amx, packed, Product::rows(packed, a, &mut out));
    out
}

/// The largest distance.
fn farthest(got: &[f32], expected: &[f64]) -> f64 {
    let away = got.iter().zip(expected).map(|(&got, expected)| (f64::from(got) - expected).abs());
    away.fold(0.0, f64::max)
}

#[expect(clippy::cast_precision_loss, reason = "small")]
fn root(k: usize) -> f64 {
    (k as f64).sqrt()
}

#[test]
fn sums_lose_as_little_as_is_said_of_any_number_of_rows() {
    if !is_available(Level::Amx) {
        return;
    }
    // So few rows that they share a tile, some tiles, and more than are split at once.
    for (m, k) in [(1, 200), (2, 64), (3, 200), (5, 129), (6, 200), (20, 1000), (40, 5000)] {
        let n = 40;
        let (mut a, mut w) = (values(m * k, 1), values(n * k, 2));
        let away = farthest(
            &multiplied(&Packed::new(&w, None, n, k).into_digits(), &a),
            &exact(&a, &w, k),
        );
        // Five times what is usual, since there are hundreds of sums.
        assert!(away < 5.0 * 1.2e-7 * root(k), "{m} {k}: {away}");
        // Rows and columns of all sizes: each has a scale of its own.
        for (rows, step) in [(&mut a, 1e3_f32), (&mut w, 1e-2)] {
            for (i, row) in rows.chunks_exact_mut(k).enumerate() {
                let size = step.powi(i32::try_from(i % 9).unwrap() - 4);
                for value in row {
                    *value *= size;
                }
            }
        }
        let expected = exact(&a, &w, k);
        let got = multiplied(&Packed::new(&w, None, n, k).into_digits(), &a);
        let largest = |row: &[f32]| row.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        for (i, (&got, expected)) in got.iter().zip(&expected).enumerate() {
            let product = f64::from(largest(&a[i / n * k..][..k]) * largest(&w[i % n * k..][..k]));
            let away = (f64::from(got) - expected).abs();
            assert!(away < 5.0 * 1.2e-7 * root(k) * product, "{m} {k} {i}: {got} {expected}");
        }
    }
}

#[test]
fn the_longest_sums_of_the_largest_digits_fit() {
    // Three digits of 127.
    const LARGEST: f32 = 8_355_711.0 / 8_388_608.0;
    if !is_available(Level::Amx) {
        return;
    }
    let k = Digits::LONGEST;
    let all = vec![LARGEST; k];
    let digits = Packed::new(&all, None, 1, k).into_digits();
    let expected = exact(&all, &all, k);
    let got = multiplied(&digits, &all);
    assert!((f64::from(got[0]) / expected[0] - 1.0).abs() < 1e-6, "{got:?} {expected:?}");
    assert!(Digits::new(&vec![1.0; (k + 1) * 16], k + 1).is_none(), "longer ones stay floats");
}

/// Whether weights become digits depends on their size alone.
#[test]
fn large_weights_are_worth_splitting_and_narrow_ones_are_not() {
    use crate::compute::kernels::gemm::is_worth_digits;
    // A block of MiniLM, a GRU's gates, a projection of EfficientNet, a classifier.
    for (n, k) in [(1536, 384), (384, 128), (80, 480), (1000, 1280)] {
        assert!(is_worth_digits(n, k), "{n} {k}");
    }
    // A first convolution, an expansion of 16 channels, LeNet's head.
    for (n, k) in [(32, 27), (96, 16), (10, 84)] {
        assert!(!is_worth_digits(n, k), "{n} {k}");
    }
}

#[test]
fn weights_are_told_as_they_were() {
    if !is_available(Level::Amx) {
        return;
    }
    let (n, k) = (37, 200);
    let weights = values(n * k, 5);
    let packed = Packed::new(&weights, None, n, k).into_digits();
    for (output, expected) in weights.chunks_exact(k).enumerate() {
        let expected: Vec<f64> = expected.iter().map(|&weight| weight.into()).collect();
        // To half of the last of 23 bits.
        near(&packed.weights_of(output).collect::<Vec<_>>(), &expected, 1.2e-7);
    }
}

#[test]
fn what_is_no_number_stays_in_its_row_and_nothing_is_nothing() {
    if !is_available(Level::Amx) {
        return;
    }
    let (k, n) = (70, 20);
    let bias = values(n, 3);
    let packed = Packed::new(&values(n * k, 2), Some(&bias), n, k).into_digits();
    let mut a = values(6 * k, 1);
    a[k + 3] = f32::NAN;
    a[2 * k + 69] = f32::INFINITY;
    a[3 * k] = f32::NEG_INFINITY;
    a[4 * k..5 * k].fill(0.0);
    a[5 * k..].fill(f32::MIN_POSITIVE / 4.0);
    let got = multiplied(&packed, &a);
    let rows: Vec<&[f32]> = got.chunks_exact(n).collect();
    assert!(rows[0].iter().all(|value| value.is_finite()));
    assert!(rows[1..4].iter().all(|row| row.iter().all(|value| !value.is_finite())), "{rows:?}");
    assert_eq!(rows[4], bias);
    assert_eq!(rows[5], bias);
    let mut weights = values(n * k, 2);
    weights[3 * k + 7] = f32::NAN;
    let got = multiplied(&Packed::new(&weights, None, n, k).into_digits(), &values(6 * k, 1));
    for (i, value) in got.iter().enumerate() {
        assert_eq!(value.is_nan(), i % n == 3, "{i}");
    }
}

#[test]
fn attention_that_is_settled_agrees_with_the_definition() {
    let (sizes, positions) = (Heads { heads: 2, depth: 64 }, 150);
    let width = 128;
    let [q, k, v] = [1, 2, 3].map(|seed| values(positions * width, seed));
    let mut memory = KeyValues::new(2, 64, 1);
    // What was there before does not count.
    memory.push(&vec![1e9; 160 * width], &vec![1e9; 160 * width], width, 160);
    memory.clear();
    memory.push(&k, &v, width, positions);
    for level in levels() {
        memory.settle(level);
        assert_eq!(memory.is_settled(), level == Level::Amx, "{level}");
        let answers = |queries: &[f32]| {
            let mut out = vec![POISON; queries.len()];
            let (rows, stride, memory) = (queries.len() / width, width, &memory);
            let all = Attention { queries, stride, rows, memory, causal: None, out: &mut out };
            attend(level, all, &Scratch::default());
            out
        };
        let out = answers(&q);
        for row in [0, 77, 149] {
            let at = row * width..(row + 1) * width;
            near(&out[at.clone()], &attended(sizes, &q[at.clone()], &k, &v, positions), 1e-5);
            assert_eq!(answers(&q[at.clone()]), out[at], "{level}");
        }
    }
}

/// One position has nearly all the weight, and the others together still count: of values that are all the same, the
/// average is that value.
#[test]
fn the_weights_of_settled_attention_add_up_to_one() {
    let (positions, width) = (1500, 64);
    let mut keys = values(positions * width, 2);
    let queries = values(width, 1);
    for (key, query) in keys[..width].iter_mut().zip(&queries) {
        *key = 6.0 * query;
    }
    let mut memory = KeyValues::new(1, width, positions);
    memory.push(&keys, &vec![1.0; positions * width], width, positions);
    for level in levels() {
        memory.settle(level);
        let mut out = vec![POISON; width];
        let (stride, memory) = (width, &memory);
        let queries = &queries;
        let all = Attention { queries, stride, rows: 1, memory, causal: None, out: &mut out };
        attend(level, all, &Scratch::default());
        near(&out, &[1.0; 64], 2e-6);
    }
}

#[test]
fn what_is_added_or_forgotten_undoes_settling() {
    if !is_available(Level::Amx) {
        return;
    }
    let rows = values(200 * 64, 1);
    let mut memory = KeyValues::new(1, 64, 200);
    memory.push(&rows, &rows, 64, 199);
    memory.settle(Level::Amx);
    assert!(memory.is_settled() && memory.clone().is_settled());
    let mut longer = memory.clone();
    longer.push(&rows, &rows, 64, 1);
    assert!(!longer.is_settled());
    let mut other = memory.clone();
    other.settle(Level::Avx512);
    assert!(!other.is_settled());
    memory.clear();
    assert!(!memory.is_settled());
}

/// Of a GRU, or of an LSTM, `m` rows: the step, and the product and the gates one after the other.
fn stepped(m: usize, hidden: usize, gates: usize) -> [Vec<f32>; 4] {
    let wide = gates * hidden;
    let (weights, bias) = (values(wide * hidden, 1), values(wide, 2));
    let packed = Packed::new(&weights, Some(&bias), wide, hidden).into_digits();
    let inputs = values(m * wide, 3);
    let rows: Vec<&[f32]> = inputs.chunks_exact(wide).collect();
    let (mut state, mut cell) = (values(m * hidden, 4), values(m * hidden, 5));
    let (mut whole, mut whole_cell) = (state.clone(), cell.clone());
    let step = Step {
        inputs: &rows,
        state: &mut whole,
        cell: (gates == 4).then_some(&mut whole_cell),
        room: &mut Buffer::default(),
    };
    recurrent_step(Level::Amx, &packed, step);
    let halves = multiplied(&packed, &state);
    let parts = rows.iter().zip(halves.chunks_exact(wide)).zip(state.chunks_exact_mut(hidden));
    for (((x, h), state), cell) in parts.zip(cell.chunks_exact_mut(hidden)) {
        if gates == 3 {
            gru_row(Level::Amx, x, h, state);
        } else {
            lstm_row(Level::Amx, x, h, cell, state);
        }
    }
    [whole, state, whole_cell, cell]
}

#[test]
fn a_step_that_does_both_at_once_has_the_bits_of_its_parts() {
    if !is_available(Level::Amx) {
        return;
    }
    // Units that are whole panels, and some that are not; few rows, tiles that are full, and more than are split at once.
    for hidden in [16, 64, 72, 128, 208] {
        for m in [1, 2, 5, 6, 13, 16, 17, 25, 33, 700] {
            for gates in [3, 4] {
                let [state, expected, cell, expected_cell] = stepped(m, hidden, gates);
                assert_eq!(state, expected, "{hidden} {m} {gates}");
                assert_eq!(cell, expected_cell, "{hidden} {m} {gates}");
            }
        }
    }
}
