//! Two-dimensional convolution (cross-correlation, as every framework means it).

use candle_core::{Result, Tensor};

use crate::compute::layers::window::Edge;
use crate::compute::layers::{Mode, Window};
use crate::compute::ops::{self, Convolve};
use crate::compute::{Init, Parameters, WeightError};

/// What a convolution's parameters are sized by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvolutionSize {
    /// Channels in; a multiple of `groups`.
    pub input: usize,
    /// Channels out; a multiple of `groups`.
    pub output: usize,
    pub groups: usize,
    pub window: Window,
    pub bias: bool,
}

/// A convolution: [N, input, H, W] to [N, output, H', W'].
#[derive(Debug)]
pub struct Convolution {
    weight: Tensor,
    bias: Option<Tensor>,
    size: ConvolutionSize,
}

impl Convolution {
    /// Reads `<name>.weight` `[output, input / groups, rows, columns]` and `<name>.bias` `[output]`.
    ///
    /// # Errors
    /// [`WeightError`] when a tensor is missing or of another shape.
    pub fn new(
        parameters: &mut dyn Parameters,
        name: &str,
        size: ConvolutionSize,
    ) -> std::result::Result<Self, WeightError> {
        let [rows, columns] = size.window.kernel;
        let shape = [size.output, size.input / size.groups, rows, columns];
        let init = Init::fan_in(shape[1..].iter().product());
        let weight = parameters.get(&format!("{name}.weight"), &shape, init)?;
        let bias = size
            .bias
            .then(|| parameters.get(&format!("{name}.bias"), &[size.output], init))
            .transpose()?;
        Ok(Self { weight, bias, size })
    }

    /// [output, input / groups, rows, columns].
    #[must_use]
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// `[output]`.
    #[must_use]
    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    #[must_use]
    pub fn size(&self) -> &ConvolutionSize {
        &self.size
    }

    /// # Errors
    /// When the window does not fit, or the arithmetic fails.
    pub fn forward(&self, x: &Tensor, mode: &Mode<'_>) -> Result<Tensor> {
        match mode {
            Mode::Evaluation if self.size.window.is_square() => self.native(x),
            Mode::Training(_) if ops::runs(x) => self.by_lines(x),
            _ => self.by_windows(x),
        }
    }

    /// In one operation, on a CPU.
    fn by_lines(&self, x: &Tensor) -> Result<Tensor> {
        let (_, _, rows, columns) = x.dims4()?;
        let at = place(&self.size.window, rows, columns)?;
        let bias = match &self.bias {
            Some(bias) => bias.clone(),
            None => Tensor::zeros(self.size.output, x.dtype(), x.device())?,
        };
        x.contiguous()?.apply_op3(&self.weight, &bias, Convolve::new(self.size, at))
    }

    /// candle's own operation: fast forward, slow backward.
    fn native(&self, x: &Tensor) -> Result<Tensor> {
        let window = &self.size.window;
        let (_, _, rows, columns) = x.dims4()?;
        let at = place(window, rows, columns)?;
        let (stride, dilation) = (window.stride[0], window.dilation[0]);
        let alike = at.before == at.after && at.before[0] == at.before[1];
        let y = if alike {
            x.conv2d(&self.weight, at.before[0], stride, dilation, self.size.groups)?
        } else {
            let x = x.pad_with_zeros(2, at.before[0], at.after[0])?.pad_with_zeros(
                3,
                at.before[1],
                at.after[1],
            )?;
            x.conv2d(&self.weight, 0, stride, dilation, self.size.groups)?
        };
        match &self.bias {
            Some(bias) => y.broadcast_add(&bias.reshape((1, (), 1, 1))?),
            None => Ok(y),
        }
    }

    /// A gather of every window and one matrix product a group: the same sum in operations whose
    /// backward pass is a scatter and two matrix products.
    fn by_windows(&self, x: &Tensor) -> Result<Tensor> {
        let ConvolutionSize { input, output, groups, window, .. } = self.size;
        let (n, _, rows, columns) = x.dims4()?;
        let at = place(&window, rows, columns)?;
        let positions = n * at.output[0] * at.output[1];
        let kernel = window.kernel[0] * window.kernel[1];
        let (inputs, outputs) = (input / groups, output / groups);

        // Channels last, so that the gather and its scatter move whole runs of channels.
        let x = x.permute((0, 2, 3, 1))?.reshape((n, rows * columns, input))?;
        let windows = x
            .index_select(&window.indices(&at, Edge::Zero, x.device())?, 1)?
            .reshape((positions, kernel, groups, inputs))?
            .permute((2, 0, 1, 3))?
            .reshape((groups, positions, kernel * inputs))?;
        let weight = self
            .weight
            .reshape((groups, outputs, inputs, kernel))?
            .permute((0, 3, 2, 1))?
            .reshape((groups, kernel * inputs, outputs))?;
        let y = windows.matmul(&weight)?.transpose(0, 1)?.reshape((positions, output))?;
        let y = match &self.bias {
            Some(bias) => y.broadcast_add(bias)?,
            None => y,
        };
        y.reshape((n, at.output[0], at.output[1], output))?.permute((0, 3, 1, 2))?.contiguous()
    }
}

pub(super) fn place(
    window: &Window,
    rows: usize,
    columns: usize,
) -> Result<crate::compute::layers::Placement> {
    window.place([rows, columns]).ok_or_else(|| {
        candle_core::Error::Msg(format!("{window:?} does not fit a picture of {rows}x{columns}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::layers::Padding;
    use candle_core::Device;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn values(count: usize, seed: f32) -> Vec<f32> {
        #[expect(clippy::cast_precision_loss, reason = "counts are small")]
        (0..count).map(|i| ((i as f32 + seed) * 0.7).sin()).collect()
    }

    fn layer(weight: Vec<f32>, bias: Option<Vec<f32>>, size: ConvolutionSize) -> Convolution {
        let [rows, columns] = size.window.kernel;
        let shape = (size.output, size.input / size.groups, rows, columns);
        let weight = Tensor::from_vec(weight, shape, &Device::Cpu).unwrap();
        let bias = bias.map(|b| Tensor::new(b, &Device::Cpu).unwrap());
        Convolution { weight, bias, size }
    }

    fn both_modes(layer: &Convolution, x: &Tensor) -> [Vec<f32>; 2] {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        [Mode::Evaluation, Mode::Training(&mut rng)]
            .map(|mode| layer.forward(x, &mode).unwrap().flatten_all().unwrap().to_vec1().unwrap())
    }

    fn assert_near(got: &[f32], expected: &[f32]) {
        assert_eq!(got.len(), expected.len());
        for (got, expected) in got.iter().zip(expected) {
            assert!((got - expected).abs() < 1e-5, "{got}, expected {expected}");
        }
    }

    /// The definition, as loops.
    fn by_hand(layer: &Convolution, x: &[f32], [rows, columns]: [usize; 2]) -> Vec<f32> {
        let ConvolutionSize { input, output, groups, window, .. } = layer.size;
        let at = window.place([rows, columns]).unwrap();
        let weight = layer.weight.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let (inputs, [kr, kc]) = (input / groups, window.kernel);
        let mut y = Vec::new();
        for o in 0..output {
            let bias = layer.bias.as_ref().map_or(0.0, |b| b.to_vec1::<f32>().unwrap()[o]);
            for (row, column) in grid(at.output) {
                let mut sum = bias;
                for i in 0..inputs {
                    for (r, c) in grid([kr, kc]) {
                        let r_in = row * window.stride[0] + r * window.dilation[0];
                        let c_in = column * window.stride[1] + c * window.dilation[1];
                        let r_in = r_in.checked_sub(at.before[0]).filter(|&r| r < rows);
                        let c_in = c_in.checked_sub(at.before[1]).filter(|&c| c < columns);
                        if let (Some(r_in), Some(c_in)) = (r_in, c_in) {
                            let channel = o / (output / groups) * inputs + i;
                            sum += x[(channel * rows + r_in) * columns + c_in]
                                * weight[((o * inputs + i) * kr + r) * kc + c];
                        }
                    }
                }
                y.push(sum);
            }
        }
        y
    }

    fn grid([rows, columns]: [usize; 2]) -> impl Iterator<Item = (usize, usize)> {
        (0..rows).flat_map(move |row| (0..columns).map(move |column| (row, column)))
    }

    #[test]
    fn same_padding_gives_what_tensorflow_gives() {
        // Stride 2 on an even size: one row below and one column to the right. Values from PyTorch.
        let weight = vec![
            -0.203_014_7,
            0.112_733_6,
            0.105_388_6,
            -0.006_876_2,
            -0.074_967_4,
            -0.205_476_6,
            0.230_514_9,
            -0.248_141_4,
            0.136_555_2,
        ];
        let window =
            Window { kernel: [3, 3], stride: [2, 2], dilation: [1, 1], padding: Padding::Same };
        let size = ConvolutionSize { input: 1, output: 1, groups: 1, window, bias: false };
        let x: Vec<f32> = (0_u8..36).map(|i| f32::from(i) / 36.0).collect();
        let x = Tensor::from_vec(x, (1, 1, 6, 6), &Device::Cpu).unwrap();
        for y in both_modes(&layer(weight.clone(), None, size), &x) {
            assert_near(
                &y,
                &[
                    -0.012_061_6,
                    -0.020_577_4,
                    -0.046_443_3,
                    -0.063_156_2,
                    -0.071_672,
                    -0.109_693_7,
                    -0.233_873_2,
                    -0.248_996_1,
                    -0.146_466_3,
                ],
            );
        }
    }

    #[test]
    fn groups_strides_dilation_and_padding_follow_the_definition() {
        let explicit = |rows, columns| Padding::Explicit([rows, columns]);
        for (groups, kernel, stride, dilation, padding) in [
            (1, [3, 3], [1, 1], [1, 1], explicit(1, 1)),
            (2, [3, 3], [2, 2], [1, 1], explicit(0, 0)),
            (4, [3, 3], [1, 1], [1, 1], Padding::Same),
            (1, [3, 3], [1, 1], [2, 2], explicit(2, 2)),
            (2, [2, 3], [2, 1], [1, 2], explicit(1, 2)),
            (1, [5, 1], [1, 2], [1, 1], Padding::Same),
            (1, [1, 1], [1, 1], [1, 1], explicit(0, 0)),
        ] {
            let window = Window { kernel, stride, dilation, padding };
            let size = ConvolutionSize { input: 4, output: 8, groups, window, bias: true };
            let weight = values(8 * (4 / groups) * kernel[0] * kernel[1], 1.0);
            let layer = layer(weight, Some(values(8, 5.0)), size);
            let data = values(4 * 7 * 6, 2.0);
            let x = Tensor::from_vec(data.clone(), (1, 4, 7, 6), &Device::Cpu).unwrap();
            for y in both_modes(&layer, &x) {
                assert_near(&y, &by_hand(&layer, &data, [7, 6]));
            }
        }
    }
}
