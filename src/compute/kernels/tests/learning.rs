//! What only training runs.

use super::*;

/// Places below `most`, in no order.
fn places(count: usize, seed: usize, most: usize) -> Places {
    Places::new((0..count).map(|i| (i * 37 + seed * 11 + i * i) % most).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn lined_products_agree_with_plain_arithmetic(
        m in 1_usize..40, n in 1_usize..70, k in 0_usize..50, more in 0_usize..2,
        step in 1_usize..4, seed in 1_usize..1000,
    ) {
        // More lines than one block has, now and then.
        let k = k + more * 270;
        let (rows, lines) = (places(m, seed, 900), places(k, seed + 1, 700));
        let (a, b) = (values(900 + 1300, 1), values(700 + n, 2));
        let (given, there) = (values(m, 3), values(m * (n + 3), 4));
        let at = |places: &Places, i: usize| *places.each().nth(i).unwrap();
        for (start, which) in [(Start::Zero, 0), (Start::Rows(&given), 1), (Start::Out, 2)] {
            let one = |row: usize, column: usize| {
                let first = [0.0, given[row], there[row * (n + 3) + column]][which];
                let term = |d: usize| {
                    let a = a[at(&rows, row) + d * step];
                    f64::from(a) * f64::from(b[at(&lines, d) + column])
                };
                f64::from(first) + (0..k).map(term).sum::<f64>()
            };
            let expected: Vec<f64> = (0..m * n).map(|i| one(i / n, i % n)).collect();
            for level in levels() {
                let mut out = there.clone();
                let product = Lined {
                    a: &a, rows: &rows, step, b: &b, lines: &lines, columns: n, start,
                    out: &mut out, out_stride: n + 3,
                };
                lined(level, product);
                let got: Vec<f32> =
                    out.chunks(n + 3).flat_map(|row| row[..n].iter().copied()).collect();
                near(&got, &expected, 3e-5);
                // What lies between the rows is not touched.
                prop_assert!(out.chunks(n + 3).zip(there.chunks(n + 3)).all(|(a, b)| a[n..] == b[n..]));
            }
        }
    }
}

#[test]
fn rows_are_added_where_they_overlap() {
    for width in [1, 5, 16, 37] {
        let places = Places::new(vec![0, 3, 3, 20]);
        let rows = values(4 * width, 1);
        let mut expected = vec![1.0_f64; 20 + width];
        for (row, place) in rows.chunks(width).zip(places.each()) {
            for (sum, value) in expected[*place..].iter_mut().zip(row) {
                *sum += f64::from(*value);
            }
        }
        for level in levels() {
            let mut to = vec![1.0; 20 + width];
            add_rows(level, &rows, width, &places, &mut to);
            near(&to, &expected, 1e-6);
        }
    }
}

#[test]
fn steps_that_keep_their_gates_are_those_that_do_not() {
    for hidden in [1, 16, 23] {
        let (input, half) = (values(4 * hidden, 1), values(4 * hidden, 2));
        let (state, cell) = (values(hidden, 3), values(hidden, 4));
        for level in levels() {
            let mut expected = state.clone();
            gru_row(level, &input[..3 * hidden], &half[..3 * hidden], &mut expected);
            let (mut kept, mut after) = (half.clone(), vec![POISON; hidden]);
            gru_keep(level, &input[..3 * hidden], &mut kept, &state, &mut after);
            assert_eq!(after, expected);

            let (mut expected, mut cells) = (state.clone(), cell.clone());
            lstm_row(level, &input, &half, &mut cells, &mut expected);
            let (mut kept, mut next) = (half.clone(), vec![POISON; hidden]);
            lstm_keep(level, &input, &mut kept, &cell, &mut next, &mut after);
            assert_eq!((after, next), (expected, cells));
        }
    }
}

/// The gradients by both halves of the gates, the state and the cell of one step, as numbers of f64.
fn by_differences(parts: &[&[f32]], output: impl Fn(&[Vec<f64>]) -> f64) -> Vec<Vec<f64>> {
    let wide = |part: &&[f32]| part.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
    let at: Vec<Vec<f64>> = parts.iter().map(wide).collect();
    let slope = |part: usize, i: usize| {
        let moved = |by: f64| {
            let mut at = at.clone();
            at[part][i] += by;
            output(&at)
        };
        (moved(1e-5) - moved(-1e-5)) / 2e-5
    };
    (0..at.len()).map(|part| (0..at[part].len()).map(|i| slope(part, i)).collect()).collect()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[test]
fn the_way_back_follows_the_formulas() {
    for hidden in [1_usize, 16, 23] {
        let (input, half) = (values(4 * hidden, 1), values(4 * hidden, 2));
        let (state, cell) = (values(hidden, 3), values(hidden, 4));
        let (read, change, of_cell) = (values(hidden, 5), values(hidden, 6), values(hidden, 7));
        let factor = |unit: usize| f64::from(read[unit]) + f64::from(change[unit]);
        let gru = by_differences(&[&input, &half, &state], |at| {
            let gate = |block: usize, unit: usize| {
                at[0][block * hidden + unit] + at[1][block * hidden + unit]
            };
            let one = |unit: usize| {
                let kept = sigmoid(gate(0, unit)) * at[1][2 * hidden + unit];
                let (new, update) =
                    ((at[0][2 * hidden + unit] + kept).tanh(), sigmoid(gate(1, unit)));
                factor(unit) * (new + update * (at[2][unit] - new))
            };
            (0..hidden).map(one).sum()
        });
        let lstm = by_differences(&[&half, &cell], |at| {
            let gate = |block: usize, unit: usize| {
                f64::from(input[block * hidden + unit]) + at[0][block * hidden + unit]
            };
            let one = |unit: usize| {
                let next = sigmoid(gate(1, unit)) * at[1][unit]
                    + sigmoid(gate(0, unit)) * gate(2, unit).tanh();
                let out = sigmoid(gate(3, unit)) * next.tanh();
                factor(unit) * out + f64::from(of_cell[unit]) * next
            };
            (0..hidden).map(one).sum()
        });
        for level in levels() {
            let (mut kept, mut after) = (half.clone(), vec![0.0; hidden]);
            gru_keep(level, &input[..3 * hidden], &mut kept, &state, &mut after);
            let mut direct = change.clone();
            gru_back(level, &read, &mut kept, &state, &mut direct);
            near(&kept[..3 * hidden], &gru[1][..3 * hidden], 2e-6);
            near(&kept[3 * hidden..], &gru[0][2 * hidden..3 * hidden], 2e-6);
            near(&direct, &gru[2], 2e-6);

            let (mut kept, mut next) = (half.clone(), vec![0.0; hidden]);
            lstm_keep(level, &input, &mut kept, &cell, &mut next, &mut after);
            let (mut direct, mut carried) = (change.clone(), of_cell.clone());
            lstm_back(level, &read, &mut kept, (&cell, &next), &mut direct, &mut carried);
            near(&kept, &lstm[0], 2e-6);
            near(&carried, &lstm[1], 2e-6);
            assert!(direct.iter().all(|&value| value == 0.0));
        }
    }
}
