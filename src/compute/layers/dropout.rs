//! Dropout whose masks come from a seed.

use candle_core::{Result, Tensor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Inverted dropout (Srivastava et al. 2014): a value is zeroed with probability `rate`, the others
/// are scaled by 1 / (1 − rate). Training only. candle's own draws from a generator that has no seed
/// on a CPU, and one seed must give one package.
pub struct Dropout {
    rate: f32,
    rng: ChaCha8Rng,
}

impl Dropout {
    /// `rate` is at least 0 and below 1.
    #[must_use]
    pub fn new(rate: f32, seed: u64) -> Self {
        Self { rate, rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// Same shape, some values zero.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn apply(&mut self, values: &Tensor) -> Result<Tensor> {
        if self.rate <= 0.0 {
            return Ok(values.clone());
        }
        let scale = 1.0 / (1.0 - self.rate);
        let mask: Vec<f32> = (0..values.elem_count())
            .map(|_| if self.rng.random::<f32>() < self.rate { 0.0 } else { scale })
            .collect();
        values * Tensor::from_vec(mask, values.shape(), values.device())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn the_mean_is_kept_and_one_seed_gives_one_mask() {
        let ones = Tensor::ones(10_000, candle_core::DType::F32, &Device::Cpu).unwrap();
        let draw = || Dropout::new(0.25, 3).apply(&ones).unwrap().to_vec1::<f32>().unwrap();
        let values = draw();
        let zeros = values.iter().filter(|v| **v == 0.0).count();
        assert!((2300..2700).contains(&zeros), "{zeros}");
        assert!(values.iter().all(|v| *v == 0.0 || (v - 4.0 / 3.0).abs() < 1e-6));
        assert_eq!(values, draw());
        let same = Dropout::new(0.0, 3).apply(&ones).unwrap().to_vec1::<f32>().unwrap();
        assert!(same.iter().all(|v| (v - 1.0).abs() < f32::EPSILON));
    }
}
