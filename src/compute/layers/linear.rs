//! A linear layer.

use candle_core::{Result, Tensor};

use crate::compute::kernels::{Level, Packed};
use crate::compute::ops;
use crate::compute::{Init, Parameters, Values, WeightError};

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

    /// Layers that read the same input as one whose outputs lie side by side. A part without a bias adds 0.
    ///
    /// # Errors
    /// When their inputs differ in width.
    pub fn join(parts: &[&Self]) -> Result<Self> {
        let weights: Vec<&Tensor> = parts.iter().map(|part| &part.weight).collect();
        let bias = |part: &&Self| match &part.bias {
            Some(bias) => Ok(bias.clone()),
            None => Tensor::zeros(part.weight.dim(0)?, part.weight.dtype(), part.weight.device()),
        };
        let bias = if parts.iter().any(|part| part.bias.is_some()) {
            Some(Tensor::cat(&parts.iter().map(bias).collect::<Result<Vec<_>>>()?, 0)?)
        } else {
            None
        };
        Ok(Self { weight: Tensor::cat(&weights, 0)?, bias })
    }

    /// [output, input].
    #[must_use]
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// `[output]`.
    #[must_use]
    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    /// Weights and bias for the kernels of a level.
    ///
    /// # Errors
    /// When the parameters cannot be copied from their device.
    pub fn pack(&self, level: Level) -> Result<Packed> {
        let (output, input) = self.weight.dims2()?;
        let bias = self.bias.as_ref().map(Values::of).transpose()?;
        Ok(Packed::new(&Values::of(&self.weight)?, bias.as_deref(), output, input).at(level))
    }

    /// [N, input] to [N, output].
    ///
    /// # Errors
    /// When the arithmetic fails.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        affine(x, &self.weight, self.bias.as_ref())
    }
}

/// x · Wᵀ + b: [N, input] and [output, input] to [N, output].
///
/// # Errors
/// When the arithmetic fails.
pub fn affine(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    if weight.track_op() && x.rank() == 2 && ops::runs(x) {
        return ops::affine(x, weight, bias);
    }
    let y = x.matmul(&weight.t()?)?;
    match bias {
        Some(bias) => y.broadcast_add(bias),
        None => Ok(y),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::Trainable;
    use candle_core::{D, Device};

    #[test]
    fn joined_layers_give_their_outputs_side_by_side() {
        let mut fresh = Trainable::new(2, &Device::Cpu);
        let mut layer =
            |name, output, bias| Linear::new(&mut fresh, name, [3, output], bias).unwrap();
        let parts = [layer("a", 2, true), layer("b", 4, false), layer("c", 3, true)];
        let x = Tensor::new(&[[0.5_f32, -1.0, 2.0]], &Device::Cpu).unwrap();
        let apart: Vec<Tensor> = parts.iter().map(|part| part.forward(&x).unwrap()).collect();
        let joined = Linear::join(&parts.each_ref()).unwrap().forward(&x).unwrap();
        let values = |tensor: &Tensor| tensor.to_vec2::<f32>().unwrap();
        assert_eq!(values(&joined), values(&Tensor::cat(&apart, D::Minus1).unwrap()));
        assert!(Linear::join(&[&parts[1]]).unwrap().bias().is_none());
    }
}
