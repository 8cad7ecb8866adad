//! A convolution or linear layer with everything that can be folded into it: the batch norm and the
//! activation after it.

use candle_core::{Result, Tensor};

use crate::compute::Values;
use crate::compute::kernels::{Activation, Filters, Frame, LANES, Packed};
use crate::compute::layers::BatchNorm;

/// Weights and bias on their way into a kernel's form.
pub struct Folded<'a> {
    /// `[out, in per group, rows, columns]`, or `[out, in]` of a linear layer, as the graph has them.
    weights: Values<'a>,
    /// What the norm makes of each output's weights, and adds to it.
    scale: Vec<f32>,
    bias: Vec<f32>,
    pub activation: Activation,
}

impl<'a> Folded<'a> {
    pub fn new(
        weight: &'a Tensor,
        bias: Option<&Tensor>,
        norm: Option<&BatchNorm>,
    ) -> Result<Self> {
        let outputs = weight.dim(0)?;
        let mut bias = match bias {
            Some(bias) => bias.to_vec1::<f32>()?,
            None => vec![0.0; outputs],
        };
        let mut scale = vec![1.0; outputs];
        if let Some(norm) = norm {
            let (factor, shift) = norm.scale_and_shift()?;
            scale = factor.to_vec1()?;
            for ((bias, scale), shift) in bias.iter_mut().zip(&scale).zip(shift.to_vec1::<f32>()?) {
                *bias = *bias * scale + shift;
            }
        }
        Ok(Self { weights: Values::of(weight)?, scale, bias, activation: Activation::None })
    }

    pub fn filters(&self) -> Filters<'_> {
        Filters { weights: &self.weights, scale: &self.scale, bias: &self.bias }
    }

    /// A linear layer.
    pub fn linear(&self) -> Packed {
        Packed::folded(self.filters(), self.sizes().1)
    }

    /// A linear layer over a flattened picture, whose weights are in the order of channels, rows, columns,
    /// and which lies in blocks: its columns are moved.
    pub fn linear_over(&self, frame: &Frame) -> Packed {
        let (outputs, inputs) = self.sizes();
        let pixels = frame.size[0] * frame.size[1];
        let mut moved = vec![0.0; outputs * frame.len()];
        let rows = moved.chunks_exact_mut(frame.len()).zip(self.weights.chunks_exact(inputs));
        for ((to, from), scale) in rows.zip(&self.scale) {
            for (i, weight) in from.iter().enumerate() {
                let (channel, pixel) = (i / pixels, i % pixels);
                to[channel / LANES * frame.plane() + pixel * LANES + channel % LANES] =
                    weight * scale;
            }
        }
        Packed::new(&moved, Some(&self.bias), outputs, frame.len())
    }

    fn sizes(&self) -> (usize, usize) {
        let outputs = self.bias.len();
        (outputs, self.weights.len() / outputs.max(1))
    }
}
