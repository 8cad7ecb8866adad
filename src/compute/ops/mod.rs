//! Operations of candle's graph that a CPU runs in one pass, forwards and back. Made of candle's own, each is many
//! passes over memory, and training spends most of its time there; so the layers use these wherever the values are f32 in
//! this memory ([`runs`]), and candle's own on other devices. Those are also what the tests hold these to.

mod convolution;
mod cross_entropy;
mod linear;
mod max_pool;
mod recurrence;
mod relu;
mod rows;

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, DType, Error, Layout, Result, Shape, Tensor};

pub use convolution::Convolve;
pub use cross_entropy::CrossEntropy;
pub use linear::affine;
pub use max_pool::MaxPool;
pub use recurrence::{Recurrence, Sequence};
pub use relu::Relu;
pub use rows::{MaskedSoftmax, NormaliseRows};

/// Whether these operations take this tensor.
pub fn runs(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32
}

/// What an operation keeps from its forward pass for its backward pass.
struct Kept<T>(Mutex<Option<T>>);

impl<T> Kept<T> {
    fn none() -> Self {
        Self(Mutex::new(None))
    }

    fn put(&self, value: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    }

    /// What was kept, once.
    fn take(&self) -> Result<T> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        kept.ok_or_else(|| Error::Msg("a gradient was asked for twice".to_owned()))
    }
}

/// The floats of an argument, which must lie one after the other.
fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let (from, to) = layout
        .contiguous_offsets()
        .ok_or_else(|| Error::Msg("a fused operation needs contiguous values".to_owned()))?;
    Ok(&storage.as_slice::<f32>()?[from..to])
}

fn made(values: Vec<f32>, shape: impl Into<Shape>) -> (CpuStorage, Shape) {
    (CpuStorage::F32(values), shape.into())
}

/// The sum of each column of rows.
fn column_sums(rows: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0.0; width];
    for row in rows.chunks_exact(width.max(1)) {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += value;
        }
    }
    sums
}

#[cfg(test)]
mod tests;
