//! A picture laid out so that what a tap sees of it lies in one run of floats.

use crate::compute::kernels::Places;
use crate::compute::layers::{Placement, Window};

/// A channel with its border, taken apart by the stride: one plane for each place within a step. From a tap's
/// place on, the values under it at one output after the other are then neighbours: a line of a matrix
/// product, without a copy of every window. Between the end of a row of outputs and the next one lie values
/// that belong to no output.
pub struct Spread {
    at: Placement,
    stride: [usize; 2],
    /// Rows and columns of a plane.
    plane: [usize; 2],
    /// Where each tap begins in a channel, row by row.
    taps: Vec<usize>,
}

impl Spread {
    pub fn new(window: &Window, at: Placement) -> Self {
        let axis = |axis: usize| {
            let whole = at.before[axis] + at.input[axis] + at.after[axis];
            whole.div_ceil(window.stride[axis])
        };
        let mut spread =
            Self { at, stride: window.stride, plane: [axis(0), axis(1)], taps: Vec::new() };
        let [rows, columns] = window.kernel;
        let taps = (0..rows * columns).map(|tap| {
            spread.place(tap / columns * window.dilation[0], tap % columns * window.dilation[1])
        });
        spread.taps = taps.collect();
        spread
    }

    /// Floats of a channel.
    pub fn channel(&self) -> usize {
        self.stride[0] * self.stride[1] * self.plane[0] * self.plane[1]
    }

    /// Columns of a plane: floats from one row of outputs to the next.
    pub fn line(&self) -> usize {
        self.plane[1]
    }

    /// Floats from the first output to the end of the last.
    pub fn run(&self) -> usize {
        (self.at.output[0] - 1) * self.line() + self.at.output[1]
    }

    /// Where each tap of the first channel begins.
    pub fn taps(&self) -> &[usize] {
        &self.taps
    }

    /// Where each tap of so many channels begins.
    pub fn lines(&self, channels: usize) -> Places {
        let channel = |channel| self.taps.iter().map(move |tap| channel * self.channel() + tap);
        Places::new((0..channels).flat_map(channel).collect())
    }

    /// Whether a channel is laid out as it was.
    pub fn is_plain(&self) -> bool {
        self.stride == [1, 1] && [self.at.before, self.at.after] == [[0; 2]; 2]
    }

    /// Where a row and column of the bordered picture lies.
    fn place(&self, row: usize, column: usize) -> usize {
        let [down, along] = self.stride;
        let phase = row % down * along + column % along;
        let [rows, columns] = self.plane;
        (phase * rows + row / down) * columns + column / along
    }

    /// Copies a picture; `to` has zeros where its borders lie.
    pub fn fill(&self, picture: &[f32], to: &mut [f32]) {
        let channels = picture.chunks_exact(self.at.input[0] * self.at.input[1]);
        for (channel, to) in channels.zip(to.chunks_exact_mut(self.channel())) {
            for (row, values) in channel.chunks_exact(self.at.input[1]).enumerate() {
                self.row(row, |column, at, step, count| {
                    let to = &mut to[at..];
                    if step == 1 {
                        to[..count].copy_from_slice(&values[..count]);
                    } else {
                        let values = values[column..].iter().step_by(step);
                        to.iter_mut().zip(values).for_each(|(to, value)| *to = *value);
                    }
                });
            }
        }
    }

    /// The way back: leaves the borders out.
    pub fn read(&self, from: &[f32], picture: &mut [f32]) {
        let channels = picture.chunks_exact_mut(self.at.input[0] * self.at.input[1]);
        for (channel, from) in channels.zip(from.chunks_exact(self.channel())) {
            for (row, values) in channel.chunks_exact_mut(self.at.input[1]).enumerate() {
                self.row(row, |column, at, step, count| {
                    let from = &from[at..at + count];
                    let values = values[column..].iter_mut().step_by(step);
                    values.zip(from).for_each(|(value, from)| *value = *from);
                });
            }
        }
    }

    /// The runs of a row: the column that a run begins with, where it lies, its step in the row and how many
    /// values it has.
    fn row(&self, row: usize, mut run: impl FnMut(usize, usize, usize, usize)) {
        let step = self.stride[1];
        for column in 0..step.min(self.at.input[1]) {
            let at = self.place(row + self.at.before[0], column + self.at.before[1]);
            run(column, at, step, (self.at.input[1] - column).div_ceil(step));
        }
    }
}
