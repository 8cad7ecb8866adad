//! Dropout (Srivastava and others 2014).

use candle_core::{Result, Tensor};
use rand::RngExt;

use crate::compute::layers::Mode;

/// In training, sets each value to 0 with this probability and scales the others up to the same mean.
#[derive(Debug, Clone, Copy)]
pub struct Dropout(pub f32);

impl Dropout {
    /// # Errors
    /// When the arithmetic fails.
    pub fn forward(self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        let Mode::Training(rng) = mode else { return Ok(x.clone()) };
        let kept = 1.0 - self.0;
        let mask: Vec<f32> = (0..x.elem_count())
            .map(|_| if rng.random::<f32>() < kept { 1.0 / kept } else { 0.0 })
            .collect();
        x * Tensor::from_vec(mask, x.shape(), x.device())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn training_drops_about_the_rate_and_keeps_the_mean() {
        let x = Tensor::ones(10_000, DType::F32, &Device::Cpu).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let y = Dropout(0.25).forward(&x, &mut Mode::Training(&mut rng)).unwrap();
        let y = y.to_vec1::<f32>().unwrap();
        let dropped = y.iter().filter(|&&v| v == 0.0).count();
        assert!((2300..2700).contains(&dropped), "{dropped}");
        let mean = y.iter().sum::<f32>() / 10_000.0;
        assert!((mean - 1.0).abs() < 0.03, "{mean}");

        let same = Dropout(0.25).forward(&x, &mut Mode::Evaluation).unwrap();
        assert_eq!(same.to_vec1::<f32>().unwrap(), x.to_vec1::<f32>().unwrap());
    }
}
