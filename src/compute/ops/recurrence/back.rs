//! From the last step to the first, and what follows of all steps together.

use super::{KEPT, Memory, Recurrence};
use crate::compute::kernels::{Lined, Places, Start, best, gru_back, lined, lstm_back};
use crate::compute::layers::Cell;

impl Recurrence {
    /// Turns the gates that were kept into the gradients by the sums inside them.
    pub(super) fn back(&self, memory: &mut Memory, out: &[f32], weight: &[f32], gradient: &[f32]) {
        let (step_len, kept) = (self.step_len(), KEPT * self.hidden);
        let rows = Places::even(self.rows, kept);
        let lines = Places::even(self.width(), self.hidden);
        let mut change = vec![0.0; step_len];
        let mut of_cells = vec![0.0; self.cells.len()];
        for step in (0..self.sequence.steps).rev() {
            let gates = &mut memory.gates[step * self.rows * kept..][..self.rows * kept];
            let gradient = &gradient[step * step_len..][..step_len];
            match self.cell {
                Cell::Gru => self.gru_back(gradient, gates, self.before(out, step), &mut change),
                Cell::Lstm => {
                    let (before, after) = memory.cells[step * step_len..].split_at(step_len);
                    let cells = (before, after);
                    self.lstm_back(gradient, gates, cells, &mut change, &mut of_cells);
                }
            }
            let product = Lined {
                a: gates,
                rows: &rows,
                step: 1,
                b: weight,
                lines: &lines,
                columns: self.hidden,
                start: Start::Out,
                out: &mut change,
                out_stride: self.hidden,
            };
            lined(best(), product);
        }
    }

    fn gru_back(&self, gradient: &[f32], gates: &mut [f32], before: &[f32], change: &mut [f32]) {
        let hidden = self.hidden;
        let rows = gates.chunks_exact_mut(KEPT * hidden).zip(gradient.chunks_exact(hidden));
        let states = before.chunks_exact(hidden).zip(change.chunks_exact_mut(hidden));
        for ((gates, gradient), (before, change)) in rows.zip(states) {
            gru_back(best(), gradient, gates, before, change);
        }
    }

    fn lstm_back(
        &self,
        gradient: &[f32],
        gates: &mut [f32],
        cells: (&[f32], &[f32]),
        change: &mut [f32],
        of_cells: &mut [f32],
    ) {
        let hidden = self.hidden;
        let rows = gates.chunks_exact_mut(KEPT * hidden).zip(gradient.chunks_exact(hidden));
        let cells = cells.0.chunks_exact(hidden).zip(cells.1.chunks_exact(hidden));
        let changes = change.chunks_exact_mut(hidden).zip(of_cells.chunks_exact_mut(hidden));
        for (((gates, gradient), cell), (change, of_cell)) in rows.zip(cells).zip(changes) {
            lstm_back(best(), gradient, gates, cell, change, of_cell);
        }
    }

    /// Each row's gradient goes to the inputs that it read.
    pub(super) fn by_inputs(&self, memory: &Memory, count: usize) -> Vec<f32> {
        let mut sums = vec![0.0; count];
        for (row, gates) in memory.gates.chunks_exact(KEPT * self.hidden).enumerate() {
            let sums = &mut sums[self.place(row)..][..self.width()];
            match self.cell {
                Cell::Gru => {
                    // The state's part of the new gate stands between the others.
                    let (first, last) = sums.split_at_mut(2 * self.hidden);
                    add(first, gates);
                    add(last, &gates[3 * self.hidden..]);
                }
                Cell::Lstm => add(sums, gates),
            }
        }
        sums
    }

    /// [gates × hidden, hidden]: of every step, its gates by the state before it.
    pub(super) fn by_weights(&self, memory: &Memory, out: &[f32]) -> Vec<f32> {
        let kept = KEPT * self.hidden;
        let rows = &Places::even(self.width(), 1);
        let mut sums = vec![0.0; self.width() * self.hidden];
        let later = (self.sequence.steps - 1) * self.rows;
        let (first_gates, later_gates) = memory.gates.split_at(self.rows * kept);
        for (gates, states, count) in
            [(first_gates, &self.state[..], self.rows), (later_gates, out, later)]
        {
            let product = Lined {
                a: gates,
                rows,
                step: kept,
                b: states,
                lines: &Places::even(count, self.hidden),
                columns: self.hidden,
                start: Start::Out,
                out: &mut sums,
                out_stride: self.hidden,
            };
            lined(best(), product);
        }
        sums
    }

    /// [gates × hidden].
    pub(super) fn by_bias(&self, memory: &Memory) -> Vec<f32> {
        let mut sums = vec![0.0; self.width()];
        for gates in memory.gates.chunks_exact(KEPT * self.hidden) {
            add(&mut sums, gates);
        }
        sums
    }
}

/// Adds as many values as there are sums.
fn add(sums: &mut [f32], values: &[f32]) {
    let values = &values[..sums.len()];
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value;
    }
}
