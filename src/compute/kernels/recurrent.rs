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
    unsafe { dispatch!(level, units(row: &Row)) };
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
    unsafe { dispatch!(level, units(row: &Row)) };
}

struct Row {
    hidden: usize,
    from_input: *const f32,
    from_state: *const f32,
    /// Null for a GRU.
    cell: *mut f32,
    state: *mut f32,
}

/// Blocks of sixteen units that are made together: a unit's functions are one long chain, and those of several
/// overlap.
const TOGETHER: usize = 2;

/// Sixteen units of a row, or as many of them as are real.
pub(super) trait Units<V: Lanes>: Copy {
    /// The two halves of a gate.
    ///
    /// # Safety
    /// They must be there; and as [`Lanes`]. So for the others.
    unsafe fn halves(self, gate: usize) -> (V, V);

    /// What the units were before, or the cells.
    unsafe fn old(self, of: Kept) -> V;

    /// What they become.
    unsafe fn keep(self, of: Kept, new: V);
}

/// What a row remembers.
#[derive(Clone, Copy)]
pub(super) enum Kept {
    State,
    /// Of an LSTM.
    Cell,
}

/// Units of a row whose gates lie one after the other.
#[derive(Clone, Copy)]
struct OfRow<'a> {
    row: &'a Row,
    unit: usize,
    part: usize,
}

impl OfRow<'_> {
    #[inline(always)]
    fn kept(self, of: Kept) -> *mut f32 {
        match of {
            Kept::State => self.row.state.wrapping_add(self.unit),
            Kept::Cell => self.row.cell.wrapping_add(self.unit),
        }
    }
}

impl<V: Lanes> Units<V> for OfRow<'_> {
    #[inline(always)]
    unsafe fn halves(self, gate: usize) -> (V, V) {
        let at = gate * self.row.hidden + self.unit;
        // SAFETY: the caller's.
        unsafe {
            let input = V::load_part(self.row.from_input.add(at), self.part);
            (input, V::load_part(self.row.from_state.add(at), self.part))
        }
    }

    #[inline(always)]
    unsafe fn old(self, of: Kept) -> V {
        // SAFETY: the caller's.
        unsafe { V::load_part(self.kept(of), self.part) }
    }

    #[inline(always)]
    unsafe fn keep(self, of: Kept, new: V) {
        // SAFETY: the caller's.
        unsafe { new.store_part(self.kept(of), self.part) };
    }
}

impl Row {
    /// Some blocks from `unit` on, whole ones where there are several.
    #[inline(always)]
    fn blocks<const N: usize>(&self, unit: usize) -> [OfRow<'_>; N] {
        let mut blocks = [OfRow { row: self, unit, part: (self.hidden - unit).min(WIDTH) }; N];
        for (i, block) in blocks.iter_mut().enumerate() {
            block.unit += i * WIDTH;
        }
        blocks
    }
}

/// All units of a row, some blocks at a time.
#[inline(always)]
unsafe fn units<V: Lanes, const ROWS: usize, const PAIR: usize>(row: &Row) {
    let mut unit = 0;
    // SAFETY: the units of each block exist in each slice.
    unsafe {
        while unit + TOGETHER * WIDTH <= row.hidden {
            some_units::<V, TOGETHER>(row, row.blocks(unit));
            unit += TOGETHER * WIDTH;
        }
        while unit < row.hidden {
            some_units::<V, 1>(row, row.blocks(unit));
            unit += WIDTH;
        }
    }
}

#[inline(always)]
unsafe fn some_units<V: Lanes, const N: usize>(row: &Row, blocks: [OfRow<'_>; N]) {
    // SAFETY: the caller's.
    unsafe {
        if row.cell.is_null() {
            gru_units::<V, _, N>(blocks);
        } else {
            lstm_units::<V, _, N>(blocks);
        }
    }
}

/// A gate of some units.
#[inline(always)]
unsafe fn gate<V: Lanes, U: Units<V>, const N: usize>(
    gate: usize,
    units: [U; N],
    f: Activation,
) -> [V; N] {
    // SAFETY: the caller's.
    unsafe {
        let mut values = [V::splat(0.0); N];
        for (value, units) in values.iter_mut().zip(units) {
            let (input, state) = units.halves(gate);
            *value = f.apply(input.add(state));
        }
        values
    }
}

/// Some units of a GRU.
///
/// # Safety
/// They must be there; and as [`Lanes`].
#[inline(always)]
pub(super) unsafe fn gru_units<V: Lanes, U: Units<V>, const N: usize>(units: [U; N]) {
    // SAFETY: the caller's.
    unsafe {
        let reset: [V; N] = gate(0, units, Activation::Sigmoid);
        let update: [V; N] = gate(1, units, Activation::Sigmoid);
        let mut new = [V::splat(0.0); N];
        for (i, new) in new.iter_mut().enumerate() {
            let (input, state) = units[i].halves(2);
            *new = Activation::Tanh.apply(reset[i].fma(state, input));
        }
        for (i, units) in units.into_iter().enumerate() {
            let old: V = units.old(Kept::State);
            // (1 − z) · n + z · h = n + z · (h − n)
            units.keep(Kept::State, update[i].fma(old.sub(new[i]), new[i]));
        }
    }
}

/// Some units of an LSTM.
///
/// # Safety
/// They must be there; and as [`Lanes`].
#[inline(always)]
pub(super) unsafe fn lstm_units<V: Lanes, U: Units<V>, const N: usize>(units: [U; N]) {
    // SAFETY: the caller's.
    unsafe {
        let input: [V; N] = gate(0, units, Activation::Sigmoid);
        let forget: [V; N] = gate(1, units, Activation::Sigmoid);
        let new: [V; N] = gate(2, units, Activation::Tanh);
        let output: [V; N] = gate(3, units, Activation::Sigmoid);
        for (i, units) in units.into_iter().enumerate() {
            let cell = forget[i].fma(units.old(Kept::Cell), input[i].mul(new[i]));
            units.keep(Kept::Cell, cell);
            units.keep(Kept::State, output[i].mul(Activation::Tanh.apply(cell)));
        }
    }
}
