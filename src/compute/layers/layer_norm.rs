//! Layer normalisation.

use candle_core::{D, Result, Tensor};

use crate::compute::kernels::Norm;
use crate::compute::ops::NormaliseRows;
use crate::compute::{Init, Parameters, WeightError};

/// Layer normalisation over the last dimension (Ba et al. 2016).
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f32,
}

/// What is added to a variance where nobody says.
const EPSILON: f32 = 1e-5;

impl LayerNorm {
    /// Reads `<name>.weight` and `<name>.bias`, `[width]` each.
    ///
    /// # Errors
    /// [`WeightError`] when one is missing or has another shape.
    pub fn new(
        parameters: &mut dyn Parameters,
        name: &str,
        width: usize,
    ) -> std::result::Result<Self, WeightError> {
        Self::with_epsilon(parameters, name, width, EPSILON)
    }

    /// The same with another `epsilon`, which is added to a variance before its root is taken.
    ///
    /// # Errors
    /// As [`LayerNorm::new`].
    pub fn with_epsilon(
        parameters: &mut dyn Parameters,
        name: &str,
        width: usize,
        epsilon: f32,
    ) -> std::result::Result<Self, WeightError> {
        Ok(Self {
            weight: parameters.get(&format!("{name}.weight"), &[width], Init::Constant(1.0))?,
            bias: parameters.get(&format!("{name}.bias"), &[width], Init::Constant(0.0))?,
            epsilon,
        })
    }

    /// The same for the kernels.
    ///
    /// # Errors
    /// When the parameters cannot be copied from their device.
    pub fn kernel(&self) -> Result<Norm> {
        let (scale, shift) = (self.weight.to_vec1()?, self.bias.to_vec1()?);
        Ok(Norm { scale, shift, epsilon: self.epsilon })
    }

    /// [rows, width] to the same.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn forward(&self, rows: &Tensor) -> Result<Tensor> {
        if rows.device().is_cpu() {
            rows.apply_op3(&self.weight, &self.bias, NormaliseRows { epsilon: self.epsilon })
        } else {
            self.forward_plain(rows)
        }
    }

    /// The same from candle's operations: where there is no fused one, and what that is tested against.
    fn forward_plain(&self, rows: &Tensor) -> Result<Tensor> {
        let centred = rows.broadcast_sub(&rows.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let scaled = centred.broadcast_div(&(variance + f64::from(self.epsilon))?.sqrt()?)?;
        scaled.broadcast_mul(&self.weight)?.broadcast_add(&self.bias)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    fn norm() -> (LayerNorm, [Var; 3]) {
        let var = |values: &[f32]| Var::new(values, &Device::Cpu).unwrap();
        let (weight, bias) = (var(&[1.0, -0.5, 2.0]), var(&[0.1, 0.0, -0.3]));
        let rows = Var::new(&[[1.0_f32, 2.0, 6.0], [-4.0, 0.0, 4.5]], &Device::Cpu).unwrap();
        let norm = LayerNorm {
            weight: weight.as_tensor().clone(),
            bias: bias.as_tensor().clone(),
            epsilon: EPSILON,
        };
        (norm, [rows, weight, bias])
    }

    fn near(a: &Tensor, b: &Tensor) {
        let apart = (a - b).unwrap().abs().unwrap().max_all().unwrap();
        assert!(apart.to_scalar::<f32>().unwrap() < 1e-5, "{a} {b}");
    }

    #[test]
    fn the_fused_form_has_the_values_and_gradients_of_the_plain_one() {
        let (norm, variables) = norm();
        let fused = norm.forward(&variables[0]).unwrap();
        let plain = norm.forward_plain(&variables[0]).unwrap();
        near(&fused, &plain);
        // Weighted by itself, so that no gradient cancels out.
        let gradients = |y: &Tensor| y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        let (fused, plain) = (gradients(&fused), gradients(&plain));
        for variable in &variables {
            near(fused.get(variable).unwrap(), plain.get(variable).unwrap());
        }
    }

    #[test]
    fn a_row_is_centred_and_scaled() {
        let (mut norm, _) = norm();
        norm.weight = Tensor::new(&[1.0_f32, 1.0, 1.0], &Device::Cpu).unwrap();
        norm.bias = norm.bias.zeros_like().unwrap();
        let rows = Tensor::new(&[[-4.0_f32, 0.0, 4.0]], &Device::Cpu).unwrap();
        let got = norm.forward(&rows).unwrap().to_vec2::<f32>().unwrap();
        assert!((got[0][2] - 1.5_f32.sqrt()).abs() < 1e-5 && got[0][1].abs() < 1e-6);
    }
}
