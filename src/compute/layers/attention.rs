//! Multi-head self-attention.

use candle_core::{D, Result, Tensor};

use crate::compute::layers::Linear;
use crate::compute::ops::MaskedSoftmax;
use crate::compute::{Parameters, WeightError};

/// Sizes of one attention layer; `heads` divides `width`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionConfig {
    pub width: usize,
    pub heads: usize,
}

/// Multi-head self-attention (Vaswani et al. 2017) in which every position sees every other.
pub struct Attention {
    config: AttentionConfig,
    /// Queries, keys and values, one after the other.
    qkv: Linear,
    out: Linear,
}

impl Attention {
    /// Reads `<name>.qkv` [3 · width, width] and `<name>.out` [width, width].
    ///
    /// # Errors
    /// [`WeightError`] when a tensor is missing or has another shape.
    pub fn new(
        parameters: &mut dyn Parameters,
        name: &str,
        config: AttentionConfig,
    ) -> std::result::Result<Self, WeightError> {
        let width = config.width;
        Ok(Self {
            config,
            qkv: Linear::new(parameters, &format!("{name}.qkv"), [width, 3 * width], false)?,
            out: Linear::new(parameters, &format!("{name}.out"), [width, width], false)?,
        })
    }

    /// From queries, keys and values that were trained as layers of their own, [width, width] each.
    ///
    /// # Errors
    /// When they cannot be joined into one.
    pub fn of_parts(qkv: &[Linear; 3], out: Linear, config: AttentionConfig) -> Result<Self> {
        Ok(Self { config, qkv: Linear::join(&qkv.each_ref())?, out })
    }

    /// [3 · width, width]: queries, keys and values, one after the other.
    #[must_use]
    pub fn qkv(&self) -> &Linear {
        &self.qkv
    }

    #[must_use]
    pub fn out(&self) -> &Linear {
        &self.out
    }

    /// From [batch · time, width] to the same, where row `b` of the batch is `lengths[b]` long: nothing
    /// sees the positions after its row's end.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn forward(&self, rows: &Tensor, lengths: &[usize]) -> Result<Tensor> {
        let AttentionConfig { width, heads } = self.config;
        let batch = lengths.len();
        let (time, depth) = (rows.dim(0)? / batch, width / heads);
        // [3, batch, heads, time, depth].
        let qkv = self.qkv.forward(rows)?.reshape((batch, time, 3, heads, depth))?;
        let qkv = qkv.permute((2, 0, 3, 1, 4))?.contiguous()?;
        let scores = qkv.get(0)?.matmul(&qkv.get(1)?.t()?)?;
        #[expect(clippy::cast_precision_loss, reason = "a head's depth is small")]
        let scale = 1.0 / (depth as f32).sqrt();
        let mixed = softmax(&scores, scale, lengths)?.matmul(&qkv.get(2)?)?;
        self.out.forward(&mixed.transpose(1, 2)?.reshape((batch * time, width))?)
    }
}

/// Softmax of scaled [batch, heads, time, time] scores over those columns that a row has.
fn softmax(scores: &Tensor, scale: f32, lengths: &[usize]) -> Result<Tensor> {
    if scores.device().is_cpu() {
        scores.apply_op1(MaskedSoftmax { scale, lengths: lengths.to_vec() })
    } else {
        softmax_plain(scores, scale, lengths)
    }
}

/// The same from candle's operations: where there is no fused one, and what that is tested against.
fn softmax_plain(scores: &Tensor, scale: f32, lengths: &[usize]) -> Result<Tensor> {
    let time = scores.dim(D::Minus1)?;
    let row = |&length: &usize| (0..time).map(move |t| if t < length { 0.0_f32 } else { -1e9 });
    let mask: Vec<f32> = lengths.iter().flat_map(row).collect();
    let mask = Tensor::from_vec(mask, (lengths.len(), 1, 1, time), scores.device())?;
    let scores = (scores * f64::from(scale))?.broadcast_add(&mask)?;
    // The shift cancels out, so no gradient needs to pass through it.
    let shift = scores.max_keepdim(D::Minus1)?.detach();
    let raised = scores.broadcast_sub(&shift)?.exp()?;
    raised.broadcast_div(&raised.sum_keepdim(D::Minus1)?)
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn the_fused_softmax_has_the_values_and_gradients_of_the_plain_one() {
        let values: Vec<f32> = (0..2 * 2 * 3 * 3).map(|i| (i as f32 * 1.7).sin() * 3.0).collect();
        let scores = Tensor::from_vec(values, (2, 2, 3, 3), &Device::Cpu).unwrap();
        let scores = Var::from_tensor(&scores).unwrap();
        let near = |a: &Tensor, b: &Tensor| {
            let apart = (a - b).unwrap().abs().unwrap().max_all().unwrap();
            assert!(apart.to_scalar::<f32>().unwrap() < 1e-6);
        };
        let fused = softmax(&scores, 0.5, &[3, 2]).unwrap();
        let plain = softmax_plain(&scores, 0.5, &[3, 2]).unwrap();
        near(&fused, &plain);
        let last: Vec<f32> = fused.get(1).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        assert!(last.iter().skip(2).step_by(3).all(|&p| p == 0.0));
        let gradient = |y: &Tensor| {
            let store = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            store.get(&scores).unwrap().clone()
        };
        near(&gradient(&fused), &gradient(&plain));
    }
}
