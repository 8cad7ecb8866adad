//! A linear layer.

use candle_core::{Result, Tensor};

use crate::compute::kernels::Packed;
use crate::compute::{Init, Parameters, WeightError};

/// y = x · Wᵀ + b over the last dimension.
#[derive(Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// Reads `<name>.weight` `[output, input]` and `<name>.bias` `[output]`.
    ///
    /// # Errors
    /// [`WeightError`] when a tensor is missing or of another shape.
    pub fn new(
        parameters: &mut dyn Parameters,
        name: &str,
        [input, output]: [usize; 2],
        bias: bool,
    ) -> std::result::Result<Self, WeightError> {
        let init = Init::fan_in(input);
        let weight = parameters.get(&format!("{name}.weight"), &[output, input], init)?;
        let bias =
            bias.then(|| parameters.get(&format!("{name}.bias"), &[output], init)).transpose()?;
        Ok(Self { weight, bias })
    }

    /// [output, input].
    #[must_use]
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// [output].
    #[must_use]
    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    /// Weights and bias for the kernels.
    ///
    /// # Errors
    /// When the parameters cannot be copied from their device.
    pub fn pack(&self) -> Result<Packed> {
        let (output, input) = self.weight.dims2()?;
        let weight = self.weight.flatten_all()?.to_vec1()?;
        let bias: Option<Vec<f32>> = self.bias.as_ref().map(Tensor::to_vec1).transpose()?;
        Ok(Packed::new(&weight, bias.as_deref(), output, input))
    }

    /// [N, input] to [N, output].
    ///
    /// # Errors
    /// When the arithmetic fails.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = x.matmul(&self.weight.t()?)?;
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}
