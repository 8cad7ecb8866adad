//! Pools over a picture in blocks.

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
    let Pooling { kind, geometry, from, to } = pass.pooling;
    for y in 0..to.size[0] {
        let rows = Taps::inside(geometry, 0, y, from.size[0]);
        for x in 0..to.size[1] {
            let columns = Taps::inside(geometry, 1, x, from.size[1]);
            let place = to.at(y.cast_signed(), x.cast_signed());
            for block in 0..to.blocks() {
                // SAFETY: the features are there.
                let value: V = unsafe {
                    match kind {
                        Pool::Maximum => window::<V, true>(pass, block, rows, columns),
                        Pool::Average => window::<V, false>(pass, block, rows, columns),
                    }
                };
                let out = &mut pass.out[block * to.plane() + place..][..WIDTH];
                // SAFETY: sixteen floats.
                unsafe { value.store(out.as_mut_ptr()) };
            }
        }
    }
}

/// The places of a window along an axis that lie within the picture, one dilation apart.
#[derive(Clone, Copy)]
struct Taps {
    first: usize,
    count: usize,
}

impl Taps {
    /// Most windows lie inside: they are spared the divisions, which take longer than the rest.
    #[inline(always)]
    fn inside(geometry: &Geometry, axis: usize, at: usize, size: usize) -> Self {
        let (start, dilation) = (at * geometry.stride[axis], geometry.dilation[axis]);
        let (before, kernel) = (geometry.padding[axis], geometry.kernel[axis]);
        let skipped = if start < before { (before - start).div_ceil(dilation) } else { 0 };
        let first = start + skipped * dilation - before;
        let count = kernel.saturating_sub(skipped);
        let reach = first + count.saturating_sub(1) * dilation;
        let count =
            if reach < size { count } else { size.saturating_sub(first).div_ceil(dilation) };
        Self { first, count }
    }
}

#[inline(always)]
unsafe fn window<V: Lanes, const MAXIMUM: bool>(
    pass: &Pass<'_>,
    block: usize,
    rows: Taps,
    columns: Taps,
) -> V {
    let Pooling { geometry, from, .. } = pass.pooling;
    let plane = &pass.input[block * from.plane()..][..from.plane()];
    let first = from.at(rows.first.cast_signed(), columns.first.cast_signed());
    let [down, right] = [geometry.dilation[0] * from.line(), geometry.dilation[1] * WIDTH];
    // SAFETY: sixteen floats of a pixel within the plane.
    unsafe {
        let mut value = V::splat(if MAXIMUM { f32::NEG_INFINITY } else { 0.0 });
        for row in 0..rows.count {
            let line = first + row * down;
            for column in 0..columns.count {
                let next = V::load(plane[line + column * right..][..WIDTH].as_ptr());
                value = if MAXIMUM { value.max(next) } else { value.add(next) };
            }
        }
        if MAXIMUM {
            return value;
        }
        #[expect(clippy::cast_precision_loss, reason = "a mean needs no more digits")]
        let count = (rows.count * columns.count).max(1) as f32;
        value.mul(V::splat(1.0 / count))
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
