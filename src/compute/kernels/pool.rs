//! Pools over a picture in blocks.

use std::ops::Range;

use super::Level;
use super::convolve::Geometry;
use super::dispatch;
use super::frame::Frame;
use super::lanes::{Lanes, WIDTH};

/// What a pool takes of each window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    Maximum,
    Average,
}

/// A window over a picture. Places outside it do not count.
#[derive(Debug, Clone)]
pub struct Pooling {
    pub kind: Pool,
    pub geometry: Geometry,
    pub from: Frame,
    pub to: Frame,
}

impl Pooling {
    /// # Panics
    /// When a slice is too short for its frame.
    pub fn run(&self, level: Level, input: &[f32], out: &mut [f32]) {
        assert!(input.len() >= self.from.len() && out.len() >= self.to.len(), "whole pictures");
        assert!(self.from.channels == self.to.channels, "as many channels go out");
        let pass = &mut Pass { pooling: self, input, out };
        // SAFETY: `dispatch` runs only what the processor has.
        unsafe { dispatch!(level, windows(pass: &mut Pass<'_>)) };
    }
}

/// The mean of each channel: `out` is `[channels]`.
///
/// # Panics
/// When a slice is too short.
pub fn mean(level: Level, frame: &Frame, input: &[f32], out: &mut [f32]) {
    assert!(input.len() >= frame.len() && out.len() >= frame.channels, "a whole picture");
    let all = &mut Mean { frame, input, out };
    // SAFETY: as asserted; `dispatch` runs only what the processor has.
    unsafe { dispatch!(level, means(all: &mut Mean<'_>)) };
}

struct Pass<'a> {
    pooling: &'a Pooling,
    input: &'a [f32],
    out: &'a mut [f32],
}

struct Mean<'a> {
    frame: &'a Frame,
    input: &'a [f32],
    out: &'a mut [f32],
}

#[inline(always)]
unsafe fn windows<V: Lanes, const ROWS: usize, const PAIR: usize>(pass: &mut Pass<'_>) {
    let Pooling { geometry, from, to, .. } = pass.pooling;
    for y in 0..to.size[0] {
        let rows = inside(geometry, 0, y, from.size[0]);
        for x in 0..to.size[1] {
            let columns = inside(geometry, 1, x, from.size[1]);
            let place = to.at(y.cast_signed(), x.cast_signed());
            for block in 0..to.blocks() {
                // SAFETY: the features are there.
                let value: V = unsafe { window(pass, block, &rows, &columns) };
                let out = &mut pass.out[block * to.plane() + place..][..WIDTH];
                // SAFETY: sixteen floats.
                unsafe { value.store(out.as_mut_ptr()) };
            }
        }
    }
}

/// The places of a window along an axis that lie within the picture, one dilation apart.
#[inline(always)]
fn inside(geometry: &Geometry, axis: usize, at: usize, size: usize) -> Range<usize> {
    let (first, dilation) = (at * geometry.stride[axis], geometry.dilation[axis]);
    let before = geometry.padding[axis];
    // Taps before the picture are skipped, whole steps of the dilation at a time.
    let skipped = before.saturating_sub(first).div_ceil(dilation);
    let start = first + skipped * dilation - before;
    let taps = geometry.kernel[axis] - skipped.min(geometry.kernel[axis]);
    start..size.min(start + taps.saturating_sub(1) * dilation + 1).max(start)
}

#[inline(always)]
unsafe fn window<V: Lanes>(
    pass: &Pass<'_>,
    block: usize,
    rows: &Range<usize>,
    columns: &Range<usize>,
) -> V {
    let Pooling { kind, geometry, from, .. } = pass.pooling;
    let plane = &pass.input[block * from.plane()..][..from.plane()];
    let start = if *kind == Pool::Maximum { f32::NEG_INFINITY } else { 0.0 };
    let mut count = 0_usize;
    // SAFETY: sixteen floats of a pixel within the plane.
    unsafe {
        let mut value = V::splat(start);
        for row in rows.clone().step_by(geometry.dilation[0]) {
            for column in columns.clone().step_by(geometry.dilation[1]) {
                let at = from.at(row.cast_signed(), column.cast_signed());
                let next = V::load(plane[at..at + WIDTH].as_ptr());
                value = match kind {
                    Pool::Maximum => value.max(next),
                    Pool::Average => value.add(next),
                };
                count += 1;
            }
        }
        match kind {
            Pool::Maximum => value,
            #[expect(clippy::cast_precision_loss, reason = "a mean needs no more digits")]
            Pool::Average => value.mul(V::splat(1.0 / count.max(1) as f32)),
        }
    }
}

#[inline(always)]
unsafe fn means<V: Lanes, const ROWS: usize, const PAIR: usize>(all: &mut Mean<'_>) {
    let Mean { frame, input, out } = all;
    #[expect(clippy::cast_precision_loss, reason = "pixels are few")]
    let share = 1.0 / (frame.size[0] * frame.size[1]) as f32;
    for (block, out) in out[..frame.channels].chunks_mut(WIDTH).enumerate() {
        let plane = &input[block * frame.plane()..][..frame.plane()];
        // SAFETY: sixteen floats of pixels within the plane; as many channels are written as there are.
        unsafe {
            let mut sum = V::splat(0.0);
            for row in 0..frame.size[0] {
                // Line by line, so that a large picture loses little.
                let mut line = V::splat(0.0);
                for column in 0..frame.size[1] {
                    let at = frame.at(row.cast_signed(), column.cast_signed());
                    line = line.add(V::load(plane[at..at + WIDTH].as_ptr()));
                }
                sum = sum.add(line);
            }
            sum.mul(V::splat(share)).store_part(out.as_mut_ptr(), out.len());
        }
    }
}
