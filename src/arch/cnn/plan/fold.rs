//! A convolution or linear layer with everything that can be folded into it: the batch norm and the
//! activation after it.

use candle_core::{Result, Tensor};

use crate::compute::kernels::{Activation, Depthwise, Packed};
use crate::compute::layers::BatchNorm;

/// Weights and bias on their way into a kernel's form.
pub(super) struct Folded {
    /// `[out, in per group, rows · columns]`, or `[out, in, 1]` of a linear layer.
    weights: Vec<f32>,
    sizes: [usize; 3],
    bias: Vec<f32>,
    pub activation: Activation,
}

impl Folded {
    pub fn new(weight: &Tensor, bias: Option<&Tensor>, norm: Option<&BatchNorm>) -> Result<Self> {
        let [out, input, ..] = *weight.dims() else {
            return Err(candle_core::Error::Msg("weights have two dimensions or more".to_owned()));
        };
        let taps = weight.dims()[2..].iter().product();
        let mut weights = weight.flatten_all()?.to_vec1::<f32>()?;
        let mut bias = match bias {
            Some(bias) => bias.to_vec1::<f32>()?,
            None => vec![0.0; out],
        };
        if let Some(norm) = norm {
            let (scale, shift) = norm.scale_and_shift()?;
            let (scale, shift) = (scale.to_vec1::<f32>()?, shift.to_vec1::<f32>()?);
            for (out, filter) in weights.chunks_exact_mut(input * taps).enumerate() {
                filter.iter_mut().for_each(|weight| *weight *= scale[out]);
                bias[out] = bias[out] * scale[out] + shift[out];
            }
        }
        Ok(Self { weights, sizes: [out, input, taps], bias, activation: Activation::None })
    }

    /// For pixels: channels innermost.
    pub fn convolution(&self) -> Packed {
        let [out, input, taps] = self.sizes;
        let mut moved = vec![0.0; self.weights.len()];
        for (to, from) in
            moved.chunks_exact_mut(input * taps).zip(self.weights.chunks_exact(input * taps))
        {
            for (i, &weight) in from.iter().enumerate() {
                let (channel, tap) = (i / taps, i % taps);
                to[tap * input + channel] = weight;
            }
        }
        Packed::new(&moved, Some(&self.bias), out, input * taps)
    }

    pub fn depthwise(&self) -> Depthwise {
        Depthwise::new(&self.weights, &self.bias, self.sizes[2])
    }

    /// A linear layer. Where it reads a flattened picture of `channels`, its columns are in the order of
    /// channels, rows, columns, and the picture lies pixel by pixel: they are moved.
    pub fn linear(&self, channels: usize) -> Packed {
        let [out, input, _] = self.sizes;
        let pixels = input / channels.max(1);
        let mut moved = vec![0.0; self.weights.len()];
        for (to, from) in moved.chunks_exact_mut(input).zip(self.weights.chunks_exact(input)) {
            for (i, &weight) in from.iter().enumerate() {
                to[(i % pixels) * channels + i / pixels] = weight;
            }
        }
        Packed::new(&moved, Some(&self.bias), out, input)
    }
}
