//! Convolutions with one filter a channel.

use std::ops::Range;

use super::Level;
use super::activation::Activation;
use super::buffer::Buffer;
use super::convolve::{Band, Filters, Geometry};
use super::dispatch;
use super::frame::Frame;
use super::lanes::{Lanes, WIDTH};
use super::team;

/// One filter a channel, over a picture in blocks.
#[derive(Debug, Clone)]
pub struct Depthwise {
    geometry: Geometry,
    from: Frame,
    to: Frame,
    /// `[block][tap][16]`.
    taps: Buffer,
    /// `[block][16]`.
    bias: Buffer,
    activation: Activation,
}

impl Depthwise {
    /// `filters.weights` are `[channels, 1, rows, columns]`.
    ///
    /// # Panics
    /// When the weights have another size, or a window leaves the frame.
    #[must_use]
    pub fn new(
        filters: Filters<'_>,
        geometry: &Geometry,
        (from, to): (Frame, Frame),
        activation: Activation,
    ) -> Self {
        let taps = geometry.kernel[0] * geometry.kernel[1];
        assert!(geometry.fits(&from, &to), "every window lies within the frame");
        assert!(from.channels == to.channels, "as many channels go out");
        filters.check(to.channels, taps);
        let mut packed = Buffer::zeros(to.blocks() * taps * WIDTH);
        for (channel, filter) in filters.weights.chunks_exact(taps).enumerate() {
            let start = channel / WIDTH * taps * WIDTH + channel % WIDTH;
            for (tap, &weight) in filter.iter().enumerate() {
                packed[start + tap * WIDTH] = weight * filters.scale[channel];
            }
        }
        let mut bias = Buffer::zeros(to.blocks() * WIDTH);
        bias[..to.channels].copy_from_slice(filters.bias);
        Self { geometry: *geometry, from, to, taps: packed, bias, activation }
    }

    #[must_use]
    pub fn to(&self) -> &Frame {
        &self.to
    }

    /// Some lines of the output.
    ///
    /// # Panics
    /// When a slice is too short for its frame, or the band leaves one.
    pub fn run(&self, level: Level, band: Band, input: &[f32], out: &mut [f32]) {
        let (from, to) = (&self.from, &self.to);
        let first = from.before[0].checked_add_signed(band.top);
        let lines = from.before[0] + from.size[0] + from.after[0];
        let fits = first.is_some_and(|line| line + self.geometry.reads(band.lines) <= lines);
        assert!(fits && input.len() >= from.len(), "the band is there");
        assert!(out.len() >= to.len() && band.fits(to), "it has a place");
        let column = -self.geometry.padding[1].cast_signed();
        let shared = &Shared(Pass {
            depthwise: self,
            lines: band.lines,
            blocks: 0..to.blocks(),
            input: input[from.at(band.top, column)..].as_ptr(),
            out: out[to.at(band.to.cast_signed(), 0)..].as_mut_ptr(),
        });
        let work = to.channels * band.lines * to.size[1] * self.taps.len() / to.blocks() / WIDTH;
        if work < team::SHARED_MIN || team::threads() == 1 {
            let pass = shared.pass();
            // SAFETY: as asserted; `dispatch` runs only what the processor has.
            return unsafe { dispatch!(level, filters(pass: &Pass<'_>)) };
        }
        team::share(to.blocks(), 1, work, &|own| {
            let pass = &Pass { blocks: own, ..*shared.pass() };
            // SAFETY: as above; no two pieces write the same block.
            unsafe { dispatch!(level, filters(pass: &Pass<'_>)) };
        });
    }
}

/// A pass that several threads do parts of.
struct Shared<'a>(Pass<'a>);

// SAFETY: its pointers are read by all, and written at blocks of each thread's own.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    fn pass(&self) -> &Pass<'a> {
        &self.0
    }
}

struct Pass<'a> {
    depthwise: &'a Depthwise,
    lines: usize,
    blocks: Range<usize>,
    /// The first block's first window, and its first pixel.
    input: *const f32,
    out: *mut f32,
}

#[inline(always)]
unsafe fn filters<V: Lanes, const ROWS: usize, const PAIR: usize>(pass: &Pass<'_>) {
    let Depthwise { to, .. } = pass.depthwise;
    let width = to.size[1];
    for block in pass.blocks.clone() {
        for y in 0..pass.lines {
            let mut x = 0;
            // SAFETY: every x below `width` is a pixel. Seven divides the widths of most networks.
            unsafe {
                while x + 7 <= width {
                    pixels::<V, 7>(pass, block, y, x);
                    x += 7;
                }
                while x + 3 <= width {
                    pixels::<V, 3>(pass, block, y, x);
                    x += 3;
                }
                while x < width {
                    pixels::<V, 1>(pass, block, y, x);
                    x += 1;
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn pixels<V: Lanes, const X: usize>(pass: &Pass<'_>, block: usize, y: usize, x: usize) {
    let Depthwise { geometry, from, to, taps, bias, activation } = pass.depthwise;
    let Geometry { kernel, stride, dilation, .. } = *geometry;
    let (line, step) = (from.line(), stride[1] * WIDTH);
    // SAFETY: the caller's: `X` pixels of this block and line exist.
    unsafe {
        let mut sums = [V::load(bias.as_ptr().add(block * WIDTH)); X];
        let corner = pass.input.add(block * from.plane() + y * stride[0] * line + x * step);
        let mut tap = taps.as_ptr().add(block * kernel[0] * kernel[1] * WIDTH);
        for row in 0..kernel[0] {
            for column in 0..kernel[1] {
                let at = corner.add(row * dilation[0] * line + column * dilation[1] * WIDTH);
                let weight = V::load(tap);
                tap = tap.wrapping_add(WIDTH);
                for (i, sum) in sums.iter_mut().enumerate() {
                    *sum = V::load(at.add(i * step)).fma(weight, *sum);
                }
            }
        }
        let out = pass.out.add(block * to.plane() + y * to.line() + x * WIDTH);
        for (i, sum) in sums.iter().enumerate() {
            activation.apply(*sum).store(out.add(i * WIDTH));
        }
    }
}
