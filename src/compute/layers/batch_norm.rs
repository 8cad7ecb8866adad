//! Batch normalisation (Ioffe and Szegedy 2015).

use candle_core::{Result, Tensor, Var};

use crate::compute::layers::Mode;
use crate::compute::{Init, Parameters, WeightError};

/// How much of a batch's statistics goes into the running ones.
const MOMENTUM: f64 = 0.1;

/// Normalises each channel of [N, C, …].
#[derive(Debug)]
pub struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    epsilon: f64,
}

impl BatchNorm {
    /// Reads `<name>.weight`, `.bias`, `.running_mean` and `.running_var`, each `[channels]`.
    ///
    /// # Errors
    /// [`WeightError`] when a tensor is missing or of another shape.
    pub fn new(
        parameters: &mut dyn Parameters,
        name: &str,
        channels: usize,
        epsilon: f64,
    ) -> std::result::Result<Self, WeightError> {
        let shape = [channels];
        Ok(Self {
            weight: parameters.get(&format!("{name}.weight"), &shape, Init::Constant(1.0))?,
            bias: parameters.get(&format!("{name}.bias"), &shape, Init::Constant(0.0))?,
            mean: parameters.buffer(&format!("{name}.running_mean"), &shape, 0.0)?,
            variance: parameters.buffer(&format!("{name}.running_var"), &shape, 1.0)?,
            epsilon,
        })
    }

    /// # Errors
    /// When the arithmetic fails.
    pub fn forward(&self, x: &Tensor, mode: &Mode<'_>) -> Result<Tensor> {
        let (mean, variance) = match mode {
            Mode::Evaluation => (self.mean.clone(), self.variance.clone()),
            Mode::Training(_) => self.batch_statistics(x)?,
        };
        let (scale, shift) = self.affine(&mean, &variance)?;
        let mut shape = vec![1; x.rank()];
        shape[1] = x.dim(1)?;
        x.broadcast_mul(&scale.reshape(shape.as_slice())?)?.broadcast_add(&shift.reshape(shape)?)
    }

    /// The scale and shift of evaluation, `[channels]` each, for folding into the layer before.
    ///
    /// # Errors
    /// When the arithmetic fails.
    pub fn scale_and_shift(&self) -> Result<(Tensor, Tensor)> {
        self.affine(&self.mean, &self.variance)
    }

    fn affine(&self, mean: &Tensor, variance: &Tensor) -> Result<(Tensor, Tensor)> {
        let scale = (&self.weight / (variance + self.epsilon)?.sqrt()?)?;
        let shift = (&self.bias - (mean * &scale)?)?;
        Ok((scale, shift))
    }

    /// The batch's mean and variance; the running ones move towards them, the variance by its unbiased
    /// estimate.
    fn batch_statistics(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let channels = x.transpose(0, 1)?.flatten_from(1)?;
        let count = channels.dim(1)?;
        let mean = channels.mean_keepdim(1)?;
        let variance = channels.broadcast_sub(&mean)?.sqr()?.mean(1)?;
        let mean = mean.squeeze(1)?;
        #[expect(clippy::cast_precision_loss, reason = "a batch has far fewer than 2^52 values")]
        let unbiased = count as f64 / (count.saturating_sub(1)).max(1) as f64;
        move_towards(&self.mean, &mean.detach())?;
        move_towards(&self.variance, &(variance.detach() * unbiased)?)?;
        Ok((mean, variance))
    }
}

/// A buffer that training made is a variable, so this changes it in place, where it is kept for saving.
fn move_towards(buffer: &Tensor, value: &Tensor) -> Result<()> {
    let next = ((buffer.detach() * (1.0 - MOMENTUM))? + (value * MOMENTUM)?)?;
    Var::from_tensor(buffer)?.set(&next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::Trainable;
    use candle_core::Device;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn training_normalises_by_the_batch_and_moves_the_running_statistics() {
        let mut made = Trainable::new(0, &Device::Cpu);
        let norm = BatchNorm::new(&mut made, "n", 1, 0.0).unwrap();
        let x = Tensor::new(&[[1.0_f32], [3.0]], &Device::Cpu).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let y = norm.forward(&x, &Mode::Training(&mut rng)).unwrap();
        assert_eq!(y.flatten_all().unwrap().to_vec1::<f32>().unwrap(), [-1.0, 1.0]);

        let read = |name: &str| made.buffer_variable(name).unwrap().to_vec1::<f32>().unwrap()[0];
        // 0.9 · 0 + 0.1 · 2, and 0.9 · 1 + 0.1 · 2 (the unbiased variance of 1 and 3).
        assert!((read("n.running_mean") - 0.2).abs() < 1e-6);
        assert!((read("n.running_var") - 1.1).abs() < 1e-6);

        let y = norm.forward(&x, &Mode::Evaluation).unwrap();
        let y = y.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!((y[0] - (1.0 - 0.2) / 1.1_f32.sqrt()).abs() < 1e-6, "{y:?}");
    }
}
