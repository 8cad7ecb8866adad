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

    /// Layers that read the same input as one whose outputs lie side by side. All have a bias, or none.
    ///
    /// # Errors
    /// When their inputs differ in width, or only some have a bias.
    pub fn join(parts: &[Self]) -> Result<Self> {
        let weights: Vec<&Tensor> = parts.iter().map(Self::weight).collect();
        let biases: Vec<&Tensor> = parts.iter().filter_map(Self::bias).collect();
        if !biases.is_empty() && biases.len() < parts.len() {
            return Err(candle_core::Error::Msg("only some of the layers have a bias".to_owned()));
        }
        let bias = if biases.is_empty() { None } else { Some(Tensor::cat(&biases, 0)?) };
        Ok(Self { weight: Tensor::cat(&weights, 0)?, bias })
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
        let parts = [layer("a", 2, true), layer("b", 4, true)];
        let bare = layer("c", 2, false);
        let x = Tensor::new(&[[0.5_f32, -1.0, 2.0]], &Device::Cpu).unwrap();
        let apart: Vec<Tensor> = parts.iter().map(|part| part.forward(&x).unwrap()).collect();
        let joined = Linear::join(&parts).unwrap().forward(&x).unwrap();
        let values = |tensor: &Tensor| tensor.to_vec2::<f32>().unwrap();
        assert_eq!(values(&joined), values(&Tensor::cat(&apart, D::Minus1).unwrap()));
        let [first, _] = parts;
        assert!(Linear::join(&[first, bare]).is_err());
    }
}
