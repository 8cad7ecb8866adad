//! The element-wise half of a recurrent step in training, one row at a time: forwards it keeps what the way
//! back needs, backwards it turns that into gradients, in the same place.
//!
//! A row keeps four values a unit, in blocks of `hidden`. A GRU: reset, update, the new gate's part from
//! the state, new. An LSTM: input, forget, new, output. Backwards each becomes the gradient of the
//! sum inside it; so the first blocks, as many as there are gates, are the gradient of the product with the
//! state.

use super::Level;
use super::activation::Activation;
use super::dispatch;
use super::lanes::{Lanes, WIDTH};

/// A step of a GRU: `input` `[3 · hidden]` and, in the first three blocks of `kept`, the state's half of the
/// gates give `after`.
///
/// # Panics
/// When a slice has another length.
pub fn gru_keep(level: Level, input: &[f32], kept: &mut [f32], before: &[f32], after: &mut [f32]) {
    let hidden = after.len();
    assert!(input.len() == 3 * hidden && kept.len() == 4 * hidden, "three gates");
    assert!(before.len() == hidden, "a value a unit");
    let row = &mut GruRow { hidden, input, kept, before, after };
    // SAFETY: lengths as asserted; `dispatch` runs only what the processor has.
    unsafe { dispatch!(level, gru_forth(row: &mut GruRow<'_>)) };
}

/// The way back: `change` is the gradient by the step's state, without `gradient`, which comes from what read
/// that state; it becomes what reaches the state before directly. `kept` becomes gradients.
///
/// # Panics
/// When a slice has another length.
pub fn gru_back(
    level: Level,
    gradient: &[f32],
    kept: &mut [f32],
    before: &[f32],
    change: &mut [f32],
) {
    let hidden = change.len();
    assert!(gradient.len() == hidden && kept.len() == 4 * hidden, "four values a unit are kept");
    assert!(before.len() == hidden, "a value a unit");
    let row = &mut GruRow { hidden, input: gradient, kept, before, after: change };
    // SAFETY: as above.
    unsafe { dispatch!(level, gru_return(row: &mut GruRow<'_>)) };
}

/// A step of an LSTM, as [`gru_keep`]: `kept` holds the state's half of four gates, `before` the cell before
/// the step and `cell` the one after it.
///
/// # Panics
/// When a slice has another length.
pub fn lstm_keep(
    level: Level,
    input: &[f32],
    kept: &mut [f32],
    before: &[f32],
    cell: &mut [f32],
    after: &mut [f32],
) {
    let hidden = after.len();
    assert!(input.len() == 4 * hidden && kept.len() == 4 * hidden, "four gates");
    assert!(before.len() == hidden && cell.len() == hidden, "a cell a unit");
    let row = &mut LstmRow { hidden, input, kept, before, cell, after };
    // SAFETY: as above.
    unsafe { dispatch!(level, lstm_forth(row: &mut LstmRow<'_>)) };
}

/// The way back, as [`gru_back`]: `cell` is the cell before and after, `change` the gradient by the step's
/// state, whose direct part to the state before is nothing, and `of_cell` the one by its cell.
///
/// # Panics
/// When a slice has another length.
pub fn lstm_back(
    level: Level,
    gradient: &[f32],
    kept: &mut [f32],
    cell: (&[f32], &[f32]),
    change: &mut [f32],
    of_cell: &mut [f32],
) {
    let hidden = gradient.len();
    assert!(kept.len() == 4 * hidden, "four values a unit are kept");
    assert!(cell.0.len() == hidden && cell.1.len() == hidden, "a cell a unit");
    assert!(change.len() == hidden && of_cell.len() == hidden, "a gradient a unit");
    let row = &mut LstmBack { hidden, gradient, kept, cell, change, of_cell };
    // SAFETY: as above.
    unsafe { dispatch!(level, lstm_return(row: &mut LstmBack<'_>)) };
}

struct GruRow<'a> {
    hidden: usize,
    input: &'a [f32],
    kept: &'a mut [f32],
    before: &'a [f32],
    after: &'a mut [f32],
}

struct LstmRow<'a> {
    hidden: usize,
    input: &'a [f32],
    kept: &'a mut [f32],
    before: &'a [f32],
    cell: &'a mut [f32],
    after: &'a mut [f32],
}

struct LstmBack<'a> {
    hidden: usize,
    gradient: &'a [f32],
    kept: &'a mut [f32],
    cell: (&'a [f32], &'a [f32]),
    change: &'a mut [f32],
    of_cell: &'a mut [f32],
}

/// Sixteen units of a row, or the last ones.
#[derive(Clone, Copy)]
struct Units {
    at: usize,
    part: usize,
    hidden: usize,
}

impl Units {
    fn of(hidden: usize) -> impl Iterator<Item = Self> {
        let units = move |at| Self { at, part: (hidden - at).min(WIDTH), hidden };
        (0..hidden).step_by(WIDTH).map(units)
    }

    #[inline(always)]
    unsafe fn load<V: Lanes>(self, from: &[f32], block: usize) -> V {
        // SAFETY: the block's units exist.
        unsafe { V::load_part(from.as_ptr().add(block * self.hidden + self.at), self.part) }
    }

    #[inline(always)]
    unsafe fn store<V: Lanes>(self, value: V, to: &mut [f32], block: usize) {
        // SAFETY: the block's units exist.
        unsafe {
            value.store_part(to.as_mut_ptr().add(block * self.hidden + self.at), self.part);
        }
    }
}

/// `1 − x`.
#[inline(always)]
unsafe fn rest<V: Lanes>(x: V) -> V {
    // SAFETY: the caller's.
    unsafe { V::splat(1.0).sub(x) }
}

/// `1 − x²`: the slope of a tanh that is x.
#[inline(always)]
unsafe fn slope<V: Lanes>(x: V) -> V {
    // SAFETY: the caller's.
    unsafe { V::splat(1.0).sub(x.mul(x)) }
}

#[inline(always)]
unsafe fn gru_forth<V: Lanes, const ROWS: usize, const PAIR: usize>(row: &mut GruRow<'_>) {
    for units in Units::of(row.hidden) {
        // SAFETY: all slices hold these units.
        unsafe {
            let gate = |block| units.load::<V>(row.input, block).add(units.load(row.kept, block));
            let reset = Activation::Sigmoid.apply(gate(0));
            let update = Activation::Sigmoid.apply(gate(1));
            let state: V = units.load(row.kept, 2);
            let new = Activation::Tanh.apply(reset.fma(state, units.load(row.input, 2)));
            units.store(reset, row.kept, 0);
            units.store(update, row.kept, 1);
            units.store(new, row.kept, 3);
            let before: V = units.load(row.before, 0);
            units.store(update.fma(before.sub(new), new), row.after, 0);
        }
    }
}

#[inline(always)]
unsafe fn gru_return<V: Lanes, const ROWS: usize, const PAIR: usize>(row: &mut GruRow<'_>) {
    for units in Units::of(row.hidden) {
        // SAFETY: all slices hold these units.
        unsafe {
            let reset: V = units.load(row.kept, 0);
            let update: V = units.load(row.kept, 1);
            let state: V = units.load(row.kept, 2);
            let new: V = units.load(row.kept, 3);
            let change = units.load::<V>(row.after, 0).add(units.load(row.input, 0));
            let away = units.load::<V>(row.before, 0).sub(new);
            let of_new = change.mul(rest(update)).mul(slope(new));
            let of_update = change.mul(away).mul(update.mul(rest(update)));
            let of_reset = of_new.mul(state).mul(reset.mul(rest(reset)));
            units.store(of_reset, row.kept, 0);
            units.store(of_update, row.kept, 1);
            units.store(of_new.mul(reset), row.kept, 2);
            units.store(of_new, row.kept, 3);
            units.store(change.mul(update), row.after, 0);
        }
    }
}

#[inline(always)]
unsafe fn lstm_forth<V: Lanes, const ROWS: usize, const PAIR: usize>(row: &mut LstmRow<'_>) {
    for units in Units::of(row.hidden) {
        // SAFETY: all slices hold these units.
        unsafe {
            let gate = |block| units.load::<V>(row.input, block).add(units.load(row.kept, block));
            let input = Activation::Sigmoid.apply(gate(0));
            let forget = Activation::Sigmoid.apply(gate(1));
            let new = Activation::Tanh.apply(gate(2));
            let output = Activation::Sigmoid.apply(gate(3));
            for (block, value) in [input, forget, new, output].into_iter().enumerate() {
                units.store(value, row.kept, block);
            }
            let cell = forget.fma(units.load(row.before, 0), input.mul(new));
            units.store(cell, row.cell, 0);
            units.store(output.mul(Activation::Tanh.apply(cell)), row.after, 0);
        }
    }
}

#[inline(always)]
unsafe fn lstm_return<V: Lanes, const ROWS: usize, const PAIR: usize>(row: &mut LstmBack<'_>) {
    for units in Units::of(row.hidden) {
        // SAFETY: all slices hold these units.
        unsafe {
            let [input, forget, new, output]: [V; 4] =
                std::array::from_fn(|block| units.load(row.kept, block));
            let seen = Activation::Tanh.apply(units.load::<V>(row.cell.1, 0));
            let change = units.load::<V>(row.change, 0).add(units.load(row.gradient, 0));
            let of_cell = change.mul(output).mul(slope(seen)).add(units.load(row.of_cell, 0));
            let before: V = units.load(row.cell.0, 0);
            let gates = [
                of_cell.mul(new).mul(input.mul(rest(input))),
                of_cell.mul(before).mul(forget.mul(rest(forget))),
                of_cell.mul(input).mul(slope(new)),
                change.mul(seen).mul(output.mul(rest(output))),
            ];
            for (block, value) in gates.into_iter().enumerate() {
                units.store(value, row.kept, block);
            }
            units.store(V::splat(0.0), row.change, 0);
            units.store(of_cell.mul(forget), row.of_cell, 0);
        }
    }
}
