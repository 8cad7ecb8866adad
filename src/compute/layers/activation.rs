//! Element-wise non-linearities.

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

use crate::compute::{kernels, ops};

/// A non-linearity by the name that a manifest gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    Relu,
    /// min(max(x, 0), 6).
    Relu6,
    /// x · sigmoid(x), also called swish.
    Silu,
    /// x · relu6(x + 3) / 6 (Howard and others 2019, `MobileNetV3`).
    HardSwish,
    /// x · Φ(x) by the error function, not the tanh approximation.
    Gelu,
}

impl Activation {
    /// The same for the kernels.
    #[must_use]
    pub fn kernel(self) -> kernels::Activation {
        match self {
            Self::Relu => kernels::Activation::Relu,
            Self::Relu6 => kernels::Activation::Relu6,
            Self::Silu => kernels::Activation::Silu,
            Self::HardSwish => kernels::Activation::HardSwish,
            Self::Gelu => kernels::Activation::Gelu,
        }
    }

    /// Whether the activation of the largest of some values is the largest of their activations, and has their gradient.
    #[must_use]
    pub fn keeps_largest(self) -> bool {
        // relu6 makes equals of what is above 6, and of them the first would get the gradient.
        self == Self::Relu
    }

    /// # Errors
    /// When the arithmetic fails.
    pub fn forward(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Relu if x.track_op() && ops::runs(x) => x.contiguous()?.apply_op1(ops::Relu),
            Self::Relu => x.relu(),
            Self::Relu6 => relu6(x),
            Self::Silu => x.silu(),
            Self::HardSwish => x * (relu6(&(x + 3.0)?)? / 6.0)?,
            Self::Gelu => x.gelu_erf(),
        }
    }
}

/// As two of `relu`, since candle's `clamp` takes fifty times as long as one: 6 − relu(6 − relu(x)).
fn relu6(x: &Tensor) -> Result<Tensor> {
    x.relu()?.affine(-1.0, 6.0)?.relu()?.affine(-1.0, 6.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    fn check(activation: Activation, x: &[f32], expected: &[f32]) {
        let x = Tensor::new(x, &Device::Cpu).unwrap();
        let got = activation.forward(&x).unwrap().to_vec1::<f32>().unwrap();
        for (got, expected) in got.iter().zip(expected) {
            assert!((got - expected).abs() < 1e-5, "{activation:?}: {got}, expected {expected}");
        }
    }

    #[test]
    fn what_keeps_the_largest_keeps_it_with_its_gradient() {
        let pool = |x: &Tensor| x.max_pool2d_with_stride((1, 2), (1, 2)).unwrap();
        let flat = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let data = [-2.5_f32, -1.5, -1.0, 3.0, 5.0, 2.0, 7.0, 4.0];
        for activation in [Activation::Relu, Activation::Silu, Activation::HardSwish] {
            let before = Var::from_slice(&data, (1, 1, 1, 8), &Device::Cpu).unwrap();
            let behind = Var::from_slice(&data, (1, 1, 1, 8), &Device::Cpu).unwrap();
            let y = pool(&activation.forward(&before).unwrap());
            let z = activation.forward(&pool(&behind)).unwrap();
            assert_eq!(flat(&y) == flat(&z), activation.keeps_largest(), "{activation:?}");
        }
    }

    #[test]
    fn each_gives_what_its_definition_says() {
        check(Activation::Relu, &[-1.0, 0.0, 2.0], &[0.0, 0.0, 2.0]);
        check(Activation::Relu6, &[-1.0, 0.5, 6.0, 9.0, 1e9], &[0.0, 0.5, 6.0, 6.0, 6.0]);
        check(
            Activation::HardSwish,
            &[-4.0, -1.0, 0.0, 1.0, 5.0],
            &[0.0, -1.0 / 3.0, 0.0, 2.0 / 3.0, 5.0],
        );
        // σ(1) = 0.731 058 58; Φ(1) = 0.841 344 75, Φ(−2) = 0.022 750 13.
        check(Activation::Silu, &[1.0, -1.0], &[0.731_058_6, -0.268_941_43]);
        check(Activation::Gelu, &[1.0, -2.0, 0.0], &[0.841_344_7, -0.045_500_26, 0.0]);
    }
}
