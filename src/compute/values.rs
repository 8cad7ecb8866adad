//! A tensor's floats for the kernels.

use std::ops::{Deref, Range};

use candle_core::{CpuStorage, Result, Storage, StorageRef, Tensor};

/// The floats of a tensor, row-major: where they lie if they lie so in this memory, otherwise a copy. Weights are
/// most of what a model takes, and a copy of them costs as much time as reading them.
pub enum Values<'a> {
    Here(StorageRef<'a>, Range<usize>),
    Copied(Vec<f32>),
}

impl<'a> Values<'a> {
    /// # Errors
    /// When the tensor does not hold f32, or cannot be copied from its device.
    pub fn of(tensor: &'a Tensor) -> Result<Self> {
        let (storage, layout) = tensor.storage_and_layout();
        match (&*storage, layout.contiguous_offsets()) {
            (Storage::Cpu(CpuStorage::F32(_)), Some((from, to))) => {
                Ok(Self::Here(storage, from..to))
            }
            _ => tensor.flatten_all()?.to_vec1().map(Self::Copied),
        }
    }
}

impl Deref for Values<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Self::Here(storage, range) => match &**storage {
                Storage::Cpu(CpuStorage::F32(values)) => &values[range.clone()],
                _ => &[],
            },
            Self::Copied(values) => values,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    #[test]
    fn values_are_row_major_wherever_they_lie() {
        let whole = Tensor::new(&[[1.0_f32, 2.0, 3.0], [4.0, 5.0, 6.0]], &Device::Cpu).unwrap();
        assert_eq!(Values::of(&whole).unwrap()[..], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let part = whole.narrow(0, 1, 1).unwrap();
        let here = Values::of(&part).unwrap();
        assert_eq!(here[..], [4.0, 5.0, 6.0]);
        assert!(matches!(here, Values::Here(..)));
        let turned = whole.t().unwrap();
        assert_eq!(Values::of(&turned).unwrap()[..], [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        assert!(Values::of(&whole.to_dtype(DType::I64).unwrap()).is_err());
    }
}
