//! Layer normalisation.

use candle_core::{D, Result, Tensor};

use crate::compute::layers::Mode;
use crate::compute::{Init, Parameters, WeightError};

/// Layer normalisation over the last dimension (Ba et al. 2016).
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
}

const EPSILON: f32 = 1e-5;

impl LayerNorm {
    /// Reads `<name>.weight` and `<name>.bias`, [width] each.
    ///
    /// # Errors
    /// [`WeightError`] when one is missing or has another shape.
    pub fn new(
        parameters: &mut dyn Parameters,
        name: &str,
        width: usize,
    ) -> std::result::Result<Self, WeightError> {
        Ok(Self {
            weight: parameters.get(&format!("{name}.weight"), &[width], Init::Constant(1.0))?,
            bias: parameters.get(&format!("{name}.bias"), &[width], Init::Constant(0.0))?,
        })
    }

    /// [rows, width] to the same. Evaluation runs one fused pass, which has no gradient; training runs
    /// the same from operations that have one.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn forward(&self, rows: &Tensor, mode: &Mode<'_>) -> Result<Tensor> {
        if let Mode::Evaluation = mode {
            return candle_nn::ops::layer_norm(rows, &self.weight, &self.bias, EPSILON);
        }
        let centred = rows.broadcast_sub(&rows.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let scaled = centred.broadcast_div(&(variance + f64::from(EPSILON))?.sqrt()?)?;
        scaled.broadcast_mul(&self.weight)?.broadcast_add(&self.bias)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::Trainable;
    use candle_core::Device;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn both_forms_agree_and_centre_every_row() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let mut parameters = Trainable::new(0, &Device::Cpu);
        let norm = LayerNorm::new(&mut parameters, "n", 3).unwrap();
        let rows = Tensor::new(&[[1.0_f32, 2.0, 6.0], [-4.0, 0.0, 4.0]], &Device::Cpu).unwrap();
        let fast = norm.forward(&rows, &Mode::Evaluation).unwrap().to_vec2::<f32>().unwrap();
        let plain = norm.forward(&rows, &Mode::Training(&mut rng)).unwrap().to_vec2::<f32>().unwrap();
        for (a, b) in fast.concat().iter().zip(plain.concat()) {
            assert!((a - b).abs() < 1e-5);
        }
        assert!(fast[0].iter().sum::<f32>().abs() < 1e-5);
        assert!((fast[1][2] - 1.5_f32.sqrt()).abs() < 1e-5);
    }
}
