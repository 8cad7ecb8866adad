//! The gradient of a convolution by its weights.
//!
//! A tap's is the sum over all places of what it sees there times the output's gradient there: `Σ x[tap + p] · g[p]`. One
//! vector holds the gradients of all outputs at a place. Where it has room for those of the next place too, they add up to
//! the gradient of the tap to the left, `Σ x[tap + p] · g[p + 1] = Σ x[tap - 1 + q] · g[q]`, and few outputs fill it.

use super::Pass;
use crate::compute::kernels::{LANES, Lined, Places, Start, lined};

/// The taps of a row of the kernel, some of which are computed together.
struct Abreast {
    /// Taps of a row.
    taps: usize,
    /// How many are computed together.
    count: usize,
}

impl Abreast {
    fn new(pass: &Pass) -> Self {
        let window = &pass.size.window;
        let taps = window.kernel[1];
        // Only then do two taps side by side see values side by side.
        let near = window.stride == [1, 1] && window.dilation[1] == 1;
        let count = if near { (LANES / pass.outputs).clamp(1, taps) } else { 1 };
        Self { taps, count }
    }

    /// How many sets of taps make a row.
    fn sets(&self) -> usize {
        self.taps.div_ceil(self.count)
    }

    /// The last tap of a set. The last set overlaps the one before it where they do not divide the row.
    fn last(&self, set: usize) -> usize {
        ((set + 1) * self.count).min(self.taps) - 1
    }

    /// The set of a tap, over all rows, and how far it is from the set's last one.
    fn of(&self, tap: usize) -> (usize, usize) {
        let (row, tap) = (tap / self.taps, tap % self.taps);
        let set = tap / self.count;
        (row * self.sets() + set, self.last(set) - tap)
    }
}

impl Pass {
    /// `[output, depth]`.
    pub(super) fn by_weights(&self, x: &[f32], gradient: &[f32]) -> Vec<f32> {
        let abreast = Abreast::new(self);
        let (plane, outputs, columns) = (self.plane(), self.outputs, abreast.count * self.outputs);
        let rows = self.set_places(&abreast);
        // Each place and, before the first and behind the last, those that only some of the taps see.
        let beyond = abreast.count - 1;
        let lines = Places::even(self.spread.run() + beyond, outputs);
        let mut turned = vec![0.0; (lines.len() + beyond) * outputs];
        let mut sums = vec![0.0; self.size.groups * rows.len() * columns];
        self.pictures(x, |picture, index| {
            for (group, sums) in sums.chunks_exact_mut(rows.len() * columns).enumerate() {
                let first = (index * self.size.output + group * outputs) * plane;
                let gradient = &gradient[first..][..outputs * plane];
                self.turn(gradient, &mut turned[beyond * outputs..]);
                let product = Lined {
                    a: &picture[group * self.inputs * self.spread.channel()..],
                    rows: &rows,
                    step: 1,
                    b: &turned,
                    lines: &lines,
                    columns,
                    start: Start::Out,
                    out: sums,
                    out_stride: columns,
                };
                lined(self.level, product);
            }
        });
        let mut out = Vec::with_capacity(self.size.output * self.depth);
        for sums in sums.chunks_exact(rows.len() * columns) {
            for output in 0..outputs {
                let places = (0..self.depth).map(|tap| abreast.of(tap));
                out.extend(
                    places.map(|(set, to_last)| sums[set * columns + to_last * outputs + output]),
                );
            }
        }
        out
    }

    /// Where each set of taps begins in a group of channels.
    fn set_places(&self, abreast: &Abreast) -> Places {
        let channels = (0..self.inputs).map(|channel| channel * self.spread.channel());
        let places = channels.flat_map(|channel| {
            let rows = self.spread.taps().chunks_exact(abreast.taps);
            rows.flat_map(move |row| {
                let last = (0..abreast.sets()).map(|set| row[abreast.last(set)]);
                last.map(move |last| channel + last + 1 - abreast.count)
            })
        });
        Places::new(places.collect())
    }

    /// The outputs' gradients side by side, a place after the other; gaps hold zeros already.
    fn turn(&self, gradient: &[f32], turned: &mut [f32]) {
        let [rows, columns] = self.at.output;
        for row in 0..rows {
            let line = &mut turned[row * self.spread.line() * self.outputs..];
            for (column, to) in line.chunks_exact_mut(self.outputs).take(columns).enumerate() {
                let from = gradient[row * columns + column..].iter().step_by(rows * columns);
                to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            }
        }
    }
}
