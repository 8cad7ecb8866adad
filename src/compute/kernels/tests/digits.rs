//! Products of digits, where this processor multiplies bytes: what they do that those of floats do not.

use super::*;

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

/// The largest distance, where the sizes of a row and of a column are 1.
fn farthest(got: &[f32], expected: &[f64], k: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "small")]
    let size = k as f64 / 3.0;
    let away = got.iter().zip(expected).map(|(&got, expected)| (f64::from(got) - expected).abs());
    away.fold(0.0, f64::max) / size
}

#[test]
fn long_sums_are_as_exact_as_those_of_floats() {
    if !is_available(Level::Amx) {
        return;
    }
    for k in [64, 1000, 5000] {
        let (m, n) = (20, 40);
        let (mut a, mut w) = (values(m * k, 1), values(n * k, 2));
        let floats = Packed::new(&w, None, n, k);
        let limit = 2.0 * farthest(&multiplied(&floats, &a), &exact(&a, &w, k), k) + 2e-7;
        let away = farthest(&multiplied(&floats.into_digits(), &a), &exact(&a, &w, k), k);
        assert!(away < limit, "{k}: {away}, {limit}");
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
        let size = |row: &[f32]| row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        for (i, (&got, expected)) in got.iter().zip(&expected).enumerate() {
            let bound = size(&a[i / n * k..][..k]) * size(&w[i % n * k..][..k]);
            assert!((f64::from(got) - expected).abs() < 1e-6 * bound, "{k} {i}: {got} {expected}");
        }
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
