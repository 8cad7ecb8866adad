//! From the first step to the last.

use super::{KEPT, Memory, Recurrence};
use crate::compute::kernels::{Activation, Packed, Product, best, gemm, gru_keep, lstm_keep};
use crate::compute::layers::Cell;

impl Recurrence {
    /// The outputs of all steps, and what the way back needs; `packed` are the recurrent weights and their bias.
    pub(super) fn forth(&self, inputs: &[f32], packed: &Packed) -> (Vec<f32>, Memory) {
        let (step_len, kept) = (self.step_len(), KEPT * self.hidden);
        let rows = self.sequence.steps * self.rows;
        let mut out = vec![0.0; rows * self.hidden];
        let mut gates = vec![0.0; rows * kept];
        let mut cells = self.cells.clone();
        cells.resize(self.cells.len() * (self.sequence.steps + 1), 0.0);
        for (step, gates) in gates.chunks_exact_mut(self.rows * kept).enumerate() {
            let (done, after) = out.split_at_mut(step * step_len);
            let before = self.before(done, step);
            let product = Product {
                a: before,
                a_stride: self.hidden,
                m: self.rows,
                out: gates,
                out_stride: kept,
                residual: None,
                activation: Activation::None,
            };
            gemm(best(), packed, product);
            let step_gates = Gates { first: step * self.rows, inputs, kept: gates };
            match self.cell {
                Cell::Gru => self.gru(step_gates, before, after),
                Cell::Lstm => {
                    let (old, new) = cells[step * step_len..].split_at_mut(step_len);
                    self.lstm(step_gates, old, new, after);
                }
            }
        }
        (out, Memory { gates, cells })
    }

    fn gru(&self, Gates { first, inputs, kept }: Gates<'_>, before: &[f32], after: &mut [f32]) {
        let states = before.chunks_exact(self.hidden).zip(after.chunks_exact_mut(self.hidden));
        let kept = kept.chunks_exact_mut(KEPT * self.hidden);
        for (row, (kept, (before, after))) in (first..).zip(kept.zip(states)) {
            gru_keep(best(), self.input(inputs, row), kept, before, after);
        }
    }

    fn lstm(
        &self,
        Gates { first, inputs, kept }: Gates<'_>,
        before: &[f32],
        cells: &mut [f32],
        after: &mut [f32],
    ) {
        let kept = kept.chunks_exact_mut(KEPT * self.hidden);
        let cells = before.chunks_exact(self.hidden).zip(cells.chunks_exact_mut(self.hidden));
        let states = cells.zip(after.chunks_exact_mut(self.hidden));
        for (row, (kept, ((before, cell), after))) in (first..).zip(kept.zip(states)) {
            lstm_keep(best(), self.input(inputs, row), kept, before, cell, after);
        }
    }

    /// The input's part of the gates of a row.
    fn input<'a>(&self, inputs: &'a [f32], row: usize) -> &'a [f32] {
        &inputs[self.place(row)..][..self.width()]
    }
}

/// The two halves of a step's gates.
struct Gates<'a> {
    /// The step's first row, of all rows.
    first: usize,
    inputs: &'a [f32],
    /// The state's half, which becomes what is kept.
    kept: &'a mut [f32],
}
