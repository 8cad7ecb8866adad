//! A linear layer: `y = x · Wᵀ + b`.

use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor};

use super::{column_sums, made, values};
use crate::compute::Values;
use crate::compute::kernels::{Lined, Packed, Places, Product, Start, best, gemm, lined};

/// Arguments are x `[m, k]`, W `[n, k]` and b `[n]`.
struct Affine;

/// `x · Wᵀ + b`, of values that [`runs`](super::runs) takes.
///
/// # Errors
/// When the shapes do not belong together.
pub fn affine(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let bias = match bias {
        Some(bias) => bias.clone(),
        None => Tensor::zeros(weight.dim(0)?, DType::F32, x.device())?,
    };
    x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, Affine)
}

impl CustomOp3 for Affine {
    fn name(&self) -> &'static str {
        "affine"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (m, k) = x_layout.shape().dims2()?;
        let (n, inputs) = weight_layout.shape().dims2()?;
        if inputs != k || bias_layout.dims() != [n] {
            let shapes = [x_layout, weight_layout, bias_layout].map(Layout::dims);
            candle_core::bail!("affine: shapes {shapes:?} do not belong together");
        }
        let bias = values(bias, bias_layout)?;
        let packed = Packed::new(values(weight, weight_layout)?, Some(bias), n, k);
        let mut out = vec![0.0; m * n];
        gemm(best(), &packed, Product::rows(&packed, values(x, x_layout)?, &mut out));
        Ok(made(out, (m, n)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let ((m, k), (n, _)) = (x.dims2()?, weight.dims2()?);
        let gradient = Values::of(gradient)?;
        let tensor = |values: Vec<f32>, of: &Tensor| {
            Tensor::from_vec(values, of.shape(), x.device()).map(Some)
        };
        let of_x = if x.track_op() {
            tensor(by_weights(&gradient, &Values::of(weight)?, [m, n, k]), x)?
        } else {
            None
        };
        let of_weight = tensor(by_inputs(&gradient, &Values::of(x)?, [m, n, k]), weight)?;
        let of_bias = if bias.track_op() { tensor(column_sums(&gradient, n), bias)? } else { None };
        Ok((of_x, of_weight, of_bias))
    }
}

/// `gradient · W`: `[m, k]`.
fn by_weights(gradient: &[f32], weight: &[f32], [m, n, k]: [usize; 3]) -> Vec<f32> {
    let mut out = vec![0.0; m * k];
    let product = Lined {
        a: gradient,
        rows: &Places::even(m, n),
        step: 1,
        b: weight,
        lines: &Places::even(n, k),
        columns: k,
        start: Start::Zero,
        out: &mut out,
        out_stride: k,
    };
    lined(best(), product);
    out
}

/// `gradientᵀ · x`: `[n, k]`.
fn by_inputs(gradient: &[f32], x: &[f32], [m, n, k]: [usize; 3]) -> Vec<f32> {
    let mut out = vec![0.0; n * k];
    let product = Lined {
        a: gradient,
        rows: &Places::even(n, 1),
        step: n,
        b: x,
        lines: &Places::even(m, k),
        columns: k,
        start: Start::Zero,
        out: &mut out,
        out_stride: k,
    };
    lined(best(), product);
    out
}
