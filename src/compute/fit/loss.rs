//! Losses.

use candle_core::{D, Result, Tensor};

use crate::compute::ops::{self, CrossEntropy};

/// The mean cross entropy of logits `[N, classes]` against targets `[N]` (u32), in nats. With `smoothing`
/// above 0 that part of each target is spread over all classes (Szegedy and others 2016).
///
/// # Errors
/// When the shapes do not belong together, or the arithmetic fails.
pub fn cross_entropy(logits: &Tensor, targets: &Tensor, smoothing: f64) -> Result<Tensor> {
    if ops::runs(logits) {
        #[expect(clippy::cast_possible_truncation, reason = "a share below 1")]
        let smoothing = smoothing as f32;
        let targets = targets.to_vec1()?;
        return logits.contiguous()?.apply_op1(CrossEntropy::new(targets, smoothing));
    }
    let scores = candle_nn::ops::log_softmax(logits, D::Minus1)?;
    let right = scores.gather(&targets.unsqueeze(1)?, 1)?.mean_all()?;
    let loss = if smoothing > 0.0 {
        ((right * (1.0 - smoothing))? + (scores.mean_all()? * smoothing)?)?
    } else {
        right
    };
    loss.neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn the_loss_and_its_gradient_are_those_of_softmax() {
        let logits = Var::new(&[[0.0_f32, 3.0_f32.ln()]], &Device::Cpu).unwrap();
        let targets = Tensor::new(&[1_u32], &Device::Cpu).unwrap();
        let loss = cross_entropy(&logits, &targets, 0.0).unwrap();
        assert!((loss.to_scalar::<f32>().unwrap() + 0.75_f32.ln()).abs() < 1e-6);
        let gradient = loss.backward().unwrap().get(&logits).unwrap().to_vec2::<f32>().unwrap();
        assert!((gradient[0][0] - 0.25).abs() < 1e-6 && (gradient[0][1] + 0.25).abs() < 1e-6);

        let smooth = cross_entropy(&logits, &targets, 0.5).unwrap().to_scalar::<f32>().unwrap();
        let expected = -(0.5 * 0.75_f32.ln() + 0.25 * (0.75_f32.ln() + 0.25_f32.ln()));
        assert!((smooth - expected).abs() < 1e-6);
    }
}
