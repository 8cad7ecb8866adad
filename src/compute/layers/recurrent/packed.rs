//! A recurrent layer for the kernels.

use candle_core::{Result, Tensor};

use super::{Cell, RecurrentLayer};
use crate::compute::Values;
use crate::compute::kernels::{Buffer, Level, Packed, Product, Step, gemm, recurrent_step};

/// A [`RecurrentLayer`] with its weights packed.
#[derive(Debug, Clone)]
pub struct PackedLayer {
    cell: Cell,
    hidden: usize,
    input: Packed,
    recurrent: Packed,
}

impl RecurrentLayer {
    /// Weights and biases for the kernels of a level.
    ///
    /// # Errors
    /// When the parameters cannot be copied from their device.
    pub fn pack(&self, level: Level) -> Result<PackedLayer> {
        let pack = |weight: &Tensor, bias: &Tensor| {
            let (rows, columns) = weight.dims2()?;
            let (weight, bias) = (Values::of(weight)?, Values::of(bias)?);
            Ok::<_, candle_core::Error>(Packed::new(&weight, Some(&bias), rows, columns).at(level))
        };
        Ok(PackedLayer {
            cell: self.cell,
            hidden: self.weight_hh.dim(1)?,
            input: pack(&self.weight_ih, &self.bias_ih)?,
            recurrent: pack(&self.weight_hh, &self.bias_hh)?,
        })
    }
}

impl PackedLayer {
    /// Values that a row remembers without its cell.
    #[must_use]
    pub fn hidden(&self) -> usize {
        self.hidden
    }

    #[must_use]
    pub fn has_cell(&self) -> bool {
        self.cell == Cell::Lstm
    }

    /// All values that a row remembers.
    #[must_use]
    pub fn state_len(&self) -> usize {
        self.hidden * if self.has_cell() { 2 } else { 1 }
    }

    /// gates × hidden: values of a row's gates.
    #[must_use]
    pub fn gates(&self) -> usize {
        self.cell.gates() * self.hidden
    }

    /// The input's part of the gates: [rows, input] to [rows, gates × hidden].
    ///
    /// # Panics
    /// When the slices do not fit.
    pub fn project(&self, level: Level, inputs: &[f32], gates: &mut [f32]) {
        gemm(level, &self.input, Product::rows(&self.input, inputs, gates));
    }

    /// One step for every row of `hidden`, [rows, hidden], and of an LSTM's `cell`. The two halves of the
    /// gates are gates × hidden a row: the input's, wherever they lie, and room for the state's.
    ///
    /// # Panics
    /// When the slices do not fit, or an LSTM has no cell.
    pub fn step(
        &self,
        level: Level,
        (inputs, room): (&[&[f32]], &mut Buffer),
        hidden: &mut [f32],
        cell: Option<&mut [f32]>,
    ) {
        recurrent_step(level, &self.recurrent, Step { inputs, state: hidden, cell, room });
    }
}
