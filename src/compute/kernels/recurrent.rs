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

/// Sixteen units, or as many of them as are real.
#[derive(Clone, Copy)]
struct Block {
    unit: usize,
    part: usize,
}

impl Block {
    #[inline(always)]
    unsafe fn load<V: Lanes>(self, from: *const f32) -> V {
        // SAFETY: the caller's: `part` values from `unit` on are there.
        unsafe { V::load_part(from.add(self.unit), self.part) }
    }

    #[inline(always)]
    unsafe fn store<V: Lanes>(self, value: V, to: *mut f32) {
        // SAFETY: as above.
        unsafe { value.store_part(to.add(self.unit), self.part) };
    }
}

impl Row {
    /// Some blocks from `unit` on, whole ones where there are several.
    #[inline(always)]
    fn blocks<const N: usize>(&self, unit: usize) -> [Block; N] {
        let mut blocks = [Block { unit, part: (self.hidden - unit).min(WIDTH) }; N];
        for (i, block) in blocks.iter_mut().enumerate() {
            block.unit += i * WIDTH;
        }
        blocks
    }

    /// The two halves of a gate.
    #[inline(always)]
    unsafe fn halves<V: Lanes>(&self, gate: usize, block: Block) -> (V, V) {
        let at = gate * self.hidden;
        // SAFETY: the caller's.
        unsafe { (block.load(self.from_input.add(at)), block.load(self.from_state.add(at))) }
    }

    /// A gate of some blocks.
    #[inline(always)]
    unsafe fn gate<V: Lanes, const N: usize>(
        &self,
        gate: usize,
        blocks: [Block; N],
        f: Activation,
    ) -> [V; N] {
        // SAFETY: the caller's.
        unsafe {
            let mut values = [V::splat(0.0); N];
            for (value, block) in values.iter_mut().zip(blocks) {
                let (input, state) = self.halves::<V>(gate, block);
                *value = f.apply(input.add(state));
            }
            values
        }
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
unsafe fn some_units<V: Lanes, const N: usize>(row: &Row, blocks: [Block; N]) {
    // SAFETY: the caller's.
    unsafe {
        if row.cell.is_null() {
            gru_units::<V, N>(row, blocks);
        } else {
            lstm_units::<V, N>(row, blocks);
        }
    }
}

#[inline(always)]
unsafe fn gru_units<V: Lanes, const N: usize>(row: &Row, blocks: [Block; N]) {
    // SAFETY: the caller's.
    unsafe {
        let reset: [V; N] = row.gate(0, blocks, Activation::Sigmoid);
        let update: [V; N] = row.gate(1, blocks, Activation::Sigmoid);
        let mut new = [V::splat(0.0); N];
        for (i, new) in new.iter_mut().enumerate() {
            let (input, state) = row.halves::<V>(2, blocks[i]);
            *new = Activation::Tanh.apply(reset[i].fma(state, input));
        }
        for (i, block) in blocks.into_iter().enumerate() {
            let old: V = block.load(row.state);
            // (1 − z) · n + z · h = n + z · (h − n)
            block.store(update[i].fma(old.sub(new[i]), new[i]), row.state);
        }
    }
}

#[inline(always)]
unsafe fn lstm_units<V: Lanes, const N: usize>(row: &Row, blocks: [Block; N]) {
    // SAFETY: the caller's.
    unsafe {
        let input: [V; N] = row.gate(0, blocks, Activation::Sigmoid);
        let forget: [V; N] = row.gate(1, blocks, Activation::Sigmoid);
        let new: [V; N] = row.gate(2, blocks, Activation::Tanh);
        let output: [V; N] = row.gate(3, blocks, Activation::Sigmoid);
        for (i, block) in blocks.into_iter().enumerate() {
            let cell = forget[i].fma(block.load(row.cell), input[i].mul(new[i]));
            block.store(cell, row.cell);
            block.store(output[i].mul(Activation::Tanh.apply(cell)), row.state);
        }
    }
}
