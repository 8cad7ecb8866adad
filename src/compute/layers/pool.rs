//! Pools over windows of a picture, and over all of it.

use candle_core::{D, Result, Tensor};

use crate::compute::layers::convolution::place;
use crate::compute::layers::window::Edge;
use crate::compute::layers::{Mode, Window};
use crate::compute::ops;

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
        if ops::runs(x) {
            return x.contiguous()?.apply_op1(ops::MaxPool::new(self.0, at));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::layers::Padding;
    use candle_core::{Device, Var};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn window(kernel: usize, stride: usize, padding: Padding) -> Window {
        Window { kernel: [kernel; 2], stride: [stride; 2], dilation: [1, 1], padding }
    }

    fn in_both_modes(x: &Tensor, expected: &[f32], pool: impl Fn(&Tensor, &Mode<'_>) -> Tensor) {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        for mode in [Mode::Evaluation, Mode::Training(&mut rng)] {
            let y = pool(x, &mode).flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(y, expected);
        }
    }

    #[test]
    fn pools_give_the_largest_and_the_mean() {
        let data = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0, -7.0, -8.0, -9.0];
        let x = Tensor::from_slice(&data, (1, 1, 3, 3), &Device::Cpu).unwrap();
        let none = Padding::Explicit([0, 0]);
        let max =
            |window| move |x: &Tensor, mode: &Mode<'_>| MaxPool(window).forward(x, mode).unwrap();
        in_both_modes(&x, &[5.0, 6.0, 5.0, 6.0], max(window(2, 1, none)));
        in_both_modes(&x, &[5.0, 6.0, -7.0, -9.0], max(window(2, 2, Padding::Same)));
        let mean =
            |x: &Tensor, mode: &Mode<'_>| AveragePool(window(2, 1, none)).forward(x, mode).unwrap();
        in_both_modes(&x, &[3.0, 4.0, -1.5, -1.5], mean);
        let all = global_average_pool(&x).unwrap().to_vec2::<f32>().unwrap();
        assert!((all[0][0] + 1.0 / 3.0).abs() < 1e-6);
    }

    #[test]
    fn the_gradient_of_a_maximum_goes_to_one_place() {
        let x = Var::from_slice(&[1.0_f32, 3.0, 3.0, 2.0], (1, 1, 2, 2), &Device::Cpu).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let pool = MaxPool(window(2, 2, Padding::Explicit([0, 0])));
        let y = pool.forward(&x, &Mode::Training(&mut rng)).unwrap().sum_all().unwrap();
        let gradients = y.backward().unwrap();
        let gradient = gradients.get(&x).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(gradient, [0.0, 1.0, 0.0, 0.0]);
    }
}
