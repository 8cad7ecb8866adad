//! The largest value under each window, whose place is kept: the gradient goes there and nowhere else.

use std::ops::Range;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::{Kept, made, values};
use crate::compute::Values;
use crate::compute::layers::{Placement, Window};

/// Its argument is [N, C, H, W]. The dilation is 1; padding never wins.
pub struct MaxPool {
    window: Window,
    at: Placement,
    /// For each value of the result, the place of its largest in the argument's plane.
    kept: Kept<Vec<u32>>,
}

/// Values and their places.
type Winners = (Vec<f32>, Vec<u32>);

impl MaxPool {
    /// `at` is where the window lies on the argument.
    pub fn new(window: Window, at: Placement) -> Self {
        Self { window, at, kept: Kept::none() }
    }

    /// What of axis `axis` lies under output `output`.
    fn under(&self, axis: usize, output: usize) -> Range<usize> {
        let first = output * self.window.stride[axis];
        let before = self.at.before[axis];
        let end = (first + self.window.kernel[axis]).saturating_sub(before);
        first.saturating_sub(before)..end.min(self.at.input[axis])
    }

    /// One line of outputs, whose windows cover some lines of the plane.
    fn line(&self, plane: &[f32], lines: &Range<usize>, (best, places): &mut Winners) {
        let width = self.at.input[1];
        for output in 0..self.at.output[1] {
            let columns = self.under(1, output);
            let first = lines.start * width + columns.start;
            let (mut most, mut winner) = (plane[first], first);
            for line in lines.clone() {
                let from = line * width;
                let under = &plane[from + columns.start..from + columns.end];
                for (&value, at) in under.iter().zip(from + columns.start..) {
                    let more = value > most;
                    most = if more { value } else { most };
                    winner = if more { at } else { winner };
                }
            }
            best.push(most);
            places.push(u32::try_from(winner).unwrap_or(u32::MAX));
        }
    }

    /// As [`MaxPool::line`], for windows of 2 x 2 side by side: the commonest by far.
    fn line_of_pairs(&self, plane: &[f32], line: usize, (best, places): &mut Winners) {
        let width = self.at.input[1];
        let first = u32::try_from(line * width).unwrap_or(u32::MAX);
        let width_u32 = u32::try_from(width).unwrap_or(u32::MAX);
        let (upper, lower) = plane[line * width..].split_at(width);
        let pairs = upper.chunks_exact(2).zip(lower.chunks_exact(2));
        let winners = pairs.zip((first..).step_by(2)).map(|((upper, lower), at)| {
            let pick = |a: (f32, u32), b: (f32, u32)| if b.0 > a.0 { b } else { a };
            let above = pick((upper[0], at), (upper[1], at + 1));
            let below = pick((lower[0], at + width_u32), (lower[1], at + width_u32 + 1));
            pick(above, below)
        });
        for (most, place) in winners.take(self.at.output[1]) {
            best.push(most);
            places.push(place);
        }
    }
}

impl CustomOp1 for MaxPool {
    fn name(&self) -> &'static str {
        "max-pool"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, channels, rows, columns) = layout.shape().dims4()?;
        let [out_rows, out_columns] = self.at.output;
        if [rows, columns] != self.at.input {
            bail!("max-pool: the window was laid on another picture");
        }
        let count = n * channels * out_rows * out_columns;
        let mut winners = (Vec::with_capacity(count), Vec::with_capacity(count));
        let pairs = self.window.kernel == [2, 2]
            && self.window.stride == [2, 2]
            && [self.at.before, self.at.after] == [[0; 2]; 2];
        for plane in values(x, layout)?.chunks_exact(rows * columns) {
            for output in 0..out_rows {
                if pairs {
                    self.line_of_pairs(plane, 2 * output, &mut winners);
                } else {
                    self.line(plane, &self.under(0, output), &mut winners);
                }
            }
        }
        let (best, places) = winners;
        self.kept.put(places);
        Ok(made(best, (n, channels, out_rows, out_columns)))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let gradient = Values::of(gradient)?;
        let places = self.kept.take()?;
        let [plane, outputs] = [self.at.input, self.at.output].map(|[r, c]| r * c);
        let mut of_x = vec![0.0; x.elem_count()];
        let of_planes = of_x.chunks_exact_mut(plane);
        let won = gradient.chunks_exact(outputs).zip(places.chunks_exact(outputs));
        for (plane, (gradient, places)) in of_planes.zip(won) {
            for (value, &place) in gradient.iter().zip(places) {
                plane[place as usize] += value;
            }
        }
        Tensor::from_vec(of_x, x.shape(), x.device()).map(Some)
    }
}
