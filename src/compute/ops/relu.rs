//! `max(x, 0)`.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::{made, values};
use crate::compute::Values;

/// Its argument may have any shape.
pub struct Relu;

impl CustomOp1 for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        // Written so that NaN stays NaN.
        let relu = |&value: &f32| if value < 0.0 { 0.0 } else { value };
        Ok(made(values(x, layout)?.iter().map(relu).collect(), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, out: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (out, gradient) = (Values::of(out)?, Values::of(gradient)?);
        let pass = |(&gradient, &out): (&f32, &f32)| if out > 0.0 { gradient } else { 0.0 };
        let of_x: Vec<f32> = gradient.iter().zip(&*out).map(pass).collect();
        Tensor::from_vec(of_x, x.shape(), x.device()).map(Some)
    }
}
