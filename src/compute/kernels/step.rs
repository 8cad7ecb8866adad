//! A recurrent step: the product of the state and the weights, and what the gates make of both halves.

use super::Level;
use super::amx;
use super::buffer::Buffer;
use super::gemm::{Packed, Product, gemm};
use super::lanes::WIDTH;
use super::recurrent::{gru_row, lstm_row};
use super::tile::is_shared;

/// One step of some rows of a GRU or an LSTM, with `PyTorch`'s gates.
pub struct Step<'a> {
    /// The input's half of each row's gates, with its bias: `[gates · hidden]`.
    pub inputs: &'a [&'a [f32]],
    /// `[rows, hidden]`, which become the next.
    pub state: &'a mut [f32],
    /// Of an LSTM, `[rows, hidden]`, which become the next. A GRU has none.
    pub cell: Option<&'a mut [f32]>,
    /// Room for the state's half.
    pub room: &'a mut Buffer,
}

/// A step as the kernels see it.
#[derive(Clone, Copy)]
pub(super) struct Pointers<'a> {
    pub inputs: &'a [&'a [f32]],
    pub state: *mut f32,
    /// Null for a GRU.
    pub cell: *mut f32,
    pub hidden: usize,
}

/// Makes one step; `weights` are `[gates · hidden, hidden]`, with the state's bias.
///
/// # Panics
/// When a slice has another length.
pub fn recurrent_step(level: Level, weights: &Packed, step: Step<'_>) {
    let Step { inputs, state, cell, room } = step;
    let (hidden, gates) = (weights.k(), weights.n());
    let expected = if cell.is_some() { 4 * hidden } else { 3 * hidden };
    assert!(gates == expected && inputs.iter().all(|input| input.len() == gates), "all gates");
    assert_eq!(state.len(), inputs.len() * hidden, "a state a row");
    assert!(cell.as_ref().is_none_or(|cell| cell.len() == state.len()), "a cell a unit");
    let panels = weights.panels();
    if panels.back.is_some() && hidden.is_multiple_of(WIDTH) && !is_shared(inputs.len(), &panels) {
        let cell = cell.map_or(std::ptr::null_mut(), <[f32]>::as_mut_ptr);
        let step = Pointers { inputs, state: state.as_mut_ptr(), cell, hidden };
        // SAFETY: lengths as asserted; digits are made only where they can be multiplied.
        return unsafe { amx::step(&step, panels) };
    }
    room.resize(inputs.len() * gates);
    gemm(level, weights, Product::rows(weights, state, room));
    let rows = inputs.iter().zip(room.chunks_exact(gates)).zip(state.chunks_exact_mut(hidden));
    match cell {
        None => rows.for_each(|((x, h), state)| gru_row(level, x, h, state)),
        Some(cell) => {
            let rows = rows.zip(cell.chunks_exact_mut(hidden));
            rows.for_each(|(((x, h), state), cell)| lstm_row(level, x, h, cell, state));
        }
    }
}
