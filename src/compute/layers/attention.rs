//! Multi-head self-attention.

use candle_core::{D, Result, Tensor};

use crate::compute::layers::{Linear, Mode};
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
    /// Reads `<name>.qkv` [3 · width, width] and `<name>.out` [width, width], with biases.
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
            qkv: Linear::new(parameters, &format!("{name}.qkv"), [width, 3 * width], true)?,
            out: Linear::new(parameters, &format!("{name}.out"), [width, width], true)?,
        })
    }

    /// From [batch · time, width] to the same. `mask` [batch, 1, 1, time] is added to the scores: 0
    /// where a position may be seen, very negative where it may not.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn forward(
        &self,
        rows: &Tensor,
        batch: usize,
        mask: Option<&Tensor>,
        mode: &Mode<'_>,
    ) -> Result<Tensor> {
        let AttentionConfig { width, heads } = self.config;
        let (time, depth) = (rows.dim(0)? / batch, width / heads);
        // [3, batch, heads, time, depth].
        let qkv = self.qkv.forward(rows)?.reshape((batch, time, 3, heads, depth))?;
        let qkv = qkv.permute((2, 0, 3, 1, 4))?.contiguous()?;
        let (query, key, value) = (qkv.get(0)?, qkv.get(1)?, qkv.get(2)?);
        #[expect(clippy::cast_precision_loss, reason = "a head's depth is small")]
        let query = (query * (1.0 / (depth as f64).sqrt()))?;
        let mut scores = query.matmul(&key.t()?)?;
        if let Some(mask) = mask {
            scores = scores.broadcast_add(mask)?;
        }
        let mixed = softmax(&scores, mode)?.matmul(&value)?;
        self.out.forward(&mixed.transpose(1, 2)?.reshape((batch * time, width))?)
    }
}

/// Softmax over the last dimension: fused in evaluation, from operations that have gradients in training.
fn softmax(scores: &Tensor, mode: &Mode<'_>) -> Result<Tensor> {
    if let Mode::Evaluation = mode {
        return candle_nn::ops::softmax_last_dim(scores);
    }
    // The shift cancels out, so no gradient needs to pass through it.
    let shift = scores.max_keepdim(D::Minus1)?.detach();
    let raised = scores.broadcast_sub(&shift)?.exp()?;
    raised.broadcast_div(&raised.sum_keepdim(D::Minus1)?)
}
