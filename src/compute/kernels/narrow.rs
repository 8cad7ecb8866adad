//! Convolutions with a few outputs over the planes of a network's input. Sixteen lanes of outputs would be
//! mostly empty there; sixteen pixels of a line are not.

use super::Level;
use super::activation::Activation;
use super::buffer::Buffer;
use super::convolve::{Filters, Geometry};
use super::dispatch;
use super::frame::Frame;
use super::lanes::{Lanes, WIDTH};

/// A convolution of up to [`Narrow::OUTPUTS`] outputs, one pixel after the other along a line.
#[derive(Debug, Clone)]
pub struct Narrow {
    /// Where each tap's pixel lies, from the first pixel of the first tap.
    taps: Vec<usize>,
    /// `[tap][8]`.
    weights: Buffer,
    bias: [f32; Narrow::OUTPUTS],
    /// Floats of the input from the first window of one line to that of the next, and to the first.
    line: usize,
    origin: usize,
    /// Floats of the input in all.
    reach: usize,
    to: Frame,
    activation: Activation,
}

impl Narrow {
    /// The most outputs.
    pub const OUTPUTS: usize = 8;

    /// Whether a convolution is one of these.
    #[must_use]
    pub fn takes(geometry: &Geometry, outputs: usize) -> bool {
        outputs <= Self::OUTPUTS && geometry.stride[1] == 1
    }

    /// As [`Convolution::planar`](super::Convolution::planar); the columns may be dilated.
    ///
    /// # Panics
    /// When the weights have another size, a window leaves the frame, or [`Narrow::takes`] does not.
    #[must_use]
    pub fn new(
        filters: Filters<'_>,
        geometry: &Geometry,
        (from, to): (Frame, Frame),
        activation: Activation,
    ) -> Self {
        assert!(geometry.fits(&from, &to) && Self::takes(geometry, to.channels), "few outputs");
        let [rows, columns] = geometry.kernel;
        let count = from.channels * rows * columns;
        filters.check(to.channels, count);
        let (line, plane) = (from.line() / WIDTH, from.plane() / WIDTH);
        let tap = |place: usize| {
            let (channel, row) = (place / (rows * columns), place / columns % rows);
            let column = place % columns * geometry.dilation[1];
            channel * plane + row * geometry.dilation[0] * line + column
        };
        let mut weights = Buffer::zeros(count * Self::OUTPUTS);
        for (output, filter) in filters.weights.chunks_exact(count).enumerate() {
            for (tap, &weight) in filter.iter().enumerate() {
                weights[tap * Self::OUTPUTS + output] = weight * filters.scale[output];
            }
        }
        let mut bias = [0.0; Self::OUTPUTS];
        bias[..to.channels].copy_from_slice(filters.bias);
        Self {
            taps: (0..count).map(tap).collect(),
            weights,
            bias,
            line: geometry.stride[0] * line,
            origin: (from.before[0] - geometry.padding[0]) * line + from.before[1]
                - geometry.padding[1],
            reach: from.channels * plane,
            to,
            activation,
        }
    }

    /// All of the output. Sixteen floats after the planes of `input` are read, and count for nothing.
    ///
    /// # Panics
    /// When a slice is too short.
    pub fn run(&self, level: Level, input: &[f32], out: &mut [f32]) {
        let to = &self.to;
        let last = self.taps.iter().max().copied().unwrap_or(0);
        let end = self.origin + (to.size[0] - 1) * self.line + to.size[1] + last;
        assert!(end <= self.reach && input.len() >= end + WIDTH, "a whole picture comes in");
        assert!(out.len() >= to.len(), "it has a place");
        let pass = &mut Pass { narrow: self, input: input[self.origin..].as_ptr(), out };
        // SAFETY: as asserted; `dispatch` runs only what the processor has.
        unsafe { dispatch!(level, lines(pass: &mut Pass<'_>)) };
    }
}

struct Pass<'a> {
    narrow: &'a Narrow,
    input: *const f32,
    out: &'a mut [f32],
}

#[inline(always)]
unsafe fn lines<V: Lanes, const ROWS: usize, const PAIR: usize>(pass: &mut Pass<'_>) {
    // SAFETY: the caller's.
    unsafe {
        match pass.narrow.to.channels {
            ..=4 => outputs::<V, 4, PAIR>(pass),
            5 | 6 => outputs::<V, 6, PAIR>(pass),
            _ => outputs::<V, 8, PAIR>(pass),
        }
    }
}

#[inline(always)]
unsafe fn outputs<V: Lanes, const C: usize, const NV: usize>(pass: &mut Pass<'_>) {
    let Narrow { to, line, .. } = pass.narrow;
    for row in 0..to.size[0] {
        let mut column = 0;
        while column < to.size[1] {
            // SAFETY: the pixels from here on are there, and sixteen floats more.
            unsafe {
                let from = pass.input.add(row * line + column);
                if NV == 2 && column + WIDTH < to.size[1] {
                    pixels::<V, C, 2>(pass, from, row, column);
                    column += 2 * WIDTH;
                } else {
                    pixels::<V, C, 1>(pass, from, row, column);
                    column += WIDTH;
                }
            }
        }
    }
}

/// `NV` times sixteen pixels of a line, from one on.
#[inline(always)]
unsafe fn pixels<V: Lanes, const C: usize, const NV: usize>(
    pass: &mut Pass<'_>,
    from: *const f32,
    row: usize,
    column: usize,
) {
    let Narrow { taps, weights, bias, to, activation, .. } = pass.narrow;
    let mut made = [[[0.0_f32; WIDTH]; NV]; C];
    // SAFETY: the caller's.
    unsafe {
        let mut sums: [[V; NV]; C] = std::array::from_fn(|c| [V::splat(bias[c]); NV]);
        let mut weight = weights.as_ptr();
        for &tap in taps {
            let at = from.add(tap);
            let values: [V; NV] = std::array::from_fn(|v| V::load(at.add(v * WIDTH)));
            for (c, sums) in sums.iter_mut().enumerate() {
                let weight = V::splat(*weight.add(c));
                for (sum, &value) in sums.iter_mut().zip(&values) {
                    *sum = value.fma(weight, *sum);
                }
            }
            weight = weight.wrapping_add(Narrow::OUTPUTS);
        }
        sums = activation.apply_all(sums);
        for (made, sums) in made.iter_mut().zip(sums) {
            for (made, sum) in made.iter_mut().zip(sums) {
                sum.store(made.as_mut_ptr());
            }
        }
    }
    // Channels that there are not become 0: whoever had this place before may have left anything.
    made[to.channels..].fill([[0.0; WIDTH]; NV]);
    let place = to.at(row.cast_signed(), column.cast_signed());
    let count = (to.size[1] - column).min(NV * WIDTH);
    for (pixel, out) in pass.out[place..][..count * WIDTH].chunks_exact_mut(WIDTH).enumerate() {
        // SAFETY: sixteen floats.
        unsafe { V::splat(0.0).store(out.as_mut_ptr()) };
        for (out, made) in out.iter_mut().zip(&made) {
            *out = made[pixel / WIDTH][pixel % WIDTH];
        }
    }
}
