//! Two-dimensional convolution (cross-correlation, as every framework means it).

use candle_core::{Result, Tensor};

use crate::compute::layers::window::Edge;
use crate::compute::layers::{Mode, Window};
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
    /// Reads `<name>.weight` [output, input / groups, rows, columns] and `<name>.bias` [output].
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

    /// # Errors
    /// When the window does not fit, or the arithmetic fails.
    pub fn forward(&self, x: &Tensor, mode: &Mode<'_>) -> Result<Tensor> {
        let evaluates = matches!(mode, Mode::Evaluation);
        if evaluates && self.size.window.is_square() { self.native(x) } else { self.by_windows(x) }
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
