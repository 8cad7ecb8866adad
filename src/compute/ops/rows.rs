//! Normalisation and softmax of rows.

use candle_core::{CpuStorage, CustomOp1, CustomOp3, Error, Layout, Result, Shape, Tensor};

use super::values;

/// Normalises every row of `width` values; arguments are the rows, the weights and the biases.
pub struct NormaliseRows {
    pub epsilon: f32,
}

/// Softmax over the last dimension of [batch, heads, time, time] scores, scaled, in which row `b` of the
/// batch has only its first `lengths[b]` columns; the others become 0.
pub struct MaskedSoftmax {
    pub scale: f32,
    pub lengths: Vec<usize>,
}

impl NormaliseRows {
    /// Mean and 1 / standard deviation of a row.
    fn moments(&self, row: &[f32]) -> (f32, f32) {
        let mean = row.iter().sum::<f32>() / count(row);
        let variance = row.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / count(row);
        (mean, 1.0 / (variance + self.epsilon).sqrt())
    }
}

impl CustomOp3 for NormaliseRows {
    fn name(&self) -> &'static str {
        "normalise-rows"
    }

    fn cpu_fwd(
        &self,
        rows: &CpuStorage,
        rows_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let rows = values(rows, rows_layout)?;
        let (weight, bias) = (values(weight, weight_layout)?, values(bias, bias_layout)?);
        let mut out = Vec::with_capacity(rows.len());
        for row in rows.chunks_exact(weight.len()) {
            let (mean, scale) = self.moments(row);
            out.extend(
                row.iter().zip(weight).zip(bias).map(|((v, w), b)| (v - mean) * scale * w + b),
            );
        }
        Ok((CpuStorage::F32(out), rows_layout.shape().clone()))
    }

    fn bwd(
        &self,
        rows: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (x, g) = (host(rows)?, host(gradient)?);
        let w = host(weight)?;
        let width = w.len();
        let (mut of_rows, mut of_weight, mut of_bias) =
            (Vec::with_capacity(x.len()), vec![0.0; width], vec![0.0; width]);
        for (x, g) in x.chunks_exact(width).zip(g.chunks_exact(width)) {
            let (mean, scale) = self.moments(x);
            let (mut sum, mut along) = (0.0, 0.0);
            for i in 0..width {
                let normal = (x[i] - mean) * scale;
                of_weight[i] += g[i] * normal;
                of_bias[i] += g[i];
                sum += g[i] * w[i];
                along += g[i] * w[i] * normal;
            }
            let (sum, along) = (sum / count(x), along / count(x));
            // What changes a row's mean or its spread has no effect after the normalisation.
            of_rows.extend(
                (0..width).map(|i| scale * (g[i] * w[i] - sum - (x[i] - mean) * scale * along)),
            );
        }
        let device = rows.device();
        Ok((
            Some(Tensor::from_vec(of_rows, rows.shape(), device)?),
            Some(Tensor::from_vec(of_weight, weight.shape(), device)?),
            Some(Tensor::from_vec(of_bias, bias.shape(), device)?),
        ))
    }
}

impl CustomOp1 for MaskedSoftmax {
    fn name(&self) -> &'static str {
        "masked-softmax"
    }

    fn cpu_fwd(&self, scores: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, heads, time, columns) = layout.shape().dims4()?;
        if self.lengths.len() != batch || self.lengths.iter().any(|&n| n > columns) {
            return Err(Error::Msg("masked-softmax: lengths do not fit the scores".to_owned()));
        }
        let mut out = values(scores, layout)?.to_vec();
        let rows_of_item = heads * time;
        for (i, row) in out.chunks_exact_mut(columns.max(1)).enumerate() {
            let (seen, unseen) = row.split_at_mut(self.lengths[i / rows_of_item]);
            softmax(seen, self.scale);
            unseen.fill(0.0);
        }
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(&self, scores: &Tensor, out: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (_, _, _, columns) = scores.dims4()?;
        let (out, mut gradient) = (host(out)?, host(gradient)?);
        let rows = gradient.chunks_exact_mut(columns).zip(out.chunks_exact(columns));
        for (gradient, out) in rows {
            let along: f32 = gradient.iter().zip(out).map(|(g, p)| g * p).sum();
            for (g, p) in gradient.iter_mut().zip(out) {
                *g = self.scale * p * (*g - along);
            }
        }
        Tensor::from_vec(gradient, scores.shape(), scores.device()).map(Some)
    }
}

fn softmax(row: &mut [f32], scale: f32) {
    let most = row.iter().copied().fold(f32::MIN, f32::max);
    for value in row.iter_mut() {
        *value = ((*value - most) * scale).exp();
    }
    let sum: f32 = row.iter().sum();
    for value in row {
        *value /= sum;
    }
}

#[expect(clippy::cast_precision_loss, reason = "a row is far shorter than 2^24")]
fn count(row: &[f32]) -> f32 {
    row.len() as f32
}

fn host(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_vec1()
}
