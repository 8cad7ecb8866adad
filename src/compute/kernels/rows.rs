//! Softmax and layer norm, in place, one row at a time.

use super::Level;
use super::activation::{Activation, exp};
use super::dispatch;
use super::lanes::{Lanes, WIDTH};

/// Turns a row of scores into probabilities. Scores of −∞ get 0; at least one must be finite.
pub fn softmax_row(level: Level, row: &mut [f32]) {
    // SAFETY: the slice is valid; `dispatch` runs only what the processor has.
    unsafe { dispatch!(level, softmax(row: &mut [f32])) };
}

/// Normalises a row to mean 0 and variance 1, then scales and shifts it (Ba et al. 2016).
///
/// # Panics
/// When `scale` or `shift` is shorter than the row.
pub fn layer_norm_row(level: Level, row: &mut [f32], scale: &[f32], shift: &[f32], epsilon: f32) {
    assert!(scale.len() >= row.len() && shift.len() >= row.len(), "one scale and shift a column");
    let norm = &mut Norm { row, scale, shift, epsilon };
    // SAFETY: lengths as asserted; `dispatch` runs only what the processor has.
    unsafe { dispatch!(level, layer_norm(norm: &mut Norm<'_>)) };
}

/// Applies an activation to every value.
pub fn activate(level: Level, values: &mut [f32], activation: Activation) {
    let all = &mut Elements { values, activation };
    // SAFETY: the slice is valid; `dispatch` runs only what the processor has.
    unsafe { dispatch!(level, elements(all: &mut Elements<'_>)) };
}

struct Norm<'a> {
    row: &'a mut [f32],
    scale: &'a [f32],
    shift: &'a [f32],
    epsilon: f32,
}

struct Elements<'a> {
    values: &'a mut [f32],
    activation: Activation,
}

/// Each block of sixteen: its place and how many of them there are.
#[inline(always)]
fn blocks(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).step_by(WIDTH).map(move |at| (at, (count - at).min(WIDTH)))
}

#[inline(always)]
unsafe fn softmax<V: Lanes, const ROWS: usize, const PAIR: usize>(row: &mut [f32]) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut total = 0.0;
    let at = row.as_mut_ptr();
    // SAFETY: blocks lie within the row.
    unsafe {
        for (place, part) in blocks(row.len()) {
            let shifted = V::load_part(at.add(place), part).sub(V::splat(largest));
            exp(shifted).store_part(at.add(place), part);
        }
        let mut sums = V::splat(0.0);
        for (place, part) in blocks(row.len()) {
            // Below −87 the power is not worth a digit: it counts as 0.
            let value = V::load_part(at.add(place), part);
            sums = sums.add(value);
        }
        total += sums.sum();
        let scale = V::splat(1.0 / total);
        for (place, part) in blocks(row.len()) {
            V::load_part(at.add(place), part).mul(scale).store_part(at.add(place), part);
        }
    }
}

#[inline(always)]
unsafe fn layer_norm<V: Lanes, const ROWS: usize, const PAIR: usize>(norm: &mut Norm<'_>) {
    let count = norm.row.len();
    let at = norm.row.as_mut_ptr();
    #[expect(clippy::cast_precision_loss, reason = "a row is short")]
    let share = 1.0 / count.max(1) as f32;
    // SAFETY: blocks lie within the row, and scale and shift are as long.
    unsafe {
        let mut sums = V::splat(0.0);
        for (place, part) in blocks(count) {
            sums = sums.add(V::load_part(at.add(place), part));
        }
        let mean = sums.sum() * share;
        let mut squares = V::splat(0.0);
        for (place, part) in blocks(count) {
            let away = V::load_part(at.add(place), part).sub(V::splat(mean));
            away.store_part(at.add(place), part);
            let kept = V::load_part(at.add(place), part);
            squares = kept.fma(kept, squares);
        }
        let deviation = (squares.sum() * share + norm.epsilon).sqrt();
        let scale = V::splat(1.0 / deviation);
        for (place, part) in blocks(count) {
            let by = V::load_part(norm.scale.as_ptr().add(place), part);
            let plus = V::load_part(norm.shift.as_ptr().add(place), part);
            let value = V::load_part(at.add(place), part).mul(scale);
            value.fma(by, plus).store_part(at.add(place), part);
        }
    }
}

#[inline(always)]
unsafe fn elements<V: Lanes, const ROWS: usize, const PAIR: usize>(all: &mut Elements<'_>) {
    let at = all.values.as_mut_ptr();
    for (place, part) in blocks(all.values.len()) {
        // SAFETY: blocks lie within the slice.
        unsafe {
            let value = V::load_part(at.add(place), part);
            all.activation.apply(value).store_part(at.add(place), part);
        }
    }
}
