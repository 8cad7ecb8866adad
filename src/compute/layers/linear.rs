//! A linear layer with PyTorch's layout.

use candle_core::{Result, Tensor};

use crate::compute::{Init, Parameters, WeightError};

/// y = x · wᵀ + b.
pub struct Linear {
    /// [outputs, inputs].
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// Reads `<name>.weight` [outputs, inputs] and `<name>.bias` [outputs].
    ///
    /// # Errors
    /// [`WeightError`] when one is missing or has another shape.
    pub fn new(
        parameters: &mut dyn Parameters,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> std::result::Result<Self, WeightError> {
        let init = Init::fan_in(inputs);
        Ok(Self {
            weight: parameters.get(&format!("{name}.weight"), &[outputs, inputs], init)?,
            bias: parameters.get(&format!("{name}.bias"), &[outputs], init)?,
        })
    }

    /// From [rows, inputs] to [rows, outputs].
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn forward(&self, rows: &Tensor) -> Result<Tensor> {
        rows.matmul(&self.weight.t()?)?.broadcast_add(&self.bias)
    }
}
