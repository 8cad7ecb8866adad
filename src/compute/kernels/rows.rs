//! Softmax, layer norm and element-wise functions, row by row.

use super::Level;
use super::activation::{Activation, exp};
use super::dispatch;
use super::lanes::{Lanes, WIDTH};
use super::team;

/// Turns a row of scores into probabilities. At least one score must be finite.
pub fn softmax_row(level: Level, row: &mut [f32]) {
    let total = exp_row(level, row, 1.0);
    scale_row(level, row, 1.0 / total);
}

/// Turns scores into `exp(scale · (score − largest))` and returns their sum: a softmax that is still to
/// be divided. Powers below e^−87 are as good as 0.
pub fn exp_row(level: Level, row: &mut [f32], scale: f32) -> f32 {
    powers_of(level, row, scale, 0.0)
}

/// As [`exp_row`], each rounded to a multiple of 2⁻²², which is what a row of digits keeps of them: the sum then is
/// that of what is multiplied, and the weights of an average add up to 1.
pub(super) fn exp_row_in_digits(level: Level, row: &mut [f32], scale: f32) -> f32 {
    // Floats from 2 to 4 are multiples of 2⁻²².
    powers_of(level, row, scale, 2.0)
}

fn powers_of(level: Level, row: &mut [f32], scale: f32, round_at: f32) -> f32 {
    let all = &mut Powers { row, scale, round_at, total: 0.0 };
    // SAFETY: the slice is valid; `dispatch` runs only what the processor has.
    unsafe { dispatch!(level, powers(all: &mut Powers<'_>)) };
    all.total
}

/// Multiplies a row.
pub(super) fn scale_row(level: Level, row: &mut [f32], scale: f32) {
    let all = &mut Powers { row, scale, round_at: 0.0, total: 0.0 };
    // SAFETY: the slice is valid; `dispatch` runs only what the processor has.
    unsafe { dispatch!(level, multiples(all: &mut Powers<'_>)) };
}

/// How often a row is walked over to be normalised.
const PASSES: usize = 3;

/// Normalises rows to mean 0 and variance 1, then scales and shifts them (Ba et al. 2016).
#[derive(Debug, Clone, PartialEq)]
pub struct Norm {
    pub scale: Vec<f32>,
    pub shift: Vec<f32>,
    pub epsilon: f32,
}

impl Norm {
    /// Every row of `from`, as wide as the scale, to the same row of `to`.
    ///
    /// # Panics
    /// When the two are not as long, or not whole rows.
    pub fn rows(&self, level: Level, from: &[f32], to: &mut [f32]) {
        let width = self.scale.len();
        assert!(from.len() == to.len() && from.len().is_multiple_of(width), "whole rows");
        assert!(self.shift.len() == width, "a shift for each scale");
        team::share_rows(to, width, PASSES * from.len(), &|rows, to| {
            let pass = &mut Normalise {
                norm: self,
                from: &from[rows.start * width..rows.end * width],
                to,
            };
            // SAFETY: lengths as asserted; `dispatch` runs only what the processor has.
            unsafe { dispatch!(level, normalise(pass: &mut Normalise<'_>)) };
        });
    }
}

/// Applies an activation to every value.
pub fn activate(level: Level, values: &mut [f32], activation: Activation) {
    let all = &mut Elements { values, activation };
    // SAFETY: the slice is valid; `dispatch` runs only what the processor has.
    unsafe { dispatch!(level, elements(all: &mut Elements<'_>)) };
}

/// Blocks of sixteen whose powers are made together.
const TOGETHER: usize = 2;

struct Powers<'a> {
    row: &'a mut [f32],
    scale: f32,
    /// Added to each power and taken away again.
    round_at: f32,
    total: f32,
}

struct Normalise<'a> {
    norm: &'a Norm,
    from: &'a [f32],
    to: &'a mut [f32],
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
unsafe fn powers<V: Lanes, const ROWS: usize, const PAIR: usize>(row: &mut Powers<'_>) {
    let count = row.row.len();
    let at = row.row.as_mut_ptr();
    // SAFETY: blocks lie within the row.
    unsafe {
        let scale = V::splat(row.scale);
        let largest = V::splat(maximum::<V>(row.row) * row.scale);
        let mut sums = V::splat(0.0);
        let mut place = 0;
        // A power is one long chain of operations: those of several overlap.
        while place + TOGETHER * WIDTH <= count {
            let mut values = [V::splat(0.0); TOGETHER];
            for (i, value) in values.iter_mut().enumerate() {
                let score = V::load(at.add(place + i * WIDTH));
                *value = power(row, score.mul(scale).sub(largest));
            }
            for (i, value) in values.into_iter().enumerate() {
                value.store(at.add(place + i * WIDTH));
                sums = sums.add(value);
            }
            place += TOGETHER * WIDTH;
        }
        while place < count {
            let part = (count - place).min(WIDTH);
            let value = V::load_part(at.add(place), part);
            power(row, value.mul(scale).sub(largest)).store_part(at.add(place), part);
            // What lies beyond the row does not count.
            sums = sums.add(V::load_part(at.add(place), part));
            place += WIDTH;
        }
        row.total = sums.sum();
    }
}

#[inline(always)]
unsafe fn power<V: Lanes>(row: &Powers<'_>, x: V) -> V {
    // SAFETY: the caller's.
    unsafe {
        let power = exp(x);
        if row.round_at > 0.0 {
            let at = V::splat(row.round_at);
            return power.add(at).sub(at);
        }
        power
    }
}

/// The largest value of a row; −∞ of none.
#[inline(always)]
unsafe fn maximum<V: Lanes>(row: &[f32]) -> f32 {
    let whole = row.len() / WIDTH * WIDTH;
    let mut all = [f32::NEG_INFINITY; WIDTH];
    // SAFETY: whole blocks lie within the row.
    unsafe {
        let mut largest = V::load(all.as_ptr());
        for place in (0..whole).step_by(WIDTH) {
            largest = largest.max(V::load(row.as_ptr().add(place)));
        }
        largest.store(all.as_mut_ptr());
    }
    all.iter().chain(&row[whole..]).copied().fold(f32::NEG_INFINITY, f32::max)
}

#[inline(always)]
unsafe fn multiples<V: Lanes, const ROWS: usize, const PAIR: usize>(row: &mut Powers<'_>) {
    let at = row.row.as_mut_ptr();
    for (place, part) in blocks(row.row.len()) {
        // SAFETY: blocks lie within the row.
        unsafe {
            let value = V::load_part(at.add(place), part).mul(V::splat(row.scale));
            value.store_part(at.add(place), part);
        }
    }
}

#[inline(always)]
unsafe fn normalise<V: Lanes, const ROWS: usize, const PAIR: usize>(pass: &mut Normalise<'_>) {
    let width = pass.norm.scale.len();
    for (from, to) in pass.from.chunks_exact(width).zip(pass.to.chunks_exact_mut(width)) {
        // SAFETY: both rows are as wide as scale and shift.
        unsafe { normalise_row::<V>(pass.norm, from.as_ptr(), to.as_mut_ptr()) };
    }
}

#[inline(always)]
unsafe fn normalise_row<V: Lanes>(norm: &Norm, from: *const f32, to: *mut f32) {
    let Norm { scale, shift, epsilon } = norm;
    let count = scale.len();
    #[expect(clippy::cast_precision_loss, reason = "a row is short")]
    let share = 1.0 / count as f32;
    // SAFETY: blocks lie within the row, and scale and shift are as long.
    unsafe {
        let mut sums = V::splat(0.0);
        for (place, part) in blocks(count) {
            sums = sums.add(V::load_part(from.add(place), part));
        }
        let mean = V::splat(sums.sum() * share);
        let mut squares = V::splat(0.0);
        for (place, part) in blocks(count) {
            // What lies beyond the row is stored nowhere, so it must not count either: through `to`.
            let away = V::load_part(from.add(place), part).sub(mean);
            away.store_part(to.add(place), part);
            let away = if part == WIDTH { away } else { V::load_part(to.add(place), part) };
            squares = away.fma(away, squares);
        }
        let deviation = (squares.sum() * share + epsilon).sqrt();
        let by_all = V::splat(1.0 / deviation);
        for (place, part) in blocks(count) {
            let by = V::load_part(scale.as_ptr().add(place), part);
            let plus = V::load_part(shift.as_ptr().add(place), part);
            let value = V::load_part(to.add(place), part).mul(by_all);
            value.fma(by, plus).store_part(to.add(place), part);
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
