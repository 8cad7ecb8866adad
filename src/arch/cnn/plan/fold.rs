//! A convolution or linear layer with everything that can be folded into it: the batch norm and the
//! activation after it.

use candle_core::{Result, Tensor};

use crate::compute::kernels::{Activation, Filters, Frame, LANES, Packed};
use crate::compute::layers::BatchNorm;

/// Weights and bias on their way into a kernel's form.
pub struct Folded {
    /// `[out, in per group, rows, columns]`, or `[out, in]` of a linear layer.
    weights: Vec<f32>,
    bias: Vec<f32>,
    pub activation: Activation,
}

impl Folded {
    pub fn new(weight: &Tensor, bias: Option<&Tensor>, norm: Option<&BatchNorm>) -> Result<Self> {
        let outputs = weight.dim(0)?;
        let mut weights = weight.flatten_all()?.to_vec1::<f32>()?;
        let mut bias = match bias {
            Some(bias) => bias.to_vec1::<f32>()?,
            None => vec![0.0; outputs],
        };
        if let Some(norm) = norm {
            let (scale, shift) = norm.scale_and_shift()?;
            let (scale, shift) = (scale.to_vec1::<f32>()?, shift.to_vec1::<f32>()?);
            let each = weights.len() / outputs;
            for (out, filter) in weights.chunks_exact_mut(each).enumerate() {
                for weight in filter {
                    *weight *= scale[out];
                }
                bias[out] = bias[out] * scale[out] + shift[out];
            }
        }
        Ok(Self { weights, bias, activation: Activation::None })
    }

    pub fn filters(&self) -> Filters<'_> {
        Filters { weights: &self.weights, bias: &self.bias }
    }

    /// A linear layer.
    pub fn linear(&self) -> Packed {
        let (outputs, inputs) = self.sizes();
        Packed::new(&self.weights, Some(&self.bias), outputs, inputs)
    }

    /// A linear layer over a flattened picture, whose weights are in the order of channels, rows, columns,
    /// and which lies in blocks: its columns are moved.
    pub fn linear_over(&self, frame: &Frame) -> Packed {
        let (outputs, inputs) = self.sizes();
        let pixels = frame.size[0] * frame.size[1];
        let mut moved = vec![0.0; outputs * frame.len()];
        let rows = moved.chunks_exact_mut(frame.len()).zip(self.weights.chunks_exact(inputs));
        for (to, from) in rows {
            for (i, &weight) in from.iter().enumerate() {
                let (channel, pixel) = (i / pixels, i % pixels);
                to[channel / LANES * frame.plane() + pixel * LANES + channel % LANES] = weight;
            }
        }
        Packed::new(&moved, Some(&self.bias), outputs, frame.len())
    }

    fn sizes(&self) -> (usize, usize) {
        let outputs = self.bias.len();
        (outputs, self.weights.len() / outputs.max(1))
    }
}
