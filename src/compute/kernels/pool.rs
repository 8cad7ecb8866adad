//! Pools over one picture `[rows, columns, channels]` that holds its padding already.

use super::Level;
use super::convolve::Geometry;
use super::dispatch;
use super::lanes::{Lanes, WIDTH};

/// What a pool takes of each window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    Maximum,
    Average,
}

/// Pools `input` into `out`.
///
/// # Panics
/// When a slice is too short for the geometry.
pub fn pool(
    level: Level,
    kind: Pool,
    channels: usize,
    geometry: &Geometry,
    input: &[f32],
    out: &mut [f32],
) {
    let pixels = |[rows, columns]: [usize; 2]| rows * columns;
    assert!(geometry.fits(), "the geometry fits");
    assert!(input.len() >= pixels(geometry.input) * channels, "a whole picture comes in");
    assert!(out.len() >= pixels(geometry.output) * channels, "a whole picture goes out");
    let pass = &Pass { kind, channels, geometry, input: input.as_ptr(), out: out.as_mut_ptr() };
    // SAFETY: as asserted; `dispatch` runs only what the processor has.
    unsafe { dispatch!(level, windows(pass: &Pass<'_>)) };
}

struct Pass<'a> {
    kind: Pool,
    channels: usize,
    geometry: &'a Geometry,
    input: *const f32,
    out: *mut f32,
}

#[inline(always)]
unsafe fn windows<V: Lanes, const ROWS: usize, const PAIR: usize>(pass: &Pass<'_>) {
    let [height, width] = pass.geometry.output;
    let [rows, columns] = pass.geometry.kernel;
    #[expect(clippy::cast_precision_loss, reason = "a window is small")]
    let share = 1.0 / (rows * columns) as f32;
    for y in 0..height {
        for x in 0..width {
            for channel in (0..pass.channels).step_by(WIDTH) {
                let part = (pass.channels - channel).min(WIDTH);
                // SAFETY: the window of a pixel lies within the input; lanes beyond are masked.
                unsafe {
                    let value: V = window(pass, y, x, channel, part);
                    let value = match pass.kind {
                        Pool::Maximum => value,
                        Pool::Average => value.mul(V::splat(share)),
                    };
                    value.store_part(pass.out.add((y * width + x) * pass.channels + channel), part);
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn window<V: Lanes>(pass: &Pass<'_>, y: usize, x: usize, channel: usize, part: usize) -> V {
    let Geometry { kernel, stride, input: [_, width], .. } = *pass.geometry;
    // SAFETY: the caller's.
    unsafe {
        let corner = (y * stride[0] * width + x * stride[1]) * pass.channels + channel;
        let at = |row: usize, column: usize| {
            let place = corner + (row * width + column) * pass.channels;
            V::load_part(pass.input.add(place), part)
        };
        let mut value = at(0, 0);
        for tap in 1..kernel[0] * kernel[1] {
            let next = at(tap / kernel[1], tap % kernel[1]);
            value = match pass.kind {
                Pool::Maximum => value.max(next),
                Pool::Average => value.add(next),
            };
        }
        value
    }
}
