//! Recurrent layers with the gates and the tensor layout of PyTorch's `nn.GRU` and `nn.LSTM`.

mod packed;

use candle_core::{D, Result, Tensor};
use serde::{Deserialize, Serialize};

use crate::compute::ops::{self, Recurrence};
use crate::compute::{Init, Parameters, WeightError};

pub use crate::compute::ops::Sequence;
pub use packed::PackedLayer;

/// Which gates a layer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cell {
    /// Cho et al. 2014, with the reset gate applied after the product, as `cuDNN` and PyTorch do.
    /// Gates in the order r, z, n.
    Gru,
    /// Hochreiter and Schmidhuber 1997, with a forget gate and without peepholes. Gates in the order
    /// i, f, g, o.
    Lstm,
}

impl Cell {
    /// How many blocks of `hidden` rows the layer's weights have.
    #[must_use]
    pub fn gates(self) -> usize {
        match self {
            Cell::Gru => 3,
            Cell::Lstm => 4,
        }
    }
}

/// What a layer remembers, one row a sequence: [rows, hidden] each.
#[derive(Debug, Clone)]
pub struct LayerState {
    pub hidden: Tensor,
    /// LSTM only.
    pub cell: Option<Tensor>,
}

impl LayerState {
    /// The same values without their history: gradients stop here.
    #[must_use]
    pub fn detach(&self) -> Self {
        Self { hidden: self.hidden.detach(), cell: self.cell.as_ref().map(Tensor::detach) }
    }

    /// `rows` rows from `start`.
    ///
    /// # Errors
    /// When there are not so many.
    pub fn rows(&self, start: usize, rows: usize) -> Result<Self> {
        let narrow = |t: &Tensor| t.narrow(0, start, rows);
        Ok(Self {
            hidden: narrow(&self.hidden)?,
            cell: self.cell.as_ref().map(narrow).transpose()?,
        })
    }

    /// The rows of several states, one after the other.
    ///
    /// # Errors
    /// When `states` is empty or of several layers.
    pub fn stack(states: &[&Self]) -> Result<Self> {
        let hidden: Vec<&Tensor> = states.iter().map(|s| &s.hidden).collect();
        let cells: Vec<&Tensor> = states.iter().filter_map(|s| s.cell.as_ref()).collect();
        let cell = if cells.is_empty() { None } else { Some(Tensor::cat(&cells, 0)?) };
        Ok(Self { hidden: Tensor::cat(&hidden, 0)?, cell })
    }
}

/// One layer's parameters, as PyTorch stores them.
#[derive(Debug, Clone)]
pub struct RecurrentLayer {
    cell: Cell,
    /// [gates × hidden, input].
    weight_ih: Tensor,
    /// [gates × hidden, hidden].
    weight_hh: Tensor,
    /// [gates × hidden].
    bias_ih: Tensor,
    /// [gates × hidden].
    bias_hh: Tensor,
}

impl RecurrentLayer {
    /// Asks for `<prefix>.weight_ih_l<index>`, `weight_hh_l…`, `bias_ih_l…` and `bias_hh_l…`. Fresh
    /// ones are uniform in ±1/√hidden, as PyTorch's are.
    ///
    /// # Errors
    /// [`WeightError`] when a tensor is missing or has another shape.
    pub fn new(
        parameters: &mut dyn Parameters,
        prefix: &str,
        index: usize,
        cell: Cell,
        [input, hidden]: [usize; 2],
    ) -> std::result::Result<Self, WeightError> {
        let rows = cell.gates() * hidden;
        let init = Init::fan_in(hidden);
        let mut get = |kind: &str, shape: &[usize]| {
            parameters.get(&format!("{prefix}.{kind}_l{index}"), shape, init)
        };
        Ok(Self {
            cell,
            weight_ih: get("weight_ih", &[rows, input])?,
            weight_hh: get("weight_hh", &[rows, hidden])?,
            bias_ih: get("bias_ih", &[rows])?,
            bias_hh: get("bias_hh", &[rows])?,
        })
    }

    /// The input's part of the gates, before the recurrent part is added: [n, input] to
    /// [n, gates × hidden].
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn project(&self, inputs: &Tensor) -> Result<Tensor> {
        if self.weight_ih.track_op() && ops::runs(inputs) {
            return ops::affine(inputs, &self.weight_ih, Some(&self.bias_ih));
        }
        rows_matmul(inputs, &self.weight_ih.t()?)?.broadcast_add(&self.bias_ih)
    }

    /// Whether [`RecurrentLayer::window`] can be used.
    #[must_use]
    pub fn has_window(&self) -> bool {
        ops::runs(&self.weight_hh)
    }

    /// All steps of a window in one operation, on a CPU: `projected` holds the rows that `sequence` names. Gives the
    /// outputs [steps × rows, hidden] and the state after the last step, through which no gradient flows.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn window(
        &self,
        projected: &Tensor,
        sequence: Sequence,
        state: &LayerState,
    ) -> Result<(Tensor, LayerState)> {
        let window = Recurrence::new(self.cell, sequence, state)?;
        window.apply(projected, &self.weight_hh, &self.bias_hh)
    }

    /// The same parameters without gradients.
    #[must_use]
    pub fn detach(&self) -> Self {
        Self {
            cell: self.cell,
            weight_ih: self.weight_ih.detach(),
            weight_hh: self.weight_hh.detach(),
            bias_ih: self.bias_ih.detach(),
            bias_hh: self.bias_hh.detach(),
        }
    }

    /// The layer in the form that steps use: weights turned once instead of at every step. Gradients
    /// flow through it to the parameters.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn fold(&self) -> Result<FoldedLayer> {
        let hidden = self.weight_hh.dim(1)?;
        Ok(FoldedLayer {
            cell: self.cell,
            hidden,
            input: self.weight_ih.t()?.contiguous()?,
            input_bias: self.bias_ih.clone(),
            recurrent: self.weight_hh.t()?.contiguous()?,
            recurrent_bias: self.bias_hh.clone(),
        })
    }
}

/// A [`RecurrentLayer`] ready to step.
#[derive(Debug, Clone)]
pub struct FoldedLayer {
    cell: Cell,
    hidden: usize,
    /// [input, gates × hidden].
    input: Tensor,
    input_bias: Tensor,
    /// [hidden, gates × hidden].
    recurrent: Tensor,
    recurrent_bias: Tensor,
}

impl FoldedLayer {
    /// The state before any input, all zeros.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn zeros(&self, rows: usize) -> Result<LayerState> {
        let hidden = self.recurrent.zeros_like()?.narrow(0, 0, 1)?.narrow(1, 0, self.hidden)?;
        let hidden = hidden.repeat((rows, 1))?;
        let cell = (self.cell == Cell::Lstm).then(|| hidden.clone());
        Ok(LayerState { hidden, cell })
    }

    /// As [`RecurrentLayer::project`].
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn project(&self, inputs: &Tensor) -> Result<Tensor> {
        rows_matmul(inputs, &self.input)?.broadcast_add(&self.input_bias)
    }

    /// One step for every row: `projected` is [rows, gates × hidden].
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn step(&self, projected: &Tensor, state: &LayerState) -> Result<LayerState> {
        let recurrent =
            rows_matmul(&state.hidden, &self.recurrent)?.broadcast_add(&self.recurrent_bias)?;
        match (self.cell, &state.cell) {
            (Cell::Lstm, Some(cell)) => self.lstm(&(projected + recurrent)?, cell),
            _ => self.gru(projected, &recurrent, &state.hidden),
        }
    }

    /// `r, z = σ(…); n = tanh(x_n + r ⊙ h_n); h' = (1 − z) ⊙ n + z ⊙ h`.
    fn gru(&self, projected: &Tensor, recurrent: &Tensor, hidden: &Tensor) -> Result<LayerState> {
        let size = self.hidden;
        let both = (projected.narrow(1, 0, 2 * size)? + recurrent.narrow(1, 0, 2 * size)?)?;
        let gates = candle_nn::ops::sigmoid(&both)?;
        let (reset, update) = (gates.narrow(1, 0, size)?, gates.narrow(1, size, size)?);
        let kept = (reset * recurrent.narrow(1, 2 * size, size)?)?;
        let new = (projected.narrow(1, 2 * size, size)? + kept)?.tanh()?;
        let hidden = (&new + (update * (hidden - &new)?)?)?;
        Ok(LayerState { hidden, cell: None })
    }

    /// `i, f, o = σ(…); g = tanh(…); c' = f ⊙ c + i ⊙ g; h' = o ⊙ tanh(c')`.
    fn lstm(&self, gates: &Tensor, cell: &Tensor) -> Result<LayerState> {
        let gate = |index: usize| gates.narrow(D::Minus1, index * self.hidden, self.hidden);
        let sigmoid = |index: usize| candle_nn::ops::sigmoid(&gate(index)?);
        let new = (sigmoid(0)? * gate(2)?.tanh()?)?;
        let cell = ((sigmoid(1)? * cell)? + new)?;
        let hidden = (sigmoid(3)? * cell.tanh()?)?;
        Ok(LayerState { hidden, cell: Some(cell) })
    }
}

/// `rows` [n, k] × `weight` [k, m], where no row's result depends on how many rows there are.
///
/// A product of one row takes another path through the matrix kernel than one of several, with other
/// roundings; so a lone row is computed with a row of zeros beside it.
///
/// # Errors
/// When the shapes do not fit.
pub fn rows_matmul(rows: &Tensor, weight: &Tensor) -> Result<Tensor> {
    if rows.dim(0)? == 1 {
        rows.pad_with_zeros(0, 0, 1)?.matmul(weight)?.narrow(0, 0, 1)
    } else {
        rows.matmul(weight)
    }
}

#[cfg(test)]
mod tests;
