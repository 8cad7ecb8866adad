//! A recurrent layer over all steps of a window: forwards it keeps the gates, backwards it goes through the
//! steps from the last to the first (Werbos 1990), and the gradient by its weights is one product of all steps.

mod back;
mod forth;

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

use super::{Kept, made, values};
use crate::compute::Values;
use crate::compute::kernels::Packed;
use crate::compute::layers::{Cell, LayerState};

/// Values that are kept of each unit.
const KEPT: usize = 4;

/// What a layer reads, step after step, a row for each sequence.
pub struct Sequence {
    pub steps: usize,
    /// Which row of the inputs each row of each step reads; in order where there are none.
    pub tokens: Option<Vec<u32>>,
}

/// Arguments are the input's part of the gates [inputs, gates × hidden], the recurrent weights
/// [gates × hidden, hidden] and their bias; the result is [steps × rows, hidden].
pub struct Recurrence {
    cell: Cell,
    sequence: Sequence,
    rows: usize,
    hidden: usize,
    /// [rows, hidden].
    state: Vec<f32>,
    /// Of an LSTM, [rows, hidden].
    cells: Vec<f32>,
    kept: Kept<Memory>,
    last_cells: Arc<Mutex<Vec<f32>>>,
}

/// What the backward pass needs.
struct Memory {
    /// [steps × rows, 4 × hidden].
    gates: Vec<f32>,
    /// Of an LSTM, those before each step and after the last, [(steps + 1) × rows, hidden].
    cells: Vec<f32>,
}

impl Recurrence {
    /// # Errors
    /// When the state is that of another cell.
    pub fn new(cell: Cell, sequence: Sequence, state: &LayerState) -> Result<Self> {
        let (rows, hidden) = state.hidden.dims2()?;
        let cells = match (cell, &state.cell) {
            (Cell::Gru, None) => Vec::new(),
            (Cell::Lstm, Some(cells)) => Values::of(cells)?.to_vec(),
            _ => bail!("recurrence: the state is that of another cell"),
        };
        if sequence.steps == 0 || rows == 0 {
            bail!("recurrence: expected at least one step of at least one row");
        }
        let state = Values::of(&state.hidden)?.to_vec();
        let (kept, last_cells) = (Kept::none(), Arc::default());
        Ok(Self { cell, sequence, rows, hidden, state, cells, kept, last_cells })
    }

    /// The outputs of all steps, and the state after the last, which has no history.
    ///
    /// # Errors
    /// When the shapes do not belong together.
    pub fn apply(
        self,
        inputs: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
    ) -> Result<(Tensor, LayerState)> {
        let (steps, rows, hidden) = (self.sequence.steps, self.rows, self.hidden);
        let last_cells = (self.cell == Cell::Lstm).then(|| Arc::clone(&self.last_cells));
        let outputs =
            inputs.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, self)?;
        let last = outputs.detach().narrow(0, (steps - 1) * rows, rows)?;
        let cell = last_cells.map(|cells| {
            let cells = std::mem::take(&mut *cells.lock().unwrap_or_else(PoisonError::into_inner));
            Tensor::from_vec(cells, (rows, hidden), inputs.device())
        });
        Ok((outputs, LayerState { hidden: last, cell: cell.transpose()? }))
    }

    /// Floats of a step's state, and of the input's part of a row's gates.
    fn step_len(&self) -> usize {
        self.rows * self.hidden
    }

    fn width(&self) -> usize {
        self.cell.gates() * self.hidden
    }

    /// Where in the inputs a row of a step is read.
    fn place(&self, row: usize) -> usize {
        let place = self.sequence.tokens.as_ref().map_or(row, |tokens| tokens[row] as usize);
        place * self.width()
    }

    fn check(&self, inputs: &Layout, weight: &Layout, bias: &Layout) -> Result<()> {
        let (count, width) = inputs.shape().dims2()?;
        let rows = self.sequence.steps * self.rows;
        let read = match &self.sequence.tokens {
            None => rows <= count,
            Some(tokens) => {
                tokens.len() == rows && tokens.iter().all(|&token| (token as usize) < count)
            }
        };
        let gates = self.width();
        if read && width == gates && weight.dims() == [gates, self.hidden] && bias.dims() == [gates]
        {
            return Ok(());
        }
        let shapes = [inputs, weight, bias].map(Layout::dims);
        bail!("recurrence: {rows} rows of {} units do not fit {shapes:?}", self.hidden)
    }

    /// The state before a step, given the outputs of those before it.
    fn before<'a>(&'a self, out: &'a [f32], step: usize) -> &'a [f32] {
        match step.checked_sub(1) {
            Some(last) => &out[last * self.step_len()..][..self.step_len()],
            None => &self.state,
        }
    }
}

impl CustomOp3 for Recurrence {
    fn name(&self) -> &'static str {
        "recurrence"
    }

    fn cpu_fwd(
        &self,
        inputs: &CpuStorage,
        inputs_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.check(inputs_layout, weight_layout, bias_layout)?;
        let (weight, bias) = (values(weight, weight_layout)?, values(bias, bias_layout)?);
        let packed = Packed::new(weight, Some(bias), self.width(), self.hidden);
        let (out, memory) = self.forth(values(inputs, inputs_layout)?, &packed);
        let last = memory.cells.len().saturating_sub(self.step_len());
        *self.last_cells.lock().unwrap_or_else(PoisonError::into_inner) =
            memory.cells[last..].to_vec();
        self.kept.put(memory);
        Ok(made(out, (self.sequence.steps * self.rows, self.hidden)))
    }

    fn bwd(
        &self,
        inputs: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        out: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let out = Values::of(out)?;
        let mut memory = self.kept.take()?;
        self.back(&mut memory, &out, &Values::of(weight)?, &Values::of(gradient)?);
        let tensor = |values: Vec<f32>, of: &Tensor| {
            Tensor::from_vec(values, of.shape(), of.device()).map(Some)
        };
        Ok((
            tensor(self.by_inputs(&memory, inputs.elem_count()), inputs)?,
            tensor(self.by_weights(&memory, &out), weight)?,
            tensor(self.by_bias(&memory), bias)?,
        ))
    }
}
