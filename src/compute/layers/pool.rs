//! Pools over windows of a picture, and over all of it.

use candle_core::{D, Result, Tensor};

use crate::compute::layers::convolution::place;
use crate::compute::layers::window::Edge;
use crate::compute::layers::{Mode, Window};

/// The largest value under each window; padding never wins. The dilation is 1.
#[derive(Debug, Clone, Copy)]
pub struct MaxPool(pub Window);

impl MaxPool {
    /// [N, C, H, W] to [N, C, H', W'].
    ///
    /// # Errors
    /// When the window does not fit, or the arithmetic fails.
    pub fn forward(&self, x: &Tensor, mode: &Mode<'_>) -> Result<Tensor> {
        let (_, _, rows, columns) = x.dims4()?;
        let at = place(&self.0, rows, columns)?;
        let (n, c, _, _) = x.dims4()?;
        if matches!(mode, Mode::Evaluation) && at.before == [0, 0] && at.after == [0, 0] {
            let [kernel, stride] = [self.0.kernel, self.0.stride].map(|[a, b]| (a, b));
            return x.max_pool2d_with_stride(kernel, stride);
        }
        // The gradient goes to one largest value a window; candle's own max-pool spreads it wrongly.
        let windows = windows(x, &self.0)?;
        let best = windows.detach().argmax_keepdim(D::Minus1)?;
        windows.gather(&best, D::Minus1)?.reshape((n, c, at.output[0], at.output[1]))
    }
}

/// The mean under each window. There is no padding and the dilation is 1.
#[derive(Debug, Clone, Copy)]
pub struct AveragePool(pub Window);

impl AveragePool {
    /// [N, C, H, W] to [N, C, H', W'].
    ///
    /// # Errors
    /// When the window does not fit, or the arithmetic fails.
    pub fn forward(&self, x: &Tensor, mode: &Mode<'_>) -> Result<Tensor> {
        let (n, c, rows, columns) = x.dims4()?;
        let at = place(&self.0, rows, columns)?;
        if matches!(mode, Mode::Evaluation) {
            let [kernel, stride] = [self.0.kernel, self.0.stride].map(|[a, b]| (a, b));
            return x.avg_pool2d_with_stride(kernel, stride);
        }
        windows(x, &self.0)?.mean(D::Minus1)?.reshape((n, c, at.output[0], at.output[1]))
    }
}

/// The mean of each channel: [N, C, H, W] to [N, C].
///
/// # Errors
/// When the arithmetic fails.
pub fn global_average_pool(x: &Tensor) -> Result<Tensor> {
    x.flatten_from(2)?.mean(D::Minus1)
}

/// [N, C, outputs, kernel]. A window that hangs over the edge sees the nearest value inside, which is
/// under it already, so its largest value does not change.
fn windows(x: &Tensor, window: &Window) -> Result<Tensor> {
    let (n, c, rows, columns) = x.dims4()?;
    let at = place(window, rows, columns)?;
    let indices = window.indices(&at, Edge::Nearest, x.device())?;
    let kernel = window.kernel[0] * window.kernel[1];
    x.reshape((n, c, rows * columns))?.index_select(&indices, 2)?.reshape((
        n,
        c,
        at.output[0] * at.output[1],
        kernel,
    ))
}
