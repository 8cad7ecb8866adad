//! The mean cross entropy of rows of logits.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::{Kept, made, values};
use crate::compute::kernels::{best, exp_row};

/// Its argument is `[rows, classes]`, its result a scalar in nats.
pub struct CrossEntropy {
    /// The right class of each row.
    targets: Vec<u32>,
    /// The part of each target that is spread over all classes.
    smoothing: f32,
    /// Probabilities.
    kept: Kept<Vec<f32>>,
}

impl CrossEntropy {
    pub fn new(targets: Vec<u32>, smoothing: f32) -> Self {
        Self { targets, smoothing, kept: Kept::none() }
    }

    /// Turns a row into probabilities; the loss of the row.
    fn row(&self, row: &mut [f32], target: usize) -> f64 {
        let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let right = row[target] - most;
        let spread = if self.smoothing > 0.0 {
            row.iter().map(|value| value - most).sum::<f32>() / count(row.len())
        } else {
            0.0
        };
        let total = exp_row(best(), row, 1.0);
        for value in row {
            *value /= total;
        }
        let expected = right * (1.0 - self.smoothing) + spread * self.smoothing;
        f64::from(total.ln()) - f64::from(expected)
    }
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, classes) = layout.shape().dims2()?;
        let targets = self.targets.iter().map(|&target| target as usize);
        if self.targets.len() != rows || targets.clone().any(|target| target >= classes) {
            bail!("cross-entropy: targets do not fit {rows} rows of {classes} classes");
        }
        let mut rows = values(logits, layout)?.to_vec();
        let losses = rows.chunks_exact_mut(classes).zip(targets).map(|(row, t)| self.row(row, t));
        let sum: f64 = losses.sum();
        self.kept.put(rows);
        #[expect(clippy::cast_possible_truncation, reason = "a loss is an f32 like all values")]
        let mean = sum as f32 / count(self.targets.len());
        Ok(made(vec![mean], ()))
    }

    fn bwd(&self, logits: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (rows, classes) = logits.dims2()?;
        let scale = gradient.to_scalar::<f32>()? / count(rows);
        let spread = self.smoothing / count(classes);
        let mut of_logits = self.kept.take()?;
        for (row, &target) in of_logits.chunks_exact_mut(classes).zip(&self.targets) {
            for value in row.iter_mut() {
                *value = (*value - spread) * scale;
            }
            row[target as usize] -= (1.0 - self.smoothing) * scale;
        }
        Tensor::from_vec(of_logits, logits.shape(), logits.device()).map(Some)
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^24")]
fn count(count: usize) -> f32 {
    count as f32
}
