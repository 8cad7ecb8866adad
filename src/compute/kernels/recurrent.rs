//! The element-wise half of a recurrent step: gates to the next state, one row at a time.

use super::Level;
use super::activation::Activation;
use super::dispatch;
use super::lanes::{Lanes, WIDTH};

/// One row of a GRU step with `PyTorch`'s gates, in the order reset, update, new:
/// `n = tanh(x_n + r · h_n)`, `h' = (1 − z) · n + z · h`.
///
/// `from_input` and `from_state` are the two halves of the gates, each `[3 · hidden]` with their biases;
/// `state` `[hidden]` becomes the next.
///
/// # Panics
/// When a slice has another length.
pub fn gru_row(level: Level, from_input: &[f32], from_state: &[f32], state: &mut [f32]) {
    let hidden = state.len();
    assert!(from_input.len() == 3 * hidden && from_state.len() == 3 * hidden, "three gates");
    let row = &Row {
        hidden,
        from_input: from_input.as_ptr(),
        from_state: from_state.as_ptr(),
        cell: std::ptr::null_mut(),
        state: state.as_mut_ptr(),
    };
    // SAFETY: lengths as asserted; `dispatch` runs only what the processor has.
    unsafe { dispatch!(level, gru(row: &Row)) };
}

/// One row of an LSTM step with `PyTorch`'s gates, in the order input, forget, cell, output:
/// `c' = f · c + i · g`, `h' = o · tanh(c')`.
///
/// `from_input` and `from_state` are the two halves of the gates, each `[4 · hidden]` with their biases;
/// `cell` and `state`, `[hidden]` each, become the next.
///
/// # Panics
/// When a slice has another length.
pub fn lstm_row(
    level: Level,
    from_input: &[f32],
    from_state: &[f32],
    cell: &mut [f32],
    state: &mut [f32],
) {
    let hidden = state.len();
    assert!(from_input.len() == 4 * hidden && from_state.len() == 4 * hidden, "four gates");
    assert!(cell.len() == hidden, "a cell a unit");
    let row = &Row {
        hidden,
        from_input: from_input.as_ptr(),
        from_state: from_state.as_ptr(),
        cell: cell.as_mut_ptr(),
        state: state.as_mut_ptr(),
    };
    // SAFETY: lengths as asserted; `dispatch` runs only what the processor has.
    unsafe { dispatch!(level, lstm(row: &Row)) };
}

struct Row {
    hidden: usize,
    from_input: *const f32,
    from_state: *const f32,
    /// Null for a GRU.
    cell: *mut f32,
    state: *mut f32,
}

impl Row {
    /// Sixteen values of a gate's two halves, `part` of them real.
    #[inline(always)]
    unsafe fn halves<V: Lanes>(&self, gate: usize, unit: usize, part: usize) -> (V, V) {
        let at = gate * self.hidden + unit;
        // SAFETY: the gate's values from `unit` on are at least `part`.
        unsafe {
            (
                V::load_part(self.from_input.add(at), part),
                V::load_part(self.from_state.add(at), part),
            )
        }
    }

    #[inline(always)]
    unsafe fn gate<V: Lanes>(&self, gate: usize, unit: usize, part: usize, f: Activation) -> V {
        // SAFETY: the caller's.
        unsafe {
            let (input, state) = self.halves::<V>(gate, unit, part);
            f.apply(input.add(state))
        }
    }
}

#[inline(always)]
unsafe fn gru<V: Lanes, const ROWS: usize, const PAIR: usize>(row: &Row) {
    for unit in (0..row.hidden).step_by(WIDTH) {
        let part = (row.hidden - unit).min(WIDTH);
        // SAFETY: `part` units from `unit` on exist in each slice.
        unsafe {
            let reset: V = row.gate(0, unit, part, Activation::Sigmoid);
            let update: V = row.gate(1, unit, part, Activation::Sigmoid);
            let (input, state) = row.halves::<V>(2, unit, part);
            let new = Activation::Tanh.apply(reset.fma(state, input));
            let old = V::load_part(row.state.add(unit), part);
            // (1 − z) · n + z · h = n + z · (h − n)
            update.fma(old.sub(new), new).store_part(row.state.add(unit), part);
        }
    }
}

#[inline(always)]
unsafe fn lstm<V: Lanes, const ROWS: usize, const PAIR: usize>(row: &Row) {
    for unit in (0..row.hidden).step_by(WIDTH) {
        let part = (row.hidden - unit).min(WIDTH);
        // SAFETY: `part` units from `unit` on exist in each slice.
        unsafe {
            let input: V = row.gate(0, unit, part, Activation::Sigmoid);
            let forget: V = row.gate(1, unit, part, Activation::Sigmoid);
            let new: V = row.gate(2, unit, part, Activation::Tanh);
            let output: V = row.gate(3, unit, part, Activation::Sigmoid);
            let cell = V::load_part(row.cell.add(unit), part);
            let cell = forget.fma(cell, input.mul(new));
            cell.store_part(row.cell.add(unit), part);
            let state = output.mul(Activation::Tanh.apply(cell));
            state.store_part(row.state.add(unit), part);
        }
    }
}
